#include "store.h"

#include <assert.h>
#include <errno.h>
#include <hiredis/async.h>
#include <hiredis/sds.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "log.h"
#include "mem.h"

enum {
	RECONNECT_FIRST_MS = 50,
	RECONNECT_MAX_MS = 2000,
	CONNECT_MS = 5000, /* a server that does not say hello is not there */
	WATCH_MS = 250,    /* how often the oldest call's age is looked at */
	ARGS_MAX = 16,     /* of the convenience calls */
	SHA_LEN = 40,
};

/* One call under way; hiredis answers in order, so the list is a queue. */
struct call {
	TAILQ_ENTRY(call) link;
	struct store *store;
	store_cb *cb;
	void *ctx;
	int64_t since_ms;
};

struct subscription {
	STAILQ_ENTRY(subscription) link;
	struct store *store;
	store_message_cb *cb;
	void *ctx;
	char channel[]; /* owned, with the prefix */
};

/*
 * A connection's descriptor on the loop.  What calls leave in hiredis's buffer
 * is written when the loop is about to sleep: the calls of one turn go out
 * together, and the loop is not asked for room that is nearly always there.
 */
struct link {
	uv_poll_t poll;
	struct store *store;
	redisAsyncContext *redis; /* NULL: gone, to be closed */
	size_t sent;              /* of its buffer, and still in front there */
	bool writing;             /* hiredis is at it */
	bool full;                /* waits for room */
};

struct store {
	uv_loop_t *loop;
	struct store_target target;
	char prefix[96];
	int deadline_ms;
	struct store_hooks hooks;
	redisAsyncContext *redis; /* NULL while there is no connection */
	uv_timer_t timer;         /* reconnect, or the watch over calls */
	uv_prepare_t flush;       /* the loop is about to sleep */
	bool unsent;              /* calls were made since */
	unsigned handles;         /* these two, to be closed at the end */
	int64_t backoff_ms;
	int handshakes; /* answers to AUTH, SELECT, SCRIPT LOAD to come */
	bool up;
	bool closing;
	char sha[STORE__COUNT][SHA_LEN + 1];
	TAILQ_HEAD(call_queue, call) calls;
	STAILQ_HEAD(sub_list, subscription) subs;
};

static void connect_now(struct store *s);
static void retry_later(struct store *s);

/* ---- where the server is ---- */

/* Digits up to end, or the string's end; -1 for anything else. */
static int
parse_number(const char *p, const char *end)
{
	int v = 0;

	if (p == end)
		return -1;
	for (; p < end; p++) {
		if (*p < '0' || *p > '9' || v > 65535)
			return -1;
		v = v * 10 + (*p - '0');
	}
	return v;
}

static int
parse_tcp(const char *p, struct store_target *t, struct err *err)
{
	const char *at = strrchr(p, '@'), *host = at ? at + 1 : p;
	size_t n = strcspn(host, ":/");
	const char *port = host + n, *db = strchrnul(port, '/');

	if (at) {
		const char *pw = memchr(p, ':', (size_t)(at - p));
		size_t len;

		pw = pw ? pw + 1 : p;
		len = (size_t)(at - pw);
		if (len >= sizeof(t->password))
			return err_set(err, ERR_INVALID, 0,
			    "redis url: password is too long");
		memcpy(t->password, pw, len);
	}
	t->port = *port == ':' ? parse_number(port + 1, db) : 6379;
	t->db = *db ? parse_number(db + 1, db + strlen(db)) : 0;
	if (n == 0 || n >= sizeof(t->host) || t->port < 1 || t->port > 65535 ||
	    t->db < 0)
		return err_set(err, ERR_INVALID, 0,
		    "redis url: not redis://[:password@]host[:port][/db]");
	memcpy(t->host, host, n);
	return 0;
}

int
store_target_parse(
    const char *url, struct store_target *ret_target, struct err *err)
{
	struct store_target t = { .port = 0 };
	const char *path;

	if (strncmp(url, "redis://", 8) == 0) {
		if (parse_tcp(url + 8, &t, err) < 0)
			return -1;
		*ret_target = t;
		return 0;
	}
	if (strncmp(url, "unix:", 5) != 0)
		return err_set(err, ERR_INVALID, 0,
		    "redis url starts neither with unix: nor redis://");
	path = url + 5;
	if (path[0] == '/' && path[1] == '/')
		path += 2;
	if (*path != '/' || strlen(path) >= sizeof(t.host))
		return err_set(err, ERR_INVALID, 0,
		    "redis url: unix: wants an absolute path under %zu bytes",
		    sizeof(t.host));
	(void)snprintf(t.host, sizeof(t.host), "%s", path);
	*ret_target = t;
	return 0;
}

