#include "viewer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "json.h"
#include "log.h"
#include "mem.h"
#include "session.h"
#include "term_frame.h"

enum {
	/* The compatible client has room for frames below 4096 bytes. */
	PIECE_COMPATIBLE = 3072,
	PIECE_NATIVE = 16 << 10,
	WINDOW = 256 << 10, /* native: bytes that are not acknowledged */
	FRAME_IN_MAX = 64 << 10,
	/* What one message, and what wslay had read behind it, may bring. */
	TYPED_MAX = FRAME_IN_MAX + (16 << 10),
	PING_MS = 20000,
	MISSED_MAX = 2,
	PATIENCE_MS = 10000,
	CLOSE_MS = 100, /* for the last frames to arrive, see contract 10.7 */
	REPLAY_MAX = 64 << 10, /* compatible: of what was printed before */
	SCREEN_MAX = 64 << 10, /* of what makes a screen again */
	LINE = 4 << 10,        /* longer ones are cut there */
	TEXT_MAX = 1024,
	QUEUED = 64,       /* messages for it: it is not read meanwhile */
	QUEUED_MAX = 4096, /* it is left; at most as many come with one read */
};

/* ---- the end of a viewer ---- */

static void
on_closed(uv_handle_t *h)
{
	struct viewer *v = h->data;

	if (--v->handles > 0)
		return;
	(void)close(v->fd);
	wslay_event_context_free(v->ws);
	buf_done(&v->typed);
	free(v);
}

/* Gone from the list at once; freed when the loop let go of its handles. */
static void
bury(struct viewer *v)
{
	struct shim *s = v->shim;

	if (v->dead)
		return;
	v->dead = true;
	TAILQ_REMOVE(&s->term.viewers, v, link);
	uv_close((uv_handle_t *)&v->poll, on_closed);
	uv_close((uv_handle_t *)&v->timer, on_closed);
	/* Who only looks on does not decide that it is over. */
	session_viewer_left(s, v->clean && !v->readonly);
	viewers_tell_peers(&s->term);
}

static void
on_time_to_close(uv_timer_t *timer)
{
	bury(timer->data);
}

/* ---- sending ---- */

static void watch(struct viewer *v);
static void say_last(struct viewer *v);

static void
queue(struct viewer *v, uint8_t opcode, const void *p, size_t n)
{
	const struct wslay_event_msg msg = { opcode, p, n };

	if (!v->dead)
		(void)wslay_event_queue_msg(v->ws, &msg);
}

static void
queue_text(struct viewer *v, const char *text)
{
	queue(v, WSLAY_TEXT_FRAME, text, strlen(text));
}

static void
queue_frame(struct viewer *v, enum term_frame type, const void *a, size_t n_a,
    const void *b, size_t n_b)
{
	uint8_t frame[FRAME_HEAD + TEXT_MAX] = { (uint8_t)type };

	if (n_a + n_b > TEXT_MAX)
		return;
	memcpy(frame + FRAME_HEAD, a, n_a);
	if (n_b > 0)
		memcpy(frame + FRAME_HEAD + n_a, b, n_b);
	queue(v, WSLAY_BINARY_FRAME, frame, FRAME_HEAD + n_a + n_b);
}

static void
queue_offset(struct viewer *v, enum term_frame type, uint64_t offset)
{
	uint8_t body[FRAME_OFFSET];

	frame_put_u64(body, offset);
	queue_frame(v, type, body, sizeof(body), NULL, 0);
}

/* The first whole line of the last ones that fill a screen. */
static uint64_t
screen_begin(const struct ring *r)
{
	uint64_t at = r->end - r->start > SCREEN_MAX ? r->end - SCREEN_MAX
						     : r->start;
	uint8_t line[LINE];
	size_t n = ring_read(r, at, line, sizeof(line));
	const uint8_t *end = memchr(line, '\n', n);

	return end ? at + (uint64_t)(end - line) + 1 : at;
}

