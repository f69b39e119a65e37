/*
 * capture.c - reads what a step writes.  Up to the cap it is kept, beyond it
 * only counted, so that the program never blocks on us; past the flood limit it
 * is stopped.
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
	READS_A_TURN = 16 /* then others get their turn of the loop */
};

static void
on_closed(uv_handle_t *h)
{
	struct task_stream *s = h->data;

	(void)close(s->fd);
	s->fd = -1;
	s->polling = false;
	s->task->handles--;
	task_on_box(s->task);
}

static void
stream_close(struct task_stream *s)
{
	if (s->polling && !uv_is_closing((uv_handle_t *)&s->poll))
		uv_close((uv_handle_t *)&s->poll, on_closed);
}

static void
on_readable(uv_poll_t *p, int status, int events)
{
	struct task_stream *s = p->data;
	struct task *t = s->task;
	uint64_t flood = (uint64_t)t->worker->settings.job_flood_mb << 20;
	static char chunk[CHUNK];

	(void)status;
	(void)events;
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
	(void)uv_poll_init(&t->worker->loop, &s->poll, s->fd);
	s->poll.data = s;
	s->polling = true;
	t->handles++;
	(void)uv_poll_start(&s->poll, UV_READABLE, on_readable);
	*ret_end = p[1];
	return 0;
}

int
capture_open(struct task *t, int ret_ends[2], struct err *err)
{
	if (stream_open(t, &t->out, &ret_ends[0], err) < 0)
		return -1;
	if (stream_open(t, &t->err, &ret_ends[1], err) < 0) {
		(void)close(ret_ends[0]);
		return -1;
	}
	return 0;
}

bool
capture_over(const struct task *t)
{
	return !t->out.polling && !t->err.polling;
}

void
capture_close(struct task *t)
{
	stream_close(&t->out);
	stream_close(&t->err);
}
