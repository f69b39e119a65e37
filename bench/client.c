#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "attr.h"
#include "buf.h"
#include "cleanup.h"
#include "clock_ns.h"
#include "http.h"
#include "mem.h"
#include "secret.h"

enum {
	HEADERS_MAX = 320,
	EVENTS = 256,
	READ_CHUNK = 1 << 16,
	ANSWER_MAX = 256 << 20
};
static const int64_t SECOND = 1000000000;
static const int64_t DRAIN = 120 * SECOND; /* for what was begun in time */

struct conn {
	int fd; /* owned; -1: not connected */
	bool busy;
	bool polling;      /* MODE_ASYNC: the job is submitted */
	int64_t since_ns;  /* the operation's time counts from here */
	int64_t resume_ns; /* while paused between plain polls */
	char head[1024];
	size_t head_len;
	const char *body; /* borrowed from the plan */
	size_t body_len;
	size_t sent; /* of head and body */
	char id[64];
	struct answer answer;
	struct buf in;
	TAILQ_ENTRY(conn) link; /* in idle or paused */
};
TAILQ_HEAD(conns, conn);

struct client {
	const struct plan *plan;
	struct outcome *out;
	int epoll_fd;
	struct conn *all; /* owned */
	struct conns idle, paused;
	int64_t began_ns, last_end_ns, now_ns, next_interval_ns;
	uint64_t started, ended;
	struct hist *interval; /* owned */
	time_t signed_at;      /* MODE_GET: its one request's headers */
	char headers[HEADERS_MAX];
};

/* ---- one request ---- */

static void
sign(struct client *cl, const struct conn *c, const char *method,
    const char *target, time_t now)
{
	char stamp[24], sig[SECRET_SIG_LEN + 1];
	int n = snprintf(stamp, sizeof(stamp), "%" PRId64, (int64_t)now);
	const struct secret_part parts[] = { { stamp, (size_t)n }, { ":", 1 },
		{ method, strlen(method) }, { ":", 1 },
		{ target, strlen(target) }, { ":", 1 },
		{ c->body, c->body_len } };

	secret_sign(cl->plan->secret, parts, ARRAY_LEN(parts), sig);
	(void)snprintf(cl->headers, sizeof(cl->headers),
	    "Authorization: Bearer %s\r\nX-Timestamp: %s\r\n"
	    "X-Signature: %s\r\n",
	    cl->plan->public_key, stamp, sig);
}

/* The same request in the same second has the same signature. */
static const char *
auth_headers(struct client *cl, const struct conn *c, const char *method,
    const char *target)
{
	time_t now = time(NULL);

	if (cl->plan->mode == MODE_HELLO)
		return "";
	if (cl->plan->mode != MODE_GET || cl->signed_at != now)
		sign(cl, c, method, target, now);
	cl->signed_at = now;
	return cl->headers;
}

static void
prepare(struct client *cl, struct conn *c)
{
	const struct plan *p = cl->plan;
	char poll[96], length[96] = "";
	const char *target = p->target, *method = "GET";

	c->body = "";
	c->body_len = 0;
	if (c->polling) {
		(void)snprintf(poll, sizeof(poll),
		    p->wait_s > 0 ? "/jobs/%s?wait=%d" : "/jobs/%s", c->id,
		    p->wait_s);
		target = poll;
	} else if (p->mode == MODE_SYNC || p->mode == MODE_ASYNC) {
		method = "POST";
		c->body = p->body;
		c->body_len = p->body_len;
		(void)snprintf(length, sizeof(length),
		    "Content-Type: application/json\r\n"
		    "Content-Length: %zu\r\n",
		    c->body_len);
	}
	c->head_len = (size_t)snprintf(c->head, sizeof(c->head),
	    "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s%s\r\n", method, target,
	    p->port, auth_headers(cl, c, method, target), length);
	c->sent = 0;
	c->answer = (struct answer){ .status = 0 };
	buf_clear(&c->in);
}