/*
 * Makes a terminal in the middle of anything an empty one: a soft reset (and
 * what it means, as some do not know it), character sets, the keypad, the other
 * screen of full-screen programs, mouse and pasting.
 */
static void
queue_screen(struct viewer *v)
{
	static const char clear[] =
	    "\030\033[!p\033(B\017\033>\033[?1049l\033[r\033[4l\033[?1l"
	    "\033[?6l\033[?7h\033[?25h\033[?2004l\033[?1000l\033[?1002l"
	    "\033[?1003l\033[?1006l\033[m\033[H\033[2J";
	uint8_t body[FRAME_OFFSET + 4];

	frame_put_u64(body, v->sent);
	frame_put_u16(body + FRAME_OFFSET, v->shim->term.cols);
	frame_put_u16(body + FRAME_OFFSET + 2, v->shim->term.rows);
	queue_frame(
	    v, FRAME_SCREEN, body, sizeof(body), clear, sizeof(clear) - 1);
}

static void
skip_lost(struct viewer *v)
{
	const struct ring *r = &v->shim->term.ring;
	uint64_t to = v->screen ? screen_begin(r) : r->start;
	uint8_t body[2 * FRAME_OFFSET];

	frame_put_u64(body, v->sent);
	frame_put_u64(body + FRAME_OFFSET, to);
	v->sent = to;
	if (v->native)
		queue_frame(v, FRAME_TRUNC, body, sizeof(body), NULL, 0);
	if (v->screen)
		queue_screen(v);
}

/* One frame of output; false when there is none to send. */
static bool
queue_output(struct viewer *v)
{
	const struct ring *r = &v->shim->term.ring;
	uint8_t frame[FRAME_HEAD + FRAME_OFFSET + PIECE_NATIVE] = { FRAME_OUT };
	uint8_t *bytes = frame + FRAME_HEAD + FRAME_OFFSET;
	size_t n;

	if (v->native && v->sent - v->acked >= WINDOW)
		return false;
	if (v->sent < r->start)
		skip_lost(v);
	n = ring_read(
	    r, v->sent, bytes, v->native ? PIECE_NATIVE : PIECE_COMPATIBLE);
	if (n == 0)
		return false;
	frame_put_u64(frame + FRAME_HEAD, v->sent);
	v->sent += n;
	if (v->native)
		queue(v, WSLAY_BINARY_FRAME, frame,
		    FRAME_HEAD + FRAME_OFFSET + n);
	else
		queue(v, WSLAY_BINARY_FRAME, bytes, n);
	return true;
}

/* One that takes nothing is not told of others for ever. */
static void
send_queued(struct viewer *v)
{
	if (!v->dead &&
	    (wslay_event_send(v->ws) != 0 ||
		wslay_event_get_queued_msg_count(v->ws) > QUEUED_MAX))
		bury(v);
}

void
viewer_feed(struct viewer *v)
{
	if (v->leaving)
		return;
	while (!v->dead && !wslay_event_want_write(v->ws) && queue_output(v))
		send_queued(v);
	if (v->native && !v->live && !v->dead &&
	    v->sent >= v->shim->term.ring.end) {
		v->live = true;
		queue_offset(v, FRAME_LIVE, v->sent);
		send_queued(v);
	}
	if (v->finish != FINISH_NONE && !v->finished && !v->dead &&
	    v->sent >= v->shim->term.ring.end)
		say_last(v);
	watch(v);
}

/* ---- what is said beside output ---- */

static void
tell_json(struct viewer *v, enum term_frame type, const json_t *o)
{
	auto_free char *text = json_text(o);

	queue_frame(v, type, text, strlen(text), NULL, 0);
}

