#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "json.h"
#include "log.h"
#include "mem.h"
#include "session.h"

enum {
	BODY_MAX = 64 << 20,
	FULL = 1 << 20,
	HEAD_MAX = 128,
	OUT_MAX = CLIENT_ANSWER_MAX + HEAD_MAX,
};

/* ---- its end ---- */

static void
on_closed(uv_handle_t *h)
{
	struct client *c = h->data;

	if (c->fd >= 0)
		(void)close(c->fd);
	json_decref(c->head);
	buf_done(&c->body);
	buf_done(&c->out);
	free(c);
}

static void
bury(struct client *c)
{
	if (c->dead)
		return;
	c->dead = true;
	TAILQ_REMOVE(&c->shim->clients, c, link);
	if (c->on_gone)
		c->on_gone(c->ctx);
	uv_close((uv_handle_t *)&c->poll, on_closed);
}

/* ---- its answer ---- */

static void watch(struct client *c);

static size_t
waiting(const struct client *c)
{
	return c->out.len - c->written;
}

static void
write_out(struct client *c)
{
	ssize_t n;

	while (waiting(c) > 0) {
		n = send(c->fd, c->out.data + c->written, waiting(c),
		    MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n <= 0)
			break;
		c->written += (size_t)n;
	}
	if (waiting(c) == 0) {
		buf_clear(&c->out);
		c->written = 0;
	}
	if (waiting(c) > 0 ? errno != EAGAIN && errno != EINTR
			   : c->last && !c->on_taken)
		bury(c);
	else
		watch(c);
	if (c->on_room && !c->dead && !client_is_full(c))
		c->on_room(c->ctx);
}

static void
say(struct client *c, const char *p, size_t n)
{
	if (c->dead)
		return;
	if (buf_add(&c->out, p, n) < 0) {
		log_err(NULL, "an answer is too large");
		bury(c);
	}
}

static void
begin(struct client *c, int status, const char *type, const char *length)
{
	char head[HEAD_MAX];
	int n = snprintf(
	    head, sizeof(head), "%d %s %s\n", status, length, type);

	c->answered = true;
	say(c, head, (size_t)n);
}

void
client_bytes(
    struct client *c, int status, const char *type, const char *p, size_t n)
{
	char length[24];

	c->on_gone = c->on_room = NULL;
	(void)snprintf(length, sizeof(length), "%zu", n);
	begin(c, status, type, length);
	say(c, p, n);
	c->last = true;
	if (!c->dead)
		write_out(c);
}

void
client_json(struct client *c, int status, const json_t *body)
{
	auto_free char *text = json_text(body);

	client_bytes(c, status, "application/json", text, strlen(text));
}

void
client_err(struct client *c, const struct err *err)
{
	json_auto_t *o = json_object();

	json_set_str(o, "error", err->msg);
	json_set_str(o, "message", err->msg);
	json_set_str(o, "code", err_wire_code(err->code));
	json_set_str(o, "details", err_text(err->code));
	client_json(c, err_http_status(err->code), o);
}

void
client_stream(struct client *c, const char *type)
{
	begin(c, 200, type, "-");
	if (!c->dead)
		write_out(c);
}

void
client_piece(struct client *c, const char *p, size_t n)
{
	say(c, p, n);
	if (!c->dead)
		write_out(c);
}

void
client_end(struct client *c)
{
	c->on_gone = c->on_room = NULL;
	c->last = true;
	if (!c->dead)
		write_out(c);
}

bool
client_is_full(const struct client *c)
{
	return waiting(c) > FULL;
}

int
client_upgrade(struct client *c)
{
	static const char head[] = "101 - websocket\n";
	int fd;

	c->on_gone = NULL;
	/* A fresh socket has room for a line. */
	(void)send(c->fd, head, sizeof(head) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)uv_poll_stop(&c->poll);
	fd = steal_fd(&c->fd);
	bury(c);
	return fd;
}

/* ---- its question ---- */

static void
call(struct client *c)
{
	struct err err = { .code = ERR_OK };

	c->called = true;
	if (session_call(c->shim, c, &err) < 0)
		client_err(c, &err);
}

static void
read_more(struct client *c)
{
	char piece[16 << 10];
	ssize_t n;

	for (;;) {
		size_t left = c->expected - c->body.len;

		if (left == 0 && !c->called) {
			call(c);
			return;
		}
		n = recv(c->fd, piece,
		    left > 0 && left < sizeof(piece) ? left : sizeof(piece),
		    MSG_DONTWAIT);
		if (n <= 0)
			break;
		if (c->called || buf_add(&c->body, piece, (size_t)n) < 0) {
			bury(c); /* it says more than it announced */
			return;
		}
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR))
		bury(c);
}

/* What a gateway has not read when it dies comes back as a reset. */
static void
hear_taken(struct client *c)
{
	char byte;
	ssize_t n = recv(c->fd, &byte, 1, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == 0)
		c->on_taken(c->shim);
	bury(c);
}

static void
on_socket(uv_poll_t *poll, int status, int events)
{
	struct client *c = poll->data;

	if (status < 0)
		bury(c);
	if (!c->dead && (events & UV_WRITABLE))
		write_out(c);
	if (!c->dead && (events & UV_READABLE) && !c->answered)
		read_more(c);
	if (!c->dead && c->last && c->on_taken && waiting(c) == 0)
		hear_taken(c);
	/* Gateways close both ways or none: it would be told for ever. */
	else if (!c->dead && c->answered && (events & UV_DISCONNECT))
		bury(c);
}

static void
watch(struct client *c)
{
	int events = 0;

	if (c->dead)
		return;
	if (!c->answered)
		events |= UV_READABLE;
	if (waiting(c) > 0)
		events |= UV_WRITABLE;
	(void)uv_poll_start(&c->poll, events | UV_DISCONNECT, on_socket);
}

void
client_adopt(struct shim *s, int fd, json_t *head)
{
	struct client *c = xcalloc(1, sizeof(*c));

	c->shim = s;
	c->fd = fd;
	c->head = head;
	buf_init(&c->body, BODY_MAX);
	buf_init(&c->out, OUT_MAX);
	c->expected = (size_t)client_int(head, "body", 0);
	if (uv_poll_init(&s->loop, &c->poll, fd) < 0) {
		(void)close(fd);
		json_decref(head);
		free(c);
		return;
	}
	c->poll.data = c;
	TAILQ_INSERT_TAIL(&s->clients, c, link);
	watch(c);
	read_more(c);
}

void
client_free_all(struct shim *s)
{
	struct client *c;

	while ((c = TAILQ_FIRST(&s->clients)) != NULL)
		bury(c);
}

const char *
client_str(const json_t *o, const char *name, const char *def)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s ? s : def;
}

long long
client_int(const json_t *o, const char *name, long long def)
{
	const json_t *v = json_object_get(o, name);

	return json_is_integer(v) ? json_integer_value(v) : def;
}
