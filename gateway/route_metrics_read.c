/* GET /metrics: counters of this gateway and the state of the farm. */
#include "routes.h"

#include <stdlib.h>

#include "farm.h"
#include "gateway.h"
#include "request.h"
#include "respond.h"

enum { TEXT_MAX = 4 << 20 }; /* far above all rows of all tables */

static void
on_farm(void *ctx, const struct farm_view *view, const struct err *err)
{
	struct request *req = ctx;
	auto_buf struct buf out = { .cap = TEXT_MAX };
	struct metrics sum;
	size_t len = 0;
	char *text;

	(void)err;
	prefork_metrics(&req->gw->prefork, &sum);
	metrics_print(&sum, view, &out);
	text = buf_steal(&out, &len);
	respond_text(
	    req, 200, "text/plain; version=0.0.4; charset=utf-8", text, len);
}

static int
handle(struct request *req, struct err *err)
{
	(void)err;
	farm_get(req->gw->farm, on_farm, req);
	return 0;
}

const struct route route_metrics_read = {
	.method = "GET",
	.path = "/metrics",
	.scope = AUTH_PUBLIC,
	.max_body = ROUTE_BODY_SMALL,
	.summary = "Prometheus text",
	.handle = handle,
};
