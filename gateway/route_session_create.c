/*
 * POST /sessions: body -> spec -> a node with room -> a shim.
 *
 * The record is made in Redis first, with the node that is to have it, so that
 * a session that begins can always be found; then the node is asked.  One that
 * refuses leaves a record that expires.
 */
#include "routes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "gateway.h"
#include "json.h"
#include "keyring.h"
#include "mem.h"
#include "node_call.h"
#include "request.h"
#include "respond.h"
#include "session_call.h"
#include "session_spec.h"
#include "store.h"

#define PLACING_MS "60000" /* for a node to take it up */

struct create {
	struct request *req;
	struct session_spec spec;
	struct session_call *call; /* what the request's call becomes */
};

static void
create_free(void *p)
{
	struct create *c = p;

	session_spec_done(&c->spec);
	free(c);
}

static void
on_kept(void *ctx, const redisReply *r, const struct err *err)
{
	(void)ctx;
	(void)r;
	(void)err; /* its node says it again */
}

/* A client may ask for it by the container's name at once. */
static void
show_created(struct session_call *c, const struct node_answer *a)
{
	json_auto_t *record = NULL;
	auto_free char *text = NULL;
	struct err err;

	if (a->status == 200 && (record = json_parse(a->body, a->len, &err))) {
		const char *node = json_string_value(
		    json_object_get(c->node, "node"));
		const char *container = json_string_value(
		    json_object_get(record, "container"));
		char vcpu[24];

		(void)snprintf(vcpu, sizeof(vcpu), "%lld",
		    json_integer_value(json_object_get(record, "vcpu")));
		text = json_text(record);
		store_eval_str(c->req->gw->store, STORE_session_update, on_kept,
		    NULL, node ? node : "", c->id, "running", text, "60000",
		    container ? container : "", c->req->key->key.public_key,
		    vcpu, NULL);
	}
	session_call_show_record(c, a);
}

/* The request's call is from here on that of the session. */
static void
ask_node(struct create *c, const char *description)
{
	struct request *req = c->req;
	struct session_call *call = xcalloc(1, sizeof(*call));
	struct err err;

	session_call_init(call, req, "create");
	(void)snprintf(call->id, sizeof(call->id), "%s", c->spec.id);
	call->node = json_parse(description, strlen(description), &err);
	call->show = show_created;
	json_set_str(c->spec.body, "key", req->key->key.public_key);
	request_drop_body(req);
	call->own_body = json_text(c->spec.body);
	create_free(c);
	session_call_ask(call, true);
}

static const char *
shell_of(const struct create *c)
{
	return json_string_value(json_object_get(c->spec.body, "shell"));
}

static void
on_placed(void *ctx, const redisReply *r, const struct err *err)
{
	struct create *c = ctx;
	const char *word = store_reply_str(store_reply_at(r, 0), "");
	struct err why;

	if (err) {
		respond_err(c->req, err);
	} else if (strcmp(word, "busy") == 0) {
		session_call_busy(c->req, "vcpu",
		    store_reply_int(store_reply_at(r, 2), 0),
		    store_reply_int(store_reply_at(r, 3), 0));
	} else if (strcmp(word, "full") == 0) {
		(void)err_set(&why, ERR_UNAVAILABLE, 0,
		    "no node of this farm has room for a session right now");
		respond_err(c->req, &why);
	} else if (strcmp(word, "none") == 0) {
		(void)err_set(&why, ERR_LANGUAGE, 0,
		    "`shell` %s is not installed on this farm: GET /shells "
		    "lists what there is",
		    shell_of(c));
		respond_err(c->req, &why);
	} else {
		ask_node(c, store_reply_str(store_reply_at(r, 1), ""));
	}
}

static int
handle(struct request *req, struct err *err)
{
	const struct gateway *gw = req->gw;
	struct create *c = xcalloc(1, sizeof(*c));
	char vcpu[24], limit[24];

	c->req = req;
	if (session_spec_read(&c->spec, &gw->set, gw->langs, req->body.data,
		req->body.len, &req->query, err) < 0) {
		free(c);
		return -1;
	}
	req->call = c;
	req->call_free = create_free;
	(void)snprintf(vcpu, sizeof(vcpu), "%ld", c->spec.vcpu);
	(void)snprintf(limit, sizeof(limit), "%ld", req->key->key.concurrency);
	store_eval_str(req->gw->store, STORE_session_create, on_placed, c,
	    c->spec.id, req->key->key.public_key, vcpu, limit, PLACING_MS,
	    shell_of(c), "key", req->key->key.public_key, NULL);
	return 0;
}

const struct route route_session_create = {
	.method = "POST",
	.path = "/sessions",
	.scope = AUTH_SIGNED,
	.max_body = ROUTE_BODY_JOB,
	.summary = "Begin a session: a terminal in a sandbox of its own",
	.handle = handle,
};
