/*
 * json_read.c - a parser for what nearly all JSON is.
 *
 * jansson looks at each character several times, through function pointers; of
 * a request with megabytes in a string that was most of the cost.  This one
 * makes the same values of objects, lists, strings, whole numbers and the three
 * words.  Of anything else, right or wrong, it only says that it does not know,
 * and jansson has the word: it reads fractions, and explains errors.  It must
 * never take what jansson refuses; tests/fuzz/fuzz_json.c compares them.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "json.h"
#include "mem.h"
#include "plain.h"
#include "utf8.h"

enum {
	DEPTH_MAX = 64,
	DIGITS_MAX = 18 /* of a number that is sure to fit */
};

struct reader {
	const char *p, *end;
	int depth;
};

/* A string as it stands in the text, without its quotes. */
struct raw {
	const char *p;
	size_t len;
	bool escaped; /* there are escapes in it */
};

static json_t *read_value(struct reader *r);

static void
skip_space(struct reader *r)
{
	while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' ||
				    *r->p == '\r' || *r->p == '\t'))
		r->p++;
}

/* The next character but for white space, if it is c. */
static bool
take(struct reader *r, char c)
{
	skip_space(r);
	if (r->p == r->end || *r->p != c)
		return false;
	r->p++;
	return true;
}

/* ---- strings ---- */

/* From behind the quote to behind the other one. */
static bool
read_raw(struct reader *r, struct raw *ret)
{
	*ret = (struct raw){ .p = r->p };
	while (r->p < r->end) {
		size_t n = plain_run(r->p, (size_t)(r->end - r->p));

		r->p += n;
		if (r->p == r->end)
			return false;
		if (*r->p == '"') {
			ret->len = (size_t)(r->p++ - ret->p);
			return true;
		}
		n = (size_t)(r->end - r->p);
		if (*r->p == '\\') {
			ret->escaped = true;
			n = n < 2 ? 0 : 2;
		} else {
			n = utf8_wide_run(r->p, n, n);
		}
		if (n == 0)
			return false;
		r->p += n;
	}
	return false;
}

/* Four digits behind "\u"; -1: they are none. */
static long
hex4(const char *p, const char *end)
{
	long v = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = p[i];
		int d = c >= '0' && c <= '9'   ? c - '0'
			: c >= 'a' && c <= 'f' ? c - 'a' + 10
			: c >= 'A' && c <= 'F' ? c - 'A' + 10
					       : -1;

		if (d < 0)
			return -1;
		v = v << 4 | d;
	}
	return v;
}

static char *
put_utf8(char *to, unsigned long c)
{
	if (c < 0x80) {
		*to++ = (char)c;
		return to;
	}
	if (c < 0x800) {
		*to++ = (char)(0xc0 | c >> 6);
	} else if (c < 0x10000) {
		*to++ = (char)(0xe0 | c >> 12);
		*to++ = (char)(0x80 | (c >> 6 & 0x3f));
	} else {
		*to++ = (char)(0xf0 | c >> 18);
		*to++ = (char)(0x80 | (c >> 12 & 0x3f));
		*to++ = (char)(0x80 | (c >> 6 & 0x3f));
	}
	*to++ = (char)(0x80 | (c & 0x3f));
	return to;
}

/* What stands behind "\u"; a surrogate needs the other half behind it. */
static const char *
unescape_code(const char *p, const char *end, char **to)
{
	long c = hex4(p, end), low;

	p += 4;
	if (c < 0 || (c >= 0xdc00 && c <= 0xdfff))
		return NULL;
	if (c >= 0xd800 && c <= 0xdbff) {
		if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
			return NULL;
		low = hex4(p + 2, end);
		if (low < 0xdc00 || low > 0xdfff)
			return NULL;
		c = 0x10000 + ((c & 0x3ff) << 10) + (low & 0x3ff);
		p += 6;
	}
	*to = put_utf8(*to, (unsigned long)c);
	return p;
}

