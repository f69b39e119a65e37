#include "un_attach.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "clock.h"
#include "id.h"
#include "un_api.h"
#include "un_column.h"
#include "un_escape.h"
#include "un_term.h"
#include "un_tty.h"
#include "un_ws.h"

#define PROTOCOL "unfarm.term.v1"
#define FROM_END "9223372036854775807" /* an offset no session reaches */

enum {
	PAUSE_MS = 250,
	PAUSE_MAX_MS = 8000,
	SILENCE_MS = 50000, /* the session pings each 20 s */
	ANSWER_MS = 5000,   /* for what was typed, at first */
	FIRST_MS = 30000,   /* for the first line */
	REPAINT_MS = 1000,  /* for a multiplexer to see its other size */
	PIECE = 4096,       /* PIPE_BUF: does not block after a poll */
	CLIENT = 16,        /* random bytes */
	CTRL_C = 3,
	PATH_SIZE = 512,
};

/* Modes that a program leaves on when it is killed: cursor, mouse, pasting. */
static const char calm[] = "\033[?25h\033[?2004l\033[?1000l\033[?1002l"
			   "\033[?1003l\033[?1006l\033[0m";

struct attached {
	const struct un_attach *a;
	struct un_attach_result *result;
	struct un_term term;
	struct un_escape escape;
	struct un_column column; /* of what was written */
	struct un_ws *ws;        /* NULL: no line */
	char client[2 * CLIENT + 1];
	int signals;
	int out;     /* standard output, or one like it that never blocks */
	size_t most; /* of one write to it */
	bool in_open;
	bool broken; /* what came on this line made no sense */
	bool over;
	bool connected; /* once */
	bool said;      /* that the line is gone */
	unsigned tries; /* since the line dropped */
	int64_t next_ms, heard_ms, give_up_ms;
	int64_t typed_ms;  /* the first of what waits for an answer; or 0 */
	int64_t answer_ms; /* how long it may wait */
	int64_t size_ms;   /* the right size is due; 0: it was said */
};

static void
finish(struct attached *t, enum un_attach_end end)
{
	if (t->over)
		return;
	t->over = true;
	t->result->end = end;
}

static void
finish_signal(struct attached *t, int sig)
{
	t->result->signal = sig;
	finish(t, UN_ATTACH_SIGNAL);
}

/* ---- the line ---- */

int64_t
un_attach_pause_ms(unsigned n, unsigned random)
{
	int64_t ms = PAUSE_MS;

	if (n == 0)
		return ms;
	while (n-- > 0 && ms < PAUSE_MAX_MS)
		ms *= 2;
	if (ms > PAUSE_MAX_MS)
		ms = PAUSE_MAX_MS;
	/* Half of it is by chance: not all who were cut come at once. */
	return ms / 2 + random % (unsigned)(ms / 2 + 1);
}

static void
drop(struct attached *t)
{
	unsigned random = 0;

	un_ws_free(t->ws);
	t->ws = NULL;
	t->typed_ms = 0;
	(void)!getrandom(&random, sizeof(random), 0);
	t->next_ms = clock_mono_ms() + un_attach_pause_ms(t->tries, random);
}

static void
on_heard(void *ctx)
{
	struct attached *t = ctx;

	t->heard_ms = clock_mono_ms();
}

static void
on_message(void *ctx, const uint8_t *p, size_t n)
{
	struct attached *t = ctx;
	struct err err;

	/* The session says it again on another line. */
	if (!t->broken && un_term_take(&t->term, p, n, &err) < 0)
		t->broken = true;
}

static bool
is_full(void *ctx)
{
	const struct attached *t = ctx;

	return t->term.out.len >= UN_TERM_OUT_HIGH;
}

static void
path_make(const struct attached *t, char ret_path[PATH_SIZE])
{
	const struct un_term *m = &t->term;
	char since[48] = "", size[48] = "";

	if (t->connected)
		(void)snprintf(since, sizeof(since), "&since=%llu",
		    (unsigned long long)un_term_since(m));
	else if (t->a->repaint)
		(void)snprintf(since, sizeof(since), "&since=" FROM_END);
	if (m->cols > 0 && !t->a->readonly)
		(void)snprintf(
		    size, sizeof(size), "&cols=%u&rows=%u", m->cols, m->rows);
	(void)snprintf(ret_path, PATH_SIZE,
	    "/sessions/%s/shell?client=%s%s%s%s%s", t->a->session, t->client,
	    since, size, t->a->readonly ? "&role=ro" : "",
	    isatty(STDOUT_FILENO) ? "&screen=1" : "");
}

