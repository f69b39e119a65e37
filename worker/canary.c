/*
 * canary.c - which languages really work here.
 *
 * Every record whose programs are installed runs its hello in a real sandbox;
 * those that print what they should are offered.  A few run at once; what
 * passed is announced as it comes, so that a node with many languages is of use
 * after the first second.
 */
#include "mem.h"
#include "worker.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "cleanup.h"
#include "log.h"
#include "task.h"

enum {
	AT_ONCE = 3,
	CANARY_TTL = 20,
	NAMES_MAX = 16 << 10,
	ANNOUNCE_EVERY = 8,
	RETRIES = 64, /* of all canaries together, while sandboxes fail */
};

struct canary {
	struct worker *worker;
	struct registry *registry;
	size_t next;    /* record to look at */
	size_t running; /* canaries under way */
	size_t passed, failed, retried;
	bool keep; /* a list is on offer: replace it only when all is tried */
	struct buf names; /* of those that passed */
};

static void step(struct canary *c);
static void try(struct canary *c, const struct lang *l);

static void
announce(struct canary *c)
{
	const char *names = c->names.data ? c->names.data : "";

	worker_set_can(c->worker, names);
	slots_tell_can(c->worker, names);
}

static void
finish(struct canary *c)
{
	/* Before the announcement, which tells the farm that all is tried. */
	c->worker->canary = NULL;
	announce(c);
	log_info(
	    NULL, "languages tried|works=%zu fails=%zu", c->passed, c->failed);
	registry_unref(c->registry);
	buf_done(&c->names);
	free(c);
}

static bool
as_expected(const struct task *t)
{
	const struct job_step *last = job_result_last(&t->result);
	const char *want = t->lang->hello_output;
	const struct job_bytes *out = &t->result.out;

	return last->reason == REASON_exited && last->exit_code == 0 &&
	       out->len == strlen(want) &&
	       memcmp(out->data ? out->data : "", want, out->len) == 0;
}

static void
log_failure(const struct task *t)
{
	const struct job_step *last = job_result_last(&t->result);

	/* 127 is a shell's word for a program that is not installed. */
	log_(last->exit_code == 127 ? LOG_DEBUG : LOG_WARNING, NULL,
	    "language does not work here, left out: %s: %s, exit %d: %.200s",
	    t->lang->name, job_reason_name(last->reason), last->exit_code,
	    t->result.message    ? t->result.message
	    : t->result.err.data ? t->result.err.data
				 : "");
}

static void
on_done(struct task *t, void *ctx)
{
	struct canary *c = ctx;

	c->running--;
	if ((t->lost || t->given_back) && t->registry == c->registry &&
	    c->retried < RETRIES) {
		/* It had no sandbox: that says nothing of the language. */
		c->retried++;
		try(c, t->lang);
		return;
	}
	if (as_expected(t)) {
		c->passed++;
		if (buf_addf(&c->names, "%s ", t->lang->name) < 0)
			log_warn(NULL, "too many languages");
		if (!c->keep && c->passed % ANNOUNCE_EVERY == 0)
			announce(c);
	} else {
		c->failed++;
		log_failure(t);
	}
	step(c);
}

static void
try(struct canary *c, const struct lang *l)
{
	struct job_spec *s = job_spec_new();

	s->language = strdup(l->name);
	s->network_mode = strdup("zerotrust");
	if (!s->language || !s->network_mode)
		abort();
	job_bytes_set(&s->code, l->hello, strlen(l->hello));
	s->ttl = CANARY_TTL;
	s->vcpu = 1;
	c->running++;
	(void)task_start(c->worker, s, l, "", "", "", on_done, c);
}

static void
step(struct canary *c)
{
	const struct lang_registry *langs = c->registry->langs;

	if (c->worker->draining)
		c->next = lang_count(langs);
	while (c->running < AT_ONCE && c->next < lang_count(langs)) {
		const struct lang *l = lang_at(langs, c->next++);

		if (lang_installed(l, NULL))
			try(c, l);
	}
	if (c->running == 0)
		finish(c);
}

void
canary_start(struct worker *w)
{
	struct canary *c;

	if (w->canary) {
		/* A reload while canaries run: begin again with the new list. */
		registry_unref(w->canary->registry);
		w->canary->registry = registry_ref(w->registry);
		w->canary->next = 0;
		w->canary->passed = w->canary->failed = 0;
		w->canary->keep = w->n_can > 0;
		buf_clear(&w->canary->names);
		return;
	}
	c = xcalloc(1, sizeof(*c));
	c->worker = w;
	c->registry = registry_ref(w->registry);
	c->keep = w->n_can > 0;
	buf_init(&c->names, NAMES_MAX);
	w->canary = c;
	step(c);
}