/* ---- calls ---- */

static void
unavailable(struct err *err, const char *why)
{
	(void)err_set(err, ERR_UNAVAILABLE, 0, "redis: %s", why);
}

/*
 * Redis's own errors: those that pass by themselves, and the others.  Where in
 * which script it happened follows after the words; that is no caller's
 * business.
 */
static void
classify(const char *full, struct err *err)
{
	static const char *const passing[] = { "LOADING", "OOM", "MISCONF",
		"READONLY", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN",
		"NOREPLICAS", "NOSCRIPT", "max number of clients" };
	const char *where = strstr(full, " script: ");
	size_t n = where ? (size_t)(where - full) : strlen(full);
	char text[sizeof(err->msg)];

	n = n < sizeof(text) ? n : sizeof(text) - 1;
	memcpy(text, full, n);
	text[n] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(passing); i++)
		if (strstr(text, passing[i])) {
			unavailable(err, text);
			return;
		}
	(void)err_set(err, ERR_SYS, 0, "redis: %s", text);
}

static void
call_end(struct call *c, const redisReply *reply, const struct err *err)
{
	TAILQ_REMOVE(&c->store->calls, c, link);
	if (c->cb)
		c->cb(c->ctx, reply, err);
	free(c);
}

static void load_scripts(struct store *s);

static void
on_reply(redisAsyncContext *ac, void *reply, void *privdata)
{
	const redisReply *r = reply;
	struct call *c = privdata;
	struct err err = { 0 };

	(void)ac;
	if (!r) {
		unavailable(&err, "connection lost");
		call_end(c, NULL, &err);
	} else if (r->type == REDIS_REPLY_ERROR) {
		if (strncmp(r->str, "NOSCRIPT", 8) == 0)
			load_scripts(c->store);
		classify(r->str, &err);
		call_end(c, NULL, &err);
	} else {
		call_end(c, r, NULL);
	}
}

static struct call *
call_new(struct store *s, store_cb *cb, void *ctx)
{
	struct call *c = xcalloc(1, sizeof(*c));

	*c = (struct call){
		.store = s, .cb = cb, .ctx = ctx, .since_ms = clock_mono_ms()
	};
	TAILQ_INSERT_TAIL(&s->calls, c, link);
	return c;
}

/* A call that cannot be sent still answers from the loop, not from here. */
struct refusal {
	uv_timer_t timer;
	store_cb *cb;
	void *ctx;
};

static void
on_refusal_closed(uv_handle_t *h)
{
	free(h->data);
}

static void
on_refusal(uv_timer_t *t)
{
	struct refusal *r = t->data;
	struct err err;

	unavailable(&err, "not connected");
	r->cb(r->ctx, NULL, &err);
	uv_close((uv_handle_t *)t, on_refusal_closed);
}

static void
refuse(struct store *s, store_cb *cb, void *ctx)
{
	struct refusal *r;

	if (!cb)
		return;
	r = xcalloc(1, sizeof(*r));
	r->cb = cb;
	r->ctx = ctx;
	(void)uv_timer_init(s->loop, &r->timer);
	r->timer.data = r;
	(void)uv_timer_start(&r->timer, on_refusal, 0, 0);
}

static void
send_argv(struct store *s, int argc, const char **argv, const size_t *lens,
    store_cb *cb, void *ctx)
{
	struct call *c;

	if (!s->up) {
		refuse(s, cb, ctx);
		return;
	}
	c = call_new(s, cb, ctx);
	if (redisAsyncCommandArgv(s->redis, on_reply, c, argc, argv, lens) !=
	    REDIS_OK) {
		TAILQ_REMOVE(&s->calls, c, link);
		free(c);
		refuse(s, cb, ctx);
	}
}

struct store_arg
store_arg_str(const char *str)
{
	return (struct store_arg){ .data = str, .len = strlen(str) };
}

