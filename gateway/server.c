/*
 * Beside libmicrohttpd's idle time-out, which any byte renews, each connection
 * has a deadline for the request it is sending, so that a client that drips a
 * byte a second cannot hold one forever.  libmicrohttpd has no call to close a
 * connection: shutting its socket down makes it do so.
 */
#include "server.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "cleanup.h"
#include "clock.h"
#include "gateway.h"
#include "log.h"
#include "mem.h"
#include "request.h"

enum {
	BACKLOG = 4096,
	SWEEP_MS = 500,
	MS = 1000,
	/* Of a connection, for headers and pieces of bodies; more: 431. */
	POOL_BYTES = 16 << 10,
};

struct peer {
	TAILQ_ENTRY(peer) link;
	struct server *server;
	int fd;              /* borrowed from libmicrohttpd */
	int64_t deadline_ms; /* 0: a request is being worked on */
	bool sending;        /* a request's first line is there */
};

struct server {
	struct gateway *gw;
	struct MHD_Daemon *daemon;
	uv_poll_t poll;
	uv_timer_t timer;
	uv_timer_t sweep;
	uv_prepare_t before; /* the loop sleeps */
	uv_check_t after;    /* the loop woke up and ran what was ready */
	bool resumed; /* a connection has its answer since the last run */
	unsigned handles;
	TAILQ_HEAD(peer_list, peer) peers;
};

/* ---- the loop ---- */

static void on_timer(uv_timer_t *t);

static void
drive(struct server *s)
{
	MHD_UNSIGNED_LONG_LONG ms;

	s->resumed = false;
	(void)MHD_run(s->daemon);
	if (MHD_get_timeout(s->daemon, &ms) == MHD_YES)
		(void)uv_timer_start(&s->timer, on_timer, ms, 0);
	else
		(void)uv_timer_stop(&s->timer);
}

static void
on_timer(uv_timer_t *t)
{
	drive(t->data);
}

static void
on_ready(uv_poll_t *p, int status, int events)
{
	(void)status;
	(void)events;
	drive(p->data);
}

/*
 * libmicrohttpd notices resumed connections only when it runs, and nothing
 * makes its descriptor readable.  Answers of one turn of the loop share one
 * run: after the replies of Redis, or before the loop sleeps for those that
 * timers made.
 */
static void
on_before(uv_prepare_t *p)
{
	struct server *s = p->data;

	if (s->resumed)
		drive(s);
}

static void
on_after(uv_check_t *c)
{
	struct server *s = c->data;

	if (s->resumed)
		drive(s);
}

void
server_resumed(struct server *s)
{
	s->resumed = true;
}

/* ---- connections that take too long ---- */

#define OVERDUE_BODY                                                           \
	"{\"error\":\"the request did not arrive in time\","                   \
	"\"message\":\"the request did not arrive in time: send it "           \
	"faster\",\"code\":\"REQUEST_TIMEOUT\"}"

