/*
 * A slot is a key's place in the cache: its record, when that was read, and who
 * waits for it.  A slot leaves the hash when it is forgotten or pushed out; it
 * is freed when nobody holds it and no answer of Redis is on its way to it.
 */
#include "keyring.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "clock.h"
#include "gateway.h"
#include "hash.h"
#include "mem.h"
#include "store.h"

enum {
	BELIEVE_MS = 2000,
	BELIEVE_UNKNOWN_MS = 1000,
	SLOTS_MAX = 8192, /* about 1 KiB each */
};

struct waiting {
	STAILQ_ENTRY(waiting) link;
	keyring_cb *cb;
	void *ctx;
};

struct key_slot {
	UT_hash_handle hh;
	struct keyring *ring;
	struct key_entry entry;
	int64_t believe_until_ms;
	struct err err; /* ERR_OK: entry.key is good */
	unsigned refs;
	bool reading;
	bool hashed;
	STAILQ_HEAD(waiting_list, waiting) waiting;
	char public_key[KEY_PUBLIC_MAX];
};

struct keyring {
	struct gateway *gw;
	struct key_slot *slots; /* in the order they were made */
};

struct keyring *
keyring_new(struct gateway *gw)
{
	struct keyring *k = xcalloc(1, sizeof(*k));

	k->gw = gw;
	return k;
}

static void
slot_release(struct key_slot *s)
{
	if (s->hashed || s->reading || s->refs > 0)
		return;
	key_done(&s->entry.key);
	free(s);
}

static void
slot_unhash(struct key_slot *s)
{
	if (s->hashed)
		HASH_DEL(s->ring->slots, s);
	s->hashed = false;
	slot_release(s);
}

void
keyring_forget(struct keyring *k, const char *public_key)
{
	struct key_slot *s = NULL, *next = NULL;

	if (public_key) {
		HASH_FIND_STR(k->slots, public_key, s);
		if (s)
			slot_unhash(s);
		return;
	}
	HASH_ITER (hh, k->slots, s, next) {
		slot_unhash(s);
	}
}

void
keyring_free(struct keyring *k)
{
	if (!k)
		return;
	keyring_forget(k, NULL);
	free(k);
}

void
keyring_unref(struct key_entry *entry)
{
	if (!entry)
		return;
	entry->slot->refs--;
	slot_release(entry->slot);
}

/* Room for one more: the oldest goes, whoever still holds it keeps it. */
static void
make_room(struct keyring *k)
{
	if (HASH_COUNT(k->slots) >= SLOTS_MAX)
		slot_unhash(k->slots);
}

static struct key_slot *
slot_new(struct keyring *k, const char *public_key)
{
	struct key_slot *s = xcalloc(1, sizeof(*s));

	make_room(k);
	s->ring = k;
	s->entry.slot = s;
	s->hashed = true;
	STAILQ_INIT(&s->waiting);
	(void)snprintf(s->public_key, sizeof(s->public_key), "%s", public_key);
	HASH_ADD_STR(k->slots, public_key, s);
	return s;
}

static void
hand_out(struct key_slot *s, keyring_cb *cb, void *ctx)
{
	if (s->err.code != ERR_OK) {
		cb(ctx, NULL, &s->err);
		return;
	}
	s->refs++;
	cb(ctx, &s->entry, NULL);
}

static void
take_record(struct key_slot *s, const redisReply *reply)
{
	struct key fresh;

	s->err.code = ERR_OK;
	if (key_from_reply(&fresh, s->public_key, reply, &s->ring->gw->master,
		&s->err) == 0) {
		key_done(&s->entry.key);
		s->entry.key = fresh;
		s->believe_until_ms = clock_mono_ms() + BELIEVE_MS;
		return;
	}
	if (s->err.code == ERR_NOT_FOUND)
		(void)err_set(
		    &s->err, ERR_KEY, 0, "the public key does not exist");
	else
		s->err.code = ERR_SYS; /* our record, not the client's fault */
	s->believe_until_ms = clock_mono_ms() + BELIEVE_UNKNOWN_MS;
}

static void
on_record(void *ctx, const redisReply *reply, const struct err *err)
{
	struct key_slot *s = ctx;

	if (err) {
		s->err = *err;
		s->believe_until_ms = 0;
	} else {
		take_record(s, reply);
	}
	while (!STAILQ_EMPTY(&s->waiting)) {
		struct waiting *w = STAILQ_FIRST(&s->waiting);

		STAILQ_REMOVE_HEAD(&s->waiting, link);
		hand_out(s, w->cb, w->ctx);
		free(w);
	}
	/* Only now: until here a callback could not free the slot. */
	s->reading = false;
	slot_release(s);
}

static void
wait_for_record(struct key_slot *s, keyring_cb *cb, void *ctx)
{
	struct waiting *w = xcalloc(1, sizeof(*w));

	w->cb = cb;
	w->ctx = ctx;
	STAILQ_INSERT_TAIL(&s->waiting, w, link);
	if (s->reading)
		return;
	s->reading = true;
	store_command(s->ring->gw->store, on_record, s, "HGETALL %skey:%s",
	    store_prefix(s->ring->gw->store), s->public_key);
}

void
keyring_get(
    struct keyring *k, const char *public_key, keyring_cb *cb, void *ctx)
{
	struct key_slot *s;

	HASH_FIND_STR(k->slots, public_key, s);
	if (!s)
		s = slot_new(k, public_key);
	if (!s->reading && clock_mono_ms() < s->believe_until_ms)
		hand_out(s, cb, ctx);
	else
		wait_for_record(s, cb, ctx);
}
