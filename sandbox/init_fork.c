/* init_fork.c - the birth of a sandbox in its nest. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

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
 * Until the launcher has put us into our cgroup we wait; what we hold of the
 * nest is its memory, and nothing else.
 */
static _Noreturn void
born(const struct init *nest, int control)
{
	struct init in = { .control = control, .resume = nest->resume };
	char go;

	(void)close(nest->control);
	(void)close(nest->signals);
	if (read(control, &go, 1) != 1)
		_exit(1);
	init_begin(&in);
}

void
init_fork(const struct init *nest, const struct msg *m)
{
	int pidfd = -1;
	struct clone_args args = {
		.flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID |
			 CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET |
			 CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
	};
	struct init in = { .control = m->n_fds == 1 ? m->fds[0] : -1 };
	struct err err;
	pid_t pid;

	pid = sys_clone3(&args);
	if (pid == 0)
		born(nest, in.control);
	if (pid < 0) {
		(void)err_errno(&err, "new namespaces (clone3)");
		init_tell_failure(&in, &err);
		return;
	}
	if (write_map(pid, "uid_map", &err) < 0 ||
	    write_map(pid, "gid_map", &err) < 0)
		init_tell_failure(&in, &err);
	else
		(void)msg_send(in.control, PROTO_BORN, NULL, &pidfd, 1, &err);
	(void)close(pidfd);
}
