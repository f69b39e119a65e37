/*
 * term.c - the terminal.
 *
 * What it prints goes into the ring first; viewers take from there at their own
 * pace, so none of them can hold up the program or make us hold more than the
 * ring.  What is typed waits in a small buffer; when that is full, viewers are
 * not read.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"
#include "session.h"
#include "shim.h"
#include "viewer.h"
#include "watch.h"

enum {
	PIECE = 64 << 10,
	INPUT_MAX = 64 << 10,
	SIZE_MIN = 1,
	SIZE_MAX_ = 1000,
	/*
	 * Daemons that a program left may hold its terminal open for ever: it
	 * is over when the terminal says so, or was quiet for this long.
	 */
	QUIET_MS = 200,
	SIGNALED = 128,
};

static void watch(struct term *t);

int
term_open(struct term *t, struct shim *shim, struct err *err)
{
	uint64_t cap = (uint64_t)shim->settings->sessiond_ring_kb << 10;

	t->shim = shim;
	t->master = -1;
	t->cols = SHIM_COLS;
	t->rows = SHIM_ROWS;
	buf_init(&t->input, INPUT_MAX);
	TAILQ_INIT(&t->viewers);
	(void)uv_timer_init(&shim->loop, &t->drain);
	t->drain.data = t;
	return ring_open(&t->ring, shim->dir, cap, err);
}

int
term_start(struct term *t, const char *const *argv, const char *const *env,
    struct err *err)
{
	const struct box_process p = {
		.argv = argv,
		.env = env,
		.dir = "/root",
		.terminal = true,
		.cols = t->cols,
		.rows = t->rows,
	};

	t->started = t->ended = t->drained = t->hung_up = false;
	return box_start(t->shim->box, SHIM_TERM_ID, &p, err);
}

size_t
term_viewers(const struct term *t)
{
	const struct viewer *v;
	size_t n = 0;

	TAILQ_FOREACH (v, &t->viewers, link)
		n++;
	return n;
}

/* ---- its end ---- */

static void
close_master(struct term *t)
{
	watch_drop(&t->poll);
	cleanup_closep(&t->master);
	t->master = -1;
	/* Not for the next one. */
	buf_clear(&t->input);
}

static void
drained(struct term *t)
{
	if (t->drained)
		return;
	t->drained = true;
	(void)uv_timer_stop(&t->drain);
	close_master(t);
	session_program_ended(t->shim);
}

static void
on_quiet(uv_timer_t *timer)
{
	drained(timer->data);
}

static void
wait_until_quiet(struct term *t)
{
	if (t->ended && t->master >= 0)
		(void)uv_timer_start(&t->drain, on_quiet, QUIET_MS, 0);
	else if (t->ended)
		drained(t);
}

void
term_hang_up(struct term *t)
{
	if (t->master < 0)
		return;
	t->hung_up = true;
	close_master(t);
	wait_until_quiet(t);
}

/* ---- output ---- */

static void
printed(struct term *t, const char *p, size_t n)
{
	struct viewer *v, *next;

	ring_add(&t->ring, p, n);
	record_add(&t->shim->session.record, RECORD_OUTPUT, p, n, false);
	for (v = TAILQ_FIRST(&t->viewers); v; v = next) {
		next = TAILQ_NEXT(v, link);
		viewer_feed(v);
	}
}

/* One piece a turn: others of the loop are not to wait for a busy program. */
static void
read_output(struct term *t)
{
	static char piece[PIECE]; /* there is one terminal */
	ssize_t n = read(t->master, piece, sizeof(piece));

	if (n > 0) {
		printed(t, piece, (size_t)n);
		wait_until_quiet(t);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		close_master(t); /* EIO: nobody has its other side any more */
		wait_until_quiet(t);
	}
}

/* ---- input ---- */

static bool
is_hidden(const struct term *t)
{
	struct termios tio;

	return tcgetattr(t->master, &tio) == 0 && !(tio.c_lflag & ECHO);
}

static void
write_input(struct term *t)
{
	ssize_t n;

	if (t->input.len == 0 || t->master < 0)
		return;
	n = write(t->master, t->input.data, t->input.len);
	if (n > 0)
		buf_consume(&t->input, (size_t)n);
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		buf_clear(&t->input);
}

