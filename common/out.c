#include "out.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "b64.h"
#include "cleanup.h"
#include "json.h"
#include "plain.h"
#include "utf8.h"

enum {
	ESCAPE_MAX = 6,   /* of one byte */
	PIECE = 16 << 10, /* of text, for which room is made at once */
};

void
out_init(struct out *o)
{
	*o = (struct out){ .text = { .cap = SIZE_MAX / 4 } };
}

void
out_done(struct out *o)
{
	buf_done(&o->text);
}

char *
out_steal(struct out *o, size_t *ret_len)
{
	return buf_steal(&o->text, ret_len);
}

/* What is shown was bounded where it came in: only memory can be out. */
static void
add(struct out *o, const char *s, size_t n)
{
	if (buf_add(&o->text, s, n) < 0)
		abort();
}

/* The escape of c, at most ESCAPE_MAX bytes; the end of it. */
static char *
put_escaped(char *to, unsigned char c, bool last)
{
	static const char letters[] = {
		['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't', ['"'] = '"', ['\\'] = '\\'
	};
	static const char hex[] = "0123456789abcdef";

	*to++ = '\\';
	if (c < sizeof(letters) && letters[c] && !(c == '\\' && last)) {
		*to++ = letters[c];
		return to;
	}
	to = mempcpy(to, "u00", 3);
	*to++ = hex[c >> 4];
	*to++ = hex[c & 15];
	return to;
}

/*
 * Writes what stands for the first bytes of s, up to `most` of them or a few
 * more, where a character goes on; how many those were.  There is room for
 * ESCAPE_MAX bytes for each.  last: nothing follows s in this string.
 */
static size_t
put_text(char **to, const char *s, size_t n, size_t most, bool last)
{
	size_t i = 0;

	while (i < most) {
		size_t plain = plain_copy(*to, s + i, most - i), len;
		unsigned char c;

		*to += plain;
		i += plain;
		if (i == most)
			break;
		c = (unsigned char)s[i];
		if (c < 0x80) {
			*to = put_escaped(*to, c, last && i + 1 == n);
			i++;
			continue;
		}
		len = utf8_wide_run(s + i, n - i, most - i);
		*to = len > 0 ? mempcpy(*to, s + i, len)
			      : mempcpy(*to, "\xef\xbf\xbd", 3);
		i += len > 0 ? len : 1;
	}
	return i;
}

static void
add_text(struct out *o, const char *s, size_t n, bool last)
{
	while (n > 0) {
		size_t most = n < PIECE ? n : PIECE, used;
		char *from, *to;

		/* A character is not longer than the escapes of its bytes. */
		if (buf_reserve(&o->text, (most + 3) * ESCAPE_MAX) < 0)
			abort();
		from = to = o->text.data + o->text.len;
		used = put_text(&to, s, n, most, last);
		buf_grew(&o->text, (size_t)(to - from));
		s += used;
		n -= used;
	}
}

static void
begin(struct out *o, const char *name)
{
	if (o->comma)
		add(o, ",", 1);
	o->comma = true;
	if (!name)
		return;
	add(o, "\"", 1);
	add_text(o, name, strlen(name), true);
	add(o, "\":", 2);
}

void
out_open(struct out *o, const char *name, char bracket)
{
	begin(o, name);
	add(o, &bracket, 1);
	o->comma = false;
}

void
out_close(struct out *o, char bracket)
{
	add(o, &bracket, 1);
	o->comma = true;
}

void
out_joined(struct out *o, const char *name, const char *a, size_t n_a,
    const char *b, size_t n_b)
{
	begin(o, name);
	add(o, "\"", 1);
	add_text(o, a, n_a, n_b == 0);
	add_text(o, b, n_b, true);
	add(o, "\"", 1);
}

void
out_text(struct out *o, const char *name, const char *s, size_t n)
{
	out_joined(o, name, s, n, "", 0);
}

void
out_str(struct out *o, const char *name, const char *s)
{
	out_text(o, name, s, strlen(s));
}

void
out_int(struct out *o, const char *name, long long v)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%lld", v);

	begin(o, name);
	add(o, text, (size_t)n);
}

void
out_bool(struct out *o, const char *name, bool v)
{
	begin(o, name);
	add(o, v ? "true" : "false", v ? 4 : 5);
}

void
out_base64(struct out *o, const char *name, const void *p, size_t n)
{
	size_t len = b64_encoded_len(n);

	begin(o, name);
	add(o, "\"", 1);
	if (buf_reserve(&o->text, len) < 0)
		abort();
	b64_encode_to(o->text.data + o->text.len, p, n);
	buf_grew(&o->text, len);
	add(o, "\"", 1);
}

static void
out_list(struct out *o, const char *name, const json_t *list)
{
	out_open(o, name, '[');
	for (size_t i = 0; i < json_array_size(list); i++)
		out_value(o, NULL, json_array_get(list, i));
	out_close(o, ']');
}

static void
out_object(struct out *o, const char *name, const json_t *obj)
{
	const char *key;
	json_t *v;

	out_open(o, name, '{');
	/* It only asks for a pointer that is not const. */
	json_object_foreach ((json_t *)(uintptr_t)obj, key, v)
		out_value(o, key, v);
	out_close(o, '}');
}

/* A number with a fraction, or null. */
static void
out_rest(struct out *o, const char *name, const json_t *v)
{
	auto_free char *text = json_text(v);

	begin(o, name);
	add(o, text, strlen(text));
}

void
out_value(struct out *o, const char *name, const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		out_object(o, name, v);
		break;
	case JSON_ARRAY:
		out_list(o, name, v);
		break;
	case JSON_STRING:
		out_text(o, name, json_string_value(v), json_string_length(v));
		break;
	case JSON_INTEGER:
		out_int(o, name, json_integer_value(v));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		out_bool(o, name, json_is_true(v));
		break;
	case JSON_REAL:
	case JSON_NULL:
		out_rest(o, name, v);
		break;
	}
}
