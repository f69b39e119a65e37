#include "pool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "clock.h"
#include "fault.h"
#include "kinds.h"
#include "log.h"
#include "mem.h"
#include "settings.h"

enum {
	WARM_MS = 10000,    /* a set-up that takes longer has failed */
	LOOK_MS = 1000,     /* for nests that idle and cgroups that linger */
	FORKS_MAX = 1000,   /* of one nest: then its interpreter is replaced */
	WANT_MAX = 4096,    /* sandboxes of one request */
	WAITING_MAX = 4096, /* sandboxes that wait for a nest */
};

enum unit_state { UNIT_WAITING, UNIT_WARMING, UNIT_GRANTED, UNIT_DYING };

struct home;

/* One sandbox. */
struct unit {
	TAILQ_ENTRY(unit) link; /* of pool.waiting or pool.units */
	struct pool *pool;
	struct home *home;       /* NULL while it waits for one */
	const struct kind *kind; /* of kinds */
	struct kinds *kinds;
	void *owner; /* who asked; NULL once gone */
	struct sandbox *sb;
	uv_poll_t ready_poll, pid_poll;
	uv_timer_t warm; /* limit of the set-up */
	bool polling_ready, polling_pid;
	bool dead; /* all inside it; its cgroup may still be read */
	unsigned handles;
	unsigned serial;
	enum unit_state state;
};

/* One nest. */
struct home {
	LIST_ENTRY(home) link;
	struct pool *pool;
	const struct kind *kind; /* of kinds */
	struct kinds *kinds;
	struct sandbox_nest *nest;
	struct unit *unit; /* the sandbox in it, or the one that waits */
	uv_poll_t ready_poll, pid_poll;
	uv_timer_t warm;
	bool polling_ready;
	bool ready;
	bool stale; /* shows an older host: not for another sandbox */
	bool dying, dead;
	unsigned forks;
	unsigned handles;
	int64_t idle_ms; /* since when it has no sandbox */
};

struct pool {
	uv_loop_t *loop;
	struct sandbox_host *host;
	const char *share_dir;
	int64_t idle_ms; /* an unused nest is closed after this */
	struct pool_hooks hooks;
	struct kinds *kinds;
	unsigned next_serial;
	LIST_HEAD(home_list, home) homes;
	TAILQ_HEAD(unit_list, unit) units, waiting;
	size_t n_waiting;
	uv_timer_t look;
	bool closing;
};

static void serve_waiting(struct pool *p);
static void unit_end(struct unit *u);
static void home_end(struct home *h);

/* ---- the end of a sandbox ---- */

static void
home_is_free(struct home *h)
{
	h->unit = NULL;
	h->idle_ms = clock_mono_ms();
	if (h->stale || h->dead || h->forks >= FORKS_MAX ||
	    !sandbox_nest_is_clean(h->nest))
		home_end(h);
	serve_waiting(h->pool);
}

static void
unit_free(struct unit *u)
{
	struct home *h = u->home;

	FAULT(master_burying);
	TAILQ_REMOVE(&u->pool->units, u, link);
	sandbox_free(u->sb);
	kinds_unref(u->kinds);
	free(u);
	home_is_free(h);
}

static void
on_unit_closed(uv_handle_t *handle)
{
	struct unit *u = handle->data;

	if (--u->handles == 0)
		unit_free(u);
}

static void
unit_stop_ready(struct unit *u)
{
	if (!u->polling_ready)
		return;
	u->polling_ready = false;
	uv_close((uv_handle_t *)&u->ready_poll, on_unit_closed);
	uv_close((uv_handle_t *)&u->warm, on_unit_closed);
}

/* Nobody needs it any more, and no process is left inside. */
static void
unit_bury(struct unit *u)
{
	unit_stop_ready(u);
	if (u->polling_pid && !uv_is_closing((uv_handle_t *)&u->pid_poll))
		uv_close((uv_handle_t *)&u->pid_poll, on_unit_closed);
}

static void
unit_failed(struct unit *u, const char *why)
{
	log_err(NULL, "cannot make a sandbox: %s", why);
	if (u->owner)
		u->pool->hooks.on_failed(u->owner, u->kind->name, why);
	unit_end(u);
}

/* A granted one is kept until its owner has read what it used. */
static void
on_unit_dead(uv_poll_t *poll, int status, int events)
{
	struct unit *u = poll->data;

	(void)status;
	(void)events;
	u->dead = true;
	(void)uv_poll_stop(poll);
	if (u->state == UNIT_WARMING)
		unit_failed(u, "sandbox-init died during set-up");
	else if (u->state == UNIT_DYING)
		unit_bury(u);
}

/* Before its birth it has no process that could be waited for. */
static void
unit_end(struct unit *u)
{
	u->state = UNIT_DYING;
	if (!u->polling_pid)
		u->home->stale = true; /* it may still be born */
	if (u->dead || !u->polling_pid)
		unit_bury(u);
	else
		sandbox_kill(u->sb);
}

