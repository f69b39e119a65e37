#pragma once
/*
 * keyring.h - key records that were read a moment ago.
 *
 * A record is believed for two seconds, and dropped at once when a message on
 * the channel `keys` says that it changed.  Keys that do not exist are
 * remembered too, so that guessing costs Redis nothing.  The number of entries
 * is bounded; the oldest go first.
 */
#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "key.h"

struct gateway;
struct keyring;

/* One key; shared by the requests that hold a reference. */
struct key_entry {
	struct key key;
	/* Last known state of its token bucket; limit_known says if any. */
	bool limit_known;
	long tokens_left;
	int64_t full_at_s; /* wall seconds when the bucket is full again */
	struct key_slot *slot;
};

struct keyring *keyring_new(struct gateway *gw);
void keyring_free(struct keyring *k);

/*
 * cb runs once, at once when the record is at hand, else from the loop.  entry
 * is NULL exactly when err is not: ERR_KEY for an unknown key, ERR_UNAVAILABLE
 * while Redis is away.  The callback owns one reference.
 */
typedef void
keyring_cb(void *ctx, struct key_entry *entry, const struct err *err);
void keyring_get(
    struct keyring *k, const char *public_key, keyring_cb *cb, void *ctx);
void keyring_unref(struct key_entry *entry);

/* NULL: all of them. */
void keyring_forget(struct keyring *k, const char *public_key);