/* ---- connections ---- */

static void
conn_close(struct conn *c)
{
	cleanup_closep(&c->fd);
	c->fd = -1;
}

static int
conn_open(struct client *cl, struct conn *c)
{
	const int on = 1;
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)cl->plan->port) };
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLET,
		.data.ptr = c };

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		return -1;
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if ((connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0 &&
		errno != EINPROGRESS) ||
	    epoll_ctl(cl->epoll_fd, EPOLL_CTL_ADD, c->fd, &ev) < 0) {
		conn_close(c);
		return -1;
	}
	return 0;
}

static void conn_send(struct client *cl, struct conn *c);

/* ---- operations ---- */

static void
op_end(struct client *cl, struct conn *c)
{
	c->busy = false;
	c->polling = false;
	cl->ended++;
	cl->last_end_ns = cl->now_ns;
	TAILQ_INSERT_TAIL(&cl->idle, c, link);
}

static void
op_failed(struct client *cl, struct conn *c, const char *why)
{
	struct outcome *o = cl->out;

	o->errors++;
	if (o->first_error[0] == '\0')
		(void)snprintf(o->first_error, sizeof(o->first_error),
		    "%s: %.*s", why, (int)(c->in.len < 150 ? c->in.len : 150),
		    c->in.data ? c->in.data : "");
	conn_close(c);
	op_end(cl, c);
}

static void
op_good(struct client *cl, struct conn *c)
{
	hist_add(&cl->out->hist, cl->now_ns - c->since_ns);
	if (cl->interval)
		hist_add(cl->interval, cl->now_ns - c->since_ns);
	if (c->answer.close)
		conn_close(c);
	op_end(cl, c);
}

static void
send_request(struct client *cl, struct conn *c)
{
	prepare(cl, c);
	if (c->fd < 0 && conn_open(cl, c) < 0) {
		op_failed(cl, c, "connect");
		return;
	}
	conn_send(cl, c);
}

static void
op_start(struct client *cl, struct conn *c, int64_t due_ns)
{
	TAILQ_REMOVE(&cl->idle, c, link);
	c->busy = true;
	cl->started++;
	/* A closed loop's time begins with the first byte sent: signing is the
	 * client's own. */
	if (due_ns != 0) {
		c->since_ns = due_ns;
		send_request(cl, c);
		return;
	}
	prepare(cl, c);
	c->since_ns = clock_ns();
	if (c->fd < 0 && conn_open(cl, c) < 0) {
		op_failed(cl, c, "connect");
		return;
	}
	conn_send(cl, c);
}

/* MODE_ASYNC: the job's answer, or its submission's. */
static void
job_answered(
    struct client *cl, struct conn *c, const char *body, size_t body_len)
{
	char status[32] = "";
	bool first = !c->polling;

	if (first &&
	    !answer_text(body, body_len, "job_id", c->id, sizeof(c->id))) {
		op_failed(cl, c, "no job_id");
		return;
	}
	c->polling = true;
	(void)answer_text(body, body_len, "status", status, sizeof(status));
	if (!first && strcmp(status, "pending") != 0 &&
	    strcmp(status, "running") != 0) {
		if (strcmp(status, "completed") != 0 ||
		    (cl->plan->expect &&
			!memmem(body, body_len, cl->plan->expect,
			    strlen(cl->plan->expect))))
			op_failed(cl, c, "the job went wrong");
		else
			op_good(cl, c);
		return;
	}
	if (cl->plan->wait_s > 0) {
		send_request(cl, c);
		return;
	}
	c->resume_ns = cl->now_ns + cl->plan->pause_ns;
	TAILQ_INSERT_TAIL(&cl->paused, c, link);
}

