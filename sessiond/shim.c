/*
 * shim.c - from the fork to the end of the process that holds one sandbox.
 *
 * It begins as root with the capabilities of its master, with a host that the
 * master has opened.  It makes a nest and a sandbox, keeps what it needs to use
 * them, and becomes `sessiond.user` without any right; only then it listens, on
 * a socket in a folder of that user.  sessiond says what comes over the network
 * is from a gateway and hands the connection over (SHIM_CLIENT); the shim tells
 * it what changes (SHIM_RECORD).
 */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cleanup.h"
#include "client.h"
#include "clock.h"
#include "exec.h"
#include "json.h"
#include "log.h"
#include "mem.h"
#include "msg.h"
#include "proc.h"
#include "session.h"
#include "watch.h"
#include "wire.h"

enum { SETUP_MS = 20000, BACKLOG = 8, EVENTS_MAX = 64 };

/* ---- sessiond, at the other end of our socket ---- */

static void
lose_owner(struct shim *s)
{
	watch_drop(&s->owner_poll);
	cleanup_closep(&s->owner);
	s->owner = -1;
}

void
shim_tell(struct shim *s)
{
	auto_free unsigned char *body = NULL;
	auto_free char *text = NULL;
	json_auto_t *o = NULL;
	struct msg_out m = { .len = 0 };
	struct err err;

	if (s->owner < 0)
		return;
	o = session_record(s);
	text = json_text(o);
	body = xmalloc(MSG_MAX);
	m.data = body;
	msg_put_str(&m, text);
	if (msg_send(s->owner, SHIM_RECORD, &m, NULL, 0, &err) < 0) {
		log_debug(NULL, "%s", err.msg);
		lose_owner(s); /* it comes again and asks for all */
	}
}

static void
on_client(struct shim *s, struct msg *m)
{
	struct msg_in in;
	const char *text;
	struct err err;
	json_t *head;

	msg_in_init(&in, m);
	text = msg_get_str(&in);
	if (!msg_in_done(&in) || m->n_fds != 1)
		return;
	head = json_parse(text, strlen(text), &err);
	if (head)
		client_adopt(s, steal_fd(&m->fds[0]), head);
}

static void
on_owner(uv_poll_t *poll, int status, int events)
{
	static struct msg packet; /* for one after the other */
	struct shim *s = poll->data;
	struct err err;
	int r;

	(void)events;
	r = status < 0 ? -1 : msg_recv(s->owner, &packet, &err);
	if (r < 0 && status == 0 && err.sys == EAGAIN)
		return;
	if (r <= 0) {
		lose_owner(s);
		/* Nobody has asked for it, and nobody knows of it. */
		if (s->session.state == SESSION_warm)
			shim_leave(s);
		return;
	}
	if (packet.hdr.type == SHIM_CLIENT)
		on_client(s, &packet);
	else if (packet.hdr.type == SHIM_LEAVE)
		shim_leave(s);
	msg_close_fds(&packet);
}

/* The newer one counts: a sessiond that is replaced, or came back. */
static void
on_connection(uv_poll_t *poll, int status, int events)
{
	struct shim *s = poll->data;
	int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)status;
	(void)events;
	if (fd < 0)
		return;
	lose_owner(s);
	s->owner = fd;
	s->owner_poll = watch_new(&s->loop, fd, s);
	(void)uv_poll_start(
	    s->owner_poll, UV_READABLE | UV_DISCONNECT, on_owner);
	shim_tell(s);
}

/* ---- the sandbox ---- */

/* Some at a time: it could speak for ever. */
static void
on_box(uv_poll_t *poll, int status, int events)
{
	struct shim *s = poll->data;
	struct box_event e = { .kind = BOX_STARTED };

	(void)status;
	(void)events;
	for (int i = 0; i < EVENTS_MAX && e.kind != BOX_NOTHING && s->box;
	     i++) {
		box_receive(s->box, &e);
		session_on_event(s, &e);
	}
}

static int
wait_for(int fd, const char *what, struct err *err)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (poll(&p, 1, SETUP_MS) == 1)
		return 0;
	return err_set(err, ERR_SANDBOX, 0, "%s is not ready in time", what);
}

