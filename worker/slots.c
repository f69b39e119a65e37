/*
 * slots.c - the sandboxes of one worker process.
 *
 * The master makes them; here they lie ready on a shelf for their kind, each
 * watched so that one that dies is replaced, until a task takes one.  A used
 * sandbox goes back to be destroyed, never to another task.
 *
 * The plain kind keeps `warm` ready and serves every language.  A kind of its
 * own is for a language whose interpreter is up in them (wire.h): there as many
 * are kept ready as were in use at the same time of late.  Its first job, and
 * one with words of its own for the command or the environment, which the
 * interpreter has read already, takes a plain one.
 *
 * An interpreter that is forked is cheap, and a job waits for it when none is
 * ready.  One that was started ahead has cost a whole start and has memory of
 * its own: no more than worker.ahead lie ready, and a job that finds none
 * starts afresh at once.
 */
#include "mem.h"
#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "fault.h"
#include "log.h"
#include "msg.h"
#include "sandbox.h"
#include "task.h"
#include "wire.h"

enum {
	SEND_WAIT_MS = 1000,
	NO_SLOT_PAUSE_MS = 2000,
	UNUSED_MS = 300000, /* a kind that nobody asks for is let go */
	RESTED_MS = 10000,  /* one started ahead makes room after this */
	RETRY_MS = 30000,   /* after a kind could not be made */
};

