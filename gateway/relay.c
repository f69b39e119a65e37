#include "relay.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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

enum { PIECE = 32 << 10, WAITING_MAX = 64 << 10, SIDES = 2 };

/* One way: what was read from a side and not yet written to the other one. */
struct side {
	int fd;
	uv_poll_t poll;
	struct buf data; /* on its way to the other side */
	bool ended;      /* it will say no more */
};

struct relay {
	TAILQ_ENTRY(relay) link;
	struct gateway *gw;
	struct request *req;      /* owns us until the connection is ours */
	struct side sides[SIDES]; /* client, shim */
	struct MHD_UpgradeResponseHandle *client; /* owns the client's fd */
	unsigned handles;
	bool dead;
};

void
relay_abandon(struct relay *r)
{
	if (!r)
		return;
	for (int i = 0; i < SIDES; i++)
		buf_done(&r->sides[i].data);
	cleanup_closep(&r->sides[1].fd);
	free(r);
}

static void
on_closed(uv_handle_t *h)
{
	struct relay *r = h->data;

	if (--r->handles > 0)
		return;
	(void)MHD_upgrade_action(r->client, MHD_UPGRADE_ACTION_CLOSE);
	server_resumed(r->gw->server); /* which then closes it */
	relay_abandon(r);
}

static void
bury(struct relay *r)
{
	if (r->dead)
		return;
	r->dead = true;
	TAILQ_REMOVE(&r->gw->relays, r, link);
	/* libmicrohttpd closes it in its own time. */
	(void)shutdown(r->sides[0].fd, SHUT_RDWR);
	for (int i = 0; i < SIDES; i++)
		uv_close((uv_handle_t *)&r->sides[i].poll, on_closed);
}

static void watch(struct relay *r);

/* Nothing is read while what was read before waits. */
static bool
take(struct side *from)
{
	char piece[PIECE];
	ssize_t n;

	if (from->data.len > 0 || from->ended)
		return true;
	n = recv(from->fd, piece, sizeof(piece), MSG_DONTWAIT);
	if (n > 0)
		return buf_add(&from->data, piece, (size_t)n) == 0;
	if (n == 0)
		from->ended = true;
	return n == 0 || errno == EAGAIN || errno == EINTR;
}

static bool
give(struct side *from, const struct side *to)
{
	ssize_t n;

	if (from->data.len == 0)
		return true;
	n = send(to->fd, from->data.data, from->data.len,
	    MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0)
		buf_consume(&from->data, (size_t)n);
	return n >= 0 || errno == EAGAIN || errno == EINTR;
}

/* Over when one side has ended and all it said was passed on. */
static void
carry(struct relay *r)
{
	struct side *a = &r->sides[0], *b = &r->sides[1];

	if (!take(a) || !take(b) || !give(a, b) || !give(b, a) ||
	    (a->ended && a->data.len == 0) || (b->ended && b->data.len == 0))
		bury(r);
	else
		watch(r);
}

static void
on_side(uv_poll_t *poll, int status, int events)
{
	struct relay *r = poll->data;

	(void)events;
	if (status < 0)
		bury(r);
	else
		carry(r);
}

static void
watch(struct relay *r)
{
	for (int i = 0; i < SIDES; i++) {
		const struct side *other = &r->sides[1 - i];
		struct side *s = &r->sides[i];
		int events = 0;

		if (s->data.len == 0 && !s->ended)
			events |= UV_READABLE;
		if (other->data.len > 0)
			events |= UV_WRITABLE;
		(void)uv_poll_start(&s->poll, events, on_side);
	}
}

static void
set_quick(int fd)
{
	const int on = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void
on_upgrade(void *cls, struct MHD_Connection *conn, void *req_cls,
    const char *extra, size_t extra_len, MHD_socket sock,
    struct MHD_UpgradeResponseHandle *urh)
{
	struct relay *r = cls;
	struct side *client = &r->sides[0];

	(void)conn;
	(void)req_cls;
	r->req->relay = NULL;
	r->client = urh;
	client->fd = sock;
	set_quick(sock);
	if (extra_len > 0 && buf_add(&client->data, extra, extra_len) < 0)
		abort(); /* at most libmicrohttpd's pool */
	for (int i = 0; i < SIDES; i++) {
		(void)uv_poll_init(
		    &r->gw->loop, &r->sides[i].poll, r->sides[i].fd);
		r->sides[i].poll.data = r;
		r->handles++;
	}
	TAILQ_INSERT_TAIL(&r->gw->relays, r, link);
	carry(r);
}

void
relay_start(struct request *req, int fd, char *read, size_t len,
    const char *accept, const char *protocol)
{
	struct relay *r = xcalloc(1, sizeof(*r));
	struct MHD_Response *response;

	r->gw = req->gw;
	r->req = req;
	req->relay = r;
	for (int i = 0; i < SIDES; i++)
		buf_init(&r->sides[i].data, WAITING_MAX);
	r->sides[1].fd = fd;
	if (buf_add(&r->sides[1].data, read, len) < 0)
		abort(); /* at most what node_call reads at a time */
	free(read);
	response = MHD_create_response_for_upgrade(on_upgrade, r);
	if (!response)
		abort();
	(void)MHD_add_response_header(response, "Upgrade", "websocket");
	(void)MHD_add_response_header(response, "Sec-WebSocket-Accept", accept);
	if (*protocol)
		(void)MHD_add_response_header(
		    response, "Sec-WebSocket-Protocol", protocol);
	respond_ready(req, 101, response);
}

void
relay_close_all(struct gateway *gw)
{
	struct relay *r;

	while ((r = TAILQ_FIRST(&gw->relays)) != NULL)
		bury(r);
}
