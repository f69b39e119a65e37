/*
 * What a farm says to `un session`, between what is typed and written here:
 * steps, of which each begins with a byte.  Whatever it says, no byte that was
 * typed is lost or sent elsewhere than where it belongs, and memory is bounded.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "term_frame.h"
#include "un_term.h"

enum {
	OUT_MAX = UN_TERM_OUT_HIGH + (2 << 20),
};

/* What is typed is its own place, so that each byte is known again. */
static struct {
	struct un_term t;
	uint64_t typed;  /* how many bytes */
	uint64_t next;   /* where the next ones belong on this line */
	unsigned hellos; /* on this line; a good session says one */
	bool broken;
} run;

static char
typed_at(uint64_t place)
{
	return (char)(place * 7 + place / 251);
}

static void
check(void)
{
	const struct un_term *t = &run.t;

	must(t->sent <= t->in.len && t->in.len <= run.typed);
	for (size_t i = 0; i < t->in.len; i++)
		must(t->in.data[i] == typed_at(run.typed - t->in.len + i));
	must(t->out.len <= OUT_MAX && t->clear <= t->out.len);
	must(memchr(t->state, '\0', sizeof(t->state)) &&
	     memchr(t->reason, '\0', sizeof(t->reason)));
	must(t->mute.n < sizeof(t->mute.text));
}

/* ---- steps ---- */

static void
take(struct feed *f)
{
	struct err err = { .code = ERR_OK };
	size_t n, before = run.t.in.len, sent = run.t.sent;
	const uint8_t *p = feed_bytes(f, feed_u16(f), &n);
	int r = un_term_take(&run.t, p, n, &err);

	must(r == 0 || (err.code != ERR_OK && *err.msg));
	run.broken = r < 0;
	if (n > FRAME_HEAD && p[0] == FRAME_HELLO && run.hellos++ == 0)
		run.next = run.t.in_at;
	/* Only what was sent can be acknowledged, but for a hello. */
	must(run.t.in.len == before ||
	     (n > FRAME_HEAD && (p[0] == FRAME_HELLO || p[0] == FRAME_INACK)));
	must(n < FRAME_HEAD || p[0] != FRAME_INACK ||
	     before - run.t.in.len <= sent);
}

static void
type(size_t n)
{
	char piece[256];

	for (size_t i = 0; i < n; i++)
		piece[i] = typed_at(run.typed + i);
	if (run.t.in.len + n > UN_TERM_IN_HIGH)
		return;
	un_term_type(&run.t, piece, n);
	run.typed += n;
}

static void
say(void)
{
	static uint8_t frame[UN_TERM_FRAME];
	uint64_t at = run.t.in_at + run.t.sent;
	size_t sent = run.t.sent, n = un_term_next(&run.t, frame);

	if (n == 0)
		return;
	must(run.t.greeted && n >= FRAME_HEAD && n <= UN_TERM_FRAME);
	must(frame[1] == 0 && frame[2] == 0 && frame[3] == 0);
	switch (frame[0]) {
	case FRAME_IN:
		must(n > FRAME_HEAD + FRAME_OFFSET &&
		     frame_get_u64(frame + FRAME_HEAD) == at);
		must(run.hellos > 1 || at == run.next);
		run.next = at + n - FRAME_HEAD - FRAME_OFFSET;
		must(run.t.sent == sent + n - FRAME_HEAD - FRAME_OFFSET);
		must(memcmp(frame + FRAME_HEAD + FRAME_OFFSET,
			 run.t.in.data + sent,
			 n - FRAME_HEAD - FRAME_OFFSET) == 0);
		break;
	case FRAME_RESIZE:
		must(n == FRAME_HEAD + 4);
		break;
	default:
		must(frame[0] == FRAME_ACK && n == FRAME_HEAD + FRAME_OFFSET);
		must(frame_get_u64(frame + FRAME_HEAD) == run.t.out_at);
		break;
	}
}

static void
step(struct feed *f)
{
	size_t n;

	switch (feed_u8(f) % 8) {
	case 0:
		un_term_new_line(&run.t);
		run.hellos = 0;
		run.broken = false;
		break;
	case 1:
		type(feed_u8(f));
		break;
	case 2:
		n = feed_u16(f);
		un_term_written(&run.t, n < run.t.out.len ? n : run.t.out.len);
		break;
	case 3:
		n = feed_u16(f);
		un_term_resize(&run.t, (unsigned)n, feed_u8(f));
		break;
	case 4:
		say();
		break;
	default: /* one that broke the protocol is heard no more */
		if (!run.broken && run.t.out.len < UN_TERM_OUT_HIGH)
			take(f);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, size };

	un_term_init(&run.t);
	run.typed = 0;
	run.hellos = 0;
	run.broken = false;
	run.t.replay = feed_u8(&f) & 1;
	un_term_new_line(&run.t);
	while (f.left > 0) {
		step(&f);
		check();
	}
	/* A session that has all of it, and says so. */
	while (!run.broken && run.t.greeted && run.t.sent < run.t.in.len)
		say();
	un_term_done(&run.t);
	return 0;
}