/* Another try may do better: a server that restarts, too many who look. */
static bool
may_heal(long status)
{
	return status == 0 || status == 408 || status == 429 || status >= 500;
}

static void
failed(struct attached *t, long status, const struct err *err)
{
	struct pollfd signals = { t->signals, POLLIN, 0 };

	t->result->err = *err;
	if (status == 0 && poll(&signals, 1, 0) > 0)
		return; /* a signal ended it: we look at that, and try again */
	if (status == 404 || status == 410) {
		finish(t, UN_ATTACH_GONE);
	} else if (!may_heal(status) || clock_mono_ms() >= t->give_up_ms) {
		finish(t, UN_ATTACH_FAILED);
	} else {
		t->tries++;
		if (!t->said && t->connected)
			un_tty_say("un: the connection is lost (%s); trying "
				   "again, Enter ~ . gives up",
			    err->msg);
		t->said = t->connected;
		drop(t);
	}
}

static void
connect_line(struct attached *t)
{
	const struct un_ws_hooks hooks = { t, on_heard, on_message, is_full };
	char path[PATH_SIZE];
	long status = 0;
	struct err err;

	path_make(t, path);
	un_term_new_line(&t->term);
	t->broken = false;
	if (un_ws_open(t->a->api, path, PROTOCOL, t->signals, &hooks, &t->ws,
		&status, &err) < 0) {
		t->ws = NULL;
		failed(t, status, &err);
		return;
	}
	t->heard_ms = clock_mono_ms();
}

static void
resize(struct attached *t)
{
	unsigned cols, rows;

	t->size_ms = 0;
	if (!t->a->readonly && un_tty_size(&cols, &rows))
		un_term_resize(&t->term, cols, rows);
}

/*
 * tmux and screen begin anew for the first who attaches.  Beside others they
 * paint all again when the size changes: it is another one until they did.
 */
static void
repaint(struct attached *t)
{
	struct un_term *m = &t->term;

	if (!t->a->repaint || !m->beside || m->rows < 2)
		return;
	un_term_resize(m, m->cols, m->rows - 1);
	t->size_ms = clock_mono_ms() + REPAINT_MS;
}

static void
greeted(struct attached *t)
{
	struct err err;

	t->tries = 0;
	t->give_up_ms = clock_mono_ms() + t->a->life_ms;
	if (t->said)
		un_tty_say("un: connected again");
	t->said = false;
	if (t->connected)
		return;
	t->connected = true;
	t->a->on_connected(t->a->ctx);
	if (un_tty_raw(&err) < 0) {
		t->result->err = err;
		finish(t, UN_ATTACH_FAILED);
		return;
	}
	repaint(t);
}

static void
tell_state(struct attached *t)
{
	struct un_term *m = &t->term;
	bool was_frozen = strcmp(m->state, "frozen") == 0;

	if (!m->state_new)
		return;
	m->state_new = false;
	if (was_frozen)
		un_tty_say("un: the session is frozen; un session --unfreeze "
			   "%s lets it go on",
		    t->a->session);
	else if (strcmp(m->state, "running") == 0)
		un_tty_say("un: the session goes on");
}

static void
tell_lost(struct attached *t)
{
	if (t->term.lost > 0)
		un_tty_say("un: the farm no longer had %llu bytes of output",
		    (unsigned long long)t->term.lost);
	t->term.lost = 0;
}

static void
send_all(struct attached *t)
{
	uint8_t frame[UN_TERM_FRAME];
	size_t n;

	while (t->ws && !un_ws_wants_write(t->ws) &&
	       (n = un_term_next(&t->term, frame)) > 0) {
		un_ws_queue(t->ws, frame, n);
		if (!un_ws_send(t->ws))
			drop(t);
	}
	if (t->ws && un_ws_wants_write(t->ws) && !un_ws_send(t->ws))
		drop(t);
}

/*
 * Typed bytes are acknowledged at once, and a line that says nothing at all
 * after them may be dead.  Or the program reads nothing and all buffers are
 * full: each time we look later.
 */
