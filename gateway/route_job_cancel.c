/*
 * DELETE /jobs/{id} and POST /jobs/{id}/cancel.  A waiting job ends at once; a
 * running one when its worker has stopped it, with the output so far.
 */
#include "routes.h"

#include <stdio.h>
#include <string.h>

#include "fault.h"
#include "gateway.h"
#include "job_call.h"
#include "keyring.h"
#include "request.h"
#include "respond.h"
#include "store.h"

enum { MS = 1000, HOLD_MS = 15000 /* a worker's way to kill and report */ };

static void
on_cancel(void *ctx, const redisReply *reply, const struct err *err)
{
	struct job_call *c = ctx;
	const char *word = store_reply_str(reply, "");
	struct err why;

	if (err) {
		respond_err(c->req, err);
	} else if (strcmp(word, "none") == 0) {
		(void)err_set(
		    &why, ERR_NOT_FOUND, 0, "Job not found or expired");
		respond_err(c->req, &why);
	} else if (strcmp(word, "wait") == 0) {
		job_call_wait(c);
	} else {
		job_call_start(c);
	}
}

static int
handle(struct request *req, struct err *err)
{
	char id[ID_MAX], ttl[24];
	struct job_call *c;

	if (job_call_path_id(req, id, err) < 0)
		return -1;
	c = job_call_new(req, id, VIEW_CANCEL, HOLD_MS);
	(void)snprintf(
	    ttl, sizeof(ttl), "%ld", req->gw->set.job_result_seconds * MS);
	FAULT(gateway_cancelling);
	store_eval_str(req->gw->store, STORE_cancel, on_cancel, c, id,
	    req->key->key.public_key, ttl, req->gw->id, NULL);
	return 0;
}

const struct route route_job_delete = {
	.method = "DELETE",
	.path = "/jobs/{id}",
	.scope = AUTH_SIGNED,
	.max_body = ROUTE_BODY_SMALL,
	.summary = "Cancel a job and answer with what it did so far",
	.handle = handle,
};

const struct route route_job_cancel = {
	.method = "POST",
	.path = "/jobs/{id}/cancel",
	.scope = AUTH_SIGNED,
	.max_body = ROUTE_BODY_SMALL,
	.summary = "The same as DELETE /jobs/{id}",
	.handle = handle,
};