void
store_eval(struct store *s, enum store_script_id script,
    const struct store_arg *args, size_t n, store_cb *cb, void *ctx)
{
	const char *few_argv[4 + ARGS_MAX], **argv = few_argv;
	size_t few_lens[4 + ARGS_MAX], *lens = few_lens;
	auto_free void *many_argv = NULL, *many_lens = NULL;

	if (n > ARGS_MAX) {
		many_argv = calloc(n + 4, sizeof(*argv));
		many_lens = calloc(n + 4, sizeof(*lens));
		argv = many_argv;
		lens = many_lens;
		if (!argv || !lens)
			abort();
	}
	argv[0] = "EVALSHA";
	argv[1] = s->sha[script];
	argv[2] = "1";
	argv[3] = s->prefix;
	for (size_t i = 0; i < 4; i++)
		lens[i] = strlen(argv[i]);
	for (size_t i = 0; i < n; i++) {
		argv[4 + i] = args[i].data;
		lens[4 + i] = args[i].len;
	}
	send_argv(s, (int)n + 4, argv, lens, cb, ctx);
}

void
store_eval_str(
    struct store *s, enum store_script_id script, store_cb *cb, void *ctx, ...)
{
	struct store_arg args[ARGS_MAX];
	const char *a;
	size_t n = 0;
	va_list ap;

	va_start(ap, ctx);
	while ((a = va_arg(ap, const char *)) != NULL) {
		assert(n < ARGS_MAX);
		args[n++] = store_arg_str(a);
	}
	va_end(ap);
	store_eval(s, script, args, n, cb, ctx);
}

void
store_command(struct store *s, store_cb *cb, void *ctx, const char *fmt, ...)
{
	struct call *c;
	va_list ap;
	int r;

	if (!s->up) {
		refuse(s, cb, ctx);
		return;
	}
	c = call_new(s, cb, ctx);
	va_start(ap, fmt);
	r = redisvAsyncCommand(s->redis, on_reply, c, fmt, ap);
	va_end(ap);
	if (r != REDIS_OK) {
		TAILQ_REMOVE(&s->calls, c, link);
		free(c);
		refuse(s, cb, ctx);
	}
}

/* ---- subscriptions ---- */

static void
on_message(redisAsyncContext *ac, void *reply, void *privdata)
{
	struct subscription *sub = privdata;
	const redisReply *r = reply, *text = store_reply_at(r, 2);

	(void)ac;
	if (text && text->type == REDIS_REPLY_STRING &&
	    strcmp(store_reply_str(r->element[0], ""), "message") == 0)
		sub->cb(sub->ctx, sub->channel + strlen(sub->store->prefix),
		    text->str, text->len);
}

static void
subscribe_now(struct subscription *sub)
{
	(void)redisAsyncCommand(
	    sub->store->redis, on_message, sub, "SUBSCRIBE %s", sub->channel);
}

void
store_subscribe(
    struct store *s, const char *channel, store_message_cb *cb, void *ctx)
{
	struct subscription *sub = xcalloc(
	    1, sizeof(*sub) + strlen(s->prefix) + strlen(channel) + 1);

	sub->store = s;
	sub->cb = cb;
	sub->ctx = ctx;
	(void)stpcpy(stpcpy(sub->channel, s->prefix), channel);
	STAILQ_INSERT_TAIL(&s->subs, sub, link);
	if (s->up)
		subscribe_now(sub);
}

/* ---- the connection on the loop ---- */

static void on_link(uv_poll_t *p, int status, int events);

/*
 * Instead of hiredis, which moves the rest of its buffer to the front after
 * each piece that the socket took: of a payload of megabytes that is the square
 * of its size.  False: there is more to send.
 */
static bool
send_some(struct link *l)
{
	redisContext *c = &l->redis->c;
	size_t len = sdslen(c->obuf);
	ssize_t n;

	if (len == 0 || !(c->flags & REDIS_CONNECTED))
		return true;
	n = write(c->fd, c->obuf + l->sent, len - l->sent);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		/* hiredis finds the end when it reads. */
		(void)shutdown(c->fd, SHUT_RDWR);
	if (n > 0)
		l->sent += (size_t)n;
	if (l->sent < len)
		return false;
	sdsfree(c->obuf);
	c->obuf = sdsempty();
	l->sent = 0;
	return true;
}