/* When it does not take all, its buffer is full, and there will be news of it. */
size_t
term_type(struct term *t, const char *p, size_t n)
{
	size_t taken = 0;
	bool hidden;

	if (t->master < 0)
		return t->started && !t->hung_up
			   ? n
			   : 0; /* nobody will read it, or another program */
	hidden = is_hidden(t);
	do {
		taken += buf_add_some(&t->input, p + taken, n - taken);
		write_input(t);
	} while (taken < n && t->input.len < INPUT_MAX);
	if (taken > 0)
		record_add(
		    &t->shim->session.record, RECORD_INPUT, p, taken, hidden);
	watch(t);
	return taken;
}

void
term_signal(struct term *t, int sig)
{
	if (t->master >= 0)
		(void)ioctl(t->master, TIOCSIG, sig);
}

/* There is room again, or at last a terminal: who typed goes on. */
static void
go_on(struct term *t)
{
	struct viewer *v;

	TAILQ_FOREACH (v, &t->viewers, link)
		viewer_go_on(v);
}

static void
on_terminal(uv_poll_t *poll, int status, int events)
{
	struct term *t = poll->data;

	if (events & UV_WRITABLE)
		write_input(t);
	if ((events & (UV_READABLE | UV_DISCONNECT)) || status < 0)
		read_output(t);
	/* It may have become full, and then not, while it was typed. */
	if (t->input.len < INPUT_MAX)
		go_on(t);
	watch(t);
}

static void
watch(struct term *t)
{
	int events = UV_READABLE | (t->input.len > 0 ? UV_WRITABLE : 0);

	if (t->master < 0)
		return;
	(void)uv_poll_start(t->poll, events, on_terminal);
}

/* ---- size ---- */

static unsigned
within(unsigned v)
{
	return v < SIZE_MIN ? SIZE_MIN : v > SIZE_MAX_ ? SIZE_MAX_ : v;
}

static void
set_size(const struct term *t)
{
	const struct winsize size = { .ws_col = (unsigned short)t->cols,
		.ws_row = (unsigned short)t->rows };

	if (t->master >= 0)
		(void)ioctl(t->master, TIOCSWINSZ, &size);
}

void
term_resize(struct term *t, unsigned cols, unsigned rows)
{
	char text[32];
	struct viewer *v;
	int n;

	cols = within(cols);
	rows = within(rows);
	if (cols == t->cols && rows == t->rows)
		return;
	t->cols = within(cols);
	t->rows = within(rows);
	set_size(t);
	n = snprintf(text, sizeof(text), "%ux%u", t->cols, t->rows);
	record_add(
	    &t->shim->session.record, RECORD_RESIZE, text, (size_t)n, false);
	TAILQ_FOREACH (v, &t->viewers, link)
		viewer_resized(v);
}

/* ---- what the box says ---- */

/* It was asked for with the size of that moment, which may have changed. */
static void
begun(struct term *t, struct box_event *e)
{
	close_master(t); /* there is none, if init does not lie */
	t->master = steal_fd(&e->fd);
	t->started = true;
	if (t->master < 0) {
		log_err(NULL, "no terminal came");
		return;
	}
	t->poll = watch_new(&t->shim->loop, t->master, t);
	set_size(t); /* somebody may have come since it was asked for */
	go_on(t);
	watch(t);
}

void
term_on_event(struct term *t, struct box_event *e)
{
	if (e->kind == BOX_STARTED) {
		begun(t, e);
		return;
	}
	t->ended = true;
	t->exit_code = WIFEXITED(e->status) ? WEXITSTATUS(e->status)
					    : SIGNALED + WTERMSIG(e->status);
	if (e->kind == BOX_REFUSED) {
		char why[256];
		int n = snprintf(why, sizeof(why), "%s: %s\r\n", e->failure.msg,
		    strerror(e->failure.sys));

		t->exit_code = SIGNALED - 1;
		t->started = true;
		printed(t, why, (size_t)n);
	}
	wait_until_quiet(t);
}

void
term_close(struct term *t)
{
	struct viewer *v, *next;

	for (v = TAILQ_FIRST(&t->viewers); v; v = next) {
		next = TAILQ_NEXT(v, link);
		viewer_leave(v, VIEWER_GOING_DOWN);
	}
	close_master(t);
	ring_close(&t->ring);
	buf_done(&t->input);
}
