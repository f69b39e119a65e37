#include "session_call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway.h"
#include "json.h"
#include "keyring.h"
#include "mem.h"
#include "request.h"
#include "respond.h"
#include "session_spec.h"
#include "session_view.h"
#include "store.h"
#include "stream.h"

static void
call_free(void *p)
{
	struct session_call *c = p;

	if (c->asked)
		node_call_cancel(c->asked);
	json_decref(c->record);
	json_decref(c->node);
	json_decref(c->head);
	free(c->own_body);
	free(c);
}

void
session_call_init(struct session_call *c, struct request *req, const char *name)
{
	c->req = req;
	c->head = json_object();
	json_set_str(c->head, "call", name);
	c->show = session_call_show_as_is;
	req->call = c;
	req->call_free = call_free;
}

struct session_call *
session_call_new(struct request *req, const char *name, struct err *err)
{
	struct session_call *c;

	if (!session_is_name(req->hit.id, req->hit.id_len)) {
		(void)err_set(err, ERR_NOT_FOUND, 0, "Session not found");
		return NULL;
	}
	c = xcalloc(1, sizeof(*c));
	session_call_init(c, req, name);
	request_path_id(req, c->id, sizeof(c->id));
	return c;
}

static void
refuse(struct session_call *c, enum err_code code, const char *why)
{
	struct err err;

	(void)err_set(&err, code, 0, "%s", why);
	respond_err(c->req, &err);
}

/* ---- the shim ---- */

static void
on_answer(void *ctx, const struct node_answer *a, const struct err *err)
{
	struct session_call *c = ctx;
	struct node_call *asked = c->asked;

	c->asked = NULL;
	if (err && c->away) {
		c->away(c, err);
		return;
	}
	if (err) {
		respond_err(c->req, err);
		return;
	}
	if (!a->body && a->status == 200) {
		char *read;
		size_t len;
		int fd = node_call_take(asked, &read, &len);

		stream_start(c->req, fd, read, len, a->type);
		return;
	}
	c->show(c, a);
}

void
session_call_ask(struct session_call *c, bool whole)
{
	const struct node_hooks hooks = { c, on_answer };
	const struct request *req = c->req;

	if (strcmp(c->state, "lost") == 0) {
		refuse(c, ERR_CONFLICT,
		    "the session was lost with its node; start another one");
		return;
	}
	if (!c->node) {
		refuse(c, ERR_UNAVAILABLE,
		    "the session's node does not answer right now");
		return;
	}
	json_set_str(c->head, "session", c->id);
	if (c->own_body)
		c->asked = node_call_start(req->gw, c->node, c->head,
		    c->own_body, strlen(c->own_body), &hooks);
	else
		c->asked = node_call_start(req->gw, c->node, c->head,
		    whole && req->body.data ? req->body.data : "",
		    whole ? req->body.len : 0, &hooks);
}

void
session_call_show_as_is(struct session_call *c, const struct node_answer *a)
{
	char *text = xstrndup(a->body ? a->body : "", a->len);

	respond_text(c->req, a->status, "application/json", text, a->len);
}

void
session_call_show_record(struct session_call *c, const struct node_answer *a)
{
	json_auto_t *record = NULL;
	struct err err;

	if (a->status != 200) {
		session_call_show_as_is(c, a);
		return;
	}
	record = json_parse(a->body, a->len, &err);
	if (!record) {
		respond_err(c->req, &err);
		return;
	}
	session_respond(c->req, record, NULL, true);
}

/* ---- Redis ---- */

static json_t *
parse_text(const redisReply *r)
{
	const char *text = store_reply_str(r, "");
	struct err err;

	return *text ? json_parse(text, strlen(text), &err) : NULL;
}

void
session_call_busy(
    struct request *req, const char *what, long long has, long long may)
{
	json_auto_t *body = NULL;
	struct err err;

	if (strcmp(what, "frozen") == 0)
		(void)err_set(&err, ERR_BUSY, 0,
		    "the key has %lld frozen sessions, and may have %lld: end "
		    "one",
		    has, may);
	else
		(void)err_set(&err, ERR_BUSY, 0,
		    "the key has sessions of %lld vcpu that are not frozen, "
		    "and may have %lld: end or freeze one",
		    has, may);
	body = respond_err_body(&err);
	json_set_int(body, "active", has);
	json_set_int(body, "limit", may);
	respond_header(req, "Retry-After", "5");
	respond_json(req, 429, body);
}

static void
on_found(void *ctx, const redisReply *r, const struct err *err)
{
	struct session_call *c = ctx;
	const char *id = store_reply_str(store_reply_at(r, 0), "");
	const char *refusal = store_reply_str(store_reply_at(r, 4), "");

	if (err) {
		respond_err(c->req, err);
		return;
	}
	if (!*id) {
		refuse(c, ERR_NOT_FOUND, "Session not found");
		return;
	}
	if (*refusal) {
		session_call_busy(c->req, refusal,
		    store_reply_int(store_reply_at(r, 5), 0),
		    store_reply_int(store_reply_at(r, 6), 0));
		return;
	}
	(void)snprintf(c->id, sizeof(c->id), "%s", id);
	(void)snprintf(c->state, sizeof(c->state), "%s",
	    store_reply_str(store_reply_at(r, 1), ""));
	c->record = parse_text(store_reply_at(r, 2));
	c->node = parse_text(store_reply_at(r, 3));
	if (c->found)
		c->found(c);
	else
		session_call_ask(c, true);
}

void
session_call_find(struct session_call *c, const char *key)
{
	const struct gateway *gw = c->req->gw;
	char frozen[24];

	(void)snprintf(
	    frozen, sizeof(frozen), "%ld", gw->set.gateway_frozen_sessions);
	store_eval_str(gw->store, STORE_session_find, on_found, c, key, c->id,
	    c->wish, frozen, NULL);
}
