/* init_fork.c - the birth of a sandbox in its nest. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "init.h"
#include "msg.h"
#include "proto.h"
#include "syscalls.h"

/* The sandbox's ids are the nest's own, so the trees have the right owners. */
static int
write_map(pid_t pid, const char *name, struct err *err)
{
	static const char map[] = "0 0 65536\n";
	char path[64];
	auto_close int fd = -1;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, map, sizeof(map) - 1) != sizeof(map) - 1)
		return err_errno(err, "write %s", name);
	return 0;
}

/*
 * When the control group has no memory left, the kernel is to take a process
 * of the sandbox, and not the nest, which is in the same group.
 */
static int
die_first(void)
{
	static const char most[] = "1000";
	auto_close int fd = open(
	    "/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, most, sizeof(most) - 1) > 0 ? 0 : -1;
}

/*
 * mapped is closed when our ids are.  What we hold of the nest is its memory,
 * and nothing else.
 */
static _Noreturn void
born(const struct init *nest, int control, int mapped)
{
	struct init in = {
		.control = control, .resume = nest->resume, .held = -1
	};
	char none;

	(void)close(nest->control);
	(void)close(nest->signals);
	init_net_leave();
	(void)setsid(); /* its autogroup is not the farm's */
	if (read(mapped, &none, 1) != 0 || die_first() < 0)
		_exit(1);
	(void)close(mapped);
	init_begin(&in);
}

/* 0: born, with its pidfd in *ret_pidfd; -1: failed. */
static int
give_birth(
    const struct init *nest, int control, int *ret_pidfd, struct err *err)
{
	struct clone_args args = {
		.flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID |
			 CLONE_NEWIPC | CLONE_NEWUTS | CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)ret_pidfd,
		.exit_signal = SIGCHLD,
	};
	auto_close int rd = -1, wr = -1;
	int p[2];
	pid_t pid;

	if (init_net_clean(err) < 0)
		return -1;
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_errno(err, "make a pipe");
	rd = p[0];
	wr = p[1];
	pid = sys_clone3(&args);
	if (pid == 0) {
		(void)close(steal_fd(&wr));
		born(nest, control, steal_fd(&rd));
	}
	if (pid < 0)
		return err_errno(err, "new namespaces (clone3)");
	if (write_map(pid, "uid_map", err) < 0 ||
	    write_map(pid, "gid_map", err) < 0) {
		(void)kill(pid, SIGKILL);
		return -1;
	}
	return 0;
}

void
init_fork(const struct init *nest, const struct msg *m)
{
	struct init in = { .control = m->n_fds == 1 ? m->fds[0] : -1 };
	struct err err;
	int pidfd = -1;

	if (give_birth(nest, in.control, &pidfd, &err) < 0)
		init_tell_failure(&in, &err);
	else
		(void)msg_send(in.control, PROTO_BORN, NULL, &pidfd, 1, &err);
	if (pidfd >= 0)
		(void)close(pidfd);
}
