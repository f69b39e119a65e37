/*
 * fetch.c - jobs in, leases kept, results out: everything said to Redis.
 *
 * No polling: a worker that found nothing to do lies in BLPOP on `wake` until a
 * token comes.  `take` follows it in the same pipeline, so Redis hands out jobs
 * the moment that it wakes us, without a question in between.  One `take` is
 * under way at most, and a worker at capacity does not wait for tokens, so that
 * they go to one with room.
 *
 * A finished job's place is free as soon as its result is on its way: the next
 * `take` leaves together with it.  A result that cannot be delivered because
 * Redis is away takes its place again, is kept and offered again until it is
 * taken, or until the lease turns out to be another's.
 */
#include "mem.h"
#include "worker.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "fault.h"
#include "json.h"
#include "log.h"
#include "task.h"

enum {
	CALL_DEADLINE_MS = 5000,
	WAIT_SECONDS = 30, /* one BLPOP; then again */
	BEAT_MS = 3000,
	BEAT_LIFETIME_MS = 15000,
	RETRY_FIRST_MS = 100,
	RETRY_MAX_MS = 2000,
	LARGE_RESULT = 256 << 10,
	YOUNG_MAX = 2, /* jobs that have just begun, at a time */
	YOUNG_US = 30000,
};

/* ---- results out ---- */

struct report {
	uv_timer_t timer; /* the next try */
	uv_work_t work;   /* writing a large result */
	struct worker *worker;
	char id[64], lease[96], ttl[24];
	const char *status, *reason;
	struct job_result result; /* owned; until it is encoded */
	char *message;            /* owned: the result's */
	char *text;               /* owned: the result as JSON */
	int64_t backoff_ms;
	bool has_place; /* among the jobs that we have room for */
};

static void
on_report_closed(uv_handle_t *h)
{
	struct report *r = h->data;
	struct worker *w = r->worker;

	if (r->has_place)
		w->n_tasks--;
	w->n_reports--;
	free(r->message);
	free(r->text);
	free(r);
	fetch_more(w);
	worker_check_drained(w);
}

static void report_send(struct report *r);

static void
on_report_timer(uv_timer_t *t)
{
	report_send(t->data);
}

static void
on_reported(void *ctx, const redisReply *reply, const struct err *err)
{
	struct report *r = ctx;

	if (err && err->code == ERR_UNAVAILABLE) {
		if (!r->has_place)
			r->worker->n_tasks++;
		r->has_place = true;
		(void)uv_timer_start(
		    &r->timer, on_report_timer, (uint64_t)r->backoff_ms, 0);
		r->backoff_ms = r->backoff_ms * 2 < RETRY_MAX_MS
				    ? r->backoff_ms * 2
				    : RETRY_MAX_MS;
		return;
	}
	if (err)
		log_err(NULL, "result refused: %s|job=%s", err->msg, r->id);
	else if (store_reply_int(reply, 0) == 0)
		log_warn(NULL, "result came too late, dropped|job=%s", r->id);
	FAULT(worker_reported);
	uv_close((uv_handle_t *)&r->timer, on_report_closed);
}

static void
report_send(struct report *r)
{
	FAULT(worker_reporting);
	store_eval_str(r->worker->store, STORE_finish, on_reported, r, r->id,
	    r->lease, r->status, r->reason, r->message ? r->message : "",
	    r->text, r->ttl, NULL);
	if (r->has_place)
		r->worker->n_tasks--;
	r->has_place = false;
	fetch_more(r->worker);
}

static void
log_task(const struct task *t, const struct job_step *last)
{
	log_info(t->log_id,
	    "job finished|lang=%s reason=%s exit=%d wall_ms=%" PRId64
	    " cpu_ms=%" PRId64 " total_ms=%" PRId64 "%s%s%s",
	    t->lang->name, job_reason_name(last->reason), last->exit_code,
	    last->wall_us / 1000, last->cpu_us / 1000,
	    t->result.total_us / 1000, t->result.message ? " why=\"" : "",
	    t->result.message ? t->result.message : "",
	    t->result.message ? "\"" : "");
}

static size_t
result_size(const struct job_result *res)
{
	size_t n = res->out.len + res->err.len;

	for (size_t i = 0; i < res->n_artifacts; i++)
		n += res->artifacts[i].content.len;
	return n;
}