/* ---- a sandbox on its way ---- */

static void
unit_grant(struct unit *u)
{
	struct sandbox_grant g;

	FAULT(master_granting);
	sandbox_grant(u->sb, &g);
	if (!u->owner ||
	    u->pool->hooks.on_ready(u->owner, u->kind->name, &g) < 0) {
		unit_end(u);
		return;
	}
	FAULT(master_granted);
	sandbox_granted(u->sb);
	u->state = UNIT_GRANTED;
}

static void
unit_poll(struct unit *u, uv_poll_t *poll, int fd, uv_poll_cb cb)
{
	(void)uv_poll_init(u->pool->loop, poll, fd);
	poll->data = u;
	u->handles++;
	(void)uv_poll_start(poll, UV_READABLE, cb);
}

static void
on_unit_ready(uv_poll_t *poll, int status, int events)
{
	struct unit *u = poll->data;
	struct err err;
	int r = sandbox_poll_ready(u->sb, &err);

	(void)status;
	(void)events;
	if (!u->polling_pid && sandbox_pidfd(u->sb) >= 0) {
		u->polling_pid = true;
		unit_poll(u, &u->pid_poll, sandbox_pidfd(u->sb), on_unit_dead);
	}
	if (r == 0)
		return;
	unit_stop_ready(u);
	if (r < 0 && u->state == UNIT_WARMING)
		unit_failed(u, err.msg);
	else if (u->state == UNIT_WARMING)
		unit_grant(u);
}

static void
on_unit_late(uv_timer_t *t)
{
	struct unit *u = t->data;

	unit_stop_ready(u);
	unit_failed(u, "the set-up takes too long");
}

static void
stop_waiting(struct unit *u)
{
	TAILQ_REMOVE(&u->pool->waiting, u, link);
	u->pool->n_waiting--;
}

static void
unit_drop(struct unit *u)
{
	kinds_unref(u->kinds);
	free(u);
}

static void
unit_launch(struct unit *u)
{
	struct home *h = u->home;
	struct err err;

	h->forks++;
	u->sb = sandbox_launch_ahead(
	    h->nest, u->serial, u->kind->ahead ? u->kind->program : NULL, &err);
	if (!u->sb) {
		log_err(NULL, "cannot make a sandbox: %s", err.msg);
		if (u->owner)
			u->pool->hooks.on_failed(
			    u->owner, u->kind->name, err.msg);
		unit_drop(u);
		h->unit = NULL;
		home_end(h);
		return;
	}
	u->state = UNIT_WARMING;
	TAILQ_INSERT_TAIL(&u->pool->units, u, link);
	u->polling_ready = true;
	(void)uv_timer_init(u->pool->loop, &u->warm);
	u->warm.data = u;
	u->handles++;
	(void)uv_timer_start(&u->warm, on_unit_late, WARM_MS, 0);
	unit_poll(u, &u->ready_poll, sandbox_fd(u->sb), on_unit_ready);
}

/* ---- nests ---- */

static void
home_free(struct home *h)
{
	struct pool *p = h->pool;

	LIST_REMOVE(h, link);
	sandbox_nest_close(h->nest);
	kinds_unref(h->kinds);
	free(h);
	serve_waiting(p);
}

static void
on_home_closed(uv_handle_t *handle)
{
	struct home *h = handle->data;

	if (--h->handles == 0)
		home_free(h);
}

static void
home_stop_ready(struct home *h)
{
	if (!h->polling_ready)
		return;
	h->polling_ready = false;
	if (!uv_is_closing((uv_handle_t *)&h->ready_poll))
		uv_close((uv_handle_t *)&h->ready_poll, on_home_closed);
	uv_close((uv_handle_t *)&h->warm, on_home_closed);
}

static void
home_bury(struct home *h)
{
	home_stop_ready(h);
	if (!uv_is_closing((uv_handle_t *)&h->pid_poll))
		uv_close((uv_handle_t *)&h->pid_poll, on_home_closed);
}

/* With what waits for it; a sandbox in it dies by itself, and comes back. */
static void
home_end(struct home *h)
{
	h->stale = true;
	if (h->unit && h->unit->state == UNIT_WAITING) {
		unit_drop(h->unit);
		h->unit = NULL;
	}
	if (!h->dying)
		sandbox_nest_kill(h->nest);
	h->dying = true;
	if (h->dead && !h->unit)
		home_bury(h);
}

static void
home_failed(struct home *h, const char *why)
{
	struct unit *u = h->unit;

	log_err(NULL, "cannot make a nest: %s|kind=%s", why, h->kind->name);
	if (u && u->state == UNIT_WAITING && u->owner)
		h->pool->hooks.on_failed(u->owner, u->kind->name, why);
	home_end(h);
}

