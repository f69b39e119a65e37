/*
 * POST /execute, /execute/async, /run, /run/async: body -> spec -> queue.
 *
 * The farm is asked first (what is installed, how many vCPUs), mostly from
 * memory.  The synchronous calls are registered as waiters before the job is on
 * the queue, so its end cannot be missed.
 */
#include "routes.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "cleanup.h"
#include "clock.h"
#include "farm.h"
#include "fault.h"
#include "gateway.h"
#include "job.h"
#include "job_call.h"
#include "json.h"
#include "keyring.h"
#include "lang.h"
#include "log.h"
#include "mem.h"
#include "out.h"
#include "request.h"
#include "respond.h"
#include "secret.h"
#include "spec.h"
#include "store.h"

enum { MS = 1000, CREATE_ARGS = 15, IDEMPOTENCY_MAX = 255 };

DEFINE_CLEANUP(job_spec, job_spec_free)

struct create {
	struct job_call call; /* first: the request's call is this */
	struct request *req;
	bool run;                      /* language from the code */
	bool async;                    /* answer with the id */
	int64_t came_ms;               /* monotonic */
	bool absent;                   /* nothing runs its language */
	const char *idempotency;       /* borrowed header, or "" */
	char hash[SECRET_SIG_LEN + 1]; /* of the request, or "" */
	char class[96];
	const char *detected; /* borrowed from the registry, or "" */
	const struct lang *lang;
	char network_mode[16];
};

static void
create_free(void *call)
{
	struct create *c = call;

	job_call_done(&c->call);
	free(c);
}

/* ---- answers ---- */

static void
answer_accepted(struct create *c)
{
	const struct job_record rec = {
		.id = c->call.id,
		.state = JOB_pending,
		.language = c->lang->name,
		.network_mode = c->network_mode,
		.detected = c->detected,
		.created_ms = clock_wall_ms(),
	};
	struct out o;

	out_init(&o);
	view_job(&o, &rec, VIEW_ACCEPTED);
	respond_out(c->req, 200, &o);
}

/* ms until the bucket has room again; at least a second for Retry-After. */
static void
retry_after(struct request *req, long long ms)
{
	long long s = (ms + MS - 1) / MS;

	respond_header(req, "Retry-After", "%lld", s > 0 ? s : 1);
}

static void
answer_rate(struct create *c, const redisReply *r)
{
	const struct key *k = &c->req->key->key;
	json_auto_t *body = NULL;
	struct err err;

	(void)err_set(&err, ERR_RATE, 0,
	    "the key may create %ld jobs a minute (%ld at once): try again "
	    "after the time that Retry-After says",
	    k->rate, k->burst);
	c->req->gw->metrics->counters[METRIC_jobs_refused]++;
	retry_after(c->req, store_reply_int(store_reply_at(r, 3), 0));
	body = respond_err_body(&err);
	respond_json(c->req, err_http_status(err.code), body);
}

static void
answer_busy(struct create *c, const redisReply *r)
{
	json_auto_t *body = NULL;
	long long active = store_reply_int(store_reply_at(r, 4), 0);
	long long limit = store_reply_int(store_reply_at(r, 5), 0);
	struct err err;

	(void)err_set(&err, ERR_BUSY, 0,
	    "%lld of the key's jobs are running or waiting and %lld may be: "
	    "wait for some to end",
	    active, limit);
	c->req->gw->metrics->counters[METRIC_jobs_refused]++;
	retry_after(c->req, 0);
	body = respond_err_body(&err);
	json_set_int(body, "active_executions", active);
	json_set_int(body, "concurrency_limit", limit);
	respond_json(c->req, err_http_status(err.code), body);
}

static void
answer_ok(struct create *c, const redisReply *r)
{
	(void)r;
	c->req->gw->metrics->counters[METRIC_jobs_created]++;
	if (c->async) {
		answer_accepted(c);
		return;
	}
	c->call.owner = true;
	job_call_wait(&c->call);
}

/* The earlier call's job: its id, or its result when that was asked for. */
static void
answer_same(struct create *c, const redisReply *r)
{
	struct request *req = c->req;
	const char *id = store_reply_str(store_reply_at(r, 1), "");
	int64_t hold_ms = c->call.hold_ms;

	req->gw->metrics->counters[METRIC_jobs_replayed]++;
	respond_header(req, "Idempotent-Replayed", "true");
	job_call_done(&c->call);
	c->call = (struct job_call){ .req = req };
	job_call_init(
	    &c->call, req, id, c->async ? VIEW_ACCEPTED : VIEW_FLAT, hold_ms);
	job_call_start(&c->call);
}

