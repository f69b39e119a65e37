#include "waiters.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>
#include <uv.h>

#include "gateway.h"
#include "hash.h"
#include "id.h"
#include "mem.h"
#include "view.h"

enum { UNWATCHED_MS = 50 };

/* A job that somebody waits for. */
struct awaited {
	UT_hash_handle hh;
	TAILQ_HEAD(waiter_list, waiter) waiters;
	char job[ID_MAX];
};

struct waiter {
	TAILQ_ENTRY(waiter) link;
	struct waiters *ws;
	struct awaited *awaited;
	waiter_cb *cb;
	void *ctx;
	int64_t hold_ms; /* that are left when the timer fires */
	uv_timer_t timer;
	uv_poll_t watch;
	int client;       /* its connection, borrowed */
	int fd;           /* our duplicate of it; -1: no watch */
	unsigned handles; /* to be closed before the memory goes */
	bool armed;
};

struct waiters {
	struct gateway *gw;
	struct awaited *jobs;
	bool expired; /* we shut down */
};

struct waiters *
waiters_new(struct gateway *gw)
{
	struct waiters *ws = xcalloc(1, sizeof(*ws));

	ws->gw = gw;
	return ws;
}

void
waiters_free(struct waiters *ws)
{
	free(ws);
}

static struct awaited *
awaited_get(struct waiters *ws, const char *job)
{
	struct awaited *a;

	HASH_FIND_STR(ws->jobs, job, a);
	if (a)
		return a;
	a = xcalloc(1, sizeof(*a));
	TAILQ_INIT(&a->waiters);
	(void)snprintf(a->job, sizeof(a->job), "%s", job);
	HASH_ADD_STR(ws->jobs, job, a);
	return a;
}

struct waiter *
waiter_new(struct waiters *ws, const char *job, waiter_cb *cb, void *ctx)
{
	struct waiter *w = xcalloc(1, sizeof(*w));

	w->ws = ws;
	w->cb = cb;
	w->ctx = ctx;
	w->fd = -1;
	w->awaited = awaited_get(ws, job);
	TAILQ_INSERT_TAIL(&w->awaited->waiters, w, link);
	return w;
}

static void
on_closed(uv_handle_t *h)
{
	struct waiter *w = h->data;

	if (--w->handles > 0)
		return;
	if (w->fd >= 0)
		(void)close(w->fd);
	free(w);
}

void
waiter_free(struct waiter *w)
{
	if (!w)
		return;
	TAILQ_REMOVE(&w->awaited->waiters, w, link);
	if (TAILQ_EMPTY(&w->awaited->waiters)) {
		HASH_DEL(w->ws->jobs, w->awaited);
		free(w->awaited);
	}
	if (!w->armed) {
		free(w);
		return;
	}
	uv_close((uv_handle_t *)&w->timer, on_closed);
	if (w->fd >= 0)
		uv_close((uv_handle_t *)&w->watch, on_closed);
}

static void
on_watch(uv_poll_t *p, int status, int events)
{
	struct waiter *w = p->data;

	(void)status;
	(void)events;
	(void)uv_poll_stop(p);
	w->cb(w->ctx, WAIT_GONE, NULL);
}

/*
 * libmicrohttpd does not look at a suspended connection.  The watch is on a
 * duplicate, so that neither closes the other's descriptor under it.
 */
static void
watch_start(struct waiter *w)
{
	w->fd = fcntl(w->client, F_DUPFD_CLOEXEC, 3);
	if (w->fd < 0)
		return;
	if (uv_poll_init(&w->ws->gw->loop, &w->watch, w->fd) != 0) {
		(void)close(w->fd);
		w->fd = -1;
		return;
	}
	w->watch.data = w;
	w->handles++;
	(void)uv_poll_start(&w->watch, UV_DISCONNECT, on_watch);
}

static void
on_timer(uv_timer_t *t)
{
	struct waiter *w = t->data;

	if (w->hold_ms == 0) {
		w->cb(w->ctx, WAIT_EXPIRED, NULL);
		return;
	}
	watch_start(w);
	(void)uv_timer_start(t, on_timer, (uint64_t)w->hold_ms, 0);
	w->hold_ms = 0;
}

/*
 * Most jobs end soon, and a watch costs as many system calls as the rest of the
 * request: it starts with the second part of the time.
 */
void
waiter_arm(struct waiter *w, int64_t hold_ms, int fd)
{
	int64_t first_ms = hold_ms < UNWATCHED_MS ? hold_ms : UNWATCHED_MS;

	if (w->ws->expired)
		first_ms = hold_ms = 0;
	w->armed = true;
	w->handles = 1;
	w->client = fd;
	w->hold_ms = hold_ms - first_ms;
	(void)uv_timer_init(&w->ws->gw->loop, &w->timer);
	w->timer.data = w;
	(void)uv_timer_start(&w->timer, on_timer, (uint64_t)first_ms, 0);
}

static void
tell_awaited(
    struct awaited *a, enum wait_event event, const struct job_record *rec)
{
	struct waiter *w = TAILQ_FIRST(&a->waiters);

	while (w) {
		/* The callback may free w, and a with the last of them. */
		struct waiter *next = TAILQ_NEXT(w, link);

		if (event == WAIT_LOOK || w->armed)
			w->cb(w->ctx, event, rec);
		w = next;
	}
}

static void
tell_all(struct waiters *ws, enum wait_event event)
{
	struct awaited *a = NULL, *next = NULL;

	HASH_ITER (hh, ws->jobs, a, next) {
		tell_awaited(a, event, NULL);
	}
}

void
waiters_job_ended(struct waiters *ws, const char *message, size_t n)
{
	struct job_record rec;
	struct awaited *a;

	HASH_FIND_STR(ws->jobs, message, a); /* it begins with the id */
	if (!a)
		return;
	if (!job_record_from_message(&rec, message, n)) {
		tell_awaited(a, WAIT_LOOK, NULL);
		return;
	}
	tell_awaited(a, WAIT_LOOK, &rec);
	job_record_done(&rec);
}

void
waiters_look(struct waiters *ws)
{
	tell_all(ws, WAIT_LOOK);
}

void
waiters_expire(struct waiters *ws)
{
	ws->expired = true;
	tell_all(ws, WAIT_EXPIRED);
}
