#include "session_view.h"

#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "json.h"

enum { MS = 1000, URL_MAX = 96 };

static const char *
text_of(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s ? s : "";
}

static int64_t
number_of(const json_t *o, const char *name)
{
	return json_integer_value(json_object_get(o, name));
}

static void
set_time(json_t *o, const char *name, int64_t ms)
{
	char text[CLOCK_ISO_LEN];

	clock_iso8601(ms, text);
	json_set_str(o, name, text);
}

/* Its time stands still while it is frozen. */
static int64_t
left_s(const json_t *record, const char *state, int64_t now_ms)
{
	int64_t used = number_of(record, "used_ms");
	int64_t left;

	if (strcmp(state, "running") == 0)
		used += now_ms - number_of(record, "counted_at");
	left = (number_of(record, "ttl_ms") - used) / MS;
	return left > 0 && (strcmp(state, "running") == 0 ||
			       strcmp(state, "frozen") == 0)
		   ? left
		   : 0;
}

static void
set_twice(json_t *o, const char *a, const char *b, const char *value)
{
	json_set_str(o, a, value);
	json_set_str(o, b, value);
}

json_t *
session_view(
    const json_t *record, const char *state, int64_t now_ms, bool success)
{
	json_t *o = json_object();
	char url[URL_MAX];
	/* The moment while artifacts are gathered is not worth a word. */
	const char *shown = strcmp(state, "ending") == 0 ? "terminated" : state;

	if (success)
		json_set_bool(o, "success", true);
	set_twice(o, "id", "session_id", text_of(record, "id"));
	set_twice(o, "container_name", "name", text_of(record, "container"));
	set_twice(o, "status", "state", shown);
	json_set_str(o, "shell", text_of(record, "shell"));
	json_set_str(o, "network_mode", text_of(record, "net"));
	json_set_int(o, "vcpu", number_of(record, "vcpu"));
	json_set_int(o, "memory_mb", number_of(record, "memory_mb"));
	json_set_bool(o, "boosted",
	    number_of(record, "vcpu") > number_of(record, "base_vcpu"));
	json_set_str(o, "multiplexer", text_of(record, "multiplexer"));
	json_set_bool(
	    o, "persist", json_is_true(json_object_get(record, "persist")));
	json_set_bool(
	    o, "audit", json_is_true(json_object_get(record, "audit")));
	json_set_int(o, "ttl", number_of(record, "ttl_ms") / MS);
	json_set_int(o, "remaining_ttl", left_s(record, state, now_ms));
	set_time(o, "created_at", number_of(record, "created"));
	set_time(o, "last_activity", number_of(record, "activity"));
	json_set_int(o, "idle_timeout", number_of(record, "idle_s"));
	json_set_int(o, "viewers", number_of(record, "viewers"));
	if (*text_of(record, "reason"))
		json_set_str(o, "reason", text_of(record, "reason"));
	(void)snprintf(
	    url, sizeof(url), "/sessions/%s/shell", text_of(record, "id"));
	json_set_str(o, "websocket_url", url);
	return o;
}
