/*
 * What is done with a session that is there: freeze, unfreeze, boost, unboost,
 * command calls, and its end.  Each is one call to its shim.
 */
#include "routes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "clock.h"
#include "gateway.h"
#include "json.h"
#include "keyring.h"
#include "out.h"
#include "query.h"
#include "request.h"
#include "respond.h"
#include "session_call.h"
#include "session_view.h"
#include "spec.h"

enum { BOOST = 2, VCPU_MAX = 8, US = 1000 };

static struct session_call *
begin(struct request *req, const char *name, struct err *err)
{
	struct session_call *c = session_call_new(req, name, err);

	if (!c)
		return NULL;
	c->show = session_call_show_record;
	return c;
}

static int
go(struct session_call *c)
{
	session_call_find(c, c->req->key->key.public_key);
	return 0;
}

/* ---- freezing ---- */

/* With the time that stopping its processes, or letting them go on, took. */
static void
show_timed(struct session_call *c, const struct node_answer *a, bool thawed)
{
	json_auto_t *record = NULL;
	struct err err;
	struct out o;
	json_int_t us;

	record = a->status == 200 ? json_parse(a->body, a->len, &err) : NULL;
	if (!record) {
		session_call_show_as_is(c, a);
		return;
	}
	us = json_integer_value(json_object_get(record, "freezer_us"));
	out_init(&o);
	session_view(
	    &o, record, thawed ? "running" : "frozen", clock_wall_ms(), true);
	if (thawed)
		out_int(&o, "unfreeze_time_ms", us / US);
	out_int(&o, thawed ? "unfreeze_time_us" : "freeze_time_us", us);
	out_close(&o, '}');
	respond_out(c->req, 200, &o);
}

static void
show_frozen(struct session_call *c, const struct node_answer *a)
{
	show_timed(c, a, false);
}

static void
show_thawed(struct session_call *c, const struct node_answer *a)
{
	show_timed(c, a, true);
}

static int
handle_freeze(struct request *req, struct err *err)
{
	struct session_call *c = begin(req, "freeze", err);

	request_drop_body(req);
	if (!c)
		return -1;
	c->show = show_frozen;
	(void)snprintf(c->wish, sizeof(c->wish), "freeze");
	return go(c);
}

static int
handle_unfreeze(struct request *req, struct err *err)
{
	struct session_call *c = begin(req, "thaw", err);

	request_drop_body(req);
	if (!c)
		return -1;
	c->show = show_thawed;
	(void)snprintf(c->wish, sizeof(c->wish), "thaw");
	return go(c);
}

/* ---- its size ---- */

static int
handle_boost(struct request *req, struct err *err)
{
	json_auto_t *o = spec_object(req->body.data, req->body.len, err);
	long long vcpu = BOOST;
	struct session_call *c;

	if (!o || json_get_int(o, "vcpu", 1, VCPU_MAX, &vcpu, err) < 0)
		return -1;
	c = begin(req, "boost", err);
	request_drop_body(req);
	if (!c)
		return -1;
	json_set_int(c->head, "vcpu", vcpu);
	(void)snprintf(c->wish, sizeof(c->wish), "%lld", vcpu);
	return go(c);
}

static int
handle_unboost(struct request *req, struct err *err)
{
	struct session_call *c = begin(req, "boost", err);

	request_drop_body(req);
	return c ? go(c) : -1; /* without a number: as it began */
}

/* ---- command calls ---- */

static int
handle_execute(struct request *req, struct err *err)
{
	json_auto_t *o = spec_object(req->body.data, req->body.len, err);
	struct session_call *c;

	if (!o)
		return -1;
	c = begin(req, "exec", err);
	if (!c)
		return -1;
	c->show = session_call_show_as_is;
	(void)snprintf(c->wish, sizeof(c->wish), "thaw");
	return go(c);
}

/* ---- its end ---- */

static void
end_found(struct session_call *c)
{
	struct out o;

	if (strcmp(c->state, "lost") != 0) {
		session_call_ask(c, false);
		return;
	}
	out_init(&o);
	session_view(&o, c->record, "lost", clock_wall_ms(), true);
	out_str(&o, "message", "Session was lost with its node");
	out_open(&o, "artifacts", '[');
	out_close(&o, ']');
	out_close(&o, '}');
	respond_out(c->req, 200, &o);
}

static int
handle_end(struct request *req, struct err *err)
{
	auto_free char *audit = query_get(&req->query, "audit", err);
	struct session_call *c = begin(req, "end", err);

	request_drop_body(req);
	if (!c)
		return -1;
	c->show = session_call_show_as_is;
	c->found = end_found;
	json_set_bool(c->head, "audit", audit && strcmp(audit, "0") != 0);
	return go(c);
}

const struct route route_session_freeze = {
	.method = "POST",
	.path = "/sessions/{id}/freeze",
	.scope = AUTH_SIGNED,
	.max_body = ROUTE_BODY_SMALL,
	.summary = "Stop all processes of a session, and its time",
	.handle = handle_freeze,
};

const struct route route_session_unfreeze = {
	.method = "POST",
	.path = "/sessions/{id}/unfreeze",
	.scope = AUTH_SIGNED,
	.max_body = ROUTE_BODY_SMALL,
	.summary = "Let a frozen session go on",
	.handle = handle_unfreeze,
};

const struct route route_session_boost = {
	.method = "POST",
	.path = "/sessions/{id}/boost",
	.scope = AUTH_SIGNED,
	.max_body = ROUTE_BODY_SMALL,
	.summary = "More processors and memory, at once",
	.handle = handle_boost,
};

const struct route route_session_unboost = {
	.method = "POST",
	.path = "/sessions/{id}/unboost",
	.scope = AUTH_SIGNED,
	.max_body = ROUTE_BODY_SMALL,
	.summary = "As many as it began with",
	.handle = handle_unboost,
};

const struct route route_session_resize = {
	.method = "PATCH",
	.path = "/sessions/{id}",
	.scope = AUTH_SIGNED,
	.max_body = ROUTE_BODY_SMALL,
	.summary = "The same as boost",
	.handle = handle_boost,
};

const struct route route_session_shell = {
	.method = "POST",
	.path = "/sessions/{id}/shell",
	.scope = AUTH_SIGNED,
	.max_body = ROUTE_BODY_JOB,
	.summary = "Run a command in a session, beside its terminal",
	.handle = handle_execute,
};

const struct route route_session_execute = {
	.method = "POST",
	.path = "/sessions/{id}/execute",
	.scope = AUTH_SIGNED,
	.max_body = ROUTE_BODY_JOB,
	.summary = "The same as POST /sessions/{id}/shell",
	.handle = handle_execute,
};

const struct route route_session_end = {
	.method = "DELETE",
	.path = "/sessions/{id}",
	.scope = AUTH_SIGNED,
	.max_body = ROUTE_BODY_SMALL,
	.summary = "End a session, and get its artifacts",
	.handle = handle_end,
};