static void
encode(uv_work_t *work)
{
	struct report *r = work->data;

	FAULT(worker_encoding);
	r->text = job_result_encode(&r->result);
	r->message = steal_ptr(&r->result.message);
	job_result_done(&r->result);
}

static void
on_encoded(uv_work_t *work, int status)
{
	(void)status;
	report_send(work->data);
}

/*
 * Takes the result.  Writing megabytes as JSON takes long enough to make other
 * jobs' deadlines late, so a thread of libuv's pool does it, unless these wait
 * for a disk.
 */
static void
report(
    struct worker *w, const char *id, const char *lease, struct job_result *res)
{
	enum job_reason reason = job_result_last(res)->reason;
	struct report *r = xcalloc(1, sizeof(*r));

	w->n_reports++;
	r->worker = w;
	r->has_place = true;
	r->status = job_state_name(job_reason_state(reason));
	r->reason = job_reason_name(reason);
	r->result = *res;
	*res = (struct job_result){ .layers = NULL };
	r->backoff_ms = RETRY_FIRST_MS;
	(void)snprintf(r->id, sizeof(r->id), "%s", id);
	(void)snprintf(r->lease, sizeof(r->lease), "%s", lease);
	(void)snprintf(r->ttl, sizeof(r->ttl), "%ld",
	    w->settings.job_result_seconds * 1000);
	(void)uv_timer_init(&w->loop, &r->timer);
	r->timer.data = r->work.data = r;
	if (result_size(&r->result) > LARGE_RESULT && w->late_looks == 0 &&
	    uv_queue_work(&w->loop, &r->work, encode, on_encoded) == 0)
		return;
	encode(&r->work);
	report_send(r);
}

static const char *
why_given_back(const struct worker *w, const struct task *t)
{
	if (!t->given_back)
		return "sandbox-died";
	if (w->draining)
		return "drain";
	return t->step_started_us > 0 ? "lease-over" : "no-sandbox";
}

static void
on_given_back(void *ctx, const redisReply *reply, const struct err *err)
{
	struct worker *w = ctx;

	(void)reply;
	(void)err; /* then its lease runs out */
	w->n_tasks--;
	fetch_more(w);
	worker_check_drained(w);
}

/* Not ours any more: it runs again elsewhere.  It had a place among n_tasks. */
static void
give_back(
    struct worker *w, const char *id, const char *lease, long most_attempts)
{
	const struct settings *s = &w->settings;
	char ttl[24], most[24];

	FAULT(worker_giving_back);
	(void)snprintf(ttl, sizeof(ttl), "%ld", s->job_result_seconds * 1000);
	(void)snprintf(most, sizeof(most), "%ld", most_attempts);
	store_eval_str(w->store, STORE_giveback, on_given_back, w, ttl, most,
	    id, lease, NULL);
}

static void
on_task_done(struct task *t, void *ctx)
{
	struct worker *w = ctx;

	if (t->given_back || t->lost) {
		/* As if we had never had it, or as a failed attempt. */
		give_back(w, t->id, t->lease,
		    t->given_back ? 0 : w->settings.job_max_attempts);
		log_info(
		    t->log_id, "job given back|why=%s", why_given_back(w, t));
		return;
	}
	log_task(t, job_result_last(&t->result));
	report(w, t->id, t->lease, &t->result);
}

/* ---- jobs in ---- */

/* A job that cannot even be tried ends with its reason, never in silence. */
static void
refuse(struct worker *w, const char *id, const char *lease, const char *why)
{
	struct job_result res = { .run = { .ran = true,
				      .reason = REASON_unstartable,
				      .exit_code = 127 } };

	log_err(NULL, "job refused: %s|job=%s", why, id);
	res.message = strdup(why);
	report(w, id, lease, &res);
}

/* It has its place among n_tasks. */
static void
start_spec(struct worker *w, const char *id, const char *lease,
    const char *owner, const redisReply *text)
{
	struct job_spec *spec;
	const struct lang *lang;
	struct err err;

	if (!text || text->type != REDIS_REPLY_STRING) {
		refuse(w, id, lease, "its record is gone");
		return;
	}
	spec = job_spec_decode(text->str, text->len, &err);
	if (!spec) {
		refuse(w, id, lease, err.msg);
		return;
	}
	lang = lang_find(w->registry->langs, spec->language);
	if (!lang) {
		refuse(w, id, lease, "its language is not known here");
		job_spec_free(spec);
		return;
	}
	(void)task_start(w, spec, lang, id, lease, owner, on_task_done, w);
}