/* The sandboxes of one kind, and the tasks that wait for one. */
struct shelf {
	LIST_ENTRY(shelf) link;
	char *kind; /* owned; "" is the plain one */
	TAILQ_HEAD(slot_queue, slot) ready;
	TAILQ_HEAD(task_queue, task) hungry;
	size_t n_ready, n_hungry;
	size_t busy, peak; /* in use now; at most, of late */
	size_t asked;      /* for and not yet here */
	size_t stale;      /* of those: asked for before a reload */
	bool works;        /* the master made one of this kind */
	bool ahead;        /* each has an interpreter of its own */
	bool always;       /* at least one is kept ready */
	int64_t used_ms;   /* when a task last wanted one; 0: never */
	int64_t retry_ms;  /* not before this is another asked for */
};

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
tell_want(const char *kind, size_t n)
{
	unsigned char body[512];
	struct msg_out o = { .data = body };

	msg_put_u32(&o, (uint32_t)n);
	msg_put_str(&o, kind);
	tell(WIRE_WANT, &o);
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

/* ---- shelves ---- */

static bool
is_plain(const struct shelf *sh)
{
	return *sh->kind == '\0';
}

static struct shelf *
shelf_new(struct worker *w, const char *kind)
{
	struct shelf *sh = xcalloc(1, sizeof(*sh));

	sh->kind = xstrdup(kind);
	TAILQ_INIT(&sh->ready);
	TAILQ_INIT(&sh->hungry);
	LIST_INSERT_HEAD(&w->shelves, sh, link);
	return sh;
}

static struct shelf *
shelf_find(const struct worker *w, const char *kind)
{
	struct shelf *sh;

	LIST_FOREACH (sh, &w->shelves, link)
		if (strcmp(sh->kind, kind) == 0)
			return sh;
	return NULL;
}

/* How many are to lie ready. */
static size_t
spare(const struct worker *w, const struct shelf *sh)
{
	bool wanted = sh->always ||
		      (sh->used_ms > 0 &&
			  clock_mono_ms() - sh->used_ms < UNUSED_MS);

	if (w->draining)
		return 0;
	if (is_plain(sh))
		return (size_t)w->warm;
	if (!wanted || clock_mono_ms() < sh->retry_ms)
		return 0;
	return sh->peak > 1 ? sh->peak : 1;
}

/* How many more may be started ahead of their jobs. */
static size_t
room_ahead(const struct worker *w)
{
	size_t room = (size_t)w->settings.worker_ahead, used = 0;
	const struct shelf *sh;

	LIST_FOREACH (sh, &w->shelves, link)
		if (sh->ahead)
			used += sh->n_ready + sh->asked;
	return used < room ? room - used : 0;
}

static void slot_end(struct slot *s);

/*
 * For the first of a language: one of that which was not wanted for longest
 * goes, unless that is of late; each costs a start.
 */
static void
make_room_ahead(const struct worker *w, const struct shelf *sh)
{
	struct shelf *other, *oldest = NULL;

	LIST_FOREACH (other, &w->shelves, link)
		if (other->ahead && other->n_ready > 0 &&
		    (!oldest || other->used_ms < oldest->used_ms))
			oldest = other;
	if (oldest && sh->used_ms - oldest->used_ms > RESTED_MS)
		slot_end(TAILQ_LAST(&oldest->ready, slot_queue));
}

static void
shelf_ask(const struct worker *w, struct shelf *sh)
{
	size_t want = sh->n_hungry + spare(w, sh);
	size_t have = sh->n_ready + sh->asked, n;

	if (want <= have)
		return;
	n = want - have;
	if (sh->ahead && have == 0 && room_ahead(w) == 0)
		make_room_ahead(w, sh);
	if (sh->ahead && n > sh->n_hungry + room_ahead(w))
		n = sh->n_hungry + room_ahead(w);
	if (n == 0)
		return;
	tell_want(sh->kind, n);
	sh->asked += n;
}

void
slots_ask(struct worker *w)
{
	struct shelf *sh;

	LIST_FOREACH (sh, &w->shelves, link)
		shelf_ask(w, sh);
}

struct slot_counts
slots_count(const struct worker *w)
{
	struct slot_counts n = { 0 };
	const struct shelf *sh;

	LIST_FOREACH (sh, &w->shelves, link) {
		n.ready += sh->n_ready;
		n.asked += sh->asked;
		n.hungry += sh->n_hungry;
	}
	return n;
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
	if (s->task) {
		s->busy->busy--;
	} else {
		TAILQ_REMOVE(&s->shelf->ready, s, link);
		s->shelf->n_ready--;
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
feed(struct slot *s, struct task *t)
{
	struct shelf *sh = t->own ? t->own : s->shelf;

	s->held = !is_plain(s->shelf);
	s->busy = sh;
	if (++sh->busy > sh->peak)
		sh->peak = sh->busy;
	task_feed(t, s);
}

static void
slot_add(struct worker *w, struct shelf *sh, const struct sandbox_grant *g)
{
	struct slot *s = xcalloc(1, sizeof(*s));
	struct task *t = TAILQ_FIRST(&sh->hungry);
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
	s->shelf = sh;
	s->serial = g->serial;
	(void)uv_poll_init(&w->loop, &s->poll, box_fd(s->box));
	s->poll.data = s;
	(void)uv_poll_start(&s->poll, UV_READABLE, on_slot_readable);
	if (t) {
		slots_forget(t);
		feed(s, t);
		return;
	}
	TAILQ_INSERT_TAIL(&sh->ready, s, link);
	sh->n_ready++;
}

void
slot_kill(struct slot *s)
{
	tell_number(WIRE_KILL, s->serial);
}

void
slot_mute(struct slot *s)
{
	(void)uv_poll_stop(&s->poll);
}

/* ---- for tasks ---- */

static bool
has_shelf(const struct lang *l)
{
	return (l->fork && l->compile.n == 0) || l->ahead.n > 0;
}

static struct shelf *
shelf_for(struct worker *w, const struct lang *l)
{
	struct shelf *sh = shelf_find(w, l->name);

	if (!sh)
		sh = shelf_new(w, l->name);
	sh->ahead = l->ahead.n > 0;
	return sh;
}

/* Where the interpreter is that the task can go on in; NULL: nowhere. */
static struct shelf *
shelf_of(struct worker *w, const struct task *t)
{
	struct shelf *sh;

	if (!has_shelf(t->lang) || !*t->id || t->spec->n_args > 0 ||
	    t->spec->n_env > 0)
		return NULL;
	sh = shelf_for(w, t->lang);
	sh->used_ms = clock_mono_ms();
	return sh;
}

static void
take_from(struct shelf *sh, struct task *t)
{
	struct slot *s = TAILQ_FIRST(&sh->ready);

	if (s) {
		TAILQ_REMOVE(&sh->ready, s, link);
		sh->n_ready--;
		feed(s, t);
		return;
	}
	FAULT(worker_hungry);
	t->shelf = sh;
	TAILQ_INSERT_TAIL(&sh->hungry, t, hungry);
	sh->n_hungry++;
}

void
slots_get(struct worker *w, struct task *t)
{
	struct shelf *sh = shelf_of(w, t);
	bool there = sh && (sh->n_ready > 0 || (sh->works && !sh->ahead));

	t->own = sh;
	take_from(there ? sh : w->plain, t);
	slots_ask(w);
}

void
slots_forget(struct task *t)
{
	TAILQ_REMOVE(&t->shelf->hungry, t, hungry);
	t->shelf->n_hungry--;
	t->shelf = NULL;
}

void
slots_give_up(struct worker *w)
{
	struct task *t, *next;

	for (t = TAILQ_FIRST(&w->plain->hungry); t; t = next) {
		next = TAILQ_NEXT(t, hungry);
		if (!*t->id)
			continue; /* a canary waits for better times */
		t->given_back = true;
		task_kill(t, REASON_cancelled);
	}
}

/*
 * More than is needed is let go: of a kind half of it at a time, of plain ones
 * what was asked for by tasks that then ended without.
 */
void
slots_look(struct worker *w)
{
	struct shelf *sh;

	LIST_FOREACH (sh, &w->shelves, link) {
		size_t most = spare(w, sh) * (is_plain(sh) ? 1 : 2);

		sh->peak -= (sh->peak - sh->busy) / 2;
		while (sh->n_ready > most)
			slot_end(TAILQ_LAST(&sh->ready, slot_queue));
	}
	slots_ask(w);
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
	struct shelf *sh;

	LIST_FOREACH (sh, &w->shelves, link) {
		sh->stale = sh->asked;
		sh->works = false;
		sh->retry_ms = 0;
		for (s = TAILQ_FIRST(&sh->ready); s; s = next) {
			next = TAILQ_NEXT(s, link);
			slot_end(s);
		}
	}
	slots_ask(w);
}

/* ---- what the master says ---- */

static void
on_slot(struct worker *w, struct msg *m, const struct wire *said)
{
	struct sandbox_grant g = {
		.n_fds = m->n_fds,
		.serial = said->number,
		.mask = said->mask,
		.others = said->others,
	};
	struct shelf *sh = shelf_find(w, said->kind);

	if (m->n_fds > SANDBOX_FDS_MAX || !sh)
		return;
	for (size_t i = 0; i < m->n_fds; i++)
		g.fds[i] = steal_fd(&m->fds[i]);
	if (sh->asked > 0)
		sh->asked--;
	if (sh->stale > 0) {
		sh->stale--;
		for (size_t i = 0; i < g.n_fds; i++)
			(void)close(g.fds[i]);
		tell_number(WIRE_DONE, g.serial);
		slots_ask(w);
		return;
	}
	sh->works = true;
	slot_add(w, sh, &g);
}

/* Then its jobs start afresh, as those of any other language. */
static void
kind_failed(struct worker *w, struct shelf *sh)
{
	struct task *t;

	sh->works = false;
	sh->retry_ms = clock_mono_ms() + RETRY_MS;
	while ((t = TAILQ_FIRST(&sh->hungry))) {
		slots_forget(t);
		take_from(w->plain, t);
	}
	slots_ask(w);
}

/* Without plain ones the node is of no use: what waits is better off elsewhere.
 */
static void
on_no_slot(struct worker *w, const struct wire *said)
{
	struct shelf *sh = shelf_find(w, said->kind);

	if (!sh)
		return;
	if (sh->asked > 0)
		sh->asked--;
	if (sh->stale > 0)
		sh->stale--;
	log_err(NULL, "no sandbox: %s|kind=%s", said->text,
	    is_plain(sh) ? "plain" : sh->kind);
	if (is_plain(sh))
		fetch_pause(w, NO_SLOT_PAUSE_MS);
	else
		kind_failed(w, sh);
}

static void
on_wire(uv_poll_t *p, int status, int events)
{
	static struct msg m; /* large, and for one after the other */
	struct worker *w = p->data;
	struct wire said;
	struct err err;
	int r;

	(void)status;
	(void)events;
	while ((r = msg_recv(WIRE_FD, &m, &err)) > 0) {
		if (!wire_read(&m, &said))
			log_err(NULL, "the master says nothing we know");
		else if (said.type == WIRE_SLOT)
			on_slot(w, &m, &said);
		else if (said.type == WIRE_NO_SLOT)
			on_no_slot(w, &said);
		else if (said.type == WIRE_CAN)
			worker_set_can(w, said.text);
		msg_close_fds(&m);
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
	auto_free char *names = xstrdup(w->settings.worker_forked);
	char *save;

	LIST_INIT(&w->shelves);
	w->plain = shelf_new(w, "");
	for (const char *name = strtok_r(names, " ,", &save); name;
	     name = strtok_r(NULL, " ,", &save)) {
		const struct lang *l = lang_find(w->registry->langs, name);

		if (l && has_shelf(l) && lang_installed(l, NULL))
			shelf_for(w, l)->always = true;
	}
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