void
viewer_resized(struct viewer *v)
{
	uint8_t body[4];

	if (!v->native)
		return;
	frame_put_u16(body, v->shim->term.cols);
	frame_put_u16(body + 2, v->shim->term.rows);
	queue_frame(v, FRAME_SIZE, body, sizeof(body), NULL, 0);
	send_queued(v);
	watch(v);
}

void
viewer_tell_state(struct viewer *v, const char *state)
{
	json_auto_t *o = json_object();

	if (!v->native)
		return;
	json_set_str(o, "state", state);
	tell_json(v, FRAME_STATE, o);
	send_queued(v);
	watch(v);
}

void
viewers_tell_peers(struct term *t)
{
	json_auto_t *o = json_object();
	struct viewer *v, *next;
	long long readers = 0, writers = 0;

	TAILQ_FOREACH (v, &t->viewers, link)
		*(v->readonly ? &readers : &writers) += 1;
	json_set_int(o, "writers", writers);
	json_set_int(o, "readers", readers);
	for (v = TAILQ_FIRST(&t->viewers); v; v = next) {
		next = TAILQ_NEXT(v, link);
		if (!v->native)
			continue;
		tell_json(v, FRAME_PEERS, o);
		send_queued(v);
		if (!v->dead)
			watch(v);
	}
}

void
viewer_leave(struct viewer *v, enum viewer_end code)
{
	if (v->leaving || v->dead)
		return;
	v->leaving = true;
	(void)wslay_event_queue_close(v->ws, (uint16_t)code, NULL, 0);
	send_queued(v);
	if (v->dead)
		return;
	(void)uv_timer_start(&v->timer, on_time_to_close, CLOSE_MS, 0);
	watch(v);
}

static void
tell_exit(struct viewer *v)
{
	json_auto_t *o = json_object();
	uint8_t offset[FRAME_OFFSET];
	auto_free char *text = NULL;
	char line[64];

	frame_put_u64(offset, v->sent);
	json_set_int(o, "code", v->shim->term.exit_code);
	json_set_str(o, "reason", v->shim->session.reason);
	text = json_text(o);
	(void)snprintf(line, sizeof(line), "{\"type\":\"exit\",\"code\":%d}",
	    v->shim->term.exit_code);
	if (v->native)
		queue_frame(
		    v, FRAME_EXIT, offset, sizeof(offset), text, strlen(text));
	else
		queue_text(v, line);
}

static void
tell_detached(struct viewer *v)
{
	if (v->native)
		viewer_tell_state(v, "detached");
	else
		queue_text(v, "{\"type\":\"detached\"}");
}

static void
on_time_to_say_goodbye(uv_timer_t *timer)
{
	viewer_leave(timer->data, VIEWER_NORMAL);
}

/* The compatible client wants some time between the last word and the close. */
static void
say_last(struct viewer *v)
{
	v->finished = true;
	if (v->finish == FINISH_EXIT)
		tell_exit(v);
	else
		tell_detached(v);
	send_queued(v);
	if (!v->dead)
		(void)uv_timer_start(
		    &v->timer, on_time_to_say_goodbye, CLOSE_MS, 0);
}

void
viewer_finish(struct viewer *v, enum viewer_finish how)
{
	if (v->finish != FINISH_NONE || v->leaving || v->dead)
		return;
	v->finish = how;
	(void)uv_timer_start(&v->timer, on_time_to_close, PATIENCE_MS, 0);
	viewer_feed(v);
}

/* ---- what it says ---- */

/* How much it has typed; one without a name begins anew with each line. */
static uint64_t *
input_of(struct viewer *v)
{
	return *v->client ? session_input_of(v->shim, v->client) : &v->input;
}

/*
 * As much as the terminal takes; the rest waits, and we do not read on.  How
 * much it took is returned.
 */
static size_t
type(struct viewer *v, const void *p, size_t n)
{
	size_t taken;

	if (v->readonly)
		return 0;
	session_touched(v->shim);
	taken = v->typed.len > 0 ? 0 : term_type(&v->shim->term, p, n);
	if (taken < n) {
		(void)buf_add_some(
		    &v->typed, (const char *)p + taken, n - taken);
		v->paused = true;
	}
	return taken;
}

