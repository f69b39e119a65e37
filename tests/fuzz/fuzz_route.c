/* Paths of requests and the table of routes. */
#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "cleanup.h"
#include "fuzz.h"
#include "route.h"

static bool
allows(const char *allow, const char *method)
{
	size_t n = strlen(method);

	for (const char *p = allow; (p = strstr(p, method)); p += n)
		if ((p == allow || p[-1] == ' ') &&
		    (p[n] == '\0' || p[n] == ','))
			return true;
	return false;
}

static void
check_hit(const struct route_hit *hit, const char *path, size_t n)
{
	must(hit->route);
	must(!hit->id == !strchr(hit->route->path, '{'));
	if (!hit->id)
		return;
	must(hit->id >= path && hit->id + hit->id_len <= path + n);
	must(hit->id_len > 0 && !memchr(hit->id, '/', hit->id_len));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const methods[] = { "GET", "HEAD", "POST", "DELETE",
		"PUT", "PATCH", "OPTIONS", "get" };
	const char *path = (const char *)data; /* no NUL behind it */
	auto_free char *slash = malloc(size + 1);
	char allow[ROUTE_ALLOW_MAX];

	must(slash);
	memcpy(slash, path, size);
	slash[size] = '/';
	route_allow(path, size, allow);
	must(strlen(allow) < sizeof(allow));
	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		struct route_hit hit = { .id = NULL }, again = { .id = NULL };
		enum route_verdict v = route_find(methods[i], path, size, &hit);

		must((v == ROUTE_FOUND) == allows(allow, methods[i]));
		must((v == ROUTE_NO_PATH) == !*allow);
		if (v != ROUTE_FOUND)
			continue;
		check_hit(&hit, path, size);
		must(route_find(methods[i], slash, size + 1, &again) == v);
		must(again.route == hit.route && again.id_len == hit.id_len);
	}
	return 0;
}
