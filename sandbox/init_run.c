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

/* In the child: only async-signal-safe calls from here to exec. */
static void
become(const struct init_command *c, const int fds[3], int report)
{
	const struct rlimit as = { c->address_space, c->address_space };
	sigset_t none;

	(void)setsid();
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	for (int i = 0; i < 3; i++)
		if (dup2(fds[i], i) < 0)
			return;
	if (dup3(report, 3, O_CLOEXEC) < 0 || close_range(4, ~0U, 0) < 0)
		return;
	if (c->address_space > 0 && setrlimit(RLIMIT_AS, &as) < 0)
		return;
	if (chdir("/tmp") < 0)
		return;
	(void)umask(022);
	environ = (char **)(uintptr_t)c->env;
	(void)execvp(c->argv[0], (char *const *)(uintptr_t)c->argv);
}

/* 0 once exec has happened; else the child's errno. */
static int
start(const struct init_command *c, const int fds[3], pid_t *ret_pid)
{
	auto_close int rd = -1, wr = -1;
	int p[2], why = 0;

	if (pipe2(p, O_CLOEXEC) < 0)
		return errno;
	rd = p[0];
	wr = p[1];
	*ret_pid = fork();
	if (*ret_pid < 0)
		return errno;
	if (*ret_pid == 0) {
		become(c, fds, wr);
		why = errno;
		(void)!write(3, &why, sizeof(why));
		_exit(127);
	}
	(void)close(steal_fd(&wr));
	if (read(rd, &why, sizeof(why)) != (ssize_t)sizeof(why))
		return 0; /* closed by exec, or by a death that is reaped */
	(void)waitpid(*ret_pid, NULL, 0);
	return why;
}

void
init_run(struct init *in, const struct msg *m)
{
	struct err err = in->failure;
	int why;

	in->failure.code = ERR_OK;
	if (err.code != ERR_OK) {
		init_tell_failure(in, &err);
		return;
	}
	if (in->job != 0 || !init_read_run(m, &command)) {
		(void)err_set(&err, ERR_INVALID, 0, "command is malformed");
		init_tell_failure(in, &err);
		return;
	}
	why = start(&command, m->fds, &in->job);
	if (why != 0) {
		in->job = 0;
		(void)err_set(&err, ERR_INVALID, why, "execute `%.100s`",
		    command.argv[0]);
		init_tell_failure(in, &err);
	}
}

/*
 * All other processes here, their children and those who fork meanwhile: a
 * killed process cannot fork, so the loop ends.
 */
static void
kill_rest(void)
{
	do {
		(void)kill(-1, SIGKILL);
		while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
			;
	} while (kill(-1, 0) == 0);
}

static int64_t
micros(const struct timeval *t)
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
	msg_put_u64(
	    &o, (uint64_t)(micros(&ru->ru_utime) + micros(&ru->ru_stime)));
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
		if (pid != in->job)
			continue;
		in->job = 0;
		kill_rest();
		tell_exit(in, status, &ru);
		return;
	}
}
