#include "session_view.h"

#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "out.h"
#include "respond.h"

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
set_time(struct out *o, const char *name, int64_t ms)
{
	char text[CLOCK_ISO_LEN];

	clock_iso8601(ms, text);
	out_str(o, name, text);
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
set_twice(struct out *o, const char *a, const char *b, const char *value)
{
	out_str(o, a, value);
	out_str(o, b, value);
}

void
session_view(struct out *o, const json_t *record, const char *state,
    int64_t now_ms, bool success)
{
	char url[URL_MAX];
	/* The moment while artifacts are gathered is not worth a word. */
	const char *shown = strcmp(state, "ending") == 0 ? "terminated" : state;

	out_open(o, NULL, '{');
	if (success)
		out_bool(o, "success", true);
	set_twice(o, "id", "session_id", text_of(record, "id"));
	set_twice(o, "container_name", "name", text_of(record, "container"));
	set_twice(o, "status", "state", shown);
	out_str(o, "shell", text_of(record, "shell"));
	out_str(o, "network_mode", text_of(record, "net"));
	out_int(o, "vcpu", number_of(record, "vcpu"));
	out_int(o, "memory_mb", number_of(record, "memory_mb"));
	out_bool(o, "boosted",
	    number_of(record, "vcpu") > number_of(record, "base_vcpu"));
	out_str(o, "multiplexer", text_of(record, "multiplexer"));
	out_bool(
	    o, "persist", json_is_true(json_object_get(record, "persist")));
	out_bool(o, "audit", json_is_true(json_object_get(record, "audit")));
	out_int(o, "ttl", number_of(record, "ttl_ms") / MS);
	out_int(o, "remaining_ttl", left_s(record, state, now_ms));
	set_time(o, "created_at", number_of(record, "created"));
	set_time(o, "last_activity", number_of(record, "activity"));
	out_int(o, "idle_timeout", number_of(record, "idle_s"));
	out_int(o, "viewers", number_of(record, "viewers"));
	if (*text_of(record, "reason"))
		out_str(o, "reason", text_of(record, "reason"));
	(void)snprintf(
	    url, sizeof(url), "/sessions/%s/shell", text_of(record, "id"));
	out_str(o, "websocket_url", url);
}

void
session_respond(
    struct request *req, const json_t *record, const char *state, bool success)
{
	struct out o;

	out_init(&o);
	session_view(&o, record, state ? state : text_of(record, "state"),
	    clock_wall_ms(), success);
	out_close(&o, '}');
	respond_out(req, 200, &o);
}
