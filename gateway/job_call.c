#include "job_call.h"

#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "fault.h"
#include "gateway.h"
#include "keyring.h"
#include "mem.h"
#include "out.h"
#include "request.h"
#include "respond.h"
#include "store.h"
#include "waiters.h"

enum { MS = 1000 };

static waiter_cb on_event;

void
job_call_init(struct job_call *c, struct request *req, const char *id,
    enum view_shape shape, int64_t hold_ms)
{
	c->req = req;
	c->shape = shape;
	c->hold_ms = hold_ms;
	(void)snprintf(c->id, sizeof(c->id), "%s", id);
	(void)snprintf(req->job, sizeof(req->job), "job=%s", id);
	if (hold_ms > 0)
		c->waiter = waiter_new(req->gw->waiters, id, on_event, c);
}

void
job_call_done(struct job_call *c)
{
	waiter_free(c->waiter);
	c->waiter = NULL;
	json_decref(c->large);
	c->large = NULL;
}

static void
call_free(void *call)
{
	job_call_done(call);
	free(call);
}

struct job_call *
job_call_new(
    struct request *req, const char *id, enum view_shape shape, int64_t hold_ms)
{
	struct job_call *c = xcalloc(1, sizeof(*c));

	job_call_init(c, req, id, shape, hold_ms);
	req->call = c;
	req->call_free = call_free;
	return c;
}

/* ---- the answer ---- */

/* The call may be freed by what this does; nothing may follow it. */
static void
answer_err(struct job_call *c, const struct err *err)
{
	job_call_done(c);
	respond_err(c->req, err);
}

static void
answer_job(struct job_call *c, const struct job_record *rec)
{
	struct out o;

	FAULT(gateway_answering);
	out_init(&o);
	view_job(&o, rec, c->shape);
	job_call_done(c);
	respond_out(c->req, 200, &o);
}

/* Nobody waits for the answer. */
static void
cancel_job(const struct job_call *c)
{
	struct gateway *gw = c->req->gw;
	char ttl[24];

	(void)snprintf(
	    ttl, sizeof(ttl), "%ld", gw->set.job_result_seconds * MS);
	store_eval_str(gw->store, STORE_cancel, NULL, NULL, c->id,
	    c->req->key->key.public_key, ttl, "", NULL);
}

static void
answer_gone(struct job_call *c)
{
	struct err err;

	c->req->gw->metrics->counters[METRIC_clients_gone]++;
	if (c->owner)
		cancel_job(c);
	/* Whoever only closed its sending side still reads this. */
	(void)err_set(&err, ERR_TIMEOUT, 0,
	    "the connection was closed while the job ran");
	answer_err(c, &err);
}

/* ---- reading ---- */

static void read_job(struct job_call *c, const char *channel);

static void
on_large(void *ctx, const redisReply *reply, const struct err *err)
{
	struct job_call *c = ctx;

	json_decref(c->large);
	c->large = err ? NULL : job_result_from_reply(reply);
}

/* The result, and behind it once more the record, which is final. */
static void
ask_for_large(struct job_call *c)
{
	struct store *s = c->req->gw->store;

	c->asked = true;
	store_command(s, on_large, c, "GET %sbody:%s", store_prefix(s), c->id);
	read_job(c, "");
}

static void
keep_waiting(struct job_call *c)
{
	if (c->ended) {
		read_job(c, "");
		return;
	}
	if (!c->armed)
		job_call_wait(c);
}

/*
 * A lost connection to Redis is no reason to give a running job up: when it is
 * back, waiters_look() makes us read again.
 */
static void
read_failed(struct job_call *c, const struct err *err)
{
	struct err why = *err;

	c->asked = false;
	if (c->armed && !c->last && err->code == ERR_UNAVAILABLE)
		return;
	if (c->armed)
		(void)err_wrap(&why, "job %s", c->id);
	answer_err(c, &why);
}

static void
read_ok(struct job_call *c, const redisReply *reply)
{
	struct job_record rec;
	struct err err;

	if (job_record_from_reply(&rec, c->id, reply, &err) < 0) {
		answer_err(c, &err);
		return;
	}
	if (rec.large && !c->asked) {
		ask_for_large(c);
		return;
	}
	if (rec.large)
		rec.result = steal_ptr(&c->large);
	if (job_state_final(rec.state) || c->last || c->hold_ms == 0)
		answer_job(c, &rec);
	else
		keep_waiting(c);
	job_record_done(&rec);
}

static void
on_read(void *ctx, const redisReply *reply, const struct err *err)
{
	struct job_call *c = ctx;

	c->reading = false;
	if (c->gone)
		answer_gone(c);
	else if (err)
		read_failed(c, err);
	else
		read_ok(c, reply);
}

static void
read_job(struct job_call *c, const char *channel)
{
	c->reading = true;
	c->ended = false;
	store_eval_str(c->req->gw->store, STORE_read, on_read, c, c->id,
	    c->req->key->key.public_key, channel, NULL);
}

void
job_call_start(struct job_call *c)
{
	read_job(c, c->hold_ms > 0 ? c->req->gw->id : "");
}

/* ---- waiting ---- */

static bool
is_ours(const struct job_call *c, const struct job_record *rec)
{
	return strcmp(rec->owner, c->req->key->key.public_key) == 0;
}

static void
on_event(void *ctx, enum wait_event event, const struct job_record *rec)
{
	struct job_call *c = ctx;

	if (event == WAIT_GONE)
		c->gone = true;
	else if (event == WAIT_EXPIRED)
		c->last = true;
	else
		c->ended = true;
	if (c->reading || !c->armed)
		return; /* the reply, or job_call_wait(), sees to it */
	if (c->gone)
		answer_gone(c);
	else if (rec && is_ours(c, rec))
		answer_job(c, rec);
	else
		read_job(c, "");
}

void
job_call_wait(struct job_call *c)
{
	int fd = MHD_get_connection_info(
	    c->req->conn, MHD_CONNECTION_INFO_CONNECTION_FD)
		     ->connect_fd;

	request_drop_body(c->req);
	c->armed = true;
	waiter_arm(c->waiter, c->hold_ms, fd);
	FAULT(gateway_waiting);
	if (c->ended)
		read_job(c, "");
}

int
job_call_path_id(struct request *req, char ret_id[ID_MAX], struct err *err)
{
	if (req->hit.id_len < ID_MAX) {
		memcpy(ret_id, req->hit.id, req->hit.id_len);
		ret_id[req->hit.id_len] = '\0';
		if (id_is_job(ret_id))
			return 0;
	}
	return err_set(err, ERR_NOT_FOUND, 0, "Job not found or expired");
}
