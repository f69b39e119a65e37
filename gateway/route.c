#include "route.h"

#include <string.h>
#include <strings.h>

#include "buf.h"

/* "/jobs/" and "/jobs" are one; "/" stays. */
static size_t
without_slashes(const char *path, size_t len)
{
	while (len > 1 && path[len - 1] == '/')
		len--;
	return len;
}

/* True when path fits pat; "{id}" stands for one segment that is not empty. */
static bool
path_fits(const char *pat, const char *path, size_t len, struct route_hit *hit)
{
	const char *end = path + len;

	while (*pat && path < end) {
		if (*pat == '{') {
			const char *slash = memchr(
			    path, '/', (size_t)(end - path));

			hit->id = path;
			hit->id_len = (size_t)((slash ? slash : end) - path);
			if (hit->id_len == 0)
				return false;
			path += hit->id_len;
			pat += strcspn(pat, "}") + 1;
			continue;
		}
		if (*pat++ != *path++)
			return false;
	}
	return *pat == '\0' && path == end;
}

/* Methods are case-sensitive; a GET route answers HEAD too. */
static bool
method_fits(const struct route *r, const char *method)
{
	return strcmp(r->method, method) == 0 ||
	       (strcmp(method, "HEAD") == 0 && strcmp(r->method, "GET") == 0);
}

enum route_verdict
route_find(
    const char *method, const char *path, size_t len, struct route_hit *ret_hit)
{
	enum route_verdict verdict = ROUTE_NO_PATH;

	len = without_slashes(path, len);
	for (size_t i = 0; i < route_table_len; i++) {
		struct route_hit hit = { .route = route_table[i] };

		if (!path_fits(hit.route->path, path, len, &hit))
			continue;
		if (method_fits(hit.route, method)) {
			*ret_hit = hit;
			return ROUTE_FOUND;
		}
		verdict = ROUTE_NO_METHOD;
	}
	return verdict;
}

void
route_allow(const char *path, size_t len, char ret_allow[ROUTE_ALLOW_MAX])
{
	struct buf out = { .data = ret_allow,
		.alloc = ROUTE_ALLOW_MAX,
		.cap = ROUTE_ALLOW_MAX - 1 };
	struct route_hit hit;

	ret_allow[0] = '\0';
	len = without_slashes(path, len);
	for (size_t i = 0; i < route_table_len; i++) {
		const struct route *r = route_table[i];

		if (!path_fits(r->path, path, len, &hit))
			continue;
		/* Borrowed storage of full size: what does not fit is left out.
		 */
		(void)!buf_addf(&out, "%s%s%s", out.len ? ", " : "", r->method,
		    strcmp(r->method, "GET") == 0 ? ", HEAD" : "");
	}
}

static bool
route_complete(const struct route *r)
{
	return r->method && r->path && r->path[0] == '/' && r->summary &&
	       r->handle && r->scope != AUTH_UNSET && r->max_body > 0;
}

const struct route *
route_table_check(void)
{
	for (size_t i = 0; i < route_table_len; i++)
		if (!route_complete(route_table[i]))
			return route_table[i];
	return NULL;
}

size_t
route_index(const struct route *r)
{
	size_t i = 0;

	while (i < route_table_len && route_table[i] != r)
		i++;
	return i;
}
