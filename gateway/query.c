#include "query.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "cleanup.h"
#include "mem.h"

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that "%xx" at p stands for; -1 when it is none. */
static int
escape_value(const char *p, const char *end)
{
	int hi, lo;

	if (end - p < 3)
		return -1;
	hi = hex_value(p[1]);
	lo = hex_value(p[2]);
	return hi < 0 || lo < 0 ? -1 : hi << 4 | lo;
}

/* NULL for a broken sequence or a NUL. */
static char *
decode(const char *p, size_t n)
{
	const char *end = p + n;
	auto_free char *text = xcalloc(n + 1, 1);
	char *out = text;
	int c = 1;

	while (p < end && c > 0) {
		c = *p == '+' ? ' ' : (unsigned char)*p;
		if (*p == '%') {
			c = escape_value(p, end);
			p += c > 0 ? 2 : 0;
		}
		*out++ = (char)c;
		p++;
	}
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): auto_free */
	return c > 0 ? steal_ptr(&text) : NULL;
}

static bool
name_is(const char *p, size_t n, const char *name)
{
	auto_free char *text = decode(p, n);

	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): auto_free */
	return text && strcmp(text, name) == 0;
}

char *
query_get(const struct query *q, const char *name, struct err *err)
{
	const char *p = q->text, *end = q->text + q->len;

	err->code = ERR_OK;
	while (p < end) {
		const char *amp = memchr(p, '&', (size_t)(end - p));
		const char *stop = amp ? amp : end;
		const char *eq = memchr(p, '=', (size_t)(stop - p));

		if (name_is(p, (size_t)((eq ? eq : stop) - p), name)) {
			const char *v = eq ? eq + 1 : stop;
			char *text = decode(v, (size_t)(stop - v));

			if (!text)
				(void)err_set(err, ERR_INVALID, 0,
				    "query parameter `%s` is not URL-encoded "
				    "text",
				    name);
			return text;
		}
		p = stop + 1;
	}
	return NULL;
}

int
query_get_int(const struct query *q, const char *name, long max,
    long *ret_value, struct err *err)
{
	auto_free char *text = query_get(q, name, err);
	long v;

	if (!text)
		return err->code == ERR_OK ? 0 : -1;
	if (!*text || text[strspn(text, "0123456789")] != '\0')
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): auto_free */
		return err_set(err, ERR_INVALID, 0,
		    "query parameter `%s` must be a whole number", name);
	errno = 0;
	v = strtol(text, NULL, 10);
	*ret_value = errno != 0 || v > max ? max : v;
	return 1;
}
