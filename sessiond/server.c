/*
 * server.c - what gateways reach of a node.
 *
 * It knows the shims by their sockets in run_dir/sessions, keeps a few of them
 * ready, and writes what they say of their sessions to Redis.  A gateway's
 * connection is read up to the end of its first line, which must carry the MAC
 * of the challenge; then it is handed to the shim it names, and this process
 * has no more to do with it: killed, it costs nobody a connection.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "cleanup.h"
#include "clock.h"
#include "id.h"
#include "json.h"
#include "lang.h"
#include "link.h"
#include "log.h"
#include "mem.h"
#include "msg.h"
#include "proc.h"
#include "sessiond.h"
#include "store.h"
#include "wire.h"

enum {
	BACKLOG = 1024,
	CALLERS_MAX = 4096,
	HEAD_MS = 5000,   /* for a gateway's first line */
	READY_MS = 15000, /* for a sandbox to become ready */
	HEAR_MS = 5000,   /* for shims that were here before us to speak */
	BEAT_MS = 1000,
	BEAT_TTL_MS = 5000,
	AWAY_MS = 1000, /* for Redis to hear that we stop */
	STORE_DEADLINE_MS = 5000,
	ANSWER_MAX = 512,
};

struct server;

struct caller {
	TAILQ_ENTRY(caller) link;
	struct server *server;
	int fd; /* owned */
	uv_poll_t poll;
	uv_timer_t timer;
	unsigned handles;
	char challenge[LINK_CHALLENGE_LEN + 2]; /* with a newline */
	char *head;         /* owned: the JSON, when the MAC was right */
	bool waiting, dead; /* for a sandbox that is ready */
};

struct shim_link {
	TAILQ_ENTRY(shim_link) link;
	struct server *server;
	unsigned serial;
	int fd; /* owned; -1: not connected */
	uv_poll_t poll;
	json_t *record;   /* owned; NULL: it has not spoken yet */
	char session[64]; /* that it has, or is about to get; "": warm */
	bool unheard;     /* here before us: it may have any session */
	bool dirty;       /* Redis does not know the record yet */
	bool over;        /* its session is, and the master was told */
	bool dead;
};

struct server {
	const struct settings *settings;
	uv_loop_t loop;
	char node[64], secret[LINK_SECRET_LEN + 1];
	struct lang_registry *langs;
	struct store *store;
	int listener;
	uv_poll_t listener_poll, wire_poll;
	uv_timer_t beat;
	uv_signal_t term, quit, hup;
	TAILQ_HEAD(caller_list, caller) callers;
	size_t n_callers;
	TAILQ_HEAD(shim_list, shim_link) shims;
	unsigned asked; /* of the master, and not ready yet */
	bool known;     /* Redis has our secret */
	bool serving;   /* callers are listened to */
	int64_t hear_until_ms;
	bool doubt; /* Redis may have sessions here that are gone */
	bool stopping;
};

/* ---- the master ---- */

static void
tell_master(enum wire_type type, uint32_t n)
{
	unsigned char body[4];
	struct msg_out o = { .data = body };
	struct err err;

	msg_put_u32(&o, n);
	if (msg_send(SHIM_CHILD_FD, (uint16_t)type, &o, NULL, 0, &err) < 0)
		log_err(NULL, "tell the master: %s", err.msg);
}

static bool
is_warm(const struct shim_link *l)
{
	return l->record && !l->session[0] && !l->dead;
}

static size_t
count_sessions(const struct server *s)
{
	const struct shim_link *l;
	size_t n = 0;

	TAILQ_FOREACH (l, &s->shims, link)
		n += l->session[0] != '\0';
	return n;
}

/* So many are ready or on their way: some in advance, one for each caller. */
static void
keep_warm(struct server *s)
{
	const struct shim_link *l;
	const struct caller *c;
	size_t want = (size_t)s->settings->sessiond_warm, have = s->asked;
	size_t room = (size_t)s->settings->sessiond_sessions;

	TAILQ_FOREACH (l, &s->shims, link)
		have += !l->session[0];
	TAILQ_FOREACH (c, &s->callers, link)
		want += c->waiting;
	if (count_sessions(s) + want > room)
		want = room - count_sessions(s);
	if (want <= have || s->stopping)
		return;
	tell_master(WIRE_WARM, (uint32_t)(want - have));
	s->asked += (unsigned)(want - have);
}

