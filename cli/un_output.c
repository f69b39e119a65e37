#include "un_output.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"

static const char reset[] = "\033[0m";

static const char *const escapes[] = {
	[UN_PLAIN] = "",
	[UN_BLUE] = "\033[34m",
	[UN_RED] = "\033[31m",
	[UN_BOLD_RED] = "\033[1;31m",
	[UN_GREEN] = "\033[32m",
	[UN_YELLOW] = "\033[33m",
};
static_assert(ARRAY_LEN(escapes) == UN_COLOUR__COUNT, "a colour is missing");

bool
un_output_coloured(FILE *f)
{
	const char *term = getenv("TERM");

	return isatty(fileno(f)) && !getenv("NO_COLOR") &&
	       !(term && strcmp(term, "dumb") == 0);
}

/* Write errors stay in the stream's error flag: un_output_flush() reports. */
void
un_output_bytes(FILE *f, enum un_colour c, const char *p, size_t n)
{
	bool colour = c != UN_PLAIN && un_output_coloured(f);

	if (n == 0)
		return;
	if (colour)
		(void)fputs(escapes[c], f);
	(void)fwrite(p, 1, n, f);
	if (colour)
		(void)fputs(reset, f);
	(void)fflush(f);
}

/* Replaces what a terminal would obey: C0 but tab and newline, DEL, and C1. */
static void
defuse(char *s)
{
	for (unsigned char *p = (unsigned char *)s; *p; p++) {
		if ((*p < 0x20 && *p != '\n' && *p != '\t') || *p == 0x7f)
			*p = '?';
		if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
			p[0] = p[1] = '?';
	}
}

static void printf_like(4, 0) print_line(
    FILE *f, enum un_colour c, const char *prefix, const char *fmt, va_list ap)
{
	bool colour = c != UN_PLAIN && un_output_coloured(f);
	auto_free char *text = NULL;

	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	defuse(text);
	(void)fprintf(f, "%s%s%s%s\n", colour ? escapes[c] : "", prefix, text,
	    colour ? reset : "");
}

void
un_output_line(FILE *f, enum un_colour c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print_line(f, c, "", fmt, ap);
	va_end(ap);
}

void
un_output_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print_line(stderr, UN_BOLD_RED, "Error: ", fmt, ap);
	va_end(ap);
}

int
un_output_refuse(int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print_line(stderr, UN_BOLD_RED, "Error: ", fmt, ap);
	va_end(ap);
	return status;
}

/* Asked of the pipe: the errno of an early write is gone by the end. */
static bool
reader_gone(void)
{
	struct pollfd out = { .fd = STDOUT_FILENO };

	return poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLHUP));
}

bool
un_output_flush(void)
{
	errno = 0;
	if (fflush(stdout) == 0 && !ferror(stdout))
		return true;
	if (!reader_gone())
		un_output_error("write standard output: %s",
		    errno ? strerror(errno) : "some of it was lost");
	return false;
}
