/*
 * capture.c - reads what a step writes.  Up to the cap it is kept, beyond it
 * only counted, so that the program never blocks on us; past the flood limit it
 * is stopped.
 *
 * Most programs are over before long and have written less than a pipe holds:
 * at first nobody looks, and what the pipe has is read when init has told the
 * end.  Only a program that goes on is watched.
 */
#include "task.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "worker.h"

enum {
	CHUNK = 64 << 10,
	READS_A_TURN = 16, /* then others get their turn of the loop */
	UNWATCHED_MS = 3   /* so long may one that writes a lot have to wait,
			      for each job that shares the processors */
};

static void
stream_ended(struct task_stream *s)
{
	(void)close(s->fd);
	s->fd = -1;
}

static void
on_closed(uv_handle_t *h)
{
	struct task_stream *s = h->data;

	stream_ended(s);
	s->polling = false;
	s->task->handles--;
	task_on_box(s->task);
}

static void
stream_close(struct task_stream *s)
{
	if (s->fd < 0)
		return;
	if (!s->polling)
		stream_ended(s);
	else if (!uv_is_closing((uv_handle_t *)&s->poll))
		uv_close((uv_handle_t *)&s->poll, on_closed);
}

static void
stream_read(struct task_stream *s)
{
	struct task *t = s->task;
	uint64_t flood = (uint64_t)t->worker->settings.job_flood_mb << 20;
	static char chunk[CHUNK];

	for (int i = 0; i < READS_A_TURN; i++) {
		ssize_t n = read(s->fd, chunk, sizeof(chunk));

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			stream_close(s);
			return;
		}
		s->total += (uint64_t)n;
		(void)buf_add_some(&s->kept, chunk, (size_t)n);
		if (t->out.total + t->err.total > flood)
			task_kill(t, REASON_output);
	}
}

static void
on_readable(uv_poll_t *p, int status, int events)
{
	(void)status;
	(void)events;
	stream_read(p->data);
}

static void
stream_watch(struct task_stream *s)
{
	if (s->fd < 0 || s->polling)
		return;
	(void)uv_poll_init(&s->task->worker->loop, &s->poll, s->fd);
	s->poll.data = s;
	s->polling = true;
	s->task->handles++;
	(void)uv_poll_start(&s->poll, UV_READABLE, on_readable);
}

static void
on_goes_on(uv_timer_t *timer)
{
	struct task *t = timer->data;

	stream_watch(&t->out);
	stream_watch(&t->err);
}

static int
stream_open(
    struct task *t, struct task_stream *s, int *ret_end, struct err *err)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_errno(err, "make a pipe");
	(void)fcntl(p[0], F_SETFL, O_NONBLOCK);
	/* "> /dev/stderr" opens it anew, as another user than us. */
	(void)fchmod(p[1], 0222);
	s->task = t;
	s->fd = p[0];
	s->total = 0;
	buf_done(&s->kept);
	buf_init(&s->kept, (size_t)t->worker->settings.job_output_kb << 10);
	*ret_end = p[1];
	return 0;
}

int
capture_open(struct task *t, int ret_ends[2], struct err *err)
{
	size_t jobs = t->worker->n_tasks; /* canaries are not counted */

	if (stream_open(t, &t->out, &ret_ends[0], err) < 0)
		return -1;
	if (stream_open(t, &t->err, &ret_ends[1], err) < 0) {
		(void)close(ret_ends[0]);
		return -1;
	}
	(void)uv_timer_start(
	    &t->goes_on, on_goes_on, UNWATCHED_MS * (jobs > 0 ? jobs : 1), 0);
	return 0;
}

/* Nobody writes any more; a stream that is watched comes by itself. */
void
capture_rest(struct task *t)
{
	(void)uv_timer_stop(&t->goes_on);
	if (!t->out.polling && t->out.fd >= 0)
		stream_read(&t->out);
	if (!t->err.polling && t->err.fd >= 0)
		stream_read(&t->err);
	on_goes_on(&t->goes_on); /* should there be more than a turn's */
}

bool
capture_over(const struct task *t)
{
	return t->out.fd < 0 && t->err.fd < 0;
}

void
capture_close(struct task *t)
{
	(void)uv_timer_stop(&t->goes_on);
	stream_close(&t->out);
	stream_close(&t->err);
}
