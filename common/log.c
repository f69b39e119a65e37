#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"

enum { LOG_LINE_MAX = 2048, LOG_TEXT_MAX = 1500 };

int log_max_level = LOG_INFO;
static const char *log_prog = "?";

void
log_init(const char *progname, int max_level)
{
	log_prog = progname;
	log_max_level = max_level;
}

int
log_level_from_name(const char *name)
{
	static const struct {
		const char *name;
		int level;
	} levels[] = {
		{ "error", LOG_ERR },
		{ "warning", LOG_WARNING },
		{ "info", LOG_INFO },
		{ "debug", LOG_DEBUG },
	};

	for (size_t i = 0; i < ARRAY_LEN(levels); i++)
		if (strcmp(levels[i].name, name) == 0)
			return levels[i].level;
	return -1;
}

/* A value in quotes: control bytes and quotes must not break the line. */
static void
add_quoted(struct buf *out, const char *s, size_t n)
{
	(void)buf_add_some(out, "\"", 1);
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '"' || c == '\\')
			(void)!buf_addf(out, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			(void)!buf_addf(out, "\\x%02x", c);
		else
			(void)buf_add_some(out, &s[i], 1);
	}
	(void)buf_add_some(out, "\"", 1);
}

/* Fields after the bar are trusted to be k=v, but never to hold a newline. */
static void
add_fields(struct buf *out, const char *s)
{
	for (; *s; s++)
		(void)buf_add_some(out, (unsigned char)*s < 0x20 ? "_" : s, 1);
}

/* One write(2) per line, so lines from many processes never interleave. */
void
log_at(
    int level, const char *file, int line, const char *id, const char *fmt, ...)
{
	char text[LOG_TEXT_MAX], storage[LOG_LINE_MAX];
	/* Borrowed storage, full size from the start: never reallocated. */
	struct buf out = { .data = storage,
		.alloc = sizeof(storage),
		.cap = sizeof(storage) - 2 };
	int saved = errno;
	struct timespec ts;
	const char *bar;
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	(void)!buf_addf(&out, "<%d>ts=%lld.%03ld prog=%s pid=%d ", level,
	    (long long)ts.tv_sec, ts.tv_nsec / 1000000, log_prog,
	    (int)getpid());
	if (id) {
		add_fields(&out, id);
		(void)buf_add_some(&out, " ", 1);
	}
	bar = strchrnul(text, '|');
	(void)!buf_adds(&out, "msg=");
	add_quoted(&out, text, (size_t)(bar - text));
	if (*bar == '|') {
		(void)buf_add_some(&out, " ", 1);
		add_fields(&out, bar + 1);
	}
	(void)!buf_addf(&out, " src=%s:%d", file, line);
	out.data[out.len++] = '\n';
	(void)!write(STDERR_FILENO, out.data, out.len);
	errno = saved;
}
