/*
 * GET /shells: what a session can start, see farm_has_shell().
 */
#include "routes.h"

#include <stdlib.h>

#include "farm.h"
#include "gateway.h"
#include "json.h"
#include "lang.h"
#include "request.h"
#include "respond.h"

static void
append(json_t *list, const char *name)
{
	if (json_array_append_new(list, json_string(name)) < 0)
		abort();
}

static json_t *
category_of(json_t *categories, const char *name)
{
	json_t *list = json_object_get(categories, name);

	if (list)
		return list;
	list = json_array();
	if (json_object_set_new(categories, name, list) < 0)
		abort();
	return list;
}

static void
on_farm(void *ctx, const struct farm_view *view, const struct err *err)
{
	struct request *req = ctx;
	const struct gateway *gw = req->gw;
	json_auto_t *body = json_object();
	json_t *list = json_array(), *categories = json_object();

	/* Without Redis what was read last is still an answer. */
	(void)view;
	(void)err;
	for (size_t i = 0; i < shell_count(gw->langs); i++) {
		const struct shell *s = shell_at(gw->langs, i);

		if (!farm_has_shell(gw->farm, i, s))
			continue;
		append(list, s->name);
		append(category_of(categories, s->category), s->name);
	}
	if (json_object_set_new(body, "shells", list) < 0 ||
	    json_object_set_new(body, "categories", categories) < 0)
		abort();
	json_set_int(body, "count", (long long)json_array_size(list));
	respond_json(req, 200, body);
}

static int
handle(struct request *req, struct err *err)
{
	(void)err;
	farm_get(req->gw->farm, on_farm, req);
	return 0;
}

const struct route route_shell_list = {
	.method = "GET",
	.path = "/shells",
	.scope = AUTH_PUBLIC,
	.max_body = ROUTE_BODY_SMALL,
	.summary = "Shells and REPLs",
	.handle = handle,
};
