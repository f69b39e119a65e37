#include "chores.h"

#include <stdio.h>
#include <string.h>

#include "store.h"

void
chores_init(struct chores *c, int64_t tick_ms, long batch)
{
	*c = (struct chores){
		.tick_ms = tick_ms, .batch = batch, .cursor = "0"
	};
}

void
chores_restart(struct chores *c, int64_t now_ms)
{
	c->repair_due_ms = now_ms;
	c->sweep_due_ms = now_ms + CHORES_SWEEP_MS;
	c->sessions_due_ms = now_ms + CHORES_SESSIONS_FIRST_MS;
	(void)snprintf(c->cursor, sizeof(c->cursor), "0");
}

enum chore
chores_next(struct chores *c, int64_t now_ms)
{
	if (c->under_way != CHORE_NONE)
		return CHORE_NONE;
	if (now_ms >= c->repair_due_ms)
		c->under_way = CHORE_REPAIR;
	else if (now_ms >= c->sweep_due_ms)
		c->under_way = CHORE_SWEEP;
	else if (now_ms >= c->sessions_due_ms)
		c->under_way = CHORE_SESSIONS;
	return c->under_way;
}

static void
repair_done(struct chores *c, const redisReply *reply, int64_t now_ms,
    struct chore_result *ret)
{
	ret->expired = store_reply_int(store_reply_at(reply, 0), 0);
	ret->promoted = store_reply_int(store_reply_at(reply, 1), 0);
	ret->given_up = store_reply_int(store_reply_at(reply, 2), 0);
	ret->redis_ms = store_reply_int(store_reply_at(reply, 3), 0);
	ret->set_by_ms = store_reply_int(store_reply_at(reply, 4), 0);
	ret->repaired = ret->expired + ret->promoted + ret->given_up > 0;
	c->repair_due_ms = now_ms + c->tick_ms;
	if (ret->expired >= c->batch || ret->promoted >= c->batch ||
	    ret->given_up >= c->batch)
		c->repair_due_ms = now_ms;
}

static void
sweep_done(struct chores *c, const redisReply *reply, int64_t now_ms,
    struct chore_result *ret)
{
	const char *cursor = store_reply_str(store_reply_at(reply, 0), "0");

	ret->slots_freed = store_reply_int(store_reply_at(reply, 1), 0);
	ret->repaired = ret->slots_freed > 0;
	c->sweep_due_ms = now_ms + CHORES_SWEEP_MS;
	/* Too much for one call: the same page again. */
	if (store_reply_int(store_reply_at(reply, 2), 0) > 0) {
		c->sweep_due_ms = now_ms;
		return;
	}
	if (strlen(cursor) < sizeof(c->cursor))
		(void)snprintf(c->cursor, sizeof(c->cursor), "%s", cursor);
}

static void
sessions_done(struct chores *c, const redisReply *reply, int64_t now_ms,
    struct chore_result *ret)
{
	ret->sessions_lost = store_reply_int(store_reply_at(reply, 0), 0);
	ret->repaired = ret->sessions_lost > 0;
	c->sessions_due_ms = ret->repaired ? now_ms
					   : now_ms + CHORES_SESSIONS_MS;
}

struct chore_result
chores_done(struct chores *c, const redisReply *reply, int64_t now_ms)
{
	struct chore_result ret = { .leads = reply &&
					     reply->type == REDIS_REPLY_ARRAY };
	enum chore was = c->under_way;

	c->under_way = CHORE_NONE;
	if (!ret.leads)
		return ret;
	if (was == CHORE_REPAIR)
		repair_done(c, reply, now_ms, &ret);
	else if (was == CHORE_SWEEP)
		sweep_done(c, reply, now_ms, &ret);
	else
		sessions_done(c, reply, now_ms, &ret);
	return ret;
}

void
chores_failed(struct chores *c, int64_t now_ms)
{
	c->under_way = CHORE_NONE;
	c->repair_due_ms = now_ms + c->tick_ms;
	c->sweep_due_ms = now_ms + CHORES_SWEEP_MS;
	c->sessions_due_ms = now_ms + CHORES_SESSIONS_MS;
}

int64_t
chores_pause_ms(const struct chores *c, int64_t now_ms)
{
	int64_t due = c->repair_due_ms < c->sweep_due_ms ? c->repair_due_ms
							 : c->sweep_due_ms;

	if (c->sessions_due_ms < due)
		due = c->sessions_due_ms;
	return due > now_ms ? due - now_ms : 0;
}
