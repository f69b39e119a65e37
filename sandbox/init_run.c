/* init_run.c - starts the command, waits for it, kills what it leaves. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "init.h"
#include "msg.h"
#include "proto.h"

/* Too large for a stack; there is one command at a time. */
static struct init_command command;

/* What the held interpreter ignores, its replacement must not. */
static void
default_signals(void)
{
	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);
}

/*
 * Of all descriptors those that came are kept, in their order, and report after
 * them until exec.
 */
static int
keep_fds(const struct msg *m, int *report)
{
	enum { OUT_OF_THE_WAY = 64 };
	int fds[MSG_FDS_MAX + 1], n = (int)m->n_fds;

	for (int i = 0; i <= n; i++) {
		fds[i] = fcntl(
		    i < n ? m->fds[i] : *report, F_DUPFD, OUT_OF_THE_WAY);
		if (fds[i] < 0)
			return -1;
	}
	for (int i = 0; i < n; i++)
		if (dup2(fds[i], i) < 0)
			return -1;
	if (dup3(fds[n], n, O_CLOEXEC) < 0)
		return -1;
	*report = n;
	return close_range((unsigned)n + 1, ~0U, 0);
}

/* The held program has descriptors of its own: only ours are closed. */
static int
replace_streams(const struct init *in, const struct msg *m, int report)
{
	for (int i = 0; i < 3; i++)
		if (dup2(m->fds[i], i) < 0)
			return -1;
	for (size_t i = 0; i < m->n_fds; i++)
		(void)close(m->fds[i]);
	(void)close(in->control);
	(void)close(in->signals);
	(void)close(report);
	return 0;
}

/*
 * In the child: only async-signal-safe calls from here to exec, or to where the
 * held program goes on.  Returns when that failed, to tell report.
 */
static void
become(const struct init *in, const struct init_command *c, const struct msg *m,
    int *report)
{
	const struct rlimit as = { c->address_space, c->address_space };
	sigset_t none;

	(void)setsid();
	if (c->address_space > 0 && setrlimit(RLIMIT_AS, &as) < 0)
		return;
	if (chdir("/tmp") < 0)
		return;
	(void)umask(022);
	if (!c->argv[0] && replace_streams(in, m, *report) == 0)
		in->resume();
	default_signals();
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (!c->argv[0] || keep_fds(m, report) < 0)
		return;
	environ = (char **)(uintptr_t)c->env;
	(void)execvp(c->argv[0], (char *const *)(uintptr_t)c->argv);
}

/* 0 once exec has happened; else the child's errno. */
static int
start(struct init *in, const struct init_command *c, const struct msg *m)
{
	auto_close int rd = -1, wr = -1;
	int p[2], why = 0;

	if (pipe2(p, O_CLOEXEC) < 0)
		return errno;
	rd = p[0];
	wr = p[1];
	in->job = fork();
	if (in->job < 0)
		return errno;
	if (in->job == 0) {
		(void)close(steal_fd(&rd));
		become(in, c, m, &wr);
		why = errno;
		(void)!write(wr, &why, sizeof(why));
		_exit(127);
	}
	(void)close(steal_fd(&wr));
	if (read(rd, &why, sizeof(why)) != (ssize_t)sizeof(why))
		return 0; /* closed by exec, or by a death that is reaped */
	(void)waitpid(in->job, NULL, 0);
	return why;
}

static void
run(struct init *in, const struct msg *m)
{
	struct err err;
	int why = start(in, &command, m);

	if (why == 0)
		return;
	in->job = 0;
	(void)err_set(&err, ERR_INVALID, why, "execute `%.100s`",
	    command.argv[0] ? command.argv[0] : "what is held");
	init_tell_failure(in, &err);
}

static void
refuse(const struct init *in, const char *why)
{
	struct err err;

	(void)err_set(&err, ERR_INVALID, 0, "%s", why);
	init_tell_failure(in, &err);
}

void
init_run(struct init *in, const struct msg *m)
{
	struct err err = in->failure;

	in->failure.code = ERR_OK;
	if (err.code != ERR_OK)
		init_tell_failure(in, &err);
	else if (in->job != 0 || !init_read_run(m, &command))
		refuse(in, "command is malformed");
	else if (init_own_null(m->fds[0]) < 0)
		refuse(in, "no input");
	else if (!command.argv[0] && in->ahead)
		init_ahead_go(in, command.address_space, m);
	else if (!command.argv[0] && !in->resume)
		refuse(in, "no program is held here");
	else
		run(in, m);
}

void
init_hold(struct init *in, struct msg *m)
{
	auto_close int held = -1;

	if (in->job != 0 || in->ahead || !init_read_hold(m, &command)) {
		refuse(in, "program to hold is malformed");
		return;
	}
	if (m->n_fds > HOLD_LIBRARY_FD + 1)
		held = steal_fd(&m->fds[--m->n_fds]);
	run(in, m);
	msg_close_fds(m);
	in->holds = held < 0;
	if (in->job != 0 && held >= 0)
		init_ahead_wait(in, steal_fd(&held), m);
}

/*
 * All other processes here, their children and those who fork meanwhile: a
 * killed process cannot fork, so the loop ends.
 */
static void
kill_rest(const struct init *in)
{
	if (in->ahead) {
		init_ahead_kill_others(in);
		return;
	}
	do {
		(void)kill(-1, SIGKILL);
		while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
			;
	} while (kill(-1, 0) == 0);
}

int64_t
init_micros(const struct timeval *t)
{
	return (int64_t)t->tv_sec * 1000000 + t->tv_usec;
}

static void
tell_exit(struct init *in, int status, const struct rusage *ru)
{
	unsigned char body[64];
	struct msg_out o = { .data = body };
	struct err err;

	msg_put_u32(&o, (uint32_t)status);
	msg_put_u64(&o, (uint64_t)(init_micros(&ru->ru_utime) +
				   init_micros(&ru->ru_stime)));
	msg_put_u64(&o, (uint64_t)ru->ru_maxrss << 10);
	if (msg_send(in->control, PROTO_EXITED, &o, NULL, 0, &err) < 0)
		_exit(1);
}

void
init_reap(struct init *in)
{
	struct rusage ru;
	int status;
	pid_t pid;

	while ((pid = wait4(-1, &status, WNOHANG, &ru)) > 0) {
		if (pid == in->ahead || (in->holds && pid == in->job))
			_exit(1); /* and with us the sandbox, or the nest */
		if (init_keeper_ended(in, pid, status) || pid != in->job)
			continue;
		in->job = 0;
		if (!in->ahead)
			init_ahead_over(in);
		kill_rest(in);
		tell_exit(in, status, &ru);
		return;
	}
}
