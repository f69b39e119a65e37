#include "node_call.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "buf.h"
#include "cleanup.h"
#include "gateway.h"
#include "json.h"
#include "link.h"
#include "log.h"
#include "mem.h"

enum {
	CONNECT_MS = 3000,     /* to the challenge */
	COMMAND_MS = 86500000, /* the longest command call, and more */
	ANSWER_MS = 120000,    /* of all others; artifacts take 30 s to come */
	HEAD_MAX = 256,
	OUT_MAX = 96 << 20,
	IN_MAX = 256 << 20,
	ANSWERS_MAX = 2 * IN_MAX, /* of all calls together */
	PIECE = 64 << 10,
};

enum phase { PHASE_CONNECT, PHASE_CHALLENGE, PHASE_ASKED, PHASE_OVER };

struct node_call {
	TAILQ_ENTRY(node_call) link;
	struct gateway *gw;
	struct node_hooks hooks;
	int fd;
	uv_poll_t poll;
	uv_timer_t timer;
	unsigned handles;
	enum phase phase;
	char secret[LINK_SECRET_LEN + 1];
	uint64_t answer_ms; /* so long it may take */
	char *head;         /* owned */
	char *body;         /* owned */
	size_t body_len;
	struct buf out;
	size_t written;
	struct buf in;
	size_t counted;  /* of it, in the gateway's answer_bytes */
	size_t expected; /* bytes of the answer's body; SIZE_MAX: no length */
	int status;
	char type[64];
	size_t head_len; /* of the answer; 0: not there yet */
};

static void
on_closed(uv_handle_t *h)
{
	struct node_call *c = h->data;

	if (--c->handles > 0)
		return;
	cleanup_closep(&c->fd);
	c->gw->answer_bytes -= c->counted;
	buf_done(&c->out);
	buf_done(&c->in);
	free(c->head);
	free(c->body);
	explicit_bzero(c->secret, sizeof(c->secret));
	free(c);
}

static void
over(struct node_call *c)
{
	if (c->phase == PHASE_OVER)
		return;
	c->phase = PHASE_OVER;
	TAILQ_REMOVE(&c->gw->node_calls, c, link);
	uv_close((uv_handle_t *)&c->timer, on_closed);
	if (c->handles > 1)
		uv_close((uv_handle_t *)&c->poll, on_closed);
}

static void
fail(struct node_call *c, const char *what)
{
	struct err err;

	if (c->phase == PHASE_OVER)
		return;
	(void)err_set(&err, ERR_UNAVAILABLE, 0, "the session's node %s", what);
	over(c);
	c->hooks.done(c->hooks.ctx, NULL, &err);
}

static void
answer(struct node_call *c)
{
	const struct node_answer a = {
		.status = c->status,
		.type = c->type,
		.body = c->expected == SIZE_MAX ? NULL
						: c->in.data + c->head_len,
		.len = c->expected == SIZE_MAX ? 0 : c->expected,
	};

	c->hooks.done(c->hooks.ctx, &a, NULL);
	over(c);
}

int
node_call_take(struct node_call *c, char **ret_read, size_t *ret_len)
{
	int fd;

	(void)uv_poll_stop(&c->poll);
	fd = steal_fd(&c->fd);
	*ret_len = c->in.len - c->head_len;
	*ret_read = xmalloc(*ret_len + 1);
	memcpy(*ret_read, c->in.data + c->head_len, *ret_len);
	return fd;
}

void
node_calls_fail(struct gateway *gw)
{
	struct node_call *c;

	while ((c = TAILQ_FIRST(&gw->node_calls)) != NULL)
		fail(c, "was not waited for: this gateway ends");
}

void
node_call_cancel(struct node_call *c)
{
	over(c);
}

/* ---- what it says ---- */

/* "STATUS LENGTH TYPE\n"; 1: read, 0: not there yet, -1: malformed. */
static int
read_head(struct node_call *c)
{
	const char *end = c->in.len > 0 ? memchr(c->in.data, '\n', c->in.len)
					: NULL;
	char length[24], line[HEAD_MAX], *at;
	long status;
	size_t n;

	if (!end)
		return c->in.len < HEAD_MAX ? 0 : -1;
	n = (size_t)(end - c->in.data);
	if (n >= sizeof(line))
		return -1;
	memcpy(line, c->in.data, n);
	line[n] = '\0';
	status = strtol(line, &at, 10);
	if (sscanf(at, " %23s %63s", length, c->type) != 2 || status < 100 ||
	    status > 599)
		return -1;
	c->status = (int)status;
	c->head_len = n + 1;
	c->expected = strcmp(length, "-") == 0 ? SIZE_MAX
					       : strtoul(length, NULL, 10);
	return c->expected == SIZE_MAX || c->expected < IN_MAX ? 1 : -1;
}

static void
look_at_answer(struct node_call *c)
{
	int r = c->head_len > 0 ? 1 : read_head(c);

	if (r < 0)
		fail(c, "answers what is no answer");
	else if (r > 0 && (c->expected == SIZE_MAX ||
			      c->in.len - c->head_len >= c->expected))
		answer(c);
}

static void
ask(struct node_call *c)
{
	char mac[SECRET_SIG_LEN + 1];
	char challenge[LINK_CHALLENGE_LEN + 1];

	memcpy(challenge, c->in.data, LINK_CHALLENGE_LEN);
	challenge[LINK_CHALLENGE_LEN] = '\0';
	link_mac(c->secret, challenge, c->head, strlen(c->head), mac);
	if (buf_addf(&c->out, "%s %s\n", mac, c->head) < 0 ||
	    buf_add(&c->out, c->body, c->body_len) < 0) {
		fail(c, "takes no call as large as this");
		return;
	}
	buf_clear(&c->in);
	c->phase = PHASE_ASKED;
	(void)uv_timer_start(&c->timer, c->timer.timer_cb, c->answer_ms, 0);
}