/* What stands behind a backslash; behind it, or NULL when it is no escape. */
static const char *
unescape(const char *p, const char *end, char **to)
{
	static const char letters[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
	const char *at = *p ? strchr(letters, *p) : NULL;

	if (*p == 'u')
		return unescape_code(p + 1, end, to);
	if (!at)
		return NULL;
	*(*to)++ = means[at - letters];
	return p + 1;
}

/* Into `to`, which has room for as many bytes as are there. */
static bool
decode(const struct raw *raw, char *to, size_t *ret_len)
{
	const char *p = raw->p, *end = raw->p + raw->len;
	char *from = to;

	while (p && p < end) {
		size_t n = plain_copy(to, p, (size_t)(end - p));

		to += n;
		p += n;
		if (p == end)
			break;
		if (*p == '\\')
			p = unescape(p + 1, end, &to);
		else
			while (p < end && (signed char)*p < 0)
				*to++ = *p++;
	}
	*ret_len = (size_t)(to - from);
	return p != NULL;
}

static json_t *
read_string(struct reader *r)
{
	auto_free char *text = NULL;
	struct raw raw;
	size_t n;

	if (!read_raw(r, &raw))
		return NULL;
	if (!raw.escaped)
		return json_stringn_nocheck(raw.p, raw.len);
	text = xmalloc(raw.len);
	return decode(&raw, text, &n) ? json_stringn_nocheck(text, n) : NULL;
}

/* ---- the others ---- */

static json_t *
read_number(struct reader *r)
{
	bool minus = *r->p == '-';
	const char *from = r->p + minus, *p = from;
	long long v = 0;

	for (; p < r->end && *p >= '0' && *p <= '9' && p - from < DIGITS_MAX;
	     p++)
		v = v * 10 + (*p - '0');
	if (p == from || (*from == '0' && p - from > 1))
		return NULL;
	if (p < r->end &&
	    (*p == '.' || *p == 'e' || *p == 'E' || (*p >= '0' && *p <= '9')))
		return NULL;
	r->p = p;
	return json_integer(minus ? -v : v);
}

static json_t *
read_word(struct reader *r, const char *word, json_t *v)
{
	size_t n = strlen(word);

	if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n) != 0)
		return NULL;
	r->p += n;
	return v; /* the three are never freed */
}

static bool
read_items(struct reader *r, json_t *list)
{
	if (take(r, ']'))
		return true;
	do {
		if (json_array_append_new(list, read_value(r)) < 0)
			return false;
	} while (take(r, ','));
	return take(r, ']');
}

/* No name twice, and none that a C string cannot hold. */
static bool
read_member(struct reader *r, json_t *obj)
{
	json_auto_t *name = take(r, '"') ? read_string(r) : NULL;
	const char *key = json_string_value(name);

	if (!key || strlen(key) != json_string_length(name) ||
	    json_object_get(obj, key) || !take(r, ':'))
		return false;
	return json_object_set_new_nocheck(obj, key, read_value(r)) == 0;
}

static bool
read_members(struct reader *r, json_t *obj)
{
	if (take(r, '}'))
		return true;
	do {
		if (!read_member(r, obj))
			return false;
	} while (take(r, ','));
	return take(r, '}');
}

/* v is filled by read; NULL when that failed. */
static json_t *
read_inside(
    struct reader *r, json_t *v, bool (*read)(struct reader *, json_t *))
{
	bool ok = v && r->depth++ < DEPTH_MAX && read(r, v);

	r->depth--;
	if (ok)
		return v;
	json_decref(v);
	return NULL;
}

static json_t *
read_value(struct reader *r)
{
	skip_space(r);
	if (r->p == r->end)
		return NULL;
	switch (*r->p) {
	case '"':
		r->p++;
		return read_string(r);
	case '{':
		r->p++;
		return read_inside(r, json_object(), read_members);
	case '[':
		r->p++;
		return read_inside(r, json_array(), read_items);
	case 't':
		return read_word(r, "true", json_true());
	case 'f':
		return read_word(r, "false", json_false());
	case 'n':
		return read_word(r, "null", json_null());
	default:
		return read_number(r);
	}
}

json_t *
json_read(const char *text, size_t len)
{
	struct reader r = { .p = text, .end = text + len };
	json_t *v = read_value(&r);

	skip_space(&r);
	if (v && r.p == r.end)
		return v;
	json_decref(v);
	return NULL;
}
