#pragma once
/*
 * session_call.h - a request about one session: find it, ask its shim, answer.
 */
#include <jansson.h>
#include <stdbool.h>

#include "err.h"
#include "node_call.h"

struct request;

struct session_call {
	struct request *req;
	char id[64];    /* its id, once it was found */
	char state[24]; /* what Redis says */
	char wish[24];  /* what for: session_find.lua looks at the limits */
	json_t *record; /* owned: what its shim said last; NULL: nothing yet */
	json_t *node;   /* owned: how to reach its node; NULL: it is away */
	json_t *head;   /* owned: of the call */
	char *own_body; /* owned: sent instead of the request's; or NULL */
	struct node_call *asked; /* NULL: none is under way */
	/* The answer of the shim; it answers the request. */
	void (*show)(struct session_call *c, const struct node_answer *a);
	/* The node does not answer: answer anyway.  NULL: with the error. */
	void (*away)(struct session_call *c, const struct err *err);
	/* Instead of a call: answer from what is in Redis.  May be NULL. */
	void (*found)(struct session_call *c);
};

/*
 * Hangs a call on the request.  The session is found by the request's path and
 * key; then found() answers, or head is sent to its shim and show() does.
 * ERR_NOT_FOUND when the path can name none.
 */
struct session_call *
session_call_new(struct request *req, const char *name, struct err *err);
/* One that is set up by hand: hangs c, which it owns, on the request. */
void session_call_init(
    struct session_call *c, struct request *req, const char *name);
void session_call_find(struct session_call *c, const char *key);
/* 429: the key has as much as it may have; what: "vcpu" or "frozen". */
void session_call_busy(
    struct request *req, const char *what, long long has, long long may);
/* To the shim; the request's body goes with it when whole is set. */
void session_call_ask(struct session_call *c, bool whole);

/* Shows a record, with "success":true. */
void
session_call_show_record(struct session_call *c, const struct node_answer *a);
/* Shows what the shim said, as it is. */
void
session_call_show_as_is(struct session_call *c, const struct node_answer *a);