static bool
wants_jobs(const struct worker *w)
{
	return !w->draining && clock_mono_ms() >= w->pause_until_ms;
}

/* A job whose spec is large, on its way from Redis. */
struct large {
	struct worker *worker;
	char id[64], lease[96], owner[96];
};

static void
on_large(void *ctx, const redisReply *reply, const struct err *err)
{
	struct large *l = ctx;
	struct worker *w = l->worker;

	if (!err && wants_jobs(w)) {
		start_spec(w, l->id, l->lease, l->owner, reply);
	} else {
		/* Where Redis is away, the lease runs out. */
		give_back(w, l->id, l->lease, 0);
	}
	free(l);
}

static void
start_job(struct worker *w, const redisReply *job)
{
	const char *id = store_reply_str(store_reply_at(job, 0), "");
	const char *lease = store_reply_str(store_reply_at(job, 1), "");
	const char *owner = store_reply_str(store_reply_at(job, 2), "");
	const redisReply *text = store_reply_at(job, 3);
	struct large *l;

	w->n_tasks++;
	if (!text || text->type != REDIS_REPLY_INTEGER) {
		start_spec(w, id, lease, owner, text);
		return;
	}
	l = xcalloc(1, sizeof(*l));
	l->worker = w;
	(void)snprintf(l->id, sizeof(l->id), "%s", id);
	(void)snprintf(l->lease, sizeof(l->lease), "%s", lease);
	(void)snprintf(l->owner, sizeof(l->owner), "%s", owner);
	store_command(
	    w->store, on_large, l, "GET %sbody:%s", store_prefix(w->store), id);
}

static long
places(const struct worker *w)
{
	return w->slots - (long)w->n_tasks;
}

/*
 * Jobs that began so short a time ago, and when the first of them is not young
 * any more; the newest come first in the list.
 */
static long
young(const struct worker *w, int64_t *ret_left_us)
{
	int64_t since = clock_mono_us() - YOUNG_US;
	const struct task *t;
	long n = 0;

	LIST_FOREACH (t, &w->tasks, link) {
		/* cppcheck-suppress uninitvar; LIST_FOREACH sets t */
		if (t->started_us <= since)
			break;
		if (t->phase == TASK_DONE || *t->id == '\0')
			continue;
		*ret_left_us = t->started_us - since;
		n++;
	}
	return n;
}

/*
 * Short jobs need a processor each, and more of them at a time only need more
 * sandboxes and interpreters: a fourth more processor time each, measured with
 * eight.  So few begin at once.  Those that take longer wait, mostly, and do
 * not count.
 */
static long
room(const struct worker *w)
{
	int64_t left_us = 0;
	long starts = YOUNG_MAX - young(w, &left_us);

	return places(w) < starts ? places(w) : starts;
}

static void
on_age(uv_timer_t *t)
{
	fetch_more(t->data);
}

/* There are places: as soon as one more may begin. */
static void
come_back(struct worker *w)
{
	int64_t left_us;

	if (places(w) > 0 && young(w, &left_us) > 0)
		(void)uv_timer_start(
		    &w->age, on_age, (uint64_t)(left_us / 1000 + 1), 0);
}

/* It was taken before Redis heard that we do not want any. */
static void
return_job(struct worker *w, const redisReply *job)
{
	w->n_tasks++;
	give_back(w, store_reply_str(store_reply_at(job, 0), ""),
	    store_reply_str(store_reply_at(job, 1), ""), 0);
}