static void
on_resize(struct viewer *v, unsigned cols, unsigned rows)
{
	v->cols = cols;
	v->rows = rows;
	if (!v->readonly)
		term_resize(&v->shim->term, cols, rows);
}

static void
on_text(struct viewer *v, const char *text, size_t n)
{
	json_auto_t *o = NULL;
	long long cols = 0, rows = 0;
	const char *word = "";
	struct err err;

	if (n > 0 && text[0] == '{')
		o = json_parse(text, n, &err);
	if (!o) {
		(void)type(v, text, n);
		return;
	}
	if (json_get_str(o, "type", &word, NULL, &err) == 1 &&
	    strcmp(word, "resize") == 0 &&
	    json_get_int(o, "cols", 1, UINT16_MAX, &cols, &err) == 1 &&
	    json_get_int(o, "rows", 1, UINT16_MAX, &rows, &err) == 1)
		on_resize(v, (unsigned)cols, (unsigned)rows);
}

/*
 * What waits for the terminal is not acknowledged: it goes with the viewer when
 * the line drops, and is sent again.
 */
static void
on_in(struct viewer *v, const uint8_t *p, size_t n)
{
	uint64_t at = n >= FRAME_OFFSET ? frame_get_u64(p) : 0;
	uint64_t *done = input_of(v);
	uint64_t have = *done + v->typed.len;

	if (n < FRAME_OFFSET || v->readonly)
		return;
	p += FRAME_OFFSET;
	n -= FRAME_OFFSET;
	/* Sent again after a reconnection: what we have is skipped. */
	if (at < have) {
		uint64_t known = have - at;

		if (known > n)
			known = n;
		p += known;
		n -= (size_t)known;
		at += known;
	}
	/* A gap: it says all of it again on a new line. */
	if (at > have) {
		log_warn(NULL, "input has a gap|at=%llu have=%llu",
		    (unsigned long long)at, (unsigned long long)have);
		bury(v);
		return;
	}
	*done += type(v, p, n);
	queue_offset(v, FRAME_INACK, *done);
}

static void
on_frame(struct viewer *v, const uint8_t *p, size_t n)
{
	const uint8_t *body = p + FRAME_HEAD;
	size_t len = n - FRAME_HEAD;

	if (n < FRAME_HEAD)
		return;
	switch (p[0]) {
	case FRAME_IN:
		on_in(v, body, len);
		break;
	case FRAME_RESIZE:
		if (len >= 4)
			on_resize(
			    v, frame_get_u16(body), frame_get_u16(body + 2));
		break;
	case FRAME_ACK:
		if (len >= FRAME_OFFSET && frame_get_u64(body) > v->acked &&
		    frame_get_u64(body) <= v->sent)
			v->acked = frame_get_u64(body);
		break;
	case FRAME_SIGNAL:
		if (len >= 1 && !v->readonly)
			term_signal(&v->shim->term, body[0]);
		break;
	case FRAME_CLAIM:
		if (v->cols > 0)
			on_resize(v, v->cols, v->rows);
		break;
	case FRAME_DETACH:
		v->clean = true;
		viewer_leave(v, VIEWER_NORMAL);
		break;
	default: /* of a later version */
		break;
	}
}

static void
on_message(wslay_event_context_ptr ws,
    const struct wslay_event_on_msg_recv_arg *m, void *ctx)
{
	struct viewer *v = ctx;

	(void)ws;
	if (m->opcode == WSLAY_PONG)
		v->missed = 0;
	else if (m->opcode == WSLAY_CONNECTION_CLOSE)
		v->clean = m->status_code == VIEWER_NORMAL;
	else if (m->opcode == WSLAY_BINARY_FRAME && v->native)
		on_frame(v, m->msg, m->msg_length);
	else if (m->opcode == WSLAY_BINARY_FRAME)
		(void)type(v, m->msg, m->msg_length);
	else if (m->opcode == WSLAY_TEXT_FRAME && !v->native)
		on_text(v, (const char *)m->msg, m->msg_length);
}