static bool
is_silent(struct attached *t)
{
	int64_t now = clock_mono_ms();

	if (now - t->heard_ms > SILENCE_MS)
		return true;
	if (t->term.sent == 0) {
		t->typed_ms = 0;
		t->answer_ms = ANSWER_MS;
	} else if (t->typed_ms == 0 || t->heard_ms > t->typed_ms) {
		t->typed_ms = now;
	} else if (now - t->typed_ms > t->answer_ms) {
		t->answer_ms *= 2;
		return true;
	}
	return false;
}

static void
use_line(struct attached *t)
{
	uint64_t had = un_term_since(&t->term);
	bool was_greeted = t->term.greeted;
	bool alive = un_ws_receive(t->ws);

	if (!was_greeted && t->term.greeted)
		greeted(t);
	else if (t->size_ms > 0 && un_term_since(&t->term) != had)
		resize(t);
	tell_state(t);
	tell_lost(t);
	if (!alive || t->broken)
		drop(t);
}

static bool
is_done(const struct un_term *m)
{
	return m->exited || m->detached;
}

/*
 * What it says, what we have to say to it, and whether it still lives. `heard`:
 * there may be something to read.
 */
static void
serve_line(struct attached *t, bool heard)
{
	if (t->ws && heard)
		use_line(t);
	send_all(t);
	if (t->ws && !is_done(&t->term) && is_silent(t))
		drop(t);
}

/* ---- our side ---- */

static void
go_on(struct attached *t)
{
	struct err err;

	if (t->connected)
		(void)un_tty_raw(&err);
	resize(t);
}

static void
take_signals(struct attached *t)
{
	struct signalfd_siginfo s;

	while (read(t->signals, &s, sizeof(s)) == (ssize_t)sizeof(s)) {
		switch ((int)s.ssi_signo) {
		case SIGWINCH:
			resize(t);
			break;
		case SIGTSTP:
			un_tty_stop();
			break;
		case SIGCONT:
			go_on(t);
			break;
		default:
			finish_signal(t, (int)s.ssi_signo);
		}
	}
}

static void
typed(struct attached *t, const char *p, size_t n)
{
	char kept[PIECE + 1];
	bool leave = false;

	if (t->a->readonly) {
		if (un_tty_is_raw() && memchr(p, CTRL_C, n))
			finish(t, UN_ATTACH_LEFT);
		return;
	}
	if (un_tty_is_raw()) {
		n = un_escape_take(&t->escape, p, n, kept, &leave);
		p = kept;
	}
	un_term_type(&t->term, p, n);
	if (leave)
		finish(t, UN_ATTACH_LEFT);
}

static void
read_input(struct attached *t)
{
	char piece[PIECE];
	ssize_t n = read(STDIN_FILENO, piece, sizeof(piece));

	if (n > 0) {
		typed(t, piece, (size_t)n);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		t->in_open = false;
		if (un_tty_is_raw())
			finish_signal(t, SIGHUP); /* the terminal is gone */
	}
}

static void
write_output(struct attached *t)
{
	struct un_term *m = &t->term;
	size_t n = m->out.len < t->most ? m->out.len : t->most;
	ssize_t done = write(t->out, m->out.data, n);

	if (done > 0) {
		un_column_take(&t->column, m->out.data, (size_t)done);
		un_term_written(m, (size_t)done);
	} else if (done < 0 && errno == EIO) {
		finish_signal(t, SIGHUP);
	} else if (done < 0 && errno != EAGAIN && errno != EINTR) {
		finish_signal(t, SIGPIPE);
	}
}

/* ---- the loop ---- */

enum { FD_SIGNALS, FD_IN, FD_OUT, FD_LINE, FDS };

static int
poll_timeout(const struct attached *t)
{
	int64_t at = t->ws ? t->heard_ms + SILENCE_MS + 1 : t->next_ms;
	int64_t left;

	if (t->ws && t->typed_ms > 0 && t->typed_ms + t->answer_ms < at)
		at = t->typed_ms + t->answer_ms + 1;
	if (t->size_ms > 0 && t->size_ms < at)
		at = t->size_ms;
	left = at - clock_mono_ms();
	return left < 0 ? 0 : (int)left;
}