static void
on_taken(void *ctx, const redisReply *reply, const struct err *err)
{
	struct worker *w = ctx;
	size_t n;

	w->waiting = false;
	if (err) {
		/* Up again, on_state() comes; until then nothing is to do. */
		log_debug(NULL, "take: %s", err->msg);
		w->take_in_flight = false;
		worker_check_drained(w);
		return;
	}
	n = reply->type == REDIS_REPLY_ARRAY ? reply->elements : 0;
	w->maybe_more = (long)n >= w->asked;
	if (n > 0)
		FAULT(worker_taken);
	for (size_t i = 0; i < n; i++)
		if (wants_jobs(w))
			start_job(w, reply->element[i]);
		else
			return_job(w, reply->element[i]);
	w->take_in_flight = false; /* now that each has its place */
	fetch_more(w);
	worker_check_drained(w);
}

static void
take(struct worker *w, struct store *s, long n)
{
	char vcpu[24], count[24], lease[24];

	(void)snprintf(vcpu, sizeof(vcpu), "%ld", w->max_vcpu);
	(void)snprintf(count, sizeof(count), "%ld", n);
	(void)snprintf(
	    lease, sizeof(lease), "%ld", w->settings.job_lease_seconds * 1000);
	w->take_in_flight = true;
	w->asked = n;
	store_eval_str(s, STORE_take, on_taken, w, w->instance, w->node, vcpu,
	    count, lease, NULL);
}

/* Nil, when nobody called for WAIT_SECONDS, is as good a reason to look. */
static void
wait_for_work(struct worker *w)
{
	if (!store_up(w->blocking))
		return;
	w->waiting = true;
	store_command(w->blocking, NULL, NULL, "BLPOP %swake %d",
	    store_prefix(w->blocking), WAIT_SECONDS);
	/* Those that are young now will not be when something comes. */
	take(w, w->blocking, places(w) < YOUNG_MAX ? places(w) : YOUNG_MAX);
}

void
fetch_more(struct worker *w)
{
	if (w->take_in_flight || w->n_can == 0 || !store_up(w->store) ||
	    !wants_jobs(w))
		return;
	if (room(w) <= 0) {
		come_back(w);
		return;
	}
	if (w->maybe_more)
		take(w, w->store, room(w));
	else
		wait_for_work(w);
}

static void
on_unblocked(void *ctx, const redisReply *reply, const struct err *err)
{
	struct worker *w = ctx;

	if (err && w->draining) { /* it gives us nothing now */
		w->take_in_flight = false;
		worker_check_drained(w);
	}
	/* 0: our BLPOP is still on its way, or is over already. */
	if (!err && store_reply_int(reply, 1) == 0 && w->waiting)
		fetch_look(w);
}

void
fetch_look(struct worker *w)
{
	w->maybe_more = true;
	if (!w->waiting)
		fetch_more(w);
	else if (w->blocking_id > 0)
		store_command(w->store, on_unblocked, w, "CLIENT UNBLOCK %lld",
		    w->blocking_id);
}

static void
on_blocking_id(void *ctx, const redisReply *reply, const struct err *err)
{
	struct worker *w = ctx;

	w->blocking_id = err ? 0 : store_reply_int(reply, 0);
	if (w->draining)
		fetch_look(w);
}

void
fetch_pause(struct worker *w, int64_t ms)
{
	w->pause_until_ms = clock_mono_ms() + ms;
	slots_give_up(w);
}

/* ---- leases ---- */

static struct task *
find_task(struct worker *w, const char *id)
{
	struct task *t;

	LIST_FOREACH (t, &w->tasks, link)
		if (strcmp(t->id, id) == 0)
			return t;
	return NULL;
}

static void
end_tasks(struct worker *w, const redisReply *ids, const char *why)
{
	for (size_t i = 0; ids && i < ids->elements; i++) {
		const char *id = store_reply_str(ids->element[i], "");
		struct task *t = *id ? find_task(w, id) : NULL;

		if (!t)
			continue;
		log_info(t->log_id, "%s", why);
		task_kill(t, REASON_cancelled);
	}
}

/* A lost lease's job runs elsewhere, or here again under another lease. */
static void
end_lost(struct worker *w, const redisReply *lost)
{
	for (size_t i = 0; lost && i + 1 < lost->elements; i += 2) {
		const char *id = store_reply_str(lost->element[i], "");
		const char *lease = store_reply_str(lost->element[i + 1], "");
		struct task *t;

		LIST_FOREACH (t, &w->tasks, link)
			if (strcmp(t->id, id) == 0 &&
			    strcmp(t->lease, lease) == 0) {
				log_info(t->log_id, "lease lost, stopping");
				t->given_back = true;
				task_kill(t, REASON_cancelled);
			}
	}
}

