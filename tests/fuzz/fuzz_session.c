/* A query, a newline, and the body of POST /sessions: what a node is told. */
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "fuzz.h"
#include "json.h"
#include "lang.h"
#include "query.h"
#include "session_spec.h"
#include "settings.h"

static const struct settings *
the_settings(void)
{
	static struct settings set;

	if (set.gateway_port == 0)
		settings_default(&set);
	return &set;
}

static const char *
text_of(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	must(s);
	return s;
}

static json_int_t
number_of(const json_t *o, const char *name)
{
	const json_t *v = json_object_get(o, name);

	must(json_is_integer(v));
	return json_integer_value(v);
}

static void
check_texts(const json_t *list, size_t least)
{
	const json_t *s;
	size_t i;

	must(json_is_array(list) && json_array_size(list) >= least);
	json_array_foreach (list, i, s)
		must(json_is_string(s));
}

static void
check_files(const json_t *list)
{
	const json_t *one;
	size_t i;

	must(
	    json_is_array(list) &&
	    json_array_size(list) <= (size_t)the_settings()->gateway_max_files);
	json_array_foreach (list, i, one) {
		must_be_inside(text_of(one, "name"));
		(void)text_of(one, "content_base64");
	}
}

static void
check_size(const json_t *o, const char *name)
{
	must(!json_object_get(o, name) ||
	     (number_of(o, name) >= 1 && number_of(o, name) <= 1000));
}

static void
check(const struct session_spec *s)
{
	const struct settings *set = the_settings();
	const char *multiplexer = text_of(s->body, "multiplexer");
	bool known = false;

	must(session_is_name(s->id, strlen(s->id)));
	must(strcmp(text_of(s->body, "id"), s->id) == 0);
	must(strcmp(text_of(s->body, "net"), "zerotrust") == 0);
	must(!*multiplexer || strcmp(multiplexer, "tmux") == 0 ||
	     strcmp(multiplexer, "screen") == 0);
	must(s->vcpu >= 1 && s->vcpu <= 8);
	must(number_of(s->body, "vcpu") == s->vcpu);
	must(number_of(s->body, "ttl_ms") >= 1000 &&
	     number_of(s->body, "ttl_ms") <=
		 set->sessiond_max_ttl_seconds * 1000);
	for (size_t i = 0; i < shell_count(fuzz_langs()); i++)
		known |= strcmp(shell_at(fuzz_langs(), i)->name,
			     text_of(s->body, "shell")) == 0;
	must(known);
	must(json_is_boolean(json_object_get(s->body, "persist")) &&
	     json_is_boolean(json_object_get(s->body, "audit")));
	check_texts(json_object_get(s->body, "argv"), 1);
	check_texts(json_object_get(s->body, "env"), 1);
	check_files(json_object_get(s->body, "files"));
	check_size(s->body, "cols");
	check_size(s->body, "rows");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, size };
	auto_free char *query_text = feed_line(&f);
	const struct query query = { query_text, strlen(query_text) };
	struct err err = { .code = ERR_OK };
	struct session_spec spec;
	auto_free char *text = NULL;

	if (session_spec_read(&spec, the_settings(), fuzz_langs(),
		(const char *)f.p, f.left, &query, &err) < 0) {
		must(err.code != ERR_OK && *err.msg && !spec.body);
		return 0;
	}
	check(&spec);
	text = json_text(spec.body);
	must_be_json(text, strlen(text));
	session_spec_done(&spec);
	return 0;
}