static void
answered(struct client *cl, struct conn *c)
{
	const char *expect = cl->plan->expect;
	const char *body = c->in.data + c->answer.head_len;
	size_t body_len = c->answer.body_len;
	int status = c->answer.status;

	cl->out->requests++;
	cl->out->statuses[status < STATUS_MAX ? status : 0]++;
	if (status != 200)
		op_failed(cl, c, "refused");
	else if (cl->plan->mode == MODE_ASYNC)
		job_answered(cl, c, body, body_len);
	else if (expect && !memmem(body, body_len, expect, strlen(expect)))
		op_failed(cl, c, "not the expected answer");
	else
		op_good(cl, c);
}

/* ---- bytes ---- */

static void
conn_send(struct client *cl, struct conn *c)
{
	size_t all = c->head_len + c->body_len;

	while (c->sent < all) {
		size_t of_head = c->sent < c->head_len ? c->sent : c->head_len;
		size_t of_body = c->sent - of_head;
		struct iovec v[2] = {
			{ c->head + of_head, c->head_len - of_head },
			/* writev() does not write to it */
			{ (void *)(uintptr_t)(c->body + of_body),
			    c->body_len - of_body },
		};
		ssize_t n = writev(c->fd, v, 2);

		if (n < 0 && (errno == EAGAIN || errno == ENOTCONN))
			return;
		if (n < 0) {
			op_failed(cl, c, "send");
			return;
		}
		c->sent += (size_t)n;
	}
}

static void
conn_receive(struct client *cl, struct conn *c)
{
	static char chunk[READ_CHUNK];
	int done = 0;

	while (done == 0) {
		ssize_t n = recv(c->fd, chunk, sizeof(chunk), 0);

		if (n < 0 && (errno == EAGAIN || errno == ENOTCONN))
			return;
		if (n <= 0 && !c->busy) {
			conn_close(
			    c); /* an idle one: opened again when needed */
			return;
		}
		if (n <= 0 || buf_add(&c->in, chunk, (size_t)n) < 0) {
			op_failed(cl, c, n < 0 ? "receive" : "cut off");
			return;
		}
		done = answer_feed(&c->answer, c->in.data, c->in.len);
	}
	cl->now_ns = clock_ns();
	if (done < 0 || !c->busy)
		op_failed(cl, c, "no HTTP answer");
	else
		answered(cl, c);
}

/* ---- time ---- */

static bool
may_start(const struct client *cl, int64_t due_ns)
{
	const struct plan *p = cl->plan;

	if (p->operations > 0 && cl->started >= p->operations)
		return false;
	return p->duration_ns == 0 || due_ns - cl->began_ns < p->duration_ns;
}

/* When the next operation of an open loop is due. */
static int64_t
next_due(const struct client *cl)
{
	return cl->began_ns +
	       (int64_t)((double)cl->started * (double)SECOND / cl->plan->rate);
}

static void
start_due(struct client *cl)
{
	size_t n = (size_t)cl->plan->connections;

	while (n-- > 0 && !TAILQ_EMPTY(&cl->idle)) {
		int64_t due = cl->plan->rate > 0 ? next_due(cl) : 0;

		if (due > cl->now_ns ||
		    !may_start(cl, due > 0 ? due : cl->now_ns))
			return;
		op_start(cl, TAILQ_FIRST(&cl->idle), due);
	}
}

static void
resume_due(struct client *cl)
{
	struct conn *c;

	while ((c = TAILQ_FIRST(&cl->paused)) && c->resume_ns <= cl->now_ns) {
		TAILQ_REMOVE(&cl->paused, c, link);
		send_request(cl, c);
	}
}

static void
tell_interval(struct client *cl)
{
	const struct plan *p = cl->plan;

	if (!cl->interval || cl->now_ns < cl->next_interval_ns)
		return;
	p->on_interval(p, (double)(cl->now_ns - cl->began_ns) / (double)SECOND,
	    cl->interval);
	hist_init(cl->interval);
	cl->next_interval_ns += p->every_ns;
}

