#include "out.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "json.h"
#include "utf8.h"

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

/* Names are ours, and literals. */
static void
begin(struct out *o, const char *name)
{
	if (o->comma)
		add(o, ",", 1);
	o->comma = true;
	if (!name)
		return;
	add(o, "\"", 1);
	add(o, name, strlen(name));
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

static void
add_escaped(struct out *o, unsigned char c, bool last)
{
	static const char letters[] = {
		['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't', ['"'] = '"', ['\\'] = '\\'
	};
	char text[8];
	int n;

	if (c < sizeof(letters) && letters[c] && !(c == '\\' && last))
		n = snprintf(text, sizeof(text), "\\%c", letters[c]);
	else
		n = snprintf(text, sizeof(text), "\\u%04x", c);
	add(o, text, (size_t)n);
}

/* last: nothing follows in this string. */
static void
add_valid(struct out *o, const char *s, size_t n, bool last)
{
	size_t from = 0;

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		add(o, s + from, i - from);
		add_escaped(o, c, last && i + 1 == n);
		from = i + 1;
	}
	add(o, s + from, n - from);
}

static void
add_text(struct out *o, const char *s, size_t n, bool last)
{
	auto_buf struct buf clean = { .cap = SIZE_MAX / 4 };

	if (utf8_valid(s, n)) {
		add_valid(o, s, n, last);
		return;
	}
	if (utf8_sanitize(s, n, &clean) < 0)
		abort();
	add_valid(o, clean.data, clean.len, last);
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
out_value(struct out *o, const char *name, const json_t *v)
{
	auto_free char *text = NULL;

	if (json_is_string(v)) {
		out_text(o, name, json_string_value(v), json_string_length(v));
	} else if (json_is_integer(v)) {
		out_int(o, name, json_integer_value(v));
	} else if (json_is_boolean(v)) {
		out_bool(o, name, json_is_true(v));
	} else {
		text = json_text(v);
		begin(o, name);
		add(o, text, strlen(text));
	}
}
