/* GET /languages: what some live worker can run. */
#include "routes.h"

#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "farm.h"
#include "gateway.h"
#include "json.h"
#include "lang.h"
#include "mem.h"
#include "request.h"
#include "respond.h"

/* Clients look for these names in the list, though some are aliases. */
static const char *const listed_aliases[] = { "awk", "powershell", "dotnet",
	"deno", "lisp", "swift", "objc", "commonlisp" };

static bool
is_listed(const char *alias)
{
	for (size_t i = 0; i < ARRAY_LEN(listed_aliases); i++)
		if (strcmp(listed_aliases[i], alias) == 0)
			return true;
	return false;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names and aliases of one language that runs. */
static size_t
add_lang(const struct lang *l, const char **names, size_t n, json_t *aliases)
{
	names[n++] = l->name;
	for (size_t i = 0; i < l->aliases.n; i++) {
		const char *alias = l->aliases.items[i];

		json_set_str(aliases, alias, l->name);
		if (is_listed(alias))
			names[n++] = alias;
	}
	return n;
}

/* Sorted; the list before the aliases, as clients take the first "[". */
static json_t *
languages_body(const struct gateway *gw)
{
	size_t most = lang_count(gw->langs) + ARRAY_LEN(listed_aliases), n = 0;
	const char **names = xcalloc(most, sizeof(*names));
	json_t *body = json_object(), *list = json_array(),
	       *aliases = json_object();

	for (size_t i = 0; i < lang_count(gw->langs); i++)
		if (farm_runs(gw->farm, lang_at(gw->langs, i)))
			n = add_lang(lang_at(gw->langs, i), names, n, aliases);
	qsort(names, n, sizeof(*names), by_name);
	for (size_t i = 0; i < n; i++)
		if (json_array_append_new(list, json_string(names[i])) < 0)
			abort();
	free(names);
	if (json_object_set_new(body, "languages", list) < 0 ||
	    json_object_set_new(body, "aliases", aliases) < 0)
		abort();
	json_set_int(body, "count", (long long)n);
	return body;
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
	body = languages_body(req->gw);
	respond_json(req, 200, body);
}

static int
handle(struct request *req, struct err *err)
{
	(void)err;
	farm_get(req->gw->farm, on_farm, req);
	return 0;
}

const struct route route_language_list = {
	.method = "GET",
	.path = "/languages",
	.scope = AUTH_PUBLIC,
	.max_body = ROUTE_BODY_SMALL,
	.summary = "Languages that a live worker can run",
	.handle = handle,
};