static int64_t
earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Until something is due; answers end the sleep earlier. */
static int64_t
sleep_ns(const struct client *cl)
{
	const struct conn *c = TAILQ_FIRST(&cl->paused);
	int64_t until = cl->now_ns + SECOND;

	if (cl->interval)
		until = earlier(until, cl->next_interval_ns);
	if (c)
		until = earlier(until, c->resume_ns);
	if (!TAILQ_EMPTY(&cl->idle)) {
		int64_t due = cl->plan->rate > 0 ? next_due(cl) : cl->now_ns;

		if (may_start(cl, due))
			until = earlier(until, due);
	}
	return until > cl->now_ns ? until - cl->now_ns : 0;
}

static bool
finished(const struct client *cl)
{
	int64_t due = cl->plan->rate > 0 ? next_due(cl) : cl->now_ns;

	if (may_start(cl, due))
		return false;
	return cl->ended == cl->started;
}

static void
turn(struct client *cl)
{
	struct epoll_event ev[EVENTS];
	int64_t ns = sleep_ns(cl);
	struct timespec t = { .tv_sec = ns / SECOND, .tv_nsec = ns % SECOND };
	int n = epoll_pwait2(cl->epoll_fd, ev, EVENTS, &t, NULL);

	cl->now_ns = clock_ns();
	for (int i = 0; i < n; i++) {
		struct conn *c = ev[i].data.ptr;

		if (c->fd >= 0 && c->busy && (ev[i].events & EPOLLOUT))
			conn_send(cl, c);
		if (c->fd >= 0 &&
		    (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
			conn_receive(cl, c);
	}
	cl->now_ns = clock_ns();
	resume_due(cl);
	start_due(cl);
	tell_interval(cl);
}

/* Operations that never ended, and those that never found a connection. */
static void
count_unfinished(struct client *cl)
{
	uint64_t left = cl->started - cl->ended;

	while (cl->plan->rate > 0 && may_start(cl, next_due(cl))) {
		cl->started++;
		left++;
	}
	cl->out->errors += left;
	if (left > 0 && cl->out->first_error[0] == '\0')
		(void)snprintf(cl->out->first_error,
		    sizeof(cl->out->first_error), "%" PRIu64 " did not end",
		    left);
}

static void
run(struct client *cl)
{
	int64_t limit = INT64_MAX;

	cl->began_ns = cl->now_ns = cl->last_end_ns = clock_ns();
	cl->next_interval_ns = cl->began_ns + cl->plan->every_ns;
	if (cl->plan->duration_ns > 0)
		limit = cl->began_ns + cl->plan->duration_ns + DRAIN;
	start_due(cl);
	while (!finished(cl) && cl->now_ns < limit)
		turn(cl);
	if (cl->now_ns >= limit)
		count_unfinished(cl);
	cl->out->seconds = (double)(cl->last_end_ns - cl->began_ns) /
			   (double)SECOND;
}

int
client_run(const struct plan *p, struct outcome *ret_outcome, struct err *err)
{
	struct client cl = { .plan = p, .out = ret_outcome };

	memset(ret_outcome, 0, sizeof(*ret_outcome));
	cl.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (cl.epoll_fd < 0)
		return err_errno(err, "epoll");
	TAILQ_INIT(&cl.idle);
	TAILQ_INIT(&cl.paused);
	cl.all = xcalloc((size_t)p->connections, sizeof(*cl.all));
	if (p->every_ns > 0)
		cl.interval = xcalloc(1, sizeof(*cl.interval));
	for (int i = 0; i < p->connections; i++) {
		cl.all[i].fd = -1;
		buf_init(&cl.all[i].in, ANSWER_MAX);
		TAILQ_INSERT_TAIL(&cl.idle, &cl.all[i], link);
	}
	run(&cl);
	for (int i = 0; i < p->connections; i++) {
		conn_close(&cl.all[i]);
		buf_done(&cl.all[i].in);
	}
	free(cl.all);
	free(cl.interval);
	(void)close(cl.epoll_fd);
	return 0;
}