static void
answer_differs(struct create *c, const redisReply *r)
{
	struct err err;

	(void)r;
	(void)err_set(&err, ERR_CONFLICT, 0,
	    "the Idempotency-Key was used for another request: send a new one "
	    "for a new job");
	respond_err(c->req, &err);
}

static const struct verdict {
	const char *word;
	void (*answer)(struct create *c, const redisReply *r);
	bool has_tokens; /* the reply tells how many are left */
} verdicts[] = {
	{ "ok", answer_ok, true },
	{ "same", answer_same, false },
	{ "differs", answer_differs, false },
	{ "rate", answer_rate, true },
	{ "busy", answer_busy, true },
};

/* ---- the queue ---- */

static void
remember_limit(struct key_entry *k, const redisReply *r)
{
	long long left = store_reply_int(store_reply_at(r, 2), 0);
	long long rate = k->key.rate > 0 ? k->key.rate : 1;
	long long missing = k->key.burst - left;

	k->limit_known = true;
	k->tokens_left = (long)left;
	k->full_at_s = clock_wall_ms() / MS + (missing * 60 + rate - 1) / rate;
}

static void
on_enqueued(void *ctx, const redisReply *reply, const struct err *err)
{
	struct create *c = ctx;
	struct err odd;

	FAULT(gateway_enqueued);
	if (err) {
		respond_err(c->req, err);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(verdicts); i++) {
		const struct verdict *v = &verdicts[i];

		if (strcmp(store_reply_str(store_reply_at(reply, 0), ""),
			v->word) != 0)
			continue;
		if (v->has_tokens)
			remember_limit(c->req->key, reply);
		v->answer(c, reply);
		return;
	}
	(void)err_set(&odd, ERR_SYS, 0, "enqueue answered nonsense");
	respond_err(c->req, &odd);
}

/* What makes two calls the same: all but the headers. */
static void
request_hash(const struct request *req, char ret_hex[SECRET_SIG_LEN + 1])
{
	char text[32 + 3 * SECRET_SIG_LEN], target[SECRET_SIG_LEN + 1],
	    body[SECRET_SIG_LEN + 1];
	int n;

	secret_sha256(req->target, req->target_len, target);
	secret_sha256(
	    req->body.data ? req->body.data : "", req->body.len, body);
	n = snprintf(
	    text, sizeof(text), "%.16s\n%s\n%s", req->method, target, body);
	secret_sha256(text, (size_t)n, ret_hex);
}

static void
enqueue(struct create *c, const char *spec)
{
	struct request *req = c->req;
	struct gateway *gw = req->gw;
	const struct key *k = &req->key->key;
	char num[5][24];
	const long long values[5] = { k->rate > 0 ? k->rate : 1, k->burst,
		k->concurrency, k->queue,
		(long long)gw->set.job_result_seconds * MS };

	FAULT(gateway_enqueuing);
	for (size_t i = 0; i < ARRAY_LEN(values); i++)
		(void)snprintf(num[i], sizeof(num[i]), "%lld", values[i]);
	store_eval_str(gw->store, STORE_enqueue, on_enqueued, c, c->call.id,
	    k->public_key, c->class, c->lang->name, c->network_mode, spec,
	    num[0], num[1], num[2], num[3], c->idempotency, c->hash, num[4],
	    c->async ? "" : gw->id, c->detected, NULL);
}

/* ---- the request ---- */

/*
 * Some clients call everything JSON, also a plain program: only an object can
 * be one, and no program that begins with a brace has a shebang.
 */
static bool
is_json(const struct request *req)
{
	const char *type = req->headers[HEADER_CONTENT_TYPE].value;
	const char *body = req->body.data ? req->body.data : "";

	return type && strncasecmp(type, "application/json", 16) == 0 &&
	       body[strspn(body, " \t\r\n")] == '{';
}

/*
 * /run takes program text, whatever its content type, and an object with `code`
 * when the type says JSON; a program that only looks like JSON is a program.
 */
static struct job_spec *
read_spec(struct create *c, const struct spec_rules *rules, struct err *err)
{
	const struct request *req = c->req;
	const char *body = req->body.data ? req->body.data : "";
	bool async = false;
	struct job_spec *s;

	if (c->run)
		return spec_from_run(
		    rules, body, req->body.len, is_json(req), &req->query, err);
	s = spec_from_json(rules, body, req->body.len, &async, err);
	c->async |= async;
	return s;
}