/*
 * The nest and the sandbox are never freed: their descriptors live as long as
 * this process, and so do they.
 */
static struct box *
make_box(struct sandbox_host *host, unsigned serial, struct err *err)
{
	struct sandbox_nest *nest = sandbox_nest_open(host, serial, NULL, err);
	struct sandbox *sandbox;
	int r;

	do {
		if (!nest || wait_for(sandbox_nest_fd(nest), "a nest", err) < 0)
			return NULL;
		r = sandbox_nest_poll_ready(nest, err);
	} while (r == 0);
	sandbox = r < 0 ? NULL : sandbox_launch(nest, serial, err);
	do {
		if (!sandbox ||
		    wait_for(sandbox_fd(sandbox), "a sandbox", err) < 0)
			return NULL;
		r = sandbox_poll_ready(sandbox, err);
	} while (r == 0);
	return r < 0 ? NULL : sandbox_use(sandbox, err);
}

/* ---- begin and end ---- */

static int
listen_at(struct shim *s, struct err *err)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	auto_close int fd = socket(
	    AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (shim_socket_path(
		s->settings, s->serial, at.sun_path, sizeof(at.sun_path)) < 0)
		return err_set(err, ERR_INVALID, 0, "farm.run_dir is too long");
	(void)unlink(at.sun_path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return err_errno(err, "listen at `%s`", at.sun_path);
	s->listener = steal_fd(&fd);
	return 0;
}

static void
watch(struct shim *s, uv_poll_t *poll, int fd, uv_poll_cb cb)
{
	(void)uv_poll_init(&s->loop, poll, fd);
	poll->data = s;
	(void)uv_poll_start(poll, UV_READABLE | UV_DISCONNECT, cb);
}

static int
set_up(struct shim *s, struct sandbox_host *host, struct err *err)
{
	s->box = make_box(host, s->serial, err);
	if (!s->box)
		return -1;
	sandbox_host_forget(host);
	(void)uv_loop_init(&s->loop);
	session_init(s);
	TAILQ_INIT(&s->clients);
	TAILQ_INIT(&s->execs);
	s->next_exec = SHIM_TERM_ID + 1;
	/* All files and names as that user, before it may make no more. */
	if (proc_drop_user(s->settings->sessiond_user, err) < 0 ||
	    listen_at(s, err) < 0 || term_open(&s->term, s, err) < 0 ||
	    record_open(&s->session.record, s->dir, err) < 0 ||
	    proc_lock_down(PROC_shim, err) < 0)
		return -1;
	watch(s, &s->box_poll, box_fd(s->box), on_box);
	watch(s, &s->listener_poll, s->listener, on_connection);
	return 0;
}

void
shim_leave(struct shim *s)
{
	s->leaving = true;
	uv_stop(&s->loop);
}

/* The last words of all get a moment to leave. */
static void
say_goodbye(struct shim *s)
{
	int64_t until = clock_mono_ms() + 1000;

	term_close(&s->term);
	while ((!TAILQ_EMPTY(&s->clients) || !TAILQ_EMPTY(&s->term.viewers)) &&
	       clock_mono_ms() < until) {
		(void)uv_run(&s->loop, UV_RUN_NOWAIT);
		(void)usleep(1000);
	}
	client_free_all(s);
}

void
shim_main(const struct settings *settings, struct sandbox_host *host,
    unsigned serial, int ready_fd)
{
	struct shim *s = xcalloc(1, sizeof(*s));
	struct err err = { .code = ERR_OK };

	s->settings = settings;
	s->serial = serial;
	s->owner = s->listener = -1;
	(void)snprintf(
	    s->dir, sizeof(s->dir), "%s/sessions", settings->farm_data_dir);
	(void)signal(SIGPIPE, SIG_IGN);
	if (set_up(s, host, &err) < 0) {
		log_err(NULL, "make a sandbox for a session: %s", err.msg);
		(void)!write(ready_fd, err.msg, strlen(err.msg));
		_exit(1);
	}
	(void)!write(ready_fd, "", 1);
	(void)close(ready_fd);
	(void)uv_run(&s->loop, UV_RUN_DEFAULT);
	say_goodbye(s);
	_exit(0); /* its name goes with it: the master sees to that */
}