static void
on_home_dead(uv_poll_t *poll, int status, int events)
{
	struct home *h = poll->data;

	(void)status;
	(void)events;
	h->dead = true;
	(void)uv_poll_stop(poll);
	if (!h->ready && !h->dying)
		home_failed(h, "sandbox-init died during set-up");
	else
		home_end(h);
}

static void
home_watch(struct home *h)
{
	(void)uv_poll_init(
	    h->pool->loop, &h->ready_poll, sandbox_nest_fd(h->nest));
	h->ready_poll.data = h;
}

static void on_home_ready(uv_poll_t *poll, int status, int events);

/* What it holds speaks over another socket than its init did. */
static void
on_ready_poll_closed(uv_handle_t *handle)
{
	struct home *h = handle->data;

	if (!h->polling_ready) {
		on_home_closed(handle);
		return;
	}
	home_watch(h);
	(void)uv_poll_start(&h->ready_poll, UV_READABLE, on_home_ready);
}

static void
on_home_ready(uv_poll_t *poll, int status, int events)
{
	struct home *h = poll->data;
	int before = sandbox_nest_fd(h->nest), r;
	struct err err;

	(void)status;
	(void)events;
	r = sandbox_nest_poll_ready(h->nest, &err);
	if (r == 0 && sandbox_nest_fd(h->nest) != before)
		uv_close((uv_handle_t *)poll, on_ready_poll_closed);
	if (r == 0)
		return;
	home_stop_ready(h);
	if (r < 0) {
		home_failed(h, err.msg);
		return;
	}
	h->ready = true;
	if (h->unit)
		unit_launch(h->unit);
	else
		home_is_free(h);
}

static void
on_home_late(uv_timer_t *t)
{
	struct home *h = t->data;

	home_failed(h, "its set-up takes too long");
}

static struct home *
home_open(struct pool *p, const struct kind *kind, struct kinds *kinds,
    struct err *err)
{
	struct home *h = xcalloc(1, sizeof(*h));

	h->nest = sandbox_nest_open(
	    p->host, ++p->next_serial, kind->program, err);
	if (!h->nest) {
		free(h);
		return NULL;
	}
	h->pool = p;
	h->kind = kind;
	h->kinds = kinds_ref(kinds);
	h->polling_ready = true;
	h->handles = 3;
	LIST_INSERT_HEAD(&p->homes, h, link);
	(void)uv_timer_init(p->loop, &h->warm);
	h->warm.data = h;
	(void)uv_timer_start(&h->warm, on_home_late, WARM_MS, 0);
	home_watch(h);
	(void)uv_poll_start(&h->ready_poll, UV_READABLE, on_home_ready);
	(void)uv_poll_init(p->loop, &h->pid_poll, sandbox_nest_pidfd(h->nest));
	h->pid_poll.data = h;
	(void)uv_poll_start(&h->pid_poll, UV_READABLE, on_home_dead);
	return h;
}

/* ---- which nest for which sandbox ---- */

static struct home *
free_home(const struct pool *p, const struct kind *kind)
{
	struct home *h;

	LIST_FOREACH (h, &p->homes, link)
		if (h->kind == kind && h->ready && !h->stale && !h->unit)
			return h;
	return NULL;
}

/* All ranges are taken: one that nobody uses makes room. */
static bool
close_one(struct pool *p)
{
	struct home *h, *oldest = NULL;

	LIST_FOREACH (h, &p->homes, link) {
		if (h->dying)
			return true; /* on its way */
		if (h->ready && !h->unit &&
		    (!oldest || h->idle_ms < oldest->idle_ms))
			oldest = h;
	}
	if (oldest)
		home_end(oldest);
	return oldest != NULL;
}

/* False: it waits for a nest that is about to be closed. */
static bool
settle(struct pool *p, struct unit *u)
{
	const struct kind *nest = kinds_nest(u->kinds, u->kind);
	struct home *h = free_home(p, nest);
	struct err err;

	if (!h)
		h = home_open(p, nest, u->kinds, &err);
	if (!h && err.code == ERR_BUSY && close_one(p))
		return false;
	stop_waiting(u);
	if (!h) {
		log_err(NULL, "cannot make a nest: %s", err.msg);
		if (u->owner)
			p->hooks.on_failed(u->owner, u->kind->name, err.msg);
		unit_drop(u);
		return true;
	}
	u->home = h;
	h->unit = u;
	if (h->ready)
		unit_launch(u);
	return true;
}

static void
serve_waiting(struct pool *p)
{
	struct unit *u;

	while (!p->closing && (u = TAILQ_FIRST(&p->waiting)) && settle(p, u))
		;
}

/* ---- for the owners ---- */