static int
read_idempotency(struct create *c, struct err *err)
{
	const struct header *h = &c->req->headers[HEADER_IDEMPOTENCY_KEY];
	size_t n = h->value ? strlen(h->value) : 0;

	c->idempotency = "";
	if (h->count == 0)
		return 0;
	if (h->count > 1 || n == 0 || n > IDEMPOTENCY_MAX)
		return err_set(err, ERR_INVALID, 0,
		    "the Idempotency-Key header must be sent once, with 1 to "
		    "%d characters",
		    IDEMPOTENCY_MAX);
	for (size_t i = 0; i < n; i++)
		if (h->value[i] < ' ' || h->value[i] > '~')
			return err_set(err, ERR_INVALID, 0,
			    "the Idempotency-Key header must be printable "
			    "ASCII");
	c->idempotency = h->value;
	return 0;
}

static bool
lang_runs(void *ctx, const struct lang *l)
{
	struct create *c = ctx;

	c->absent = !farm_runs(c->req->gw->farm, l);
	return !c->absent;
}

static struct spec_rules
rules_of(struct create *c, const struct farm_view *view)
{
	const struct gateway *gw = c->req->gw;
	/* Without a worker nobody knows what will be there: the job waits. */
	bool known = view->n_workers > 0;

	return (struct spec_rules){
		.set = &gw->set,
		.langs = gw->langs,
		.max_vcpu = known ? view->max_vcpu : 0,
		.runs = known ? lang_runs : NULL,
		.ctx = c,
		.trying = view->trying,
	};
}

/* Of a large job one copy at a time is left behind, as soon as it can be. */
static void
create_job(struct create *c, struct job_spec *s)
{
	struct gateway *gw = c->req->gw;
	auto_free char *text = NULL;
	char id[ID_MAX];

	if (*c->idempotency)
		request_hash(c->req, c->hash);
	request_drop_body(c->req);
	c->lang = lang_find(gw->langs, s->language);
	c->detected = c->run ? c->lang->name : "";
	(void)snprintf(
	    c->network_mode, sizeof(c->network_mode), "%s", s->network_mode);
	(void)snprintf(
	    c->class, sizeof(c->class), "%s:%d", s->language, s->vcpu);
	id_new_job(id);
	job_call_init(&c->call, c->req, id, VIEW_FLAT,
	    c->async ? 0 : (int64_t)gw->set.gateway_hold_seconds * MS);
	text = job_spec_encode(s);
	job_spec_drop_files(s);
	enqueue(c, text);
}

static void
on_farm(void *ctx, const struct farm_view *view, const struct err *err)
{
	struct create *c = ctx;
	auto_ref(job_spec) s = NULL;
	struct spec_rules rules;
	struct err why;

	if (!view) {
		respond_err(c->req, err);
		return;
	}
	rules = rules_of(c, view);
	s = read_spec(c, &rules, &why);
	/* It may have come since that was read: another process knows it. */
	if (!s && c->absent && view->read_ms < c->came_ms)
		farm_get_since(c->req->gw->farm, c->came_ms, on_farm, c);
	else if (!s || read_idempotency(c, &why) < 0)
		respond_err(c->req, &why);
	else
		create_job(c, s);
}

static int
create(struct request *req, bool run, bool async)
{
	struct create *c = xcalloc(1, sizeof(*c));

	c->req = req;
	c->run = run;
	c->async = async;
	c->came_ms = clock_mono_ms();
	req->call = c;
	req->call_free = create_free;
	farm_get(req->gw->farm, on_farm, c);
	return 0;
}

static int
execute(struct request *req, struct err *err)
{
	(void)err;
	return create(req, false, false);
}

static int
execute_async(struct request *req, struct err *err)
{
	(void)err;
	return create(req, false, true);
}

static int
run(struct request *req, struct err *err)
{
	(void)err;
	return create(req, true, false);
}

static int
run_async(struct request *req, struct err *err)
{
	(void)err;
	return create(req, true, true);
}

const struct route route_job_execute = {
	.method = "POST",
	.path = "/execute",
	.scope = AUTH_SIGNED,
	.max_body = ROUTE_BODY_JOB,
	.summary = "Run code and answer with its result",
	.handle = execute,
};

const struct route route_job_execute_async = {
	.method = "POST",
	.path = "/execute/async",
	.scope = AUTH_SIGNED,
	.max_body = ROUTE_BODY_JOB,
	.summary = "Queue code and answer with the job's id",
	.handle = execute_async,
};

const struct route route_job_run = {
	.method = "POST",
	.path = "/run",
	.scope = AUTH_SIGNED,
	.max_body = ROUTE_BODY_JOB,
	.summary = "Run program text; its language is found in it",
	.handle = run,
};

const struct route route_job_run_async = {
	.method = "POST",
	.path = "/run/async",
	.scope = AUTH_SIGNED,
	.max_body = ROUTE_BODY_JOB,
	.summary = "Queue program text and answer with the job's id",
	.handle = run_async,
};
