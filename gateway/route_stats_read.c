/* GET /stats and the other names that clients know it by. */
#include "routes.h"

#include <stdio.h>
#include <string.h>

#include "attr.h"
#include "farm.h"
#include "gateway.h"
#include "json.h"
#include "request.h"
#include "respond.h"

/* Loads are strings: clients print them as they come. */
static void
set_loads(json_t *o, const struct farm_view *v)
{
	static const char *const names[] = { "load_1min", "load_5min",
		"load_15min" };

	for (size_t k = 0; k < ARRAY_LEN(names); k++) {
		double sum = 0;
		char text[320]; /* the largest double has 309 digits */

		for (size_t i = 0; i < v->n_nodes; i++)
			sum += v->nodes[i].load[k];
		(void)snprintf(text, sizeof(text), "%.2f",
		    v->n_nodes ? sum / (double)v->n_nodes : 0);
		json_set_str(o, names[k], text);
	}
}

static long long
waiting_jobs(const struct farm_view *v)
{
	for (size_t i = 0; i < v->n_stats; i++)
		if (strcmp(v->stats[i].name, "waiting") == 0)
			return v->stats[i].value;
	return 0;
}

static void
on_farm(void *ctx, const struct farm_view *view, const struct err *err)
{
	struct request *req = ctx;
	json_auto_t *body = NULL;

	if (!view) {
		respond_err(req, err);
		return;
	}
	body = json_object();
	json_set_int(
	    body, "containers", view->busy + view->ready + view->spawning);
	set_loads(body, view);
	json_set_int(body, "jobs_running", view->running);
	json_set_int(body, "jobs_waiting", waiting_jobs(view));
	respond_json(req, 200, body);
}

static int
handle(struct request *req, struct err *err)
{
	(void)err;
	farm_get(req->gw->farm, on_farm, req);
	return 0;
}

#define STATS_ROUTE(name, path_, summary_)                                     \
	const struct route route_stats_##name = {                              \
		.method = "GET",                                               \
		.path = (path_),                                               \
		.scope = AUTH_PUBLIC,                                          \
		.max_body = ROUTE_BODY_SMALL,                                  \
		.summary = (summary_),                                         \
		.handle = handle,                                              \
	}

STATS_ROUTE(read, "/stats", "Load of the farm");
STATS_ROUTE(system_stats, "/system/stats", "The same as /stats");
STATS_ROUTE(system, "/system", "The same as /stats");
STATS_ROUTE(pool, "/pool", "The same as /stats");
STATS_ROUTE(status, "/status", "The same as /stats");
