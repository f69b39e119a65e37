#include "un_execute.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "b64.h"
#include "buf.h"
#include "cleanup.h"
#include "un_input.h"
#include "un_source.h"
#include "utf8.h"

/* Jansson fails only without memory once a string is known to be UTF-8. */
static void
set(json_t *obj, const char *name, json_t *value)
{
	if (!value || json_object_set_new_nocheck(obj, name, value) < 0)
		abort();
}

static void
append(json_t *list, json_t *value)
{
	if (!value || json_array_append_new(list, value) < 0)
		abort();
}

static int
env_add(json_t *body, const struct un_list *env, struct err *err)
{
	json_auto_t *vars = json_object();

	if (env->n == 0)
		return 0;
	for (size_t i = 0; i < env->n; i++) {
		const char *text = env->items[i].value;
		size_t n = (size_t)(strchrnul(text, '=') - text);

		if (!utf8_valid(text, strlen(text)))
			return err_set(err, ERR_INVALID, 0,
			    "variable `%.*s` is not UTF-8 text", (int)n, text);
		if (json_object_setn_new_nocheck(vars, text, n,
			json_string_nocheck(text[n] ? text + n + 1 : "")) < 0)
			abort();
	}
	set(body, "env", json_incref(vars));
	return 0;
}

static int
args_add(json_t *body, char *const *args, int n, struct err *err)
{
	json_auto_t *list = json_array();

	if (n <= 0)
		return 0;
	for (int i = 0; i < n; i++) {
		if (!utf8_valid(args[i], strlen(args[i])))
			return err_set(err, ERR_INVALID, 0,
			    "program argument %d is not UTF-8 text", i + 1);
		append(list, json_string_nocheck(args[i]));
	}
	set(body, "args", json_incref(list));
	return 0;
}

/* Bytes that are no text travel as base64, under their own name. */
static int
stdin_add(json_t *body, struct err *err)
{
	auto_buf struct buf data = { .cap = UN_SOURCE_MAX };
	auto_free char *text = NULL;

	if (un_source_read_stdin(&data, err) < 0)
		return -1;
	if (!data.data || utf8_valid(data.data, data.len)) {
		set(body, "stdin",
		    json_stringn_nocheck(data.data ? data.data : "", data.len));
		return 0;
	}
	text = b64_encode(data.data, data.len);
	set(body, "stdin_base64", json_string_nocheck(text));
	return 0;
}

json_t *
un_execute_body(const struct un_execute *x, const struct un_source *source,
    char *const *args, int n_args, struct err *err)
{
	json_auto_t *body = json_object();
	json_t *language = json_string(
	    x->language ? x->language : source->language);

	if (!language) {
		(void)err_set(err, ERR_LANGUAGE, 0, "language is not text");
		return NULL;
	}
	set(body, "language", language);
	set(body, "code",
	    json_stringn_nocheck(source->code.data, source->code.len));
	if (un_input_add(body, &x->files, x->yes, err) < 0 ||
	    env_add(body, &x->env, err) < 0)
		return NULL;
	if (x->artifacts || x->output)
		set(body, "return_artifact", json_true());
	if (x->vcpu)
		set(body, "vcpu", json_integer(x->vcpu));
	if (x->network)
		set(body, "network_mode", json_string_nocheck(x->network));
	if (x->ttl)
		set(body, "ttl", json_integer(x->ttl));
	if (args_add(body, args, n_args, err) < 0 ||
	    (x->stdin_wanted && stdin_add(body, err) < 0))
		return NULL;
	return json_incref(body);
}
