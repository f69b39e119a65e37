#pragma once
/*
 * lead.h - does this scheduler lead?  The decision only: no clock, no Redis.
 *
 * The lock in Redis lives for lock_ms after each answer that granted it.  We
 * count from the moment we asked, which is earlier, so we stop believing before
 * Redis lets the other one in.
 */
#include <stdbool.h>
#include <stdint.h>

struct lead {
	int64_t lock_ms;
	int64_t until_ms; /* monotonic; the lock is ours before this */
	int64_t asked_ms; /* monotonic; when the call under way was made */
	bool asking;
	bool leading;
};

enum lead_change { LEAD_SAME, LEAD_GAINED, LEAD_LOST };

void lead_init(struct lead *l, int64_t lock_ms);
/* How often to ask: two answers may be lost before the lock is. */
int64_t lead_period_ms(const struct lead *l);

/* False while the last question is not answered. */
bool lead_ask(struct lead *l, int64_t now_ms);
/* Redis said whether the lock is ours. */
enum lead_change lead_answer(struct lead *l, bool granted);
/* The question failed: the lock stays ours until it runs out. */
void lead_no_answer(struct lead *l);
/* Looks at the time. */
enum lead_change lead_check(struct lead *l, int64_t now_ms);
/* Redis is away, or a script said that another one leads. */
enum lead_change lead_step_down(struct lead *l);