static void
wait_for_nest(struct pool *p, void *owner, const struct kind *kind)
{
	struct unit *u = xcalloc(1, sizeof(*u));

	u->pool = p;
	u->kind = kind;
	u->kinds = kinds_ref(p->kinds);
	u->owner = owner;
	u->serial = ++p->next_serial;
	TAILQ_INSERT_TAIL(&p->waiting, u, link);
	p->n_waiting++;
}

void
pool_want(struct pool *p, void *owner, const char *kind, unsigned n)
{
	const struct kind *k = kinds_find(p->kinds, kind);

	for (unsigned i = 0; i < n && i < WANT_MAX; i++)
		if (!k || p->closing)
			p->hooks.on_failed(
			    owner, kind, "no such kind of sandbox here");
		else if (p->n_waiting >= WAITING_MAX)
			p->hooks.on_failed(owner, kind, "too many wait");
		else
			wait_for_nest(p, owner, k);
	serve_waiting(p);
}

static struct unit *
find_unit(const struct pool *p, const void *owner, unsigned serial)
{
	struct unit *u;

	TAILQ_FOREACH (u, &p->units, link)
		if (u->serial == serial && u->owner == owner)
			return u;
	return NULL;
}

void
pool_done(struct pool *p, const void *owner, unsigned serial)
{
	struct unit *u = find_unit(p, owner, serial);

	if (u)
		unit_end(u);
}

void
pool_kill(struct pool *p, const void *owner, unsigned serial)
{
	struct unit *u = find_unit(p, owner, serial);

	if (u)
		sandbox_kill(u->sb);
}

void
pool_forget_owner(struct pool *p, const void *owner)
{
	struct unit *u, *next;
	struct home *h;

	for (u = TAILQ_FIRST(&p->waiting); u; u = next) {
		next = TAILQ_NEXT(u, link);
		if (u->owner == owner) {
			stop_waiting(u);
			unit_drop(u);
		}
	}
	LIST_FOREACH (h, &p->homes, link)
		if (h->unit && h->unit->state == UNIT_WAITING &&
		    h->unit->owner == owner) {
			unit_drop(h->unit);
			h->unit = NULL;
		}
	TAILQ_FOREACH (u, &p->units, link)
		if (u->owner == owner) {
			u->owner = NULL;
			if (u->state != UNIT_DYING)
				unit_end(u);
		}
}

/* ---- the pool ---- */

static void
on_look(uv_timer_t *t)
{
	struct pool *p = t->data;
	int64_t now = clock_mono_ms();
	struct home *h;

	LIST_FOREACH (h, &p->homes, link)
		if (h->ready && !h->unit && !h->dying &&
		    now - h->idle_ms > p->idle_ms)
			home_end(h);
	sandbox_host_tidy(p->host);
}

struct pool *
pool_new(uv_loop_t *loop, struct sandbox_host *host, const struct settings *set,
    const struct pool_hooks *hooks, struct err *err)
{
	struct kinds *kinds = kinds_load(set->farm_share_dir, err);
	struct pool *p;

	if (!kinds)
		return NULL;
	p = xcalloc(1, sizeof(*p));
	p->loop = loop;
	p->host = host;
	p->share_dir = set->farm_share_dir;
	p->idle_ms = set->worker_nest_seconds * 1000;
	p->hooks = *hooks;
	p->kinds = kinds;
	LIST_INIT(&p->homes);
	TAILQ_INIT(&p->units);
	TAILQ_INIT(&p->waiting);
	(void)uv_timer_init(loop, &p->look);
	p->look.data = p;
	(void)uv_timer_start(&p->look, on_look, LOOK_MS, LOOK_MS);
	return p;
}

int
pool_reload(struct pool *p, struct err *err)
{
	struct kinds *kinds = kinds_load(p->share_dir, err);
	struct home *h;

	if (!kinds)
		return -1;
	if (sandbox_host_reload(p->host, err) < 0) {
		kinds_unref(kinds);
		return -1;
	}
	kinds_unref(p->kinds);
	p->kinds = kinds;
	LIST_FOREACH (h, &p->homes, link) {
		h->stale = true;
		if (h->ready && !h->unit)
			home_end(h);
	}
	return 0;
}

void
pool_free(struct pool *p)
{
	struct unit *u;
	struct home *h;

	if (!p)
		return;
	p->closing = true;
	while ((u = TAILQ_FIRST(&p->waiting))) {
		stop_waiting(u);
		unit_drop(u);
	}
	TAILQ_FOREACH (u, &p->units, link)
		unit_end(u);
	LIST_FOREACH (h, &p->homes, link)
		home_end(h);
	while (!LIST_EMPTY(&p->homes))
		(void)uv_run(p->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&p->look, NULL);
	(void)uv_run(p->loop, UV_RUN_NOWAIT);
	kinds_unref(p->kinds);
	free(p);
}
