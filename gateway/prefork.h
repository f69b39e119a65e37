#pragma once
/*
 * prefork.h - one gateway as several processes, each with a loop of its own.
 *
 * A parent opens the address, keeps the processes running and adds nothing
 * else: it reads no byte of a client and has no connection to Redis.  Each
 * child is a gateway as if there were no other: own id, own connections to
 * Redis, own counters (metrics.h, in memory that all of them see).
 *
 * The kernel spreads connections over as many listening sockets of the same
 * address (SO_REUSEPORT).  The parent holds all of them, so connections that
 * wait for a process that dies are served by the next one in its place.
 */
#include "err.h"
#include "metrics.h"
#include "settings.h"

enum { PREFORK_MAX = 64 };

struct prefork {
	unsigned n;                 /* processes, 1 to PREFORK_MAX */
	int listeners[PREFORK_MAX]; /* owned; -1: closed */
	struct metrics *metrics;    /* n of them, shared by all */
};

/*
 * Binds and listens, and makes the shared memory.  `gateway.processes` of 0 is
 * one process a core.  ERR_INVALID: the address is wrong; else the system's
 * error, as when somebody else has the port.
 */
int
prefork_open(struct prefork *p, const struct settings *set, struct err *err);
void prefork_done(struct prefork *p);

struct prefork_hooks {
	void *ctx;
	void (*reload)(void *ctx); /* SIGHUP, in the parent */
};

/*
 * With one process returns 0 and has done nothing.  Else returns in each child
 * its number, and in the parent -1 when all children have ended, with the
 * program's exit status.  A child has its own listener only, and signals are
 * held until it has its handlers and unblocks them.
 *
 * A child that is killed is started again, after a second if it lived no
 * longer.  One that ends by itself with an error ends the others, too: it has
 * said why, and the next would say the same.  The parent's death is SIGTERM to
 * its children.
 */
int prefork_run(
    struct prefork *p, const struct prefork_hooks *hooks, int *ret_status);

/* The sum over all processes. */
void prefork_metrics(const struct prefork *p, struct metrics *ret_sum);