/* ---- its socket ---- */

/* It does not take our answers, to its pings and to what it typed. */
static bool
is_clogged(const struct viewer *v)
{
	return wslay_event_get_queued_msg_count(v->ws) >= QUEUED;
}

static bool
is_read(const struct viewer *v)
{
	return !v->dead && !v->paused && !is_clogged(v) &&
	       wslay_event_want_read(v->ws);
}

/*
 * It said good-bye, or what cannot be understood, and was told so; or it can be
 * told no more, and its end would be news for ever.
 */
static bool
is_over(const struct viewer *v)
{
	bool deaf = !wslay_event_want_read(v->ws);

	if (v->away && (deaf || (is_clogged(v) && !v->paused)))
		return true;
	return deaf && !wslay_event_want_write(v->ws);
}

static ssize_t
on_recv(
    wslay_event_context_ptr ws, uint8_t *buf, size_t len, int flags, void *ctx)
{
	struct viewer *v = ctx;
	ssize_t n;

	(void)flags;
	if (!is_read(v)) {
		wslay_event_set_error(ws, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	n = recv(v->fd, buf, len, MSG_DONTWAIT);
	if (n > 0)
		return n;
	wslay_event_set_error(ws, n < 0 && (errno == EAGAIN || errno == EINTR)
				      ? WSLAY_ERR_WOULDBLOCK
				      : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static ssize_t
on_send(wslay_event_context_ptr ws, const uint8_t *data, size_t len, int flags,
    void *ctx)
{
	const struct viewer *v = ctx;
	ssize_t n = send(v->fd, data, len,
	    MSG_DONTWAIT | MSG_NOSIGNAL |
		(flags & WSLAY_MSG_MORE ? MSG_MORE : 0));

	if (n >= 0)
		return n;
	wslay_event_set_error(ws, errno == EAGAIN || errno == EINTR
				      ? WSLAY_ERR_WOULDBLOCK
				      : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static void
on_socket(uv_poll_t *poll, int status, int events)
{
	struct viewer *v = poll->data;

	if (status < 0 ||
	    ((events & UV_READABLE) && wslay_event_recv(v->ws) != 0)) {
		bury(v);
		return;
	}
	v->away = events & UV_DISCONNECT;
	send_queued(v);
	if (v->dead)
		return;
	if (is_over(v)) {
		bury(v);
		return;
	}
	viewer_feed(v);
}

static void
watch(struct viewer *v)
{
	int events = 0;

	if (v->dead)
		return;
	if (v->paused && v->away) {
		(void)uv_poll_stop(&v->poll); /* it would say so for ever */
		return;
	}
	if (is_read(v))
		events |= UV_READABLE;
	if (wslay_event_want_write(v->ws))
		events |= UV_WRITABLE;
	(void)uv_poll_start(&v->poll, events | UV_DISCONNECT, on_socket);
}

void
viewer_go_on(struct viewer *v)
{
	size_t n;

	if (!v->paused || v->dead)
		return;
	n = term_type(&v->shim->term, v->typed.data, v->typed.len);
	buf_consume(&v->typed, n);
	if (v->native && n > 0) {
		uint64_t *done = input_of(v);

		*done += n;
		queue_offset(v, FRAME_INACK, *done);
		send_queued(v);
	}
	if (v->dead || v->typed.len > 0) {
		watch(v);
		return;
	}
	v->paused = false;
	/* What wslay has read and not looked at yet. */
	if (wslay_event_recv(v->ws) != 0) {
		bury(v);
		return;
	}
	watch(v);
}

static void
on_ping(uv_timer_t *timer)
{
	struct viewer *v = timer->data;

	/* Of one that is not read no answer can be seen. */
	if (!v->paused && ++v->missed > MISSED_MAX) {
		bury(v);
		return;
	}
	queue(v, WSLAY_PING, "", 0);
	send_queued(v);
	watch(v);
}

/* ---- its begin ---- */

static void
say_hello(struct viewer *v)
{
	const struct term *t = &v->shim->term;
	json_auto_t *o = json_object();

	json_set_str(o, "session", v->shim->session.id);
	json_set_str(o, "role", v->readonly ? "ro" : "rw");
	json_set_int(o, "cols", t->cols);
	json_set_int(o, "rows", t->rows);
	json_set_int(o, "ring_start", (long long)t->ring.start);
	json_set_int(o, "ring_end", (long long)t->ring.end);
	json_set_int(o, "since", (long long)v->sent);
	json_set_int(o, "input", (long long)*input_of(v));
	json_set_int(o, "viewers", (long long)term_viewers(t));
	json_set_str(o, "state", session_state_name(v->shim->session.state));
	tell_json(v, FRAME_HELLO, o);
}

/* Where its output begins. */
static uint64_t
first_offset(const struct shim *s, const struct viewer_wish *w)
{
	const struct ring *r = &s->term.ring;

	if (w->has_since)
		return w->since < r->end ? w->since : r->end;
	if (w->native)
		return r->start;
	/* A multiplexer paints its screen again for each that attaches. */
	if (*s->session.multiplexer && s->term.viewed)
		return r->end;
	return r->end - r->start > REPLAY_MAX ? r->end - REPLAY_MAX : r->start;
}

/*
 * Whoever comes back does so before we know that the old line is dead: what
 * waits there would be typed beside what is sent again.
 */
static void
bury_former(struct shim *s, const struct viewer_wish *w)
{
	struct viewer *v, *next;

	for (v = TAILQ_FIRST(&s->term.viewers); v; v = next) {
		next = TAILQ_NEXT(v, link);
		if (v->native && w->native && *w->client &&
		    v->readonly == w->readonly &&
		    strcmp(v->client, w->client) == 0)
			bury(v);
	}
}

void
viewer_attach(struct shim *s, int fd, const struct viewer_wish *w)
{
	static const struct wslay_event_callbacks calls = {
		.recv_callback = on_recv,
		.send_callback = on_send,
		.on_msg_recv_callback = on_message,
	};
	struct viewer *v = xcalloc(1, sizeof(*v));

	bury_former(s, w);
	v->shim = s;
	v->fd = fd;
	v->native = w->native;
	v->readonly = w->readonly;
	v->screen = w->native && w->screen;
	(void)snprintf(v->client, sizeof(v->client), "%.39s", w->client);
	buf_init(&v->typed, TYPED_MAX);
	v->sent = v->acked = first_offset(s, w);
	s->term.viewed = true;
	if (wslay_event_context_server_init(&v->ws, &calls, v) != 0)
		abort();
	wslay_event_config_set_max_recv_msg_length(v->ws, FRAME_IN_MAX);
	(void)uv_poll_init(&s->loop, &v->poll, fd);
	(void)uv_timer_init(&s->loop, &v->timer);
	v->handles = 2;
	v->poll.data = v->timer.data = v;
	(void)uv_timer_start(&v->timer, on_ping, PING_MS, PING_MS);
	/* What changes by that is in the hello, which comes first. */
	session_viewer_came(s);
	if (w->cols > 0 && w->rows > 0)
		on_resize(v, w->cols, w->rows);
	TAILQ_INSERT_TAIL(&s->term.viewers, v, link);
	if (v->native)
		say_hello(v);
	else
		queue_text(v, "{\"type\":\"ready\"}");
	viewers_tell_peers(&s->term);
	viewer_feed(v);
	session_viewer_ready(s, v);
}
