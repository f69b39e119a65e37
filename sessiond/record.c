#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "cleanup.h"
#include "clock.h"
#include "io.h"
#include "log.h"
#include "mem.h"
#include "out.h"
#include "utf8.h"

enum {
	US = 1000000,
	MS = 1000,
	EVENT_MAX = 64 << 10,
	CUT_MAX = 128 << 10,
	TEXT_MAX = 512
};

struct event {
	int64_t delta_us;
	uint32_t len;
	uint8_t kind;
};

int
record_open(struct record *r, const char *dir, struct err *err)
{
	*r = (struct record){ .size = 0 };
	r->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (r->fd < 0)
		return err_errno(err, "make a file in `%s`", dir);
	return 0;
}

void
record_begin(struct record *r, uint64_t max, const char *shell, unsigned cols,
    unsigned rows)
{
	r->max = max;
	r->begun_wall_ms = clock_wall_ms();
	r->last_us = clock_mono_us();
	r->cols = cols;
	r->rows = rows;
	(void)snprintf(r->shell, sizeof(r->shell), "%s", shell);
}

void
record_close(struct record *r)
{
	if (r->fd >= 0)
		(void)close(r->fd);
	r->fd = -1;
}

static void
append(struct record *r, const struct event *e, const void *p)
{
	uint64_t size = sizeof(*e) + e->len;

	if (r->full || r->size + size > r->max ||
	    pwrite(r->fd, e, sizeof(*e), (off_t)r->size) !=
		(ssize_t)sizeof(*e) ||
	    pwrite(r->fd, p, e->len, (off_t)(r->size + sizeof(*e))) !=
		(ssize_t)e->len) {
		if (!r->full)
			log_warn(NULL, "a recording ends early|bytes=%" PRIu64,
			    r->size);
		r->full = true;
		return;
	}
	r->size += size;
}

void
record_add(struct record *r, enum record_kind kind, const void *p, size_t n,
    bool hidden)
{
	int64_t now = clock_mono_us();
	struct event e = { .kind = (uint8_t)kind };
	char stars[256];

	if (r->max == 0)
		return;
	e.delta_us = now - r->last_us;
	r->last_us = now;
	memset(stars, '*', sizeof(stars));
	while (n > 0) {
		size_t most = hidden ? sizeof(stars) : EVENT_MAX;

		e.len = (uint32_t)(n < most ? n : most);
		append(r, &e, hidden ? stars : p);
		p = (const char *)p + e.len;
		n -= e.len;
		e.delta_us = 0;
	}
}

/* ---- reading it again ---- */

struct reader {
	const struct record *r;
	uint64_t at;
	char *bytes; /* owned: EVENT_MAX */
	struct event event;
	int64_t us; /* since the begin */
};

static bool
next_event(struct reader *in)
{
	const struct record *r = in->r;
	struct event *e = &in->event;

	if (in->at + sizeof(*e) > r->size ||
	    pread(r->fd, e, sizeof(*e), (off_t)in->at) != (ssize_t)sizeof(*e) ||
	    e->len > EVENT_MAX ||
	    pread(r->fd, in->bytes, e->len, (off_t)(in->at + sizeof(*e))) !=
		(ssize_t)e->len)
		return false;
	in->at += sizeof(*e) + e->len;
	in->us += e->delta_us;
	return true;
}

static int
new_file(struct err *err)
{
	int fd = memfd_create("record", MFD_CLOEXEC);

	return fd >= 0 ? fd : err_errno(err, "make a memory file");
}