static void
link_write(struct link *l)
{
	if (!send_some(l)) {
		l->full = true;
		(void)uv_poll_start(
		    &l->poll, UV_READABLE | UV_WRITABLE, on_link);
		return;
	}
	l->writing = true;
	redisAsyncHandleWrite(l->redis); /* and it may be gone */
	l->writing = false;
}

static void
on_link(uv_poll_t *p, int status, int events)
{
	struct link *l = p->data;

	/* What is wrong with a socket is found by reading from it. */
	if (l->redis && (status != 0 || (events & UV_READABLE)))
		redisAsyncHandleRead(l->redis);
	if (l->redis && (events & UV_WRITABLE))
		link_write(l);
}

static void
on_flush(uv_prepare_t *p)
{
	struct store *s = p->data;

	if (!s->unsent || !s->redis)
		return;
	s->unsent = false;
	link_write(s->redis->ev.data);
}

static void
on_want_write(void *link)
{
	struct link *l = link;

	if (!l->writing && (l->redis->c.flags & REDIS_CONNECTED)) {
		l->store->unsent = true;
		return;
	}
	l->full = true;
	(void)uv_poll_start(&l->poll, UV_READABLE | UV_WRITABLE, on_link);
}

static void
on_all_written(void *link)
{
	struct link *l = link;

	if (!l->full)
		return;
	l->full = false;
	(void)uv_poll_start(&l->poll, UV_READABLE, on_link);
}

/* It reads from the first to the last moment; see on_want_write(). */
static void
on_want_read(void *link)
{
	(void)link;
}

static void
on_link_closed(uv_handle_t *h)
{
	free(h->data);
}

static void
on_redis_gone(void *link)
{
	struct link *l = link;

	l->redis = NULL;
	uv_close((uv_handle_t *)&l->poll, on_link_closed);
}

static int
link_open(struct store *s, redisAsyncContext *redis)
{
	struct link *l = xcalloc(1, sizeof(*l));

	if (uv_poll_init(s->loop, &l->poll, redis->c.fd) != 0) {
		free(l);
		return -1;
	}
	l->poll.data = l;
	l->store = s;
	l->redis = redis;
	redis->ev.data = l;
	redis->ev.addRead = redis->ev.delRead = on_want_read;
	redis->ev.addWrite = on_want_write;
	redis->ev.delWrite = on_all_written;
	redis->ev.cleanup = on_redis_gone;
	return 0;
}

/* ---- the connection's life ---- */

static void
set_state(struct store *s, bool up)
{
	if (s->up == up)
		return;
	s->up = up;
	if (s->hooks.on_state && !s->closing)
		s->hooks.on_state(s->hooks.ctx, up);
}

static void
on_timer(uv_timer_t *t)
{
	struct store *s = t->data;
	struct call *c;

	if (!s->redis) {
		connect_now(s);
		return;
	}
	if (!s->up) {
		log_warn(NULL, "redis did not say hello in time, reconnecting");
		redisAsyncFree(s->redis);
		/* on_disconnect() ran only if there was a connection. */
		if (s->redis)
			retry_later(s);
		return;
	}
	c = TAILQ_FIRST(&s->calls);
	if (s->deadline_ms > 0 && c &&
	    clock_mono_ms() - c->since_ms > s->deadline_ms) {
		log_warn(NULL, "redis did not answer in time, reconnecting");
		/* Answers all pending calls, then on_disconnect(). */
		redisAsyncFree(s->redis);
	}
}

static void
watch_calls(struct store *s)
{
	(void)uv_timer_start(&s->timer, on_timer, WATCH_MS, WATCH_MS);
	uv_unref((uv_handle_t *)&s->timer);
}

static void
retry_later(struct store *s)
{
	s->redis = NULL;
	s->handshakes = 0;
	set_state(s, false);
	if (s->closing)
		return;
	uv_ref((uv_handle_t *)&s->timer);
	(void)uv_timer_start(&s->timer, on_timer, (uint64_t)s->backoff_ms, 0);
	s->backoff_ms = s->backoff_ms * 2 < RECONNECT_MAX_MS ? s->backoff_ms * 2
							     : RECONNECT_MAX_MS;
}

static void
handshake_done(struct store *s)
{
	struct subscription *sub;

	if (--s->handshakes > 0 || s->up)
		return;
	s->backoff_ms = RECONNECT_FIRST_MS;
	watch_calls(s);
	set_state(s, true);
	STAILQ_FOREACH(sub, &s->subs, link)
	subscribe_now(sub);
}

