#include "un_term.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "term_frame.h"
#include "un_api.h"

enum {
	OUT_CAP = UN_TERM_OUT_HIGH + (2 << 20), /* with the last message */
	ACK_AFTER = 16 << 10, /* bytes; or when all was written */
	SCREEN_NUMBERS = FRAME_OFFSET + 4,
};

static size_t
head(uint8_t *frame, enum term_frame type)
{
	memset(frame, 0, FRAME_HEAD);
	frame[0] = (uint8_t)type;
	return FRAME_HEAD;
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
	return t->out_at + (t->out.len - t->clear);
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
	t->beside = json_integer_value(json_object_get(o, "viewers")) > 1;
	t->greeted = true;
	return 0;
}

static int
take_out(struct un_term *t, const uint8_t *p, size_t n, struct err *err)
{
	uint64_t at = frame_get_u64(p), want = un_term_since(t);

	p += FRAME_OFFSET;
	n -= FRAME_OFFSET;
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
	uint64_t from = frame_get_u64(p), to = frame_get_u64(p + FRAME_OFFSET);

	if (from != un_term_since(t) || to < from)
		return broken(err, "a gap that is none");
	t->lost += to - from;
	/* What was not written yet keeps its place before the gap. */
	t->out_at = to - (t->out.len - t->clear);
	return 0;
}

/* What was not written yet would be cleared at once. */
static int
take_screen(struct un_term *t, const uint8_t *p, size_t n, struct err *err)
{
	uint64_t at = frame_get_u64(p);

	if (at != un_term_since(t))
		return broken(err, "a screen elsewhere");
	buf_clear(&t->out);
	t->out_at = at;
	t->clear = n - SCREEN_NUMBERS;
	t->mute = (struct un_mute){ .n = 0 };
	if (buf_add(&t->out, p + SCREEN_NUMBERS, t->clear) < 0)
		return broken(err, "too much output");
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
	enum term_frame type;
	bool json; /* the rest is */
} shapes[] = {
	{ 0, FRAME_HELLO, true },
	{ FRAME_OFFSET, FRAME_OUT, false },
	{ SCREEN_NUMBERS, FRAME_SCREEN, false },
	{ FRAME_OFFSET, FRAME_LIVE, false },
	{ (size_t)2 * FRAME_OFFSET, FRAME_TRUNC, false },
	{ 0, FRAME_STATE, true },
	{ FRAME_OFFSET, FRAME_EXIT, true },
	{ FRAME_OFFSET, FRAME_INACK, false },
};

int
un_term_take(struct un_term *t, const uint8_t *p, size_t n, struct err *err)
{
	const uint8_t *body = p + FRAME_HEAD;
	json_auto_t *o = NULL;
	size_t i = 0;

	if (n < FRAME_HEAD)
		return broken(err, "a message is too short");
	n -= FRAME_HEAD;
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
	case FRAME_SCREEN:
		return take_screen(t, body, n, err);
	case FRAME_LIVE:
		t->replay = false;
		return 0;
	case FRAME_TRUNC:
		return take_lost(t, body, err);
	case FRAME_STATE:
		take_state(t, un_api_text(o, "state"));
		return 0;
	case FRAME_EXIT:
		return take_exit(t, frame_get_u64(body), o, err);
	default: /* FRAME_INACK */
		if (frame_get_u64(body) > t->in_at + t->sent)
			return broken(err, "it has what was not sent");
		acknowledged(t, frame_get_u64(body));
		return 0;
	}
}

/* ---- what we say ---- */

void
un_term_written(struct un_term *t, size_t n)
{
	size_t clear = n < t->clear ? n : t->clear;

	buf_consume(&t->out, n);
	t->clear -= clear;
	t->out_at += n - clear;
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
	frame_put_u16(frame + FRAME_HEAD, t->cols);
	frame_put_u16(frame + FRAME_HEAD + 2, t->rows);
	return head(frame, FRAME_RESIZE) + 4;
}

static size_t
next_in(struct un_term *t, uint8_t *frame)
{
	size_t n = t->in.len - t->sent;
	size_t most = UN_TERM_FRAME - FRAME_HEAD - FRAME_OFFSET;

	if (n > most)
		n = most;
	frame_put_u64(frame + FRAME_HEAD, t->in_at + t->sent);
	memcpy(frame + FRAME_HEAD + FRAME_OFFSET, t->in.data + t->sent, n);
	t->sent += n;
	return head(frame, FRAME_IN) + FRAME_OFFSET + n;
}

static size_t
next_ack(struct un_term *t, uint8_t *frame)
{
	t->told = t->out_at;
	frame_put_u64(frame + FRAME_HEAD, t->told);
	return head(frame, FRAME_ACK) + FRAME_OFFSET;
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
