#include "un_term.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "un_api.h"

/* Types of frames: the first byte of each message. */
enum frame {
	/* of the session */
	FRAME_HELLO = 0x01, /* JSON */
	FRAME_OUT = 0x02,   /* u64 offset, bytes */
	FRAME_LIVE = 0x04,  /* u64 offset: from here on it is new */
	FRAME_TRUNC = 0x05, /* u64 from, u64 to: they are gone */
	FRAME_STATE = 0x08, /* JSON */
	FRAME_EXIT = 0x09,  /* u64 final offset, JSON */
	FRAME_INACK = 0x0a, /* u64 input offset: all before it was taken */
	/* ours */
	FRAME_IN = 0x81,     /* u64 input offset, bytes */
	FRAME_RESIZE = 0x82, /* u16 columns, u16 rows */
	FRAME_ACK = 0x83,    /* u64 output offset: all before it was used */
	FRAME_DETACH = 0x86,
};

enum {
	HEAD = 4, /* u8 type, three that are 0; all numbers little-endian */
	OFFSET = 8,
	OUT_CAP = UN_TERM_OUT_HIGH + (2 << 20), /* with the last message */
	ACK_AFTER = 16 << 10, /* bytes; or when all was written */
};

/* ---- numbers ---- */

static void
put_u16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static void
put_u64(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < OFFSET; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static uint64_t
get_u64(const uint8_t *p)
{
	uint64_t v = 0;

	for (int i = OFFSET - 1; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

static size_t
head(uint8_t *frame, enum frame type)
{
	memset(frame, 0, HEAD);
	frame[0] = (uint8_t)type;
	return HEAD;
}

/* ---- life ---- */

void
un_term_init(struct un_term *t)
{
	*t = (struct un_term){ .cols = 0 };
	buf_init(&t->out, OUT_CAP);
	buf_init(&t->in, (size_t)2 * UN_TERM_IN_HIGH);
}

void
un_term_done(struct un_term *t)
{
	buf_done(&t->out);
	buf_done(&t->in);
}

void
un_term_new_line(struct un_term *t)
{
	t->greeted = false;
	t->sent = 0;
	t->told = un_term_since(t);
	t->resized = t->cols > 0;
}

uint64_t
un_term_since(const struct un_term *t)
{
	return t->out_at + t->out.len;
}

/* ---- what the session says ---- */

static int
broken(struct err *err, const char *what)
{
	return err_set(err, ERR_INVALID, 0, "unfarm.term.v1: %s", what);
}

/* All before `offset` was taken. */
static void
acknowledged(struct un_term *t, uint64_t offset)
{
	size_t n;

	if (offset < t->in_at)
		return;
	n = offset - t->in_at < t->in.len ? (size_t)(offset - t->in_at)
					  : t->in.len;
	buf_consume(&t->in, n);
	t->sent = t->sent > n ? t->sent - n : 0;
	t->in_at = offset;
}

static void
take_state(struct un_term *t, const char *state)
{
	if (strcmp(state, "detached") == 0) {
		t->detached = true;
		return;
	}
	if (strcmp(state, t->state) == 0)
		return;
	t->state_new = true;
	(void)snprintf(t->state, sizeof(t->state), "%s", state);
}

static int
take_hello(struct un_term *t, const json_t *o, struct err *err)
{
	json_int_t input = json_integer_value(json_object_get(o, "input"));
	json_int_t since = json_integer_value(json_object_get(o, "since"));

	if (!json_is_object(o) || input < 0 || since < 0)
		return broken(err, "its hello cannot be read");
	/* It knows us no more, and begins anew. */
	if ((uint64_t)input < t->in_at)
		t->in_at = (uint64_t)input;
	acknowledged(t, (uint64_t)input);
	/* It may begin elsewhere than asked, but not within what we have. */
	if ((uint64_t)since != un_term_since(t) && t->out.len > 0)
		return broken(err, "its output begins elsewhere");
	if (t->out.len == 0)
		t->out_at = t->told = (uint64_t)since;
	take_state(t, un_api_text(o, "state"));
	t->state_new = strcmp(t->state, "running") != 0;
	t->greeted = true;
	return 0;
}

static int
take_out(struct un_term *t, const uint8_t *p, size_t n, struct err *err)
{
	uint64_t at = get_u64(p), want = un_term_since(t);

	p += OFFSET;
	n -= OFFSET;
	if (at > want)
		return broken(err, "output is missing");
	if (at + n <= want)
		return 0;
	p += want - at;
	n -= (size_t)(want - at);
	if (buf_add(&t->out, p, n) < 0)
		return broken(err, "too much output");
	if (t->replay)
		un_mute(&t->mute, t->out.data + t->out.len - n, n);
	return 0;
}

static int
take_lost(struct un_term *t, const uint8_t *p, struct err *err)
{
	uint64_t from = get_u64(p), to = get_u64(p + OFFSET);

	if (from != un_term_since(t) || to < from)
		return broken(err, "a gap that is none");
	t->lost += to - from;
	/* What was not written yet keeps its place before the gap. */
	t->out_at = to - t->out.len;
	return 0;
}

static int
take_exit(struct un_term *t, uint64_t offset, const json_t *o, struct err *err)
{
	if (offset != un_term_since(t))
		return broken(err, "it ended before all output came");
	(void)snprintf(
	    t->reason, sizeof(t->reason), "%s", un_api_text(o, "reason"));
	t->exited = true;
	return 0;
}

static const struct {
	size_t numbers; /* bytes in front of the rest */
	enum frame type;
	bool json; /* the rest is */
} shapes[] = {
	{ 0, FRAME_HELLO, true },
	{ OFFSET, FRAME_OUT, false },
	{ OFFSET, FRAME_LIVE, false },
	{ (size_t)2 * OFFSET, FRAME_TRUNC, false },
	{ 0, FRAME_STATE, true },
	{ OFFSET, FRAME_EXIT, true },
	{ OFFSET, FRAME_INACK, false },
};

int
un_term_take(struct un_term *t, const uint8_t *p, size_t n, struct err *err)
{
	const uint8_t *body = p + HEAD;
	json_auto_t *o = NULL;
	size_t i = 0;

	if (n < HEAD)
		return broken(err, "a message is too short");
	n -= HEAD;
	while (i < ARRAY_LEN(shapes) && (uint8_t)shapes[i].type != p[0])
		i++;
	if (i == ARRAY_LEN(shapes))
		return 0; /* nothing for us, or of a later version */
	if (n < shapes[i].numbers)
		return broken(err, "a message is too short");
	if (!t->greeted && shapes[i].type != FRAME_HELLO)
		return broken(err, "it did not say hello");
	if (shapes[i].json)
		o = json_loadb((const char *)body + shapes[i].numbers,
		    n - shapes[i].numbers, 0, NULL);
	switch (shapes[i].type) {
	case FRAME_HELLO:
		return take_hello(t, o, err);
	case FRAME_OUT:
		return take_out(t, body, n, err);
	case FRAME_LIVE:
		t->replay = false;
		return 0;
	case FRAME_TRUNC:
		return take_lost(t, body, err);
	case FRAME_STATE:
		take_state(t, un_api_text(o, "state"));
		return 0;
	case FRAME_EXIT:
		return take_exit(t, get_u64(body), o, err);
	default: /* FRAME_INACK */
		if (get_u64(body) > t->in_at + t->sent)
			return broken(err, "it has what was not sent");
		acknowledged(t, get_u64(body));
		return 0;
	}
}

/* ---- what we say ---- */

void
un_term_written(struct un_term *t, size_t n)
{
	buf_consume(&t->out, n);
	t->out_at += n;
}

void
un_term_type(struct un_term *t, const char *p, size_t n)
{
	if (buf_add(&t->in, p, n) < 0)
		abort(); /* its reader looks at IN_HIGH first */
}

void
un_term_resize(struct un_term *t, unsigned cols, unsigned rows)
{
	t->cols = cols;
	t->rows = rows;
	t->resized = true;
}

static size_t
next_resize(struct un_term *t, uint8_t *frame)
{
	t->resized = false;
	put_u16(frame + HEAD, t->cols);
	put_u16(frame + HEAD + 2, t->rows);
	return head(frame, FRAME_RESIZE) + 4;
}

static size_t
next_in(struct un_term *t, uint8_t *frame)
{
	size_t n = t->in.len - t->sent;
	size_t most = UN_TERM_FRAME - HEAD - OFFSET;

	if (n > most)
		n = most;
	put_u64(frame + HEAD, t->in_at + t->sent);
	memcpy(frame + HEAD + OFFSET, t->in.data + t->sent, n);
	t->sent += n;
	return head(frame, FRAME_IN) + OFFSET + n;
}

static size_t
next_ack(struct un_term *t, uint8_t *frame)
{
	t->told = t->out_at;
	put_u64(frame + HEAD, t->told);
	return head(frame, FRAME_ACK) + OFFSET;
}

static bool
ack_due(const struct un_term *t)
{
	return t->out_at > t->told &&
	       (t->out.len == 0 || t->out_at - t->told >= ACK_AFTER);
}

size_t
un_term_next(struct un_term *t, uint8_t ret_frame[UN_TERM_FRAME])
{
	if (!t->greeted)
		return 0;
	if (t->resized)
		return next_resize(t, ret_frame);
	if (t->in.len > t->sent)
		return next_in(t, ret_frame);
	return ack_due(t) ? next_ack(t, ret_frame) : 0;
}

size_t
un_term_detach(uint8_t ret_frame[UN_TERM_FRAME])
{
	return head(ret_frame, FRAME_DETACH);
}
