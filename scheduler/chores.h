#pragma once
/*
 * chores.h - what the leader does, and when.  Decisions only: no clock, no
 * Redis; scheduler/main.c makes the calls and hands in the answers.
 *
 * One chore is under way at a time.  A repair that met its limit, or a sweep
 * that found a list too long for one call, is followed by another at once, so a
 * node that dies with ten thousand leases is mended in a moment and not over
 * minutes of ticks.
 */
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>

enum chore { CHORE_NONE, CHORE_REPAIR, CHORE_SWEEP, CHORE_SESSIONS };

enum {
	CHORES_SWEEP_MS = 1000,
	CHORES_SESSIONS_MS = 1000,
	/* For nodes to say again that they live, after Redis was away. */
	CHORES_SESSIONS_FIRST_MS = 10000,
	CHORES_CURSOR_MAX = 24
};

struct chores {
	int64_t tick_ms;
	long batch;
	int64_t repair_due_ms; /* monotonic, like sweep_due_ms */
	int64_t sweep_due_ms, sessions_due_ms;
	enum chore under_way;
	char cursor[CHORES_CURSOR_MAX]; /* where sweep goes on */
};

/* What one answer of repair or sweep reports. */
struct chore_result {
	bool leads;    /* false: the script found another leader */
	bool repaired; /* something was, so it is worth a line in the log */
	long long expired, promoted, given_up; /* repair */
	long long redis_ms;    /* repair: its clock; 0: not told */
	long long set_by_ms;   /* repair: somebody set that clock */
	long long slots_freed; /* sweep */
	long long sessions_lost;
};

void chores_init(struct chores *c, int64_t tick_ms, long batch);
/* A new leader begins now, with the first page. */
void chores_restart(struct chores *c, int64_t now_ms);
/*
 * What to start now; it is under way until chores_done() or chores_failed().
 * CHORE_NONE while another one is, or when nothing is due.
 */
enum chore chores_next(struct chores *c, int64_t now_ms);
/* reply may be anything that Redis sent; what is not understood counts as 0. */
struct chore_result
chores_done(struct chores *c, const redisReply *reply, int64_t now_ms);
void chores_failed(struct chores *c, int64_t now_ms);
/* Milliseconds until chores_next() may have something to do. */
int64_t chores_pause_ms(const struct chores *c, int64_t now_ms);