static bool
reads_input(const struct attached *t)
{
	return t->in_open && t->term.in.len < UN_TERM_IN_HIGH &&
	       (t->connected || !isatty(STDIN_FILENO));
}

static void
wait_some(struct attached *t, struct pollfd fds[FDS])
{
	const struct un_term *m = &t->term;
	short line = 0;

	if (t->ws && !is_full(t))
		line |= POLLIN;
	if (t->ws && un_ws_wants_write(t->ws))
		line |= POLLOUT;
	fds[FD_SIGNALS] = (struct pollfd){ t->signals, POLLIN, 0 };
	fds[FD_IN] = (struct pollfd){ reads_input(t) ? STDIN_FILENO : -1,
		POLLIN, 0 };
	fds[FD_OUT] = (struct pollfd){ m->out.len > 0 ? t->out : -1, POLLOUT,
		0 };
	fds[FD_LINE] = (struct pollfd){ line ? un_ws_fd(t->ws) : -1, line, 0 };
	(void)poll(fds, FDS, poll_timeout(t));
}

static void
turn(struct attached *t)
{
	struct pollfd fds[FDS];
	bool was_full = is_full(t);

	wait_some(t, fds);
	if (fds[FD_SIGNALS].revents)
		take_signals(t);
	if (t->size_ms > 0 && clock_mono_ms() >= t->size_ms)
		resize(t);
	if (fds[FD_IN].revents)
		read_input(t);
	if (fds[FD_OUT].revents)
		write_output(t);
	/* What waits in the layers above the socket wakes no poll. */
	serve_line(t, !is_done(&t->term) &&
			  (fds[FD_LINE].revents || (was_full && !is_full(t))));
	if (is_done(&t->term) && t->term.out.len == 0)
		finish(t, t->term.exited ? UN_ATTACH_EXIT : UN_ATTACH_DETACHED);
	else if (!t->ws && !is_done(&t->term) &&
		 clock_mono_ms() >= t->next_ms && !t->over) {
		connect_line(t);
		/* Neither does what came with the handshake's answer: a hello,
		 * behind which we may say what was typed. */
		serve_line(t, true);
	}
}

/* We go of our own will: the session is not to wait for us. */
static void
say_goodbye(struct attached *t)
{
	uint8_t frame[UN_TERM_FRAME];

	if (!t->ws || (t->result->end != UN_ATTACH_LEFT &&
			  t->result->end != UN_ATTACH_SIGNAL))
		return;
	un_ws_queue(t->ws, frame, un_term_detach(frame));
	(void)un_ws_send(t->ws);
}

static void
leave_terminal(const struct attached *t)
{
	bool ended_itself = t->result->end == UN_ATTACH_EXIT &&
			    strcmp(t->result->reason, "exit") == 0;

	if (t->connected && isatty(STDOUT_FILENO) && !ended_itself &&
	    t->result->end != UN_ATTACH_DETACHED)
		(void)!write(t->out, calm, sizeof(calm) - 1);
	un_tty_restore();
}

void
un_attach_run(const struct un_attach *a, struct un_attach_result *ret_result)
{
	struct attached t = {
		.a = a, .result = ret_result, .in_open = true, .most = SIZE_MAX
	};

	*ret_result = (struct un_attach_result){ .end = UN_ATTACH_FAILED };
	t.signals = un_tty_signals(&ret_result->err);
	if (t.signals < 0)
		return;
	un_term_init(&t.term);
	t.term.replay = a->replay && isatty(STDOUT_FILENO);
	id_random_hex(t.client, CLIENT);
	t.out = un_tty_output();
	if (t.out < 0) {
		t.out = STDOUT_FILENO;
		t.most = PIECE;
	}
	resize(&t);
	t.next_ms = clock_mono_ms();
	t.give_up_ms = t.next_ms + FIRST_MS;
	while (!t.over)
		turn(&t);
	(void)snprintf(ret_result->reason, sizeof(ret_result->reason), "%s",
	    t.term.reason);
	ret_result->in_line = t.column.inside;
	say_goodbye(&t);
	leave_terminal(&t);
	un_ws_free(t.ws);
	if (t.out != STDOUT_FILENO)
		(void)close(t.out);
	un_term_done(&t.term);
	un_tty_signals_end(t.signals);
}
