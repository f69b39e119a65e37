/* GET /health: this process lives.  GET /ready: it can do something useful. */
#include "routes.h"

#include "farm.h"
#include "gateway.h"
#include "json.h"
#include "request.h"
#include "respond.h"

static int
handle_health(struct request *req, struct err *err)
{
	json_auto_t *body = json_object();

	(void)err;
	json_set_str(body, "status", "ok");
	respond_json(req, 200, body);
	return 0;
}

static const char *
what_is_missing(const struct gateway *gw, const struct farm_view *view)
{
	if (gw->draining)
		return "this gateway is shutting down";
	if (!view)
		return "Redis does not answer";
	if (view->n_workers == 0)
		return "no worker is alive";
	if (view->n_languages == 0)
		return "no live worker has a language";
	return NULL;
}

static void
on_farm(void *ctx, const struct farm_view *view, const struct err *err)
{
	struct request *req = ctx;
	const char *missing = what_is_missing(req->gw, view);
	json_auto_t *body = NULL;
	struct err why;

	(void)err;
	if (missing) {
		(void)err_set(
		    &why, ERR_UNAVAILABLE, 0, "not ready: %s", missing);
		respond_err(req, &why);
		return;
	}
	body = json_object();
	json_set_str(body, "status", "ready");
	json_set_int(body, "workers", (long long)view->n_workers);
	json_set_int(body, "languages", (long long)view->n_languages);
	respond_json(req, 200, body);
}

static int
handle_ready(struct request *req, struct err *err)
{
	(void)err;
	farm_get(req->gw->farm, on_farm, req);
	return 0;
}

const struct route route_health_read = {
	.method = "GET",
	.path = "/health",
	.scope = AUTH_PUBLIC,
	.max_body = ROUTE_BODY_SMALL,
	.summary = "This gateway lives",
	.handle = handle_health,
};

const struct route route_ready_read = {
	.method = "GET",
	.path = "/ready",
	.scope = AUTH_PUBLIC,
	.max_body = ROUTE_BODY_SMALL,
	.summary = "The farm can run jobs; 503 says what is missing",
	.handle = handle_ready,
};
