#include "stream.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <uv.h>

#include "buf.h"
#include "cleanup.h"
#include "gateway.h"
#include "mem.h"
#include "request.h"
#include "respond.h"
#include "server.h"

enum { BLOCK = 16 << 10, WAITING_MAX = 256 << 10, PIECE = 32 << 10 };

struct stream {
	TAILQ_ENTRY(stream) link;
	struct gateway *gw;
	struct MHD_Connection *conn;
	int fd; /* owned */
	uv_poll_t poll;
	struct buf data;
	bool ended;     /* the node has said all */
	bool suspended; /* the client waits for more */
};

static void
on_closed(uv_handle_t *h)
{
	struct stream *s = h->data;

	cleanup_closep(&s->fd);
	buf_done(&s->data);
	free(s);
}

static void
wake(struct stream *s)
{
	if (!s->suspended)
		return;
	s->suspended = false;
	MHD_resume_connection(s->conn);
	server_resumed(s->gw->server);
}

static void watch(struct stream *s);

static void
on_node(uv_poll_t *poll, int status, int events)
{
	struct stream *s = poll->data;
	char piece[PIECE];
	ssize_t n = recv(s->fd, piece, sizeof(piece), MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR) && status == 0)
		return;
	if (n <= 0 || buf_add(&s->data, piece, (size_t)n) < 0)
		s->ended = true;
	watch(s);
	wake(s);
}

static void
watch(struct stream *s)
{
	if (s->ended || s->data.len >= WAITING_MAX)
		(void)uv_poll_stop(&s->poll);
	else
		(void)uv_poll_start(&s->poll, UV_READABLE, on_node);
}

static ssize_t
on_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct stream *s = cls;
	size_t n = s->data.len < max ? s->data.len : max;

	(void)pos;
	if (n > 0) {
		memcpy(buf, s->data.data, n);
		buf_consume(&s->data, n);
		watch(s);
		return (ssize_t)n;
	}
	if (s->ended)
		return MHD_CONTENT_READER_END_OF_STREAM;
	s->suspended = true;
	MHD_suspend_connection(s->conn);
	return 0;
}

static void
on_free(void *cls)
{
	struct stream *s = cls;

	TAILQ_REMOVE(&s->gw->streams, s, link);
	uv_close((uv_handle_t *)&s->poll, on_closed);
}

void
stream_start(
    struct request *req, int fd, char *read, size_t len, const char *type)
{
	struct stream *s = xcalloc(1, sizeof(*s));
	struct MHD_Response *r;

	s->gw = req->gw;
	s->conn = req->conn;
	s->fd = fd;
	buf_init(&s->data, WAITING_MAX + 2 * PIECE);
	if (buf_add(&s->data, read, len) < 0)
		abort(); /* at most what node_call reads at a time */
	free(read);
	(void)uv_poll_init(&s->gw->loop, &s->poll, fd);
	s->poll.data = s;
	TAILQ_INSERT_TAIL(&s->gw->streams, s, link);
	r = MHD_create_response_from_callback(
	    MHD_SIZE_UNKNOWN, BLOCK, on_read, s, on_free);
	if (!r)
		abort();
	(void)MHD_add_response_header(r, "Content-Type", type);
	(void)MHD_add_response_header(r, "Cache-Control", "no-store");
	watch(s);
	respond_ready(req, 200, r);
}

void
stream_close_all(struct gateway *gw)
{
	struct stream *s;

	TAILQ_FOREACH (s, &gw->streams, link) {
		s->ended = true;
		/* cppcheck-suppress uninitvar; the loop sets it */
		wake(s);
	}
}
