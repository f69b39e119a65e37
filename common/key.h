#pragma once
/*
 * key.h - API keys as the hash {prefix}:key:<public key> holds them.
 *
 *   secret      sealed under the master key (secret.h)
 *   tier        text for people
 *   rate        jobs a minute          burst        jobs at once
 *   concurrency jobs running           queue        jobs waiting besides
 *   created     wall ms                expires      wall ms, or 0: never
 *   suspended   0 or 1                 note         text for the operator
 *
 * A change is followed by PUBLISH {prefix}:keys <public key>, which makes the
 * gateways forget what they remember of it.
 */
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "id.h"

/* The documents' pair; only where farm.dev_key is on and only on loopback. */
#define KEY_DEV_PUBLIC "unsb-pk-test-0000-0000-0001"
#define KEY_DEV_SECRET "unsb-sk-test0-vault-unlck-12345"
/* What gateways subscribe to. */
#define KEY_CHANNEL "keys"

enum { KEY_TEXT_MAX = 128, KEY_PUBLIC_MAX = 64 };

struct key {
	char public_key[KEY_PUBLIC_MAX];
	char *secret; /* opened; owned, wiped by key_done() */
	char tier[KEY_TEXT_MAX];
	char note[KEY_TEXT_MAX];
	long rate, burst, concurrency, queue;
	int64_t created_ms;
	int64_t expires_ms; /* 0: never */
	bool suspended;
};

struct secret_master;
struct settings;

void key_done(struct key *k);
/* A new pair with the settings' default limits. */
void key_init_new(struct key *k, const struct settings *s);
/* The development pair: limits so wide that one machine never meets them. */
void key_init_dev(struct key *k);
/*
 * From HGETALL.  m may be NULL: the secret stays closed.  ERR_NOT_FOUND for an
 * empty reply, ERR_INVALID when the secret does not fit the master key.
 */
int key_from_reply(struct key *ret_key, const char *public_key,
    const redisReply *r, const struct secret_master *m, struct err *err);
/* Writes or replaces it and tells the gateways. */
int key_save(struct redisContext *c, const char *prefix, const struct key *k,
    const struct secret_master *m, struct err *err);
bool key_expired(const struct key *k, int64_t now_ms);
