/*
 * slots.c - the sandboxes of one worker process.
 *
 * The master makes them; here they lie ready, each watched so that one that
 * dies is replaced, until a task takes one.  A used sandbox goes back to be
 * destroyed, never to another task.  The number asked for keeps `warm` ready
 * beside what hungry tasks need.
 */
#include "mem.h"
#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "fault.h"
#include "log.h"
#include "msg.h"
#include "sandbox.h"
#include "task.h"
#include "wire.h"

enum { SEND_WAIT_MS = 1000, NO_SLOT_PAUSE_MS = 2000 };

/* A master that does not read is hung: without it we are of no use. */
static void
tell(uint16_t type, const struct msg_out *o)
{
	struct pollfd p = { .fd = WIRE_FD, .events = POLLOUT };
	struct err err;

	while (msg_send(WIRE_FD, type, o, NULL, 0, &err) < 0)
		if (err.sys != EAGAIN || poll(&p, 1, SEND_WAIT_MS) <= 0) {
			log_err(NULL, "the master does not listen, ending");
			exit(1);
		}
}

static void
tell_number(uint16_t type, uint32_t n)
{
	unsigned char body[8];
	struct msg_out o = { .data = body };

	msg_put_u32(&o, n);
	tell(type, &o);
}

static void
tell_text(uint16_t type, const char *text)
{
	auto_free unsigned char *body = xmalloc(MSG_MAX);
	struct msg_out o = { .data = body };

	msg_put_str(&o, text);
	tell(type, &o);
}

void
slots_ask(struct worker *w)
{
	size_t want = w->n_hungry + (w->draining ? 0 : (size_t)w->warm);
	size_t have = w->n_ready + w->asked;

	if (want <= have)
		return;
	tell_number(WIRE_WANT, (uint32_t)(want - have));
	w->asked += want - have;
}

/* ---- one sandbox ---- */

static void
on_slot_closed(uv_handle_t *h)
{
	struct slot *s = h->data;

	box_free(s->box);
	free(s);
}

static void
slot_end(struct slot *s)
{
	if (uv_is_closing((uv_handle_t *)&s->poll))
		return;
	if (!s->task) {
		TAILQ_REMOVE(&s->worker->ready, s, link);
		s->worker->n_ready--;
	}
	tell_number(WIRE_DONE, s->serial);
	uv_close((uv_handle_t *)&s->poll, on_slot_closed);
}

static void
on_slot_readable(uv_poll_t *p, int status, int events)
{
	struct slot *s = p->data;

	(void)status;
	(void)events;
	if (s->task) {
		task_on_box(s->task);
		return;
	}
	/* A ready sandbox has nothing to say but that it is dead. */
	log_warn(NULL, "a ready sandbox died|serial=%u", s->serial);
	slot_end(s);
	slots_ask(s->worker);
}

static void
slot_add(struct worker *w, const struct sandbox_grant *g)
{
	struct slot *s = xcalloc(1, sizeof(*s));
	struct task *t = TAILQ_FIRST(&w->hungry);
	struct err err;

	s->box = box_adopt(g, &err);
	if (!s->box) {
		log_err(NULL, "%s", err.msg);
		free(s);
		tell_number(WIRE_DONE, g->serial);
		slots_ask(w);
		return;
	}
	s->worker = w;
	s->serial = g->serial;
	(void)uv_poll_init(&w->loop, &s->poll, box_fd(s->box));
	s->poll.data = s;
	(void)uv_poll_start(&s->poll, UV_READABLE, on_slot_readable);
	if (!t) {
		TAILQ_INSERT_TAIL(&w->ready, s, link);
		w->n_ready++;
		return;
	}
	slots_forget(w, t);
	task_feed(t, s);
}

void
slot_kill(struct slot *s)
{
	if (!box_kill(s->box))
		tell_number(WIRE_KILL, s->serial);
}

void
slot_mute(struct slot *s)
{
	(void)uv_poll_stop(&s->poll);
}

/* ---- for tasks ---- */

void
slots_get(struct worker *w, struct task *t)
{
	struct slot *s = TAILQ_FIRST(&w->ready);

	if (s) {
		TAILQ_REMOVE(&w->ready, s, link);
		w->n_ready--;
		task_feed(t, s);
	} else {
		FAULT(worker_hungry);
		TAILQ_INSERT_TAIL(&w->hungry, t, hungry);
		w->n_hungry++;
	}
	slots_ask(w);
}

void
slots_forget(struct worker *w, struct task *t)
{
	TAILQ_REMOVE(&w->hungry, t, hungry);
	w->n_hungry--;
}

void
slots_put(struct worker *w, struct slot *s)
{
	slot_end(s);
	slots_ask(w);
}

void
slots_renew(struct worker *w)
{
	struct slot *s, *next;

	w->stale = w->asked;
	for (s = TAILQ_FIRST(&w->ready); s; s = next) {
		next = TAILQ_NEXT(s, link);
		slot_end(s);
	}
	slots_ask(w);
}

/* ---- what the master says ---- */

static void
on_slot(struct worker *w, struct msg *m, const struct wire *said)
{
	struct sandbox_grant g = {
		.n_fds = m->n_fds, .serial = said->number, .mask = said->mask
	};

	if (m->n_fds > SANDBOX_FDS_MAX)
		return;
	for (size_t i = 0; i < m->n_fds; i++)
		g.fds[i] = steal_fd(&m->fds[i]);
	if (w->asked > 0)
		w->asked--;
	if (w->stale > 0) {
		w->stale--;
		for (size_t i = 0; i < g.n_fds; i++)
			(void)close(g.fds[i]);
		tell_number(WIRE_DONE, g.serial);
		slots_ask(w);
		return;
	}
	slot_add(w, &g);
}

/* The node cannot make sandboxes: what waits is better off elsewhere. */
static void
on_no_slot(struct worker *w, const char *why)
{
	if (w->asked > 0)
		w->asked--;
	if (w->stale > 0)
		w->stale--;
	log_err(NULL, "no sandbox: %s", why);
	fetch_pause(w, NO_SLOT_PAUSE_MS);
}

static void
on_wire(uv_poll_t *p, int status, int events)
{
	struct worker *w = p->data;
	auto_free struct msg *m = xmalloc(sizeof(*m));
	struct wire said;
	struct err err;
	int r;

	(void)status;
	(void)events;
	while ((r = msg_recv(WIRE_FD, m, &err)) > 0) {
		if (!wire_read(m, &said))
			log_err(NULL, "the master says nothing we know");
		else if (said.type == WIRE_SLOT)
			on_slot(w, m, &said);
		else if (said.type == WIRE_NO_SLOT)
			on_no_slot(w, said.text);
		else if (said.type == WIRE_CAN)
			worker_set_can(w, said.text);
		msg_close_fds(m);
	}
	if (r == 0 || err.sys != EAGAIN) {
		/* Our sandboxes die with us; the leases do the rest. */
		log_err(NULL, "the master is gone, ending");
		exit(1);
	}
}

void
slots_start(struct worker *w)
{
	TAILQ_INIT(&w->ready);
	TAILQ_INIT(&w->hungry);
	(void)uv_poll_init(&w->loop, &w->wire, WIRE_FD);
	w->wire.data = w;
	(void)uv_poll_start(&w->wire, UV_READABLE, on_wire);
	slots_ask(w);
}

void
slots_tell_can(struct worker *w, const char *names)
{
	(void)w;
	tell_text(WIRE_CAN, names);
}

void
slots_tell_abandoned(struct worker *w, const char *instance)
{
	(void)w;
	tell_text(WIRE_ABANDONED, instance);
}
