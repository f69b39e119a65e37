#include "key.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "clock.h"
#include "secret.h"
#include "settings.h"
#include "store.h"

void
key_done(struct key *k)
{
	secret_free(k->secret);
	k->secret = NULL;
}

void
key_init_new(struct key *k, const struct settings *s)
{
	char secret[ID_MAX];

	*k = (struct key){
		.rate = s->key_rate_per_minute,
		.burst = s->key_burst,
		.concurrency = s->key_concurrency,
		.queue = s->key_queue,
		.created_ms = clock_wall_ms(),
		.tier = "Standard",
	};
	id_new_public_key(k->public_key);
	id_new_secret_key(secret);
	k->secret = strdup(secret);
	explicit_bzero(secret, sizeof(secret));
	if (!k->secret)
		abort();
}

void
key_init_dev(struct key *k)
{
	*k = (struct key){
		.public_key = KEY_DEV_PUBLIC,
		.secret = strdup(KEY_DEV_SECRET),
		.tier = "Development",
		.note = "the documents' test pair, loopback only",
		.rate = 10000000,
		.burst = 1000000,
		.concurrency = 1000,
		.queue = 2000000,
		.created_ms = clock_wall_ms(),
	};
	if (!k->secret)
		abort();
}

static void
get_text(const redisReply *r, const char *name, char ret_text[KEY_TEXT_MAX])
{
	(void)snprintf(ret_text, KEY_TEXT_MAX, "%s",
	    store_reply_str(store_reply_field(r, name), ""));
}

static long
get_long(const redisReply *r, const char *name, long def)
{
	return (long)store_reply_int(store_reply_field(r, name), def);
}

int
key_from_reply(struct key *ret_key, const char *public_key, const redisReply *r,
    const struct secret_master *m, struct err *err)
{
	const char *sealed = store_reply_str(
	    store_reply_field(r, "secret"), NULL);
	struct key k = {
		.rate = get_long(r, "rate", 1),
		.burst = get_long(r, "burst", 1),
		.concurrency = get_long(r, "concurrency", 1),
		.queue = get_long(r, "queue", 0),
		.created_ms = get_long(r, "created", 0),
		.expires_ms = get_long(r, "expires", 0),
		.suspended = get_long(r, "suspended", 0) != 0,
	};

	if (!sealed)
		return err_set(
		    err, ERR_NOT_FOUND, 0, "no key `%s`", public_key);
	(void)snprintf(k.public_key, sizeof(k.public_key), "%s", public_key);
	get_text(r, "tier", k.tier);
	get_text(r, "note", k.note);
	if (m && secret_open(m, public_key, sealed, &k.secret, err) < 0)
		return -1;
	*ret_key = k;
	return 0;
}

int
key_save(struct redisContext *c, const char *prefix, const struct key *k,
    const struct secret_master *m, struct err *err)
{
	auto_free char *sealed = NULL;
	redisReply *r;

	if (secret_seal(m, k->public_key, k->secret, &sealed, err) < 0)
		return -1;
	r = store_command_sync(c, err,
	    "HSET {%s}:key:%s secret %s tier %s note %s rate %ld burst %ld "
	    "concurrency %ld queue %ld created %lld expires %lld suspended %d",
	    prefix, k->public_key, sealed, k->tier, k->note, k->rate, k->burst,
	    k->concurrency, k->queue, (long long)k->created_ms,
	    (long long)k->expires_ms, k->suspended ? 1 : 0);
	if (!r)
		return -1;
	freeReplyObject(r);
	r = store_command_sync(
	    c, err, "SADD {%s}:keys %s", prefix, k->public_key);
	if (!r)
		return -1;
	freeReplyObject(r);
	r = store_command_sync(
	    c, err, "PUBLISH {%s}:" KEY_CHANNEL " %s", prefix, k->public_key);
	if (!r)
		return -1;
	freeReplyObject(r);
	return 0;
}

bool
key_expired(const struct key *k, int64_t now_ms)
{
	return k->expires_ms > 0 && now_ms >= k->expires_ms;
}