static struct shim_link *
link_of(const struct server *s, unsigned serial)
{
	struct shim_link *l;

	TAILQ_FOREACH (l, &s->shims, link)
		if (l->serial == serial)
			return l;
	return NULL;
}

/* ---- callers ---- */

static void
on_caller_closed(uv_handle_t *h)
{
	struct caller *c = h->data;

	if (--c->handles > 0)
		return;
	cleanup_closep(&c->fd);
	free(c->head);
	free(c);
}

static void
drop(struct caller *c)
{
	if (c->dead)
		return;
	c->dead = true;
	TAILQ_REMOVE(&c->server->callers, c, link);
	c->server->n_callers--;
	uv_close((uv_handle_t *)&c->poll, on_caller_closed);
	uv_close((uv_handle_t *)&c->timer, on_caller_closed);
}

/* A fresh socket has room for this. */
static void
refuse(struct caller *c, enum err_code code, const char *why)
{
	char body[ANSWER_MAX], text[ANSWER_MAX + 64];
	int n = snprintf(body, sizeof(body),
	    "{\"error\":\"%s\",\"message\":\"%s\",\"code\":\"%s\"}", why, why,
	    err_wire_code(code));

	n = snprintf(text, sizeof(text), "%d %d application/json\n%s",
	    err_http_status(code), n, body);
	(void)!send(c->fd, text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	drop(c);
}

static bool
hand_over(struct caller *c, struct shim_link *l)
{
	auto_free unsigned char *body = xmalloc(MSG_MAX);
	struct msg_out o = { .data = body };
	struct err err;

	msg_put_str(&o, c->head);
	if (msg_send(l->fd, SHIM_CLIENT, &o, &c->fd, 1, &err) < 0) {
		log_warn(NULL, "hand a call over: %s", err.msg);
		return false;
	}
	(void)uv_poll_stop(&c->poll);
	drop(c); /* and our copy of the connection */
	return true;
}

static struct shim_link *
find_session(struct server *s, const char *id)
{
	struct shim_link *l;

	TAILQ_FOREACH (l, &s->shims, link)
		if (l->session[0] && strcmp(l->session, id) == 0 && l->fd >= 0)
			return l;
	return NULL;
}

/* Not all have said yet which session they have. */
static bool
some_unheard(const struct server *s)
{
	const struct shim_link *l;

	TAILQ_FOREACH (l, &s->shims, link)
		if (l->unheard)
			return true;
	return false;
}

static struct shim_link *
find_warm(struct server *s)
{
	struct shim_link *l;

	TAILQ_FOREACH (l, &s->shims, link)
		if (is_warm(l) && l->fd >= 0)
			return l;
	return NULL;
}

static const char *
head_word(const json_t *head, const char *name)
{
	const char *s = json_string_value(json_object_get(head, name));

	return s ? s : "";
}

static void
create(struct server *s, struct caller *c, const char *id)
{
	struct shim_link *l = find_warm(s);

	if (!l && count_sessions(s) >= (size_t)s->settings->sessiond_sessions) {
		refuse(c, ERR_BUSY, "this node has no room for a session");
		return;
	}
	if (l) {
		(void)snprintf(l->session, sizeof(l->session), "%s", id);
		if (!hand_over(c, l)) {
			l->session[0] = '\0';
			refuse(c, ERR_UNAVAILABLE, "a sandbox is gone");
		}
	} else {
		c->waiting = true;
	}
	keep_warm(s);
}

static void
route(struct server *s, struct caller *c)
{
	struct err err;
	json_auto_t *head = json_parse(c->head, strlen(c->head), &err);
	const char *id = head_word(head, "session");
	struct shim_link *l = find_session(s, id);

	if (!head || !*id || strlen(id) >= sizeof(l->session))
		refuse(c, ERR_INVALID, "malformed call");
	else if (strcmp(head_word(head, "call"), "create") == 0)
		create(s, c, id);
	else if (!l && !some_unheard(s))
		refuse(c, ERR_NOT_FOUND, "Session not found or ended");
	else if (!l || !hand_over(c, l))
		refuse(c, ERR_UNAVAILABLE, "the session does not answer");
}

/* Those that wait for a sandbox, in their order. */
static void
serve_waiting(struct server *s)
{
	struct caller *c, *next;

	for (c = TAILQ_FIRST(&s->callers); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (c->waiting && find_warm(s)) {
			c->waiting = false;
			route(s, c);
		}
	}
}

static void
refuse_waiting(struct server *s, const char *why)
{
	struct caller *c, *next;

	for (c = TAILQ_FIRST(&s->callers); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (c->waiting)
			refuse(c, ERR_UNAVAILABLE, why);
	}
}

/* "MAC HEAD", without the newline. */
static bool
is_authentic(const struct server *s, struct caller *c, char *line, size_t n)
{
	char mac[SECRET_SIG_LEN + 1];
	char *head = line + SECRET_SIG_LEN + 1;

	if (n <= SECRET_SIG_LEN + 1 || line[SECRET_SIG_LEN] != ' ')
		return false;
	line[SECRET_SIG_LEN] = line[n] = '\0';
	c->challenge[LINK_CHALLENGE_LEN] = '\0';
	link_mac(s->secret, c->challenge, head, n - SECRET_SIG_LEN - 1, mac);
	if (!secret_sig_equal(line, mac))
		return false;
	c->head = xstrdup(head);
	return true;
}

static void
expect(int fd, int bytes)
{
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
}

/* Only the first line is taken from the socket: the rest is the shim's. */
static void
on_caller(uv_poll_t *poll, int status, int events)
{
	static char line[LINK_HEAD_MAX + SECRET_SIG_LEN + 2];
	struct caller *c = poll->data;
	ssize_t n = recv(
	    c->fd, line, sizeof(line) - 1, MSG_PEEK | MSG_DONTWAIT);
	const char *end = n > 0 ? memchr(line, '\n', (size_t)n) : NULL;
	bool is_all = (events & UV_DISCONNECT) ||
		      (n > 0 && (size_t)n == sizeof(line) - 1);

	if (n < 0 && (errno == EAGAIN || errno == EINTR) && status == 0)
		return;
	if (n <= 0 || (!end && is_all)) {
		drop(c);
		return;
	}
	if (c->head)
		return;
	/* What was seen is no news again. */
	expect(c->fd, end ? 1 : (int)n + 1);
	if (!end)
		return;
	if (recv(c->fd, line, (size_t)(end - line) + 1, 0) != end - line + 1 ||
	    !is_authentic(c->server, c, line, (size_t)(end - line))) {
		/* Or one that read our record before we were started again. */
		refuse(
		    c, ERR_UNAVAILABLE, "the gateway is not known: try again");
		return;
	}
	(void)uv_poll_stop(&c->poll);
	(void)uv_timer_stop(&c->timer);
	route(c->server, c);
	if (!c->dead && c->waiting)
		(void)uv_timer_start(&c->timer, c->timer.timer_cb, READY_MS, 0);
}

static void
on_caller_late(uv_timer_t *t)
{
	struct caller *c = t->data;

	if (c->waiting)
		refuse(c, ERR_UNAVAILABLE,
		    "no sandbox became ready in time: try again");
	else
		drop(c);
}

static void
on_connection(uv_poll_t *poll, int status, int events)
{
	struct server *s = poll->data;
	int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	const int on = 1;
	struct caller *c;

	(void)status;
	(void)events;
	if (fd < 0)
		return;
	if (s->n_callers >= CALLERS_MAX) {
		(void)close(fd);
		return;
	}
	/* An echo must not wait for an acknowledgement. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c = xcalloc(1, sizeof(*c));
	c->server = s;
	c->fd = fd;
	id_random_hex(c->challenge, LINK_CHALLENGE_LEN / 2);
	c->challenge[LINK_CHALLENGE_LEN] = '\n';
	(void)uv_poll_init(&s->loop, &c->poll, fd);
	(void)uv_timer_init(&s->loop, &c->timer);
	c->poll.data = c->timer.data = c;
	c->handles = 2;
	TAILQ_INSERT_TAIL(&s->callers, c, link);
	s->n_callers++;
	(void)uv_timer_start(&c->timer, on_caller_late, HEAD_MS, 0);
	(void)uv_poll_start(&c->poll, UV_READABLE | UV_DISCONNECT, on_caller);
	(void)!send(fd, c->challenge, LINK_CHALLENGE_LEN + 1,
	    MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* ---- Redis: what is here ---- */

static void
on_told(void *ctx, const redisReply *reply, const struct err *err)
{
	(void)ctx;
	(void)reply;
	if (err)
		log_debug(NULL, "a record was not taken: %s", err->msg);
}

/* Whose record was told; the link may be gone when the answer comes. */
struct told {
	struct server *server;
	unsigned serial;
};

/*
 * One that was declared lost while we were cut off from Redis: its owner was
 * told so, and may have started another.
 */
static void
end_lost(struct shim_link *l)
{
	const struct msg_out nothing = { .len = 0 };
	struct err err;

	log_warn(NULL, "a session that was declared lost ends|session=%s",
	    l->session);
	if (msg_send(l->fd, SHIM_LEAVE, &nothing, NULL, 0, &err) < 0)
		log_err(NULL, "end a session: %s", err.msg);
}

static void
on_record_told(void *ctx, const redisReply *reply, const struct err *err)
{
	struct told *told = ctx;
	struct shim_link *l = link_of(told->server, told->serial);

	free(told);
	if (!l)
		return;
	if (err) {
		log_debug(NULL, "a record was not taken: %s", err->msg);
		l->dirty = true; /* with the next beat */
	} else if (store_reply_int(reply, 1) == 0) {
		end_lost(l);
	}
}

static void
tell_store(struct server *s, struct shim_link *l)
{
	auto_free char *text = NULL;
	struct told *told;
	char keep[24], vcpu[24];

	/* It may have been given a session that it did not speak of yet. */
	if (!l->dirty || !*head_word(l->record, "id") || !store_up(s->store))
		return;
	l->dirty = false;
	text = json_text(l->record);
	(void)snprintf(keep, sizeof(keep), "%ld",
	    (s->settings->sessiond_keep_seconds + 60) * 1000);
	(void)snprintf(vcpu, sizeof(vcpu), "%lld",
	    json_integer_value(json_object_get(l->record, "vcpu")));
	told = xmalloc(sizeof(*told));
	*told = (struct told){ s, l->serial };
	store_eval_str(s->store, STORE_session_update, on_record_told, told,
	    s->node, l->session, head_word(l->record, "state"), text, keep,
	    head_word(l->record, "container"), head_word(l->record, "key"),
	    vcpu, NULL);
}

static void
tell_lost(struct server *s, const char *id)
{
	log_warn(NULL, "a session is lost|session=%s", id);
	store_eval_str(
	    s->store, STORE_session_lost, on_told, NULL, s->node, id, NULL);
}

/*
 * Those whose shim died while nobody looked, with the machine maybe, and those
 * whose end Redis has forgotten.
 */
static void
on_here(void *ctx, const redisReply *reply, const struct err *err)
{
	struct server *s = ctx;

	if (err || reply->type != REDIS_REPLY_ARRAY) {
		on_told(NULL, reply, err);
		s->doubt = true; /* with the next beat */
		return;
	}
	for (size_t i = 0; i < reply->elements; i++)
		if (!find_session(s, reply->element[i]->str))
			tell_lost(s, reply->element[i]->str);
}

/* Once all that are here have said what they have. */
static void
compare(struct server *s)
{
	if (!s->doubt || !s->serving || some_unheard(s) || !store_up(s->store))
		return;
	s->doubt = false;
	store_eval_str(s->store, STORE_session_here, on_here, s, s->node, NULL);
}

static json_t *
list_shells(const struct server *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < shell_count(s->langs); i++)
		if (shell_installed(shell_at(s->langs, i)))
			(void)json_array_append_new(
			    list, json_string(shell_at(s->langs, i)->name));
	return list;
}

/*
 * Callers wait until our secret is in Redis, as nobody could speak to us, and
 * until we know who has their session; not for ever, one may hang.
 */
static void
begin_to_serve(struct server *s)
{
	if (s->serving || !s->known ||
	    (some_unheard(s) && clock_mono_ms() < s->hear_until_ms))
		return;
	s->serving = true;
	(void)uv_poll_start(
	    &s->listener_poll, UV_READABLE | UV_DISCONNECT, on_connection);
}

static void
on_beat_told(void *ctx, const redisReply *reply, const struct err *err)
{
	struct server *s = ctx;

	on_told(NULL, reply, err);
	if (!err)
		s->known = true;
	begin_to_serve(s);
}

static void
beat(struct server *s)
{
	const struct settings *set = s->settings;
	size_t sessions = count_sessions(s);
	json_auto_t *o = json_object();
	auto_free char *text = NULL;
	char ttl[24], room[24];

	json_set_str(o, "node", s->node);
	json_set_str(o, "address",
	    *set->sessiond_address ? set->sessiond_address
				   : set->sessiond_listen);
	json_set_int(o, "port", set->sessiond_port);
	json_set_str(o, "secret", s->secret);
	json_set_int(o, "sessions", (long long)sessions);
	json_set_int(o, "most", set->sessiond_sessions);
	json_set_int(o, "memory_mb", set->sessiond_memory_mb);
	(void)json_object_set_new(o, "shells", list_shells(s));
	text = json_text(o);
	(void)snprintf(ttl, sizeof(ttl), "%d", BEAT_TTL_MS);
	(void)snprintf(
	    room, sizeof(room), "%ld", set->sessiond_sessions - (long)sessions);
	store_eval_str(s->store, STORE_session_beat, on_beat_told, s, s->node,
	    ttl, room, text, NULL);
}

static void
on_beat(uv_timer_t *t)
{
	struct server *s = t->data;
	struct shim_link *l;

	beat(s);
	TAILQ_FOREACH (l, &s->shims, link)
		tell_store(s, l);
	compare(s);
	keep_warm(s);
}

/* What was said while it was away may be lost: all again. */
static void
on_store_state(void *ctx, bool up)
{
	struct server *s = ctx;
	struct shim_link *l;

	log_info(NULL, "redis %s", up ? "connected" : "is away");
	if (!up || s->stopping)
		return;
	TAILQ_FOREACH (l, &s->shims, link)
		l->dirty = true;
	s->doubt = true;
	on_beat(&s->beat);
}

/* ---- shims ---- */

static void
on_shim_closed(uv_handle_t *h)
{
	struct shim_link *l = h->data;

	cleanup_closep(&l->fd);
	json_decref(l->record);
	free(l);
}

static bool meet(struct server *s, unsigned serial);

/* Connected again, which one that dies allows until its last socket is closed. */
static void
inherit(struct shim_link *l, const struct shim_link *former)
{
	l->unheard = former->unheard;
	if (!former->session[0])
		return;
	memcpy(l->session, former->session, sizeof(l->session));
	l->record = json_incref(former->record);
	l->over = former->over;
}

/*
 * Its connection is gone.  When it cannot be connected to again it is dead, and
 * what it held must not live on.
 */
static void
lose(struct shim_link *l)
{
	struct server *s = l->server;
	const char *state = head_word(l->record, "state");

	if (l->dead)
		return;
	l->dead = true;
	TAILQ_REMOVE(&s->shims, l, link);
	if (meet(s, l->serial)) {
		inherit(link_of(s, l->serial), l);
	} else if (l->session[0] && strcmp(state, "terminated") != 0) {
		tell_lost(s, l->session);
	}
	uv_close((uv_handle_t *)&l->poll, on_shim_closed);
	keep_warm(s);
	begin_to_serve(s);
}

static void
take_record(struct shim_link *l, const char *text)
{
	struct err err;
	json_t *record = json_parse(text, strlen(text), &err);
	const char *id;

	if (!record)
		return;
	json_decref(l->record);
	l->record = record;
	l->unheard = false;
	id = head_word(record, "id");
	if (*id)
		(void)snprintf(l->session, sizeof(l->session), "%s", id);
	l->dirty = true;
	tell_store(l->server, l);
	/* Its init went with its socket, unless it lies. */
	if (!l->over && strcmp(head_word(record, "state"), "terminated") == 0) {
		l->over = true;
		tell_master(WIRE_OVER, l->serial);
	}
	if (is_warm(l))
		serve_waiting(l->server);
	begin_to_serve(l->server);
}

static void
on_shim(uv_poll_t *poll, int status, int events)
{
	static struct msg packet; /* for one after the other */
	struct shim_link *l = poll->data;
	struct msg_in in;
	struct err err;
	int r = status < 0 ? -1 : msg_recv(l->fd, &packet, &err);

	(void)events;
	if (r < 0 && status == 0 && err.sys == EAGAIN)
		return;
	if (r <= 0) {
		lose(l);
		return;
	}
	msg_in_init(&in, &packet);
	if (packet.hdr.type == SHIM_RECORD) {
		const char *text = msg_get_str(&in);

		if (msg_in_done(&in))
			take_record(l, text);
	}
	msg_close_fds(&packet);
}

static int
connect_to(const struct server *s, unsigned serial)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	auto_close int fd = socket(
	    AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 ||
	    shim_socket_path(
		s->settings, serial, at.sun_path, sizeof(at.sun_path)) < 0 ||
	    connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return -1;
	return steal_fd(&fd);
}

/* False: it cannot be reached; the master sees to what is left of it. */
static bool
meet(struct server *s, unsigned serial)
{
	struct shim_link *l;
	int fd;

	if (link_of(s, serial))
		return true;
	fd = connect_to(s, serial);
	if (fd < 0) {
		tell_master(WIRE_KILL, serial);
		return false;
	}
	l = xcalloc(1, sizeof(*l));
	l->server = s;
	l->serial = serial;
	l->fd = fd;
	(void)uv_poll_init(&s->loop, &l->poll, fd);
	l->poll.data = l;
	TAILQ_INSERT_TAIL(&s->shims, l, link);
	(void)uv_poll_start(&l->poll, UV_READABLE | UV_DISCONNECT, on_shim);
	return true;
}

/* Those that were there before us. */
static void
meet_all(struct server *s)
{
	char path[SETTINGS_STR_MAX + 16];
	const struct dirent *d;
	DIR *dir;
	long serial;

	s->hear_until_ms = clock_mono_ms() + HEAR_MS;
	(void)snprintf(
	    path, sizeof(path), "%s/sessions", s->settings->farm_run_dir);
	dir = opendir(path);
	while (dir && (d = readdir(dir)) != NULL)
		if ((serial = shim_serial_of(d->d_name)) > 0 &&
		    meet(s, (unsigned)serial))
			link_of(s, (unsigned)serial)->unheard = true;
	if (dir)
		(void)closedir(dir);
}

/* ---- what the master says ---- */

static void
hear_master(struct server *s, const struct msg *m)
{
	struct msg_in in;

	msg_in_init(&in, m);
	if (m->hdr.type == WIRE_READY) {
		if (s->asked > 0)
			s->asked--;
		(void)meet(s, msg_get_u32(&in));
	} else if (m->hdr.type == WIRE_FAILED) {
		const char *why = msg_get_str(&in);

		if (s->asked > 0)
			s->asked--;
		log_err(NULL, "no sandbox for a session: %s", why);
		refuse_waiting(s, "no sandbox can be made on this node");
	}
}

static void
on_wire(uv_poll_t *poll, int status, int events)
{
	static struct msg packet; /* for one after the other */
	struct server *s = poll->data;
	struct err err;
	int r = status < 0 ? -1 : msg_recv(SHIM_CHILD_FD, &packet, &err);

	(void)events;
	if (r < 0 && status == 0 && err.sys == EAGAIN)
		return;
	if (r <= 0) {
		uv_stop(&s->loop); /* the next master starts another one */
		return;
	}
	hear_master(s, &packet);
	msg_close_fds(&packet);
}

/* ---- begin and end ---- */

static void
on_away_told(void *ctx, const redisReply *reply, const struct err *err)
{
	struct server *s = ctx;

	on_told(NULL, reply, err);
	uv_stop(&s->loop);
}

static void
on_away_late(uv_timer_t *t)
{
	uv_stop(t->loop);
}

/*
 * SIGTERM: our sessions go on, and nobody is to take them for lost while we are
 * away.  SIGQUIT: the master ends them.
 */
static void
on_stop(uv_signal_t *sig, int signum)
{
	struct server *s = sig->data;
	long seconds = s->settings->sessiond_away_seconds;
	const struct shim_link *l;
	char ms[24];

	if (s->stopping || !store_up(s->store)) {
		uv_stop(&s->loop);
		return;
	}
	s->stopping = true;
	if (signum == SIGQUIT) {
		seconds = 0;
		TAILQ_FOREACH (l, &s->shims, link)
			if (l->session[0] && !l->over)
				tell_lost(s, l->session);
	}
	(void)uv_timer_start(&s->beat, on_away_late, AWAY_MS, 0);
	(void)snprintf(ms, sizeof(ms), "%ld", seconds * 1000);
	store_eval_str(
	    s->store, STORE_session_away, on_away_told, s, s->node, ms, NULL);
}

static void
on_hup(uv_signal_t *sig, int signum)
{
	struct server *s = sig->data;
	struct err err;
	struct lang_registry *langs = lang_load(
	    s->settings->farm_share_dir, &err);

	(void)signum;
	if (!langs) {
		log_err(NULL, "reload: %s, keeping what was", err.msg);
		return;
	}
	lang_free(s->langs);
	s->langs = langs;
	log_info(NULL, "reloaded");
}

static int
listen_at(struct server *s, struct err *err)
{
	const struct settings *set = s->settings;
	const struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
	};
	struct addrinfo *ai;
	char port[24];
	const int on = 1;
	int r;

	(void)snprintf(port, sizeof(port), "%ld", set->sessiond_port);
	r = getaddrinfo(set->sessiond_listen, port, &hints, &ai);
	if (r != 0)
		return err_set(err, ERR_INVALID, 0, "listen on `%s`: %s",
		    set->sessiond_listen, gai_strerror(r));
	s->listener = socket(ai->ai_family,
	    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, ai->ai_protocol);
	if (s->listener >= 0)
		(void)setsockopt(
		    s->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	r = s->listener < 0 ? -1
			    : bind(s->listener, ai->ai_addr, ai->ai_addrlen);
	freeaddrinfo(ai);
	if (r < 0 || listen(s->listener, BACKLOG) < 0)
		return err_errno(
		    err, "listen on `%s` port %s", set->sessiond_listen, port);
	return 0;
}

static void
name_node(struct server *s)
{
	if (*s->settings->farm_node)
		(void)snprintf(
		    s->node, sizeof(s->node), "%.63s", s->settings->farm_node);
	else
		(void)gethostname(s->node, sizeof(s->node) - 1);
}

static int
start(struct server *s, struct err *err)
{
	const struct store_hooks hooks = { s, on_store_state };
	const struct settings *set = s->settings;

	name_node(s);
	id_random_hex(s->secret, LINK_SECRET_LEN / 2);
	s->langs = lang_load(set->farm_share_dir, err);
	if (!s->langs || listen_at(s, err) < 0 ||
	    proc_drop_user(set->sessiond_user, err) < 0 ||
	    proc_lock_down(PROC_session_server, err) < 0)
		return -1;
	(void)uv_loop_init(&s->loop);
	s->store = store_new(&s->loop, set->farm_redis_url, set->farm_prefix,
	    STORE_DEADLINE_MS, &hooks, err);
	return s->store ? 0 : -1;
}

static void
watch(struct server *s, uv_poll_t *poll, int fd, uv_poll_cb cb)
{
	(void)uv_poll_init(&s->loop, poll, fd);
	poll->data = s;
	(void)uv_poll_start(poll, UV_READABLE | UV_DISCONNECT, cb);
}

int
server_main(const struct settings *settings)
{
	static struct server s;
	struct err err;

	s.settings = settings;
	TAILQ_INIT(&s.callers);
	TAILQ_INIT(&s.shims);
	(void)signal(SIGPIPE, SIG_IGN);
	if (start(&s, &err) < 0)
		die("unfarm-sessiond", &err);
	(void)uv_poll_init(&s.loop, &s.listener_poll, s.listener);
	s.listener_poll.data = &s;
	watch(&s, &s.wire_poll, SHIM_CHILD_FD, on_wire);
	(void)uv_timer_init(&s.loop, &s.beat);
	s.beat.data = s.term.data = s.quit.data = s.hup.data = &s;
	(void)uv_timer_start(&s.beat, on_beat, 0, BEAT_MS);
	(void)uv_signal_init(&s.loop, &s.term);
	(void)uv_signal_init(&s.loop, &s.quit);
	(void)uv_signal_init(&s.loop, &s.hup);
	(void)uv_signal_start(&s.term, on_stop, SIGTERM);
	(void)uv_signal_start(&s.quit, on_stop, SIGQUIT);
	(void)uv_signal_start(&s.hup, on_hup, SIGHUP);
	meet_all(&s);
	log_info(
	    NULL, "serving|node=%s port=%ld", s.node, settings->sessiond_port);
	(void)uv_run(&s.loop, UV_RUN_DEFAULT);
	store_free(s.store);
	return 0;
}
