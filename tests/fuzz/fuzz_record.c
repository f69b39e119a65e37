/*
 * What a terminal printed and was typed, in the ring and in a recording: steps,
 * of which each begins with a byte.  The ring has the last bytes, each with its
 * offset; the recording's exports are what their readers want, and script(1)'s
 * two files have what was printed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>
#include <zlib.h>

#include "buf.h"
#include "cleanup.h"
#include "fuzz.h"
#include "json.h"
#include "log.h"
#include "record.h"
#include "ring.h"
#include "utf8.h"

enum { RING = 700, ALL_MAX = 128 << 10, TEXT_MAX = 8 * ALL_MAX };

static struct {
	const char *dir;
	struct ring ring;
	struct record record;
	struct buf all; /* that was printed */
} run;

/* ---- the ring ---- */

static void
check_ring(uint64_t from, size_t n)
{
	const struct ring *r = &run.ring;
	auto_free char *got = malloc(n + 1);
	size_t k;

	must(got && r->end == run.all.len && r->start <= r->end);
	must(r->end - r->start ==
	     (run.all.len < RING ? run.all.len : (size_t)RING));
	k = ring_read(r, from, got, n);
	must(k <= n);
	must(k == 0 || (from >= r->start && from + k <= r->end));
	must(k == 0 || memcmp(got, run.all.data + from, k) == 0);
	must(k > 0 || n == 0 || from < r->start || from >= r->end);
}

static void
read_through(void)
{
	const struct ring *r = &run.ring;
	char piece[64];
	uint64_t at = r->start;
	size_t n;

	while ((n = ring_read(r, at, piece, sizeof(piece))) > 0) {
		must(memcmp(piece, run.all.data + at, n) == 0);
		at += n;
	}
	must(at == r->end);
}

/* ---- the exports ---- */

static char *
take_file(int fd, size_t *ret_len)
{
	off_t n = lseek(fd, 0, SEEK_END);
	char *p = malloc((size_t)n + 1);

	must(n >= 0 && p && pread(fd, p, (size_t)n, 0) == n);
	p[n] = '\0';
	*ret_len = (size_t)n;
	(void)close(fd);
	return p;
}

/* Returns how much of what was printed is in it. */
static size_t
check_typescript(void)
{
	auto_buf struct buf text = { .cap = TEXT_MAX };
	struct err err;
	char piece[4096];
	const char *line;
	gzFile gz;
	int fd = record_typescript(&run.record, &err), n;

	must(fd >= 0 && lseek(fd, 0, SEEK_SET) == 0);
	gz = gzdopen(fd, "rb");
	must(gz);
	while ((n = gzread(gz, piece, sizeof(piece))) > 0)
		must(buf_add(&text, piece, (size_t)n) == 0);
	must(n == 0 && gzclose(gz) == Z_OK);
	must(text.len > 0 && strncmp(text.data, "Script started on ", 18) == 0);
	line = strchr(text.data, '\n');
	must(line);
	buf_consume(&text, (size_t)(line + 1 - text.data));
	must(text.len <= run.all.len);
	must(text.len == 0 || memcmp(text.data, run.all.data, text.len) == 0);
	return text.len;
}

static void
check_timing(size_t printed)
{
	struct err err;
	size_t n, sum = 0;
	int fd = record_timing(&run.record, &err);
	auto_free char *text = NULL;
	char *at;

	must(fd >= 0);
	text = at = take_file(fd, &n);
	while (*at) {
		char *end;

		must(strtod(at, &end) >= 0 && *end == ' ');
		sum += strtoul(end, &end, 10);
		must(*end == '\n');
		at = end + 1;
	}
	must(at == text + n && sum == printed);
}

/* [seconds, "o", "text"]; what was printed is added to shown. */
static void
check_event(const char *line, size_t n, struct buf *shown)
{
	json_auto_t *e = json_loadb(line, n, JSON_ALLOW_NUL, NULL);
	const json_t *text = json_array_get(e, 2);
	const char *kind;

	must(json_is_array(e) && json_array_size(e) == 3);
	must(json_is_real(json_array_get(e, 0)) &&
	     json_real_value(json_array_get(e, 0)) >= 0);
	kind = json_string_value(json_array_get(e, 1));
	must(kind && strlen(kind) == 1 && strchr("oirm", *kind));
	must(json_is_string(text));
	if (*kind == 'o')
		must(buf_add(shown, json_string_value(text),
			 json_string_length(text)) == 0);
	else if (*kind != 'i')
		must(strcmp(json_string_value(text), "80x24") == 0);
}

/* All that was recorded, but a character that its end cuts. */
static void
check_shown(const struct buf *shown, size_t printed)
{
	auto_buf struct buf clean = { .cap = TEXT_MAX };

	must(utf8_sanitize(run.all.data ? run.all.data : "",
		 utf8_whole(run.all.data, printed), &clean) == 0);
	must(shown->len == clean.len);
	must(clean.len == 0 || memcmp(shown->data, clean.data, clean.len) == 0);
}

static void
check_cast(size_t printed)
{
	auto_buf struct buf shown = { .cap = TEXT_MAX };
	struct err err;
	size_t n;
	int fd = record_asciicast(&run.record, &err);
	auto_free char *text = NULL;
	char *at, *end;

	must(fd >= 0);
	text = take_file(fd, &n);
	must(strlen(text) == n);
	end = strchr(text, '\n');
	must(end);
	must_be_json(text, (size_t)(end - text));
	for (at = end + 1; *at; at = end + 1) {
		end = strchr(at, '\n');
		must(end);
		check_event(at, (size_t)(end - at), &shown);
	}
	check_shown(&shown, printed);
}

/* ---- steps ---- */

static void
print(const uint8_t *p, size_t n)
{
	if (run.all.len + n > ALL_MAX)
		return;
	must(buf_add(&run.all, p, n) == 0);
	ring_add(&run.ring, p, n);
	record_add(&run.record, RECORD_OUTPUT, p, n, false);
}

static void
step(struct feed *f)
{
	unsigned what = feed_u8(f);
	size_t n = feed_u8(f), times;
	const uint8_t *p;
	uint64_t from;

	switch (what % 8) {
	case 0:
		from = feed_u16(f);
		check_ring(from, n);
		break;
	case 1:
		p = feed_bytes(f, n, &n);
		record_add(&run.record, RECORD_INPUT, p, n, what & 8);
		break;
	case 2:
		record_add(&run.record, what & 8 ? RECORD_MARK : RECORD_RESIZE,
		    "80x24", 5, false);
		break;
	case 3: /* the same again and again: longer than ring and event */
		p = feed_bytes(f, n, &n);
		for (times = what * 4; times > 0; times--)
			print(p, n);
		break;
	default:
		p = feed_bytes(f, n, &n);
		print(p, n);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, size };
	uint64_t max = feed_u8(&f);
	struct err err;
	size_t printed;

	max <<= feed_u8(&f) % 14;
	if (!run.dir) {
		log_init("fuzz_record", LOG_CRIT);
		run.dir = fuzz_folder();
	}
	must(ring_open(&run.ring, run.dir, RING, &err) == 0);
	must(record_open(&run.record, run.dir, &err) == 0);
	buf_init(&run.all, ALL_MAX);
	record_begin(&run.record, max, "bash", 80, 24);
	while (f.left > 0)
		step(&f);
	read_through();
	printed = check_typescript();
	check_timing(printed);
	check_cast(printed);
	must(run.record.size <= max);
	must(run.record.full || max == 0 || printed == run.all.len);
	ring_close(&run.ring);
	record_close(&run.record);
	buf_done(&run.all);
	return 0;
}