static void
understand(struct node_call *c)
{
	if (c->phase == PHASE_ASKED)
		look_at_answer(c);
	else if (c->in.len == LINK_CHALLENGE_LEN + 1)
		ask(c);
}

/* ---- the socket ---- */

static void watch(struct node_call *c);

static bool
keep(struct node_call *c, const char *p, size_t n)
{
	if (c->gw->answer_bytes + n > ANSWERS_MAX || buf_add(&c->in, p, n) < 0)
		return false;
	c->counted += n;
	c->gw->answer_bytes += n;
	return true;
}

static void
read_some(struct node_call *c)
{
	char piece[PIECE];
	size_t want = c->phase == PHASE_ASKED
			  ? sizeof(piece)
			  : LINK_CHALLENGE_LEN + 1 - c->in.len;
	ssize_t n = recv(c->fd, piece, want, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		fail(c, "closed the connection");
	else if (!keep(c, piece, (size_t)n))
		fail(c, "answers more than there is room for right now");
	else
		understand(c);
}

static void
write_some(struct node_call *c)
{
	ssize_t n;

	if (c->written == c->out.len)
		return;
	n = send(c->fd, c->out.data + c->written, c->out.len - c->written,
	    MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0)
		c->written += (size_t)n;
	/* What it says, when it does not want all of this, is read first. */
}

static void
on_socket(uv_poll_t *poll, int status, int events)
{
	struct node_call *c = poll->data;
	int why = 0;
	socklen_t len = sizeof(why);

	if (c->phase == PHASE_CONNECT) {
		(void)getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &why, &len);
		if (why != 0 || status < 0) {
			fail(c, "cannot be reached");
			return;
		}
		c->phase = PHASE_CHALLENGE;
	}
	/* A reset comes as an error without an event. */
	if (status < 0 || (events & (UV_READABLE | UV_DISCONNECT)))
		read_some(c);
	if (c->phase == PHASE_ASKED)
		write_some(c);
	watch(c);
}

static void
watch(struct node_call *c)
{
	int events = UV_READABLE;

	if (c->phase == PHASE_OVER || c->fd < 0)
		return;
	if (c->phase == PHASE_CONNECT || c->written < c->out.len)
		events |= UV_WRITABLE;
	(void)uv_poll_start(&c->poll, events, on_socket);
}

static void
on_late(uv_timer_t *t)
{
	fail(t->data, "does not answer in time");
}

/* Numeric addresses only: a name would stop the loop while it is looked up. */
static int
connect_to(const json_t *node)
{
	const struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
	};
	const char *address = json_string_value(
	    json_object_get(node, "address"));
	json_int_t port = json_integer_value(json_object_get(node, "port"));
	struct addrinfo *ai = NULL;
	char text[24];
	const int on = 1;
	auto_close int fd = -1;

	(void)snprintf(text, sizeof(text), "%lld", (long long)port);
	if (!address || getaddrinfo(address, text, &hints, &ai) != 0)
		return -1;
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
	    ai->ai_protocol);
	if (fd >= 0)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (fd >= 0 && connect(fd, ai->ai_addr, ai->ai_addrlen) < 0 &&
	    errno != EINPROGRESS) {
		cleanup_closep(&fd);
		fd = -1;
	}
	freeaddrinfo(ai);
	return steal_fd(&fd);
}

static void
on_no_connection(uv_timer_t *t)
{
	fail(t->data, "cannot be reached");
}

static void
fill_head(struct node_call *c, const json_t *head, size_t len)
{
	json_auto_t *copy = json_copy((json_t *)(uintptr_t)head);

	json_set_int(copy, "body", (long long)len);
	c->head = json_text(copy);
}

static bool
is_command(const json_t *head)
{
	const char *call = json_string_value(json_object_get(head, "call"));

	return call && strcmp(call, "exec") == 0;
}

struct node_call *
node_call_start(struct gateway *gw, const json_t *node, const json_t *head,
    const char *body, size_t len, const struct node_hooks *hooks)
{
	struct node_call *c = xcalloc(1, sizeof(*c));
	const char *secret = json_string_value(json_object_get(node, "secret"));

	c->gw = gw;
	c->hooks = *hooks;
	TAILQ_INSERT_TAIL(&gw->node_calls, c, link);
	buf_init(&c->out, OUT_MAX);
	buf_init(&c->in, IN_MAX);
	(void)snprintf(
	    c->secret, sizeof(c->secret), "%s", secret ? secret : "");
	fill_head(c, head, len);
	c->answer_ms = is_command(head) ? COMMAND_MS : ANSWER_MS;
	c->body = xmalloc(len + 1);
	memcpy(c->body, body, len);
	c->body_len = len;
	(void)uv_timer_init(&gw->loop, &c->timer);
	c->timer.data = c->poll.data = c;
	c->handles = 1;
	c->fd = connect_to(node);
	if (c->fd < 0) {
		(void)uv_timer_start(&c->timer, on_no_connection, 0, 0);
		return c;
	}
	(void)uv_poll_init(&gw->loop, &c->poll, c->fd);
	c->poll.data = c;
	c->handles = 2;
	(void)uv_timer_start(&c->timer, on_late, CONNECT_MS, 0);
	watch(c);
	return c;
}
