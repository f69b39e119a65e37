#pragma once
/*
 * waiters.h - who waits for the end of which job.
 *
 * A waiter is registered before Redis is asked to tell us, so no message can
 * come too early.  It is a hash entry, and once armed a timer and a watch over
 * the client's connection: ten thousand of them cost no thread.
 */
#include <stddef.h>
#include <stdint.h>

struct gateway;
struct job_record;
struct waiters;
struct waiter;

enum wait_event {
	WAIT_LOOK,    /* the job ended, or messages were lost: read it */
	WAIT_EXPIRED, /* its time is over, or we shut down: answer now */
	WAIT_GONE,    /* the client closed its side of the connection */
};

/*
 * May free its own waiter, no other one.  rec comes with WAIT_LOOK when the job
 * is in the news of its end: whose it is, is still to be checked.
 */
typedef void
waiter_cb(void *ctx, enum wait_event event, const struct job_record *rec);

struct waiters *waiters_new(struct gateway *gw);
void waiters_free(struct waiters *ws); /* none may be left */

struct waiter *
waiter_new(struct waiters *ws, const char *job, waiter_cb *cb, void *ctx);
void waiter_free(struct waiter *w);
/*
 * From now on WAIT_EXPIRED comes after hold_ms.  fd is the client's connection,
 * borrowed; WAIT_GONE is reported when its peer is gone, but not at once.
 */
void waiter_arm(struct waiter *w, int64_t hold_ms, int fd);

/* The scripts say that one ended: the message of n bytes. */
void waiters_job_ended(struct waiters *ws, const char *message, size_t n);
/* Messages may have been lost: WAIT_LOOK to all. */
void waiters_look(struct waiters *ws);
/* WAIT_EXPIRED to all that are armed, and at once to all that will be. */
void waiters_expire(struct waiters *ws);
