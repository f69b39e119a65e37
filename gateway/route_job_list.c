/* GET /jobs: the key's jobs, newest first. */
#include "routes.h"

#include <stdio.h>

#include "gateway.h"
#include "keyring.h"
#include "out.h"
#include "request.h"
#include "respond.h"
#include "store.h"
#include "view.h"

enum { LIMIT_DEFAULT = 100, LIMIT_MAX = 1000 };

static void
on_list(void *ctx, const redisReply *reply, const struct err *err)
{
	struct request *req = ctx;
	struct out o;
	size_t n = 0;

	if (err) {
		respond_err(req, err);
		return;
	}
	out_init(&o);
	out_open(&o, NULL, '{');
	out_open(&o, "jobs", '[');
	for (; store_reply_at(reply, n); n++)
		view_job_row(&o, store_reply_at(reply, n));
	out_close(&o, ']');
	out_int(&o, "count", (long long)n);
	out_close(&o, '}');
	respond_out(req, 200, &o);
}

static int
handle(struct request *req, struct err *err)
{
	long limit = LIMIT_DEFAULT;
	char text[24];

	if (query_get_int(&req->query, "limit", LIMIT_MAX, &limit, err) < 0)
		return -1;
	if (limit == 0)
		return err_set(err, ERR_INVALID, 0,
		    "query parameter `limit` must be 1 or more");
	(void)snprintf(text, sizeof(text), "%ld", limit);
	store_eval_str(req->gw->store, STORE_list, on_list, req,
	    req->key->key.public_key, text, NULL);
	return 0;
}

const struct route route_job_list = {
	.method = "GET",
	.path = "/jobs",
	.scope = AUTH_SIGNED,
	.max_body = ROUTE_BODY_SMALL,
	.summary = "List the key's jobs, newest first (?limit=N)",
	.handle = handle,
};
