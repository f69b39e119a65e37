#include "json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "io.h"
#include "utf8.h"

json_t *
json_parse(const char *text, size_t len, struct err *err)
{
	json_t *v = json_read(text, len);
	json_error_t why;

	if (v)
		return v;
	v = json_loadb(text, len,
	    JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
	if (!v)
		(void)err_set(err, ERR_INVALID, 0,
		    "not valid JSON at line %d, column %d: %s", why.line,
		    why.column, why.text);
	return v;
}

json_t *
json_parse_file(const char *path, size_t max, struct err *err)
{
	auto_buf struct buf text = { .cap = max };
	json_t *v;

	if (io_read_file(AT_FDCWD, path, &text, err) < 0)
		return NULL;
	v = json_parse(text.data ? text.data : "", text.len, err);
	if (!v)
		(void)err_wrap(err, "%s", path);
	return v;
}

char *
json_text(const json_t *v)
{
	char *s = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);

	if (!s)
		abort();
	return s;
}

static int
wrong(struct err *err, const char *name, const char *want)
{
	return err_set(err, ERR_INVALID, 0, "`%s` must be %s", name, want);
}

int
json_get_int(const json_t *obj, const char *name, long long min, long long max,
    long long *ret_value, struct err *err)
{
	const json_t *v = json_object_get(obj, name);
	long long n;
	char *end;

	if (!v || json_is_null(v))
		return 0;
	if (json_is_integer(v)) {
		n = json_integer_value(v);
	} else if (json_is_string(v) && json_string_length(v) > 0) {
		errno = 0;
		n = strtoll(json_string_value(v), &end, 10);
		if (errno != 0 || *end != '\0')
			return wrong(err, name, "a whole number");
	} else {
		return wrong(err, name, "a whole number");
	}
	if (n < min || n > max)
		return err_set(err, ERR_INVALID, 0,
		    "`%s` must be between %lld and %lld", name, min, max);
	*ret_value = n;
	return 1;
}

int
json_get_bool(
    const json_t *obj, const char *name, bool *ret_value, struct err *err)
{
	const json_t *v = json_object_get(obj, name);
	const char *s = json_string_value(v);

	if (!v || json_is_null(v))
		return 0;
	if (json_is_boolean(v))
		*ret_value = json_is_true(v);
	else if (json_is_integer(v) && json_integer_value(v) >> 1 == 0)
		*ret_value = json_integer_value(v) == 1;
	else if (s && (strcmp(s, "true") == 0 || strcmp(s, "false") == 0))
		*ret_value = s[0] == 't';
	else
		return wrong(err, name, "true or false");
	return 1;
}

int
json_get_str(const json_t *obj, const char *name, const char **ret_value,
    size_t *ret_len, struct err *err)
{
	const json_t *v = json_object_get(obj, name);

	if (!v || json_is_null(v))
		return 0;
	if (!json_is_string(v))
		return wrong(err, name, "a string");
	*ret_value = json_string_value(v);
	if (ret_len)
		*ret_len = json_string_length(v);
	else if (strlen(*ret_value) != json_string_length(v))
		return wrong(err, name, "a string without NUL characters");
	return 1;
}

static void
set_new(json_t *obj, const char *name, json_t *v)
{
	if (!v || json_object_set_new(obj, name, v) < 0)
		abort();
}

void
json_set_text(json_t *obj, const char *name, const char *s, size_t n)
{
	auto_buf struct buf clean = { .cap = SIZE_MAX / 4 };

	if (utf8_valid(s, n)) {
		set_new(obj, name, json_stringn_nocheck(s, n));
		return;
	}
	if (utf8_sanitize(s, n, &clean) < 0)
		abort();
	set_new(obj, name, json_stringn_nocheck(clean.data, clean.len));
}

void
json_set_str(json_t *obj, const char *name, const char *s)
{
	json_set_text(obj, name, s, strlen(s));
}

void
json_set_int(json_t *obj, const char *name, long long v)
{
	set_new(obj, name, json_integer(v));
}

void
json_set_bool(json_t *obj, const char *name, bool v)
{
	set_new(obj, name, json_boolean(v));
}