/*
 * Cut off from Redis, we cannot know whether a job runs elsewhere already: when
 * its lease is over by our own clock, we stop it.
 */
static void
end_overdue(struct worker *w)
{
	int64_t lease_ms = w->settings.job_lease_seconds * 1000;
	int64_t now = clock_mono_ms();
	struct task *t;

	LIST_FOREACH (t, &w->tasks, link) {
		/* cppcheck-suppress uninitvar; LIST_FOREACH sets t */
		int64_t since = t->started_us / 1000 > w->renewed_ms
				    ? t->started_us / 1000
				    : w->renewed_ms;

		if (!*t->id || t->phase == TASK_DONE || now - since <= lease_ms)
			continue;
		log_warn(t->log_id, "lease is over, stopping");
		t->given_back = true;
		task_kill(t, REASON_cancelled);
	}
}

static void
on_renewed(void *ctx, const redisReply *reply, const struct err *err)
{
	struct worker *w = ctx;

	if (err)
		return;
	FAULT(worker_renewed);
	w->renewed_ms = w->renew_sent_ms;
	end_lost(w, store_reply_at(reply, 0));
	end_tasks(w, store_reply_at(reply, 1), "job cancelled");
}

static void
on_renew(uv_timer_t *timer)
{
	struct worker *w = timer->data;
	auto_free struct store_arg *args = NULL;
	char lease[24];
	struct task *t;
	size_t n = 0;

	if (LIST_EMPTY(&w->tasks))
		return;
	end_overdue(w);
	w->renew_sent_ms = clock_mono_ms();
	LIST_FOREACH (t, &w->tasks, link)
		n++;
	args = xcalloc(2 + 2 * n, sizeof(*args));
	n = 0;
	(void)snprintf(
	    lease, sizeof(lease), "%ld", w->settings.job_lease_seconds * 1000);
	args[n++] = store_arg_str(w->instance);
	args[n++] = store_arg_str(lease);
	LIST_FOREACH (t, &w->tasks, link)
		if (*t->id) {
			args[n++] = store_arg_str(t->id);
			args[n++] = store_arg_str(t->lease);
		}
	FAULT(worker_renewing);
	store_eval(w->store, STORE_renew, args, n, on_renewed, w);
}

/* ---- heartbeat ---- */

static json_t *
memory_now(void)
{
	json_t *m = json_object();
	struct sysinfo si;
	double unit, used;

	if (sysinfo(&si) < 0)
		return m;
	unit = (double)si.mem_unit / (1 << 30);
	used = (double)(si.totalram - si.freeram - si.bufferram) * unit;
	(void)json_object_set_new(m, "used_gb", json_real(used));
	(void)json_object_set_new(
	    m, "available_gb", json_real((double)si.freeram * unit));
	(void)json_object_set_new(m, "used_percent",
	    json_real(used * 100 / ((double)si.totalram * unit)));
	return m;
}

static char *
describe(const struct worker *w)
{
	json_auto_t *o = json_object();
	const struct slot_counts n = slots_count(w);
	double load[3] = { 0 };
	json_t *loads = json_array();

	(void)getloadavg(load, 3);
	for (int i = 0; i < 3; i++)
		(void)json_array_append_new(loads, json_real(load[i]));
	json_set_str(o, "node", w->node);
	json_set_int(o, "pid", getpid());
	json_set_int(o, "slots", w->slots);
	json_set_int(o, "busy", (long long)w->n_tasks);
	json_set_int(o, "ready", (long long)n.ready);
	json_set_int(o, "spawning", (long long)n.asked);
	json_set_bool(o, "trying", w->canary != NULL);
	json_set_int(o, "max_vcpu", w->max_vcpu);
	json_set_int(o, "compiles_reused", w->compiles_reused);
	json_set_int(o, "cores", w->cores);
	(void)json_object_set_new(o, "load", loads);
	(void)json_object_set_new(o, "memory", memory_now());
	return json_text(o);
}

