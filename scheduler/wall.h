#pragma once
/*
 * wall.h - what the clock of Redis should show.
 *
 * Every time in the farm's books is of that clock, and a person or a daemon may
 * set it.  Ours, which only goes on, tells: Redis's time is learnt with each
 * answer, and the next repair says what it should be by now.  A follower learns
 * as well, so it notices what happened while the lock changed hands.
 */
#include <stdbool.h>
#include <stdint.h>

struct wall {
	int64_t ahead_ms; /* of our monotonic clock */
	bool known;
};

/* Redis said its time just now. */
void wall_learn(struct wall *w, int64_t redis_ms, int64_t mono_ms);
/* -1 before anything was learnt. */
int64_t wall_expect(const struct wall *w, int64_t mono_ms);