/* Nothing was sent for this request yet, so this is its answer. */
static void
send_overdue(int fd)
{
	char answer[512];
	int n = snprintf(answer, sizeof(answer),
	    "HTTP/1.1 408 Request Timeout\r\n"
	    "Content-Type: application/json\r\n"
	    "Connection: close\r\n"
	    "Content-Length: %zu\r\n\r\n%s",
	    sizeof(OVERDUE_BODY) - 1, OVERDUE_BODY);

	(void)!send(fd, answer, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void
peer_overdue(struct peer *p)
{
	if (p->sending)
		send_overdue(p->fd);
	(void)shutdown(p->fd, SHUT_RDWR);
	p->server->gw->metrics->counters[METRIC_requests_overdue]++;
	p->deadline_ms = 0;
}

static void
on_sweep(uv_timer_t *t)
{
	struct server *s = t->data;
	int64_t now = clock_mono_ms();
	struct peer *p;

	TAILQ_FOREACH (p, &s->peers, link)
		if (p->deadline_ms > 0 && now > p->deadline_ms)
			peer_overdue(p);
}

static void
peer_expect(struct peer *p, int64_t seconds)
{
	p->deadline_ms = clock_mono_ms() + seconds * MS;
}

void
server_request_arrived(struct peer *p)
{
	if (p)
		p->deadline_ms = 0;
}

/* ---- libmicrohttpd's callbacks ---- */

static void
on_connection(void *cls, struct MHD_Connection *conn, void **socket_context,
    enum MHD_ConnectionNotificationCode code)
{
	struct server *s = cls;
	struct peer *p = *socket_context;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		p = xcalloc(1, sizeof(*p));
		p->server = s;
		p->fd = MHD_get_connection_info(
		    conn, MHD_CONNECTION_INFO_CONNECTION_FD)
			    ->connect_fd;
		peer_expect(p, s->gw->set.gateway_body_seconds);
		TAILQ_INSERT_TAIL(&s->peers, p, link);
		*socket_context = p;
		s->gw->metrics->counters[METRIC_connections]++;
	} else if (p) {
		TAILQ_REMOVE(&s->peers, p, link);
		free(p);
		*socket_context = NULL;
	}
}

static void *
on_first_line(void *cls, const char *target, struct MHD_Connection *conn)
{
	struct server *s = cls;
	struct request *req = request_new(s->gw, conn, target);
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
	    conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	req->peer = info ? info->socket_context : NULL;
	if (req->peer) {
		req->peer->sending = true;
		peer_expect(req->peer, s->gw->set.gateway_body_seconds);
	}
	return req;
}

static enum MHD_Result
on_request(void *cls, struct MHD_Connection *conn, const char *url,
    const char *method, const char *version, const char *data, size_t *data_len,
    void **request)
{
	(void)cls;
	(void)conn;
	(void)url;
	(void)version;
	return request_step(*request, method, data, data_len);
}

static void
on_completed(void *cls, struct MHD_Connection *conn, void **request,
    enum MHD_RequestTerminationCode code)
{
	struct server *s = cls;
	struct request *req = *request;

	(void)conn;
	(void)code;
	if (!req)
		return;
	if (req->peer) {
		const struct settings *set = &s->gw->set;

		req->peer->sending = false;
		peer_expect(req->peer,
		    set->gateway_idle_seconds + set->gateway_body_seconds);
	}
	request_free(req);
	*request = NULL;
}

static void on_mhd_log(void *cls, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

/* What it has to say is about single connections: a client's business. */
static void
on_mhd_log(void *cls, const char *fmt, va_list ap)
{
	char text[256];

	(void)cls;
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		return;
	text[strcspn(text, "\r\n")] = '\0';
	log_debug(NULL, "libmicrohttpd|text=\"%s\"", text);
}

/* ---- start and end ---- */

/* Ours of all that the address may have. */
static unsigned
connections(const struct gateway *gw)
{
	unsigned n = gw->prefork.n;

	return ((unsigned)gw->set.gateway_connections + n - 1) / n;
}

static struct MHD_Daemon *
start_daemon(struct server *s, int listener)
{
	const struct settings *set = &s->gw->set;

	/* TURBO: read and write before asking epoll; a fifth more requests. */
	return MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_TURBO |
				    MHD_ALLOW_SUSPEND_RESUME |
				    MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG,
	    0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER,
	    on_mhd_log, s, MHD_OPTION_LISTEN_SOCKET, listener,
	    MHD_OPTION_CONNECTION_LIMIT, connections(s->gw),
	    MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)set->gateway_idle_seconds,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES,
	    MHD_OPTION_URI_LOG_CALLBACK, on_first_line, s,
	    MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
	    MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_END);
}

static void
start_handles(struct server *s)
{
	uv_loop_t *loop = &s->gw->loop;
	int fd = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD)
		     ->epoll_fd;

	(void)uv_poll_init(loop, &s->poll, fd);
	(void)uv_timer_init(loop, &s->timer);
	(void)uv_timer_init(loop, &s->sweep);
	(void)uv_prepare_init(loop, &s->before);
	(void)uv_check_init(loop, &s->after);
	s->poll.data = s->timer.data = s->sweep.data = s;
	s->before.data = s->after.data = s;
	s->handles = 5;
	(void)uv_prepare_start(&s->before, on_before);
	(void)uv_check_start(&s->after, on_after);
	(void)uv_poll_start(&s->poll, UV_READABLE, on_ready);
	(void)uv_timer_start(&s->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
}

struct server *
server_new(struct gateway *gw, int listener, struct err *err)
{
	struct server *s = xcalloc(1, sizeof(*s));

	s->gw = gw;
	TAILQ_INIT(&s->peers);
	s->daemon = start_daemon(s, listener);
	if (!s->daemon) {
		(void)err_set(err, ERR_SYS, 0, "libmicrohttpd does not start");
		(void)close(listener);
		free(s);
		return NULL;
	}
	start_handles(s);
	return s;
}

void
server_stop_listening(struct server *s)
{
	int fd = MHD_quiesce_daemon(s->daemon);

	if (fd >= 0)
		(void)close(fd);
	drive(s);
}

static void
on_closed(uv_handle_t *h)
{
	struct server *s = h->data;

	if (--s->handles == 0)
		free(s);
}

void
server_free(struct server *s)
{
	if (!s)
		return;
	/* Answers that were just made get one chance to leave. */
	(void)MHD_run(s->daemon);
	(void)uv_poll_stop(&s->poll);
	MHD_stop_daemon(s->daemon);
	uv_close((uv_handle_t *)&s->poll, on_closed);
	uv_close((uv_handle_t *)&s->timer, on_closed);
	uv_close((uv_handle_t *)&s->sweep, on_closed);
	uv_close((uv_handle_t *)&s->before, on_closed);
	uv_close((uv_handle_t *)&s->after, on_closed);
}