void
fetch_beat_now(struct worker *w)
{
	auto_free struct store_arg *args = xcalloc(3 + w->n_can, sizeof(*args));
	auto_free char *text = describe(w);
	char ttl[24];
	size_t n = 0;

	(void)snprintf(ttl, sizeof(ttl), "%d", BEAT_LIFETIME_MS);
	args[n++] = store_arg_str(w->instance);
	args[n++] = store_arg_str(ttl);
	args[n++] = store_arg_str(text);
	for (size_t i = 0; !w->draining && i < w->n_can; i++)
		args[n++] = store_arg_str(w->can[i]);
	store_eval(w->store, STORE_beat, args, n, NULL, NULL);
}

static void
on_beat(uv_timer_t *timer)
{
	struct worker *w = timer->data;

	fetch_beat_now(w);
	slots_look(w);
	fetch_more(w); /* after a pause, or a connection that came back */
}

/* ---- connections ---- */

struct abandon {
	struct worker *worker;
	char instance[64];
};

static void
on_abandoned(void *ctx, const redisReply *reply, const struct err *err)
{
	struct abandon *a = ctx;

	FAULT(worker_abandoned);
	if (!err) {
		log_info(NULL,
		    "took over from a dead worker|worker=%s jobs=%lld",
		    a->instance, store_reply_int(reply, 0));
		slots_tell_abandoned(a->worker, a->instance);
	}
	free(a);
}

/* Jobs of processes that died before us run again now, not after a lease. */
static void
abandon_dead(struct worker *w)
{
	const char *p = w->abandoned;
	char attempts[24], ttl[24];

	(void)snprintf(
	    attempts, sizeof(attempts), "%ld", w->settings.job_max_attempts);
	(void)snprintf(
	    ttl, sizeof(ttl), "%ld", w->settings.job_result_seconds * 1000);
	while (p && *p) {
		size_t n = strcspn(p, " ");
		struct abandon *a = calloc(1, sizeof(*a));

		if (!a)
			abort();
		a->worker = w;
		if (n < sizeof(a->instance))
			memcpy(a->instance, p, n);
		store_eval_str(w->store, STORE_abandon, on_abandoned, a,
		    a->instance, attempts, ttl, NULL);
		p += n + strspn(p + n, " ");
	}
}

static void
on_store_state(void *ctx, bool up)
{
	struct worker *w = ctx;

	if (!up) {
		log_warn(NULL, "redis is away");
		return;
	}
	FAULT(worker_starting);
	abandon_dead(w);
	w->abandoned = NULL;
	fetch_beat_now(w);
	fetch_look(w);
}

static void
on_blocking_state(void *ctx, bool up)
{
	struct worker *w = ctx;

	w->blocking_id = 0;
	if (!up)
		return;
	store_command(w->blocking, on_blocking_id, w, "CLIENT ID");
	fetch_more(w);
}

static void
on_cancel(void *ctx, const char *channel, const char *id, size_t n)
{
	struct worker *w = ctx;
	struct task *t = find_task(w, id);

	(void)channel;
	(void)n;
	if (t)
		task_kill(t, REASON_cancelled);
}

int
fetch_start(struct worker *w, struct err *err)
{
	const struct store_hooks calls = { w, on_store_state };
	const struct store_hooks blocking = { w, on_blocking_state };
	const char *url = w->settings.farm_redis_url;
	const char *prefix = w->settings.farm_prefix;
	uint64_t renew = (uint64_t)w->settings.job_lease_seconds * 1000 / 3;
	char channel[96];

	w->store = store_new(
	    &w->loop, url, prefix, CALL_DEADLINE_MS, &calls, err);
	if (!w->store)
		return -1;
	w->blocking = store_new(&w->loop, url, prefix, 0, &blocking, err);
	w->control = store_new(&w->loop, url, prefix, 0, NULL, err);
	(void)snprintf(channel, sizeof(channel), "ctl:%s", w->instance);
	store_subscribe(w->control, channel, on_cancel, w);
	(void)uv_timer_init(&w->loop, &w->beat);
	(void)uv_timer_init(&w->loop, &w->renew);
	(void)uv_timer_init(&w->loop, &w->age);
	w->beat.data = w->renew.data = w->age.data = w;
	(void)uv_timer_start(&w->beat, on_beat, BEAT_MS, BEAT_MS);
	(void)uv_timer_start(&w->renew, on_renew, renew, renew);
	return 0;
}
