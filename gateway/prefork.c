#include "prefork.h"

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "log.h"
#include "proc.h"

enum { BACKLOG = 4096, SETTLED_MS = 1000, SETTLED_S = 1 };

struct child {
	pid_t pid; /* 0: none */
	int64_t started_ms;
};

/* The parent, while it waits. */
struct parent {
	struct prefork *p;
	const struct prefork_hooks *hooks;
	struct child children[PREFORK_MAX];
	sigset_t signals;
	bool stopping;
	int status;
};

/* ---- the address ---- */

/*
 * bind() without SO_REUSEPORT fails when anybody listens there, another
 * gateway too; only then is the port opened to our own others, which must be
 * of the same user.
 */
static int
listen_at(const struct addrinfo *ai, bool first, struct err *err)
{
	auto_close int fd = socket(ai->ai_family,
	    ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, ai->ai_protocol);
	const int on = 1;

	if (fd < 0)
		return err_errno(err, "socket");
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (!first)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0)
		return err_errno(err, "bind");
	if (first)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (listen(fd, BACKLOG) < 0)
		return err_errno(err, "listen");
	return steal_fd(&fd);
}

static int
open_listeners(struct prefork *p, const struct settings *set, struct err *err)
{
	const struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
	};
	struct addrinfo *ai;
	char port[24];
	int r;

	(void)snprintf(port, sizeof(port), "%ld", set->gateway_port);
	r = getaddrinfo(set->gateway_listen, port, &hints, &ai);
	if (r != 0)
		return err_set(err, ERR_INVALID, 0, "listen on `%s`: %s",
		    set->gateway_listen, gai_strerror(r));
	r = 0;
	for (unsigned i = 0; i < p->n && r >= 0; i++)
		r = p->listeners[i] = listen_at(ai, i == 0, err);
	freeaddrinfo(ai);
	if (r < 0)
		return err_wrap(
		    err, "listen on `%s` port %s", set->gateway_listen, port);
	return 0;
}

static void
close_listener(struct prefork *p, unsigned i)
{
	if (p->listeners[i] >= 0)
		(void)close(steal_fd(&p->listeners[i]));
}

static void
close_listeners(struct prefork *p)
{
	for (unsigned i = 0; i < p->n; i++)
		close_listener(p, i);
}

int
prefork_open(struct prefork *p, const struct settings *set, struct err *err)
{
	long n = set->gateway_processes > 0 ? set->gateway_processes
					    : proc_cores();
	void *memory;

	p->n = (unsigned)(n < PREFORK_MAX ? n : PREFORK_MAX);
	for (unsigned i = 0; i < p->n; i++)
		p->listeners[i] = -1;
	memory = mmap(NULL, p->n * sizeof(*p->metrics), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return err_errno(err, "shared memory for counters");
	p->metrics = memory;
	return open_listeners(p, set, err);
}

void
prefork_done(struct prefork *p)
{
	close_listeners(p);
	if (p->metrics)
		(void)munmap(p->metrics, p->n * sizeof(*p->metrics));
	p->metrics = NULL;
}

void
prefork_metrics(const struct prefork *p, struct metrics *ret_sum)
{
	*ret_sum = (struct metrics){ .open_requests = 0 };
	for (unsigned i = 0; i < p->n; i++)
		metrics_add(ret_sum, &p->metrics[i]);
}

/* ---- the parent ---- */

static void
become_child(struct parent *me, unsigned number)
{
	struct prefork *p = me->p;
	struct err err;

	if (prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) < 0 ||
	    proc_restrict_calls(PROC_gateway, &err) < 0)
		_exit(err_exit_status(ERR_SYS));
	for (unsigned i = 0; i < p->n; i++)
		if (i != number)
			close_listener(p, i);
	/* What a predecessor had open was lost with it. */
	p->metrics[number].open_requests = 0;
}

/* Returns true in the child. */
static bool
start_child(struct parent *me, unsigned number)
{
	struct child *c = &me->children[number];
	pid_t parent = getpid(), pid = fork();

	if (pid == 0) {
		become_child(me, number);
		if (getppid() != parent)
			_exit(0);
		return true;
	}
	if (pid < 0)
		log_err(NULL, "start a gateway process: %s", strerror(errno));
	c->pid = pid > 0 ? pid : 0;
	c->started_ms = clock_mono_ms();
	return false;
}

static bool
is_due(const struct child *c)
{
	return c->pid == 0 &&
	       (c->started_ms == 0 ||
		   clock_mono_ms() - c->started_ms >= SETTLED_MS);
}

static bool
any(const struct parent *me, bool alive)
{
	for (unsigned i = 0; i < me->p->n; i++)
		if ((me->children[i].pid > 0) == alive)
			return true;
	return false;
}

static void
tell_all(const struct parent *me, int sig)
{
	for (unsigned i = 0; i < me->p->n; i++)
		if (me->children[i].pid > 0)
			(void)kill(me->children[i].pid, sig);
}

/* Listeners first: from here on nobody connects in vain. */
static void
stop(struct parent *me)
{
	me->stopping = true;
	close_listeners(me->p);
	tell_all(me, SIGTERM);
}

static void
buried(struct parent *me, struct child *c, int status)
{
	pid_t pid = c->pid;

	c->pid = 0;
	if (me->stopping)
		return;
	if (WIFSIGNALED(status)) {
		log_err(NULL, "a gateway process was killed|child=%d signal=%d",
		    (int)pid, WTERMSIG(status));
		return;
	}
	me->status = WEXITSTATUS(status);
	stop(me);
}

static void
bury(struct parent *me)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (unsigned i = 0; i < me->p->n; i++)
			if (me->children[i].pid == pid)
				buried(me, &me->children[i], status);
}

static void
hear(struct parent *me, int sig)
{
	if (sig == SIGHUP) {
		me->hooks->reload(me->hooks->ctx);
		tell_all(me, SIGHUP);
	} else if (sig == SIGTERM || sig == SIGINT) {
		if (!me->stopping)
			log_info(NULL, "stopping|signal=%d", sig);
		stop(me);
	}
}

/*
 * Returns the signal, or -1 when it is time to look again. Signals that came
 * meanwhile are pending, and none is lost.
 */
static int
wait_for_news(const struct parent *me)
{
	const struct timespec pause = { SETTLED_S, 0 };
	bool waiting = !me->stopping && any(me, false);

	return sigtimedwait(&me->signals, NULL, waiting ? &pause : NULL);
}

int
prefork_run(
    struct prefork *p, const struct prefork_hooks *hooks, int *ret_status)
{
	struct parent me = { .p = p, .hooks = hooks };
	int sig;

	if (p->n == 1)
		return 0;
	(void)sigemptyset(&me.signals);
	(void)sigaddset(&me.signals, SIGTERM);
	(void)sigaddset(&me.signals, SIGINT);
	(void)sigaddset(&me.signals, SIGHUP);
	(void)sigaddset(&me.signals, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &me.signals, NULL);
	while (!me.stopping || any(&me, true)) {
		for (unsigned i = 0; i < p->n && !me.stopping; i++)
			if (is_due(&me.children[i]) && start_child(&me, i))
				return (int)i;
		sig = wait_for_news(&me);
		bury(&me);
		hear(&me, sig);
	}
	*ret_status = me.status;
	return -1;
}