/* Answer to AUTH, SELECT or SCRIPT LOAD. */
static void
on_handshake(redisAsyncContext *ac, void *reply, void *privdata)
{
	struct store *s = ac->data;
	const redisReply *r = reply;

	if (!r)
		return; /* on_disconnect() follows */
	if (r->type == REDIS_REPLY_ERROR) {
		log_err(NULL, "redis refused the handshake: %s", r->str);
		redisAsyncDisconnect(ac);
		return;
	}
	if (privdata && r->type == REDIS_REPLY_STRING && r->len == SHA_LEN)
		memcpy(privdata, r->str, SHA_LEN);
	handshake_done(s);
}

static void
load_scripts(struct store *s)
{
	for (size_t i = 0; i < STORE__COUNT; i++) {
		s->handshakes++;
		(void)redisAsyncCommand(s->redis, on_handshake, s->sha[i],
		    "SCRIPT LOAD %s", store_script_text[i]);
	}
}

static void
handshake(struct store *s)
{
	if (s->target.password[0]) {
		s->handshakes++;
		(void)redisAsyncCommand(s->redis, on_handshake, NULL, "AUTH %s",
		    s->target.password);
	}
	if (s->target.db > 0) {
		s->handshakes++;
		(void)redisAsyncCommand(
		    s->redis, on_handshake, NULL, "SELECT %d", s->target.db);
	}
	load_scripts(s);
}

static void
on_connect(const redisAsyncContext *ac, int status)
{
	struct store *s = ac->data;

	if (status != REDIS_OK) {
		log_debug(NULL, "redis connect: %s", ac->errstr);
		retry_later(s); /* hiredis frees the context itself */
		return;
	}
	handshake(s);
}

static void
on_disconnect(const redisAsyncContext *ac, int status)
{
	struct store *s = ac->data;

	if (!s->closing)
		log_warn(NULL, "redis connection lost, reconnecting|why=\"%s\"",
		    status == REDIS_OK ? "closed" : ac->errstr);
	retry_later(s);
}

static void
connect_now(struct store *s)
{
	const struct store_target *t = &s->target;

	s->redis = t->port ? redisAsyncConnect(t->host, t->port)
			   : redisAsyncConnectUnix(t->host);
	if (!s->redis || s->redis->err || link_open(s, s->redis) < 0) {
		if (s->redis)
			redisAsyncFree(s->redis);
		retry_later(s);
		return;
	}
	s->redis->data = s;
	if (t->port)
		(void)redisEnableKeepAlive(&s->redis->c);
	(void)redisAsyncSetConnectCallback(s->redis, on_connect);
	(void)redisAsyncSetDisconnectCallback(s->redis, on_disconnect);
	(void)uv_timer_start(&s->timer, on_timer, CONNECT_MS, 0);
}

struct store *
store_new(uv_loop_t *loop, const char *url, const char *prefix, int deadline_ms,
    const struct store_hooks *hooks, struct err *err)
{
	struct store *s = xcalloc(1, sizeof(*s));

	if (store_target_parse(url, &s->target, err) < 0) {
		free(s);
		return NULL;
	}
	s->loop = loop;
	s->deadline_ms = deadline_ms;
	s->backoff_ms = RECONNECT_FIRST_MS;
	if (hooks)
		s->hooks = *hooks;
	TAILQ_INIT(&s->calls);
	STAILQ_INIT(&s->subs);
	(void)snprintf(s->prefix, sizeof(s->prefix), "{%s}:", prefix);
	(void)uv_timer_init(loop, &s->timer);
	(void)uv_prepare_init(loop, &s->flush);
	s->timer.data = s->flush.data = s;
	s->handles = 2;
	(void)uv_prepare_start(&s->flush, on_flush);
	uv_unref((uv_handle_t *)&s->flush);
	connect_now(s);
	return s;
}

static void
on_handle_closed(uv_handle_t *h)
{
	struct store *s = h->data;

	if (--s->handles > 0)
		return;
	while (!STAILQ_EMPTY(&s->subs)) {
		struct subscription *sub = STAILQ_FIRST(&s->subs);

		STAILQ_REMOVE_HEAD(&s->subs, link);
		free(sub);
	}
	free(s);
}

