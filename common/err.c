#include "err.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	int http;
	int exit_status;
	const char *wire;
	const char *text;
} err_table[] = {
#define ERR(name, http, exit_, wire, text)                                     \
	[ERR_##name] = { http, exit_, wire, text },
#include "errors.def"
#undef ERR
};
static_assert(ARRAY_LEN(err_table) == ERR__COUNT, "errors.def out of step");

/* ": why" behind the message, as far as there is room. */
static void
append(struct err *e, const char *why)
{
	char *end = e->msg + sizeof(e->msg) - 1, *p = e->msg + strlen(e->msg);

	for (const char *s = ": "; *s && p < end; s++)
		*p++ = *s;
	for (const char *s = why ? why : "unknown error"; *s && p < end; s++)
		*p++ = *s;
	*p = '\0';
}

int
err_set(struct err *e, enum err_code code, int sys, const char *fmt, ...)
{
	va_list ap;

	e->code = code;
	e->sys = sys;
	va_start(ap, fmt);
	if (vsnprintf(e->msg, sizeof(e->msg), fmt, ap) < 0)
		(void)snprintf(
		    e->msg, sizeof(e->msg), "%s", err_table[code].text);
	va_end(ap);

	if (sys != 0)
		append(e, strerrordesc_np(sys));
	return -1;
}

int
err_wrap(struct err *e, const char *fmt, ...)
{
	char inner[sizeof(e->msg)];
	va_list ap;

	assert(e->code != ERR_OK);
	memcpy(inner, e->msg, sizeof(inner));
	va_start(ap, fmt);
	(void)vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);

	append(e, inner);
	return -1;
}

int
err_http_status(enum err_code code)
{
	return err_table[code].http;
}

int
err_exit_status(enum err_code code)
{
	return err_table[code].exit_status;
}

const char *
err_wire_code(enum err_code code)
{
	return err_table[code].wire;
}

const char *
err_text(enum err_code code)
{
	return err_table[code].text;
}

void
die(const char *prog, const struct err *e)
{
	(void)fprintf(stderr, "%s: %s\n", prog, e->msg);
	exit(err_exit_status(e->code));
}
