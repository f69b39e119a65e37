#pragma once
/*
 * node_call.h - a call to the sessiond of a node (common/link.h).
 *
 * One connection a call.  It belongs to the request that made it: an answer
 * finds its request alive, because that is suspended meanwhile; a client that
 * hangs up is noticed by what the answer is written to.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "err.h"

struct gateway;
struct node_call;

struct node_answer {
	int status;
	const char *type; /* of the body */
	const char *body; /* borrowed; NULL when it comes in pieces */
	size_t len;
};

struct node_hooks {
	void *ctx;
	/*
	 * The answer, complete, or err.  One without a length comes at its
	 * head: then the caller takes the connection (node_call_take()), or the
	 * call ends there.  Runs once, from the loop.
	 */
	void (*done)(
	    void *ctx, const struct node_answer *a, const struct err *err);
};

/*
 * node: the node's own description as Redis has it.  head is borrowed; body is
 * borrowed for the call, and copied.  A call that cannot begin is told by done,
 * too.
 */
struct node_call *
node_call_start(struct gateway *gw, const json_t *node, const json_t *head,
    const char *body, size_t len, const struct node_hooks *hooks);
/* In done(), of an answer without a length: its descriptor, and what has been
 * read of its body already, both the caller's. */
int node_call_take(struct node_call *c, char **ret_read, size_t *ret_len);
/* All of them end now, with ERR_UNAVAILABLE. */
void node_calls_fail(struct gateway *gw);
/* done() will not be called. */
void node_call_cancel(struct node_call *c);
