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

#include "buf.h"
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
	LINK_MAX = 64 << 10, /* bytes of a file under one hash */
	NAME_LEN_MAX = 64,
	CUT_MAX = 128 << 10,
	TEXT_MAX = 512
};

/* As it is in the file: no byte of it is left to chance. */
struct event {
	int64_t delta_us;
	uint32_t len;
	uint8_t kind, unused[3];
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
link_on(unsigned char chain[DIGEST_SIZE], const struct event *e, const void *p)
{
	struct digest d;

	digest_begin(&d);
	digest_bytes(&d, chain, DIGEST_SIZE);
	digest_bytes(&d, e, sizeof(*e));
	digest_bytes(&d, p, e->len);
	digest_end(&d, chain);
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
	link_on(r->chain, e, p);
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

/* ---- changes ---- */

bool
record_intact(const struct record *r)
{
	auto_free char *bytes = xmalloc(EVENT_MAX);
	struct reader in = { .r = r, .bytes = bytes };
	unsigned char chain[DIGEST_SIZE] = { 0 };

	while (next_event(&in))
		link_on(chain, &in.event, bytes);
	return in.at == r->size && memcmp(chain, r->chain, DIGEST_SIZE) == 0;
}

/* block: room for what goes into one hash. */
static void
add_links(FILE *f, const struct record_file *file, char *block,
    char head[SECRET_SIG_LEN + 1])
{
	off_t at = 0;

	for (;;) {
		int begin = snprintf(block, SECRET_SIG_LEN + NAME_LEN_MAX + 1,
		    "%s%.*s", head, NAME_LEN_MAX, file->name);
		ssize_t n = pread(file->fd, block + begin, LINK_MAX, at);

		if (n <= 0)
			return;
		secret_sha256(block, (size_t)begin + (size_t)n, head);
		(void)fprintf(f, "%s %s\n", head, file->name);
		at += n;
	}
}

int
record_chain(const struct record_file *files, size_t n,
    char ret_head[SECRET_SIG_LEN + 1], struct err *err)
{
	auto_close int fd = new_file(err);
	auto_free char *block = xmalloc(
	    SECRET_SIG_LEN + NAME_LEN_MAX + LINK_MAX);
	auto_fclose FILE *f = NULL;
	char head[SECRET_SIG_LEN + 1] = "";

	if (fd < 0)
		return -1;
	f = fdopen(dup(fd), "w");
	for (size_t i = 0; f && i < n; i++)
		add_links(f, &files[i], block, head);
	if (!f || fflush(f) != 0)
		return err_errno(err, "write the chain of a recording");
	memcpy(ret_head, head, sizeof(head));
	return steal_fd(&fd);
}
