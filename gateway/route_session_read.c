/* GET /sessions and /sessions/{id}. */
#include "routes.h"

#include <string.h>

#include "clock.h"
#include "gateway.h"
#include "json.h"
#include "keyring.h"
#include "out.h"
#include "request.h"
#include "respond.h"
#include "session_call.h"
#include "session_view.h"
#include "store.h"

#define LIST_MAX "4000" /* the most that a node may have */

/* ---- one ---- */

static void
show_known(struct session_call *c)
{
	struct err err;

	if (!c->record) {
		(void)err_set(&err, ERR_NOT_FOUND, 0,
		    "Session not found: it has not begun");
		respond_err(c->req, &err);
		return;
	}
	session_respond(c->req, c->record, c->state, false);
}

static void
away(struct session_call *c, const struct err *err)
{
	(void)err;
	show_known(c);
}

static void
show(struct session_call *c, const struct node_answer *a)
{
	json_auto_t *record = NULL;
	struct err err;

	record = a->status == 200 ? json_parse(a->body, a->len, &err) : NULL;
	if (!record) {
		show_known(c); /* it ended meanwhile */
		return;
	}
	session_respond(c->req, record, NULL, false);
}

/* A live one says itself how it is; of others Redis knows the last word. */
static void
found(struct session_call *c)
{
	bool alive = strcmp(c->state, "running") == 0 ||
		     strcmp(c->state, "frozen") == 0;

	if (alive && c->node)
		session_call_ask(c, false);
	else
		show_known(c);
}

static int
handle(struct request *req, struct err *err)
{
	struct session_call *c = session_call_new(req, "get", err);

	if (!c)
		return -1;
	c->found = found;
	c->show = show;
	c->away = away;
	session_call_find(c, req->key->key.public_key);
	return 0;
}

const struct route route_session_read = {
	.method = "GET",
	.path = "/sessions/{id}",
	.scope = AUTH_SIGNED,
	.max_body = ROUTE_BODY_SMALL,
	.summary = "One session, by its id or its container's name",
	.handle = handle,
};

/* ---- all ---- */

static bool
add(struct out *o, const redisReply *r)
{
	const char *text = store_reply_str(r, "");
	json_auto_t *record = NULL;
	const char *state;
	struct err err;

	record = json_parse(text, strlen(text), &err);
	state = json_string_value(json_object_get(record, "state"));
	if (!state)
		return false;
	session_view(o, record, state, clock_wall_ms(), false);
	out_close(o, '}');
	return true;
}

static void
on_list(void *ctx, const redisReply *r, const struct err *err)
{
	struct request *req = ctx;
	long long count = 0;
	struct out o;

	if (err) {
		respond_err(req, err);
		return;
	}
	out_init(&o);
	out_open(&o, NULL, '{');
	out_open(&o, "sessions", '[');
	for (size_t i = 0; i < r->elements; i++)
		count += add(&o, r->element[i]);
	out_close(&o, ']');
	out_int(&o, "count", count);
	out_close(&o, '}');
	respond_out(req, 200, &o);
}

static int
handle_list(struct request *req, struct err *err)
{
	(void)err;
	store_eval_str(req->gw->store, STORE_session_list, on_list, req,
	    req->key->key.public_key, LIST_MAX, NULL);
	return 0;
}

const struct route route_session_list = {
	.method = "GET",
	.path = "/sessions",
	.scope = AUTH_SIGNED,
	.max_body = ROUTE_BODY_SMALL,
	.summary = "The key's sessions that are not over",
	.handle = handle_list,
};