void
store_free(struct store *s)
{
	if (!s)
		return;
	s->closing = true;
	if (s->redis)
		redisAsyncFree(s->redis);
	uv_close((uv_handle_t *)&s->timer, on_handle_closed);
	uv_close((uv_handle_t *)&s->flush, on_handle_closed);
}

bool
store_up(const struct store *s)
{
	return s->up;
}

const char *
store_prefix(const struct store *s)
{
	return s->prefix;
}

/* ---- blocking calls ---- */

struct redisContext *
store_connect_sync(const char *url, struct err *err)
{
	const struct timeval limit = { .tv_sec = 5 };
	struct store_target t = { .port = 0 };
	redisContext *c;
	redisReply *r = NULL;

	if (store_target_parse(url, &t, err) < 0)
		return NULL;
	c = t.port ? redisConnectWithTimeout(t.host, t.port, limit)
		   : redisConnectUnixWithTimeout(t.host, limit);
	if (!c || c->err) {
		(void)err_set(err, ERR_UNAVAILABLE, 0, "redis at %s: %s",
		    t.host, c ? c->errstr : "out of memory");
		redisFree(c);
		return NULL;
	}
	(void)redisSetTimeout(c, limit);
	if (t.password[0])
		freeReplyObject(redisCommand(c, "AUTH %s", t.password));
	r = redisCommand(c, "SELECT %d", t.db);
	if (!r || r->type == REDIS_REPLY_ERROR) {
		(void)err_set(err, ERR_UNAVAILABLE, 0, "redis at %s: %s",
		    t.host, r ? r->str : c->errstr);
		freeReplyObject(r);
		redisFree(c);
		return NULL;
	}
	freeReplyObject(r);
	return c;
}

static redisReply *
checked(struct redisContext *c, redisReply *r, struct err *err)
{
	if (!r) {
		unavailable(err, c->errstr);
		return NULL;
	}
	if (r->type == REDIS_REPLY_ERROR) {
		classify(r->str, err);
		freeReplyObject(r);
		return NULL;
	}
	return r;
}

redisReply *
store_eval_sync(struct redisContext *c, const char *prefix,
    enum store_script_id script, struct err *err, ...)
{
	const char *argv[4 + ARGS_MAX];
	char tag[96];
	int argc = 4;
	va_list ap;

	(void)snprintf(tag, sizeof(tag), "{%s}:", prefix);
	argv[0] = "EVAL";
	argv[1] = store_script_text[script];
	argv[2] = "1";
	argv[3] = tag;
	va_start(ap, err);
	while ((argv[argc] = va_arg(ap, const char *)) != NULL) {
		argc++;
		assert(argc < (int)ARRAY_LEN(argv));
	}
	va_end(ap);
	return checked(c, redisCommandArgv(c, argc, argv, NULL), err);
}

redisReply *
store_command_sync(
    struct redisContext *c, struct err *err, const char *fmt, ...)
{
	redisReply *r;
	va_list ap;

	va_start(ap, fmt);
	r = redisvCommand(c, fmt, ap);
	va_end(ap);
	return checked(c, r, err);
}

/* ---- replies ---- */

const char *
store_reply_str(const redisReply *r, const char *def)
{
	if (r &&
	    (r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS))
		return r->str;
	return def;
}

long long
store_reply_int(const redisReply *r, long long def)
{
	char *end;
	long long v;

	if (r && r->type == REDIS_REPLY_INTEGER)
		return r->integer;
	if (!r || r->type != REDIS_REPLY_STRING)
		return def;
	errno = 0;
	v = strtoll(r->str, &end, 10);
	return errno == 0 && end != r->str && *end == '\0' ? v : def;
}

const redisReply *
store_reply_at(const redisReply *r, size_t n)
{
	if (!r || r->type != REDIS_REPLY_ARRAY || n >= r->elements)
		return NULL;
	return r->element[n];
}

const redisReply *
store_reply_field(const redisReply *r, const char *name)
{
	if (!r || r->type != REDIS_REPLY_ARRAY)
		return NULL;
	for (size_t i = 0; i + 1 < r->elements; i += 2)
		if (strcmp(store_reply_str(r->element[i], ""), name) == 0)
			return r->element[i + 1];
	return NULL;
}