/* What script(1) begins its output with. */
static int
first_line(const struct record *r, char ret_text[TEXT_MAX])
{
	time_t at = (time_t)(r->begun_wall_ms / MS);
	char when[64];
	struct tm tm;

	(void)gmtime_r(&at, &tm);
	(void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S+00:00", &tm);
	return snprintf(ret_text, TEXT_MAX,
	    "Script started on %s [COMMAND=\"%s\" TERM=\"xterm-256color\" "
	    "COLUMNS=\"%u\" LINES=\"%u\"]\n",
	    when, r->shell, r->cols, r->rows);
}

int
record_typescript(const struct record *r, struct err *err)
{
	auto_close int fd = new_file(err);
	auto_free char *bytes = xmalloc(EVENT_MAX);
	struct reader in = { .r = r, .bytes = bytes };
	char line[TEXT_MAX];
	int n = first_line(r, line), copy = fd >= 0 ? dup(fd) : -1;
	gzFile gz = copy >= 0 ? gzdopen(copy, "wb") : NULL;
	bool ok;

	if (!gz) {
		if (copy >= 0)
			(void)close(copy);
		return fd < 0 ? -1 : err_errno(err, "compress a recording");
	}
	ok = gzwrite(gz, line, (unsigned)n) == n;
	while (ok && next_event(&in))
		if (in.event.kind == RECORD_OUTPUT)
			ok = gzwrite(gz, bytes, in.event.len) ==
			     (int)in.event.len;
	if (gzclose(gz) != Z_OK || !ok)
		return err_set(err, ERR_SYS, 0, "compress a recording");
	return steal_fd(&fd);
}

int
record_timing(const struct record *r, struct err *err)
{
	auto_close int fd = new_file(err);
	auto_free char *bytes = xmalloc(EVENT_MAX);
	struct reader in = { .r = r, .bytes = bytes };
	auto_fclose FILE *f = NULL;
	int64_t told_us = 0;

	if (fd < 0)
		return -1;
	f = fdopen(dup(fd), "w");
	while (f && next_event(&in)) {
		int64_t us = in.us - told_us;

		if (in.event.kind != RECORD_OUTPUT)
			continue;
		told_us = in.us;
		(void)fprintf(f, "%" PRId64 ".%06" PRId64 " %u\n", us / US,
		    us % US, in.event.len);
	}
	if (!f || fflush(f) != 0)
		return err_errno(err, "write a timing file");
	return steal_fd(&fd);
}

/*
 * A character may be cut by the end of an event: its first bytes wait for the
 * next event of the same kind, in rest.
 */
static void
print_event(FILE *f, const struct reader *in, struct buf *rest)
{
	struct out o;
	size_t whole;

	if (buf_add(rest, in->bytes, in->event.len) < 0)
		return;
	whole = utf8_whole(rest->data, rest->len);
	if (whole == 0)
		return;
	out_init(&o);
	out_text(&o, NULL, rest->data, whole);
	(void)fprintf(f, "[%" PRId64 ".%06" PRId64 ", \"%c\", %.*s]\n",
	    in->us / US, in->us % US, in->event.kind, (int)o.text.len,
	    o.text.data);
	out_done(&o);
	buf_consume(rest, whole);
}

int
record_asciicast(const struct record *r, struct err *err)
{
	auto_close int fd = new_file(err);
	auto_free char *bytes = xmalloc(EVENT_MAX);
	auto_buf struct buf out = { .cap = CUT_MAX },
			    typed = { .cap = CUT_MAX },
			    none = { .cap = CUT_MAX };
	struct reader in = { .r = r, .bytes = bytes };
	auto_fclose FILE *f = NULL;

	if (fd < 0)
		return -1;
	f = fdopen(dup(fd), "w");
	if (f)
		(void)fprintf(f,
		    "{\"version\": 2, \"width\": %u, \"height\": %u, "
		    "\"timestamp\": %" PRId64 ", \"command\": \"%s\", "
		    "\"env\": {\"TERM\": \"xterm-256color\"}}\n",
		    r->cols, r->rows, r->begun_wall_ms / MS, r->shell);
	while (f && next_event(&in))
		print_event(f, &in,
		    in.event.kind == RECORD_OUTPUT  ? &out
		    : in.event.kind == RECORD_INPUT ? &typed
						    : &none);
	if (!f || fflush(f) != 0)
		return err_errno(err, "write a recording");
	return steal_fd(&fd);
}
