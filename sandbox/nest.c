/*
 * nest.c - where sandboxes are born.
 *
 * A nest is a user, mount, pid, ipc, uts and network namespace with one range
 * of host uids, the host's allowed trees with the owners of that range, and a
 * sandbox-init that forks sandboxes, one after the other.  It outlives them and
 * nothing of them reaches it: they lie in namespaces below its own, in which it
 * cannot be seen.  What costs time and is the same for every sandbox of a range
 * is done here, once.  A nest may hold a program (hold.c): then its sandboxes
 * are forks of an interpreter that is up already.
 *
 * clone3() makes the namespaces.  The child hands over its user namespace (we
 * may not look for it ourselves) and waits for one byte, which says that it is
 * mapped and in its cgroup; only then it becomes root of the namespace and
 * executes sandbox-init.  The parent then sends the plan with the id-mapped
 * trees and the devices, and is done: init says READY, and what it holds says
 * HELD.
 */
#include "nest.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "cleanup.h"
#include "fault.h"
#include "host.h"
#include "mem.h"
#include "msg.h"
#include "proto.h"
#include "sandbox.h"
#include "syscalls.h"

/* ---- the child, before it executes init ---- */

static int
send_userns(int control)
{
	int fd = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
	struct err err;

	if (fd < 0)
		return -1;
	return msg_send(control, PROTO_USERNS, NULL, &fd, 1, &err);
}

/*
 * Only 0-2, the control socket and init's program stay open, in fixed places:
 * were the launcher killed now, its sockets must close, ours to it among them.
 */
static int
keep_two(int control, int init_fd)
{
	enum { OUT_OF_THE_WAY = 64 };

	control = fcntl(control, F_DUPFD, OUT_OF_THE_WAY);
	init_fd = fcntl(init_fd, F_DUPFD, OUT_OF_THE_WAY);
	if (control < 0 || init_fd < 0 || dup2(control, INIT_CONTROL_FD) < 0 ||
	    dup3(init_fd, INIT_PROGRAM_FD, O_CLOEXEC) < 0)
		return -1;
	return close_range(INIT_PROGRAM_FD + 1, ~0U, 0);
}

static void
child(int control, int init_fd)
{
	char *const argv[] = { (char[]){ "sandbox-init" }, NULL };
	char *const envp[] = { NULL };
	char go;

	if (keep_two(control, init_fd) < 0)
		_exit(3);
	(void)setsid();
	if (send_userns(INIT_CONTROL_FD) < 0)
		_exit(6);
	if (read(INIT_CONTROL_FD, &go, 1) != 1)
		_exit(1);
	if (syscall(SYS_setgroups, 0, NULL) < 0 ||
	    syscall(SYS_setresgid, 0, 0, 0) < 0 ||
	    syscall(SYS_setresuid, 0, 0, 0) < 0)
		_exit(2);
	(void)syscall(
	    SYS_execveat, INIT_PROGRAM_FD, "", argv, envp, AT_EMPTY_PATH);
	_exit(5);
}

/* ---- the parent ---- */

static uint32_t
first_uid(const struct sandbox_nest *n)
{
	return n->host->uid_base + (uint32_t)n->range * RANGE_SIZE;
}

static int
write_map(pid_t pid, const char *name, uint32_t first, struct err *err)
{
	char path[64], text[64];
	auto_close int fd = -1;
	int n;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	n = snprintf(text, sizeof(text), "0 %u %d\n", first, RANGE_SIZE);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, (size_t)n) != n)
		return err_errno(err, "write %s", name);
	return 0;
}

static int
receive_userns(int control, struct err *err)
{
	auto_free struct msg *m = xmalloc(sizeof(*m));
	int r;

	r = msg_recv(control, m, err);
	if (r < 0)
		return -1;
	if (r == 0 || m->hdr.type != PROTO_USERNS || m->n_fds != 1) {
		if (r > 0)
			msg_close_fds(m);
		return err_set(err, ERR_SANDBOX, 0, "no user namespace");
	}
	return steal_fd(&m->fds[0]);
}

/*
 * The kernel counts inotify instances, queued signals and message queues by the
 * user who made the namespace, too: one of its own for each sandbox, or a job
 * could take what all others and root need.  Changing the effective user clears
 * the effective capabilities, which joining the cgroup needs.
 */
static pid_t
clone_as(uid_t owner, struct clone_args *args)
{
	cap_t caps = cap_get_proc();
	pid_t pid = -1;
	int why;

	if (!caps || syscall(SYS_setresuid, -1, owner, -1) < 0) {
		(void)cap_free(caps);
		return -1;
	}
	if (cap_set_proc(caps) == 0)
		pid = sys_clone3(args);
	if (pid == 0)
		return 0;
	why = errno;
	(void)cap_free(caps);
	if (syscall(SYS_setresuid, -1, 0, -1) < 0)
		abort();
	errno = why;
	return pid;
}

static int
start_child(
    struct sandbox_nest *n, int theirs, bool *ret_in_group, struct err *err)
{
	auto_close int group = cg_group_open_dir(&n->host->cgroups, &n->group);
	struct clone_args args = {
		.flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID |
			 CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET |
			 CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
		.pidfd = (uint64_t)(uintptr_t)&n->pidfd,
		.exit_signal = SIGCHLD,
	};

	if (group >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)group;
	}
	*ret_in_group = group >= 0;
	n->pid = clone_as(first_uid(n), &args);
	if (n->pid == 0)
		child(theirs, n->host->init_fd);
	if (n->pid < 0)
		return err_errno(err, "new namespaces (clone3)");
	return 0;
}

/* ---- its plan ---- */

static int
send_plan(struct sandbox_nest *n, const int *trees, struct err *err)
{
	auto_free unsigned char *body = xmalloc(MSG_MAX);
	auto_close int devices = devices_mount(n->host->devices, err);
	struct msg_out o = { .data = body };
	int fds[HOST_TREES_MAX + 2];
	size_t n_trees = n->host->view.n_trees;
	struct plan plan;

	if (devices < 0)
		return -1;
	host_plan_nest(
	    n->host, n->program ? n->program->stops[0] : NULL, &plan);
	plan_encode(&plan, &o);
	plan_done(&plan);
	memcpy(fds, trees, n_trees * sizeof(*fds));
	fds[n_trees] = devices;
	fds[n_trees + 1] = n->host->filter_fd[SECCOMP_NEST];
	return msg_send(n->control, PROTO_SETUP, &o, fds, n_trees + 2, err);
}

static int
send_setup(struct sandbox_nest *n, struct err *err)
{
	auto_close int userns = receive_userns(n->control, err);
	int trees[HOST_TREES_MAX], r;

	if (userns < 0 || host_clone_trees(n->host, userns, trees, err) < 0)
		return -1;
	/* Until now the child waited; from now on nobody can look into it. */
	if (write(n->control, "g", 1) != 1)
		r = err_errno(err, "start sandbox-init");
	else
		r = send_plan(n, trees, err);
	for (size_t i = 0; i < n->host->view.n_trees; i++)
		(void)close(trees[i]);
	return r;
}

static int
set_up(struct sandbox_nest *n, int *theirs, struct err *err)
{
	uint32_t first = first_uid(n);
	bool in_group;

	if (start_child(n, *theirs, &in_group, err) < 0)
		return -1;
	FAULT(master_cloned);
	/* Only the child holds its end now: its death is told by EOF. */
	(void)close(steal_fd(theirs));
	if (write_map(n->pid, "uid_map", first, err) < 0 ||
	    write_map(n->pid, "gid_map", first, err) < 0 ||
	    cg_group_add_pid(
		&n->host->cgroups, &n->group, n->pid, in_group, err) < 0 ||
	    send_setup(n, err) < 0)
		return -1;
	return 0;
}

/* ---- from outside ---- */

static struct sandbox_nest *
nest_new(struct sandbox_host *host, unsigned serial,
    const struct sandbox_program *program, struct err *err)
{
	struct sandbox_nest *n = xcalloc(1, sizeof(*n));
	char name[32];

	n->host = host;
	n->program = program;
	n->pid = n->pidfd = n->control = -1;
	n->held = (struct program)PROGRAM_NONE;
	n->range = host_take_range(host);
	if (n->range < 0) {
		(void)err_set(err, ERR_BUSY, 0, "no free range of user ids");
		free(n);
		return NULL;
	}
	(void)snprintf(name, sizeof(name), "n%u", serial);
	if (cg_group_make(&host->cgroups, name, &n->group, err) < 0) {
		host_give_range(host, n->range);
		free(n);
		return NULL;
	}
	return n;
}

struct sandbox_nest *
sandbox_nest_open(struct sandbox_host *host, unsigned serial,
    const struct sandbox_program *program, struct err *err)
{
	struct sandbox_nest *n = nest_new(host, serial, program, err);
	auto_close int theirs = -1;
	int sv[2];

	if (!n)
		return NULL;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0) {
		(void)err_errno(err, "make control socket");
		sandbox_nest_close(n);
		return NULL;
	}
	n->control = sv[0];
	theirs = sv[1];
	if (set_up(n, &theirs, err) < 0 ||
	    fcntl(n->control, F_SETFL, O_NONBLOCK) < 0) {
		(void)err_wrap(err, "make a nest");
		sandbox_nest_close(n);
		return NULL;
	}
	return n;
}

int
sandbox_nest_fd(const struct sandbox_nest *n)
{
	return n->held.control >= 0 ? n->held.control : n->control;
}

int
sandbox_nest_pidfd(const struct sandbox_nest *n)
{
	return n->pidfd;
}

int
sandbox_nest_poll_ready(struct sandbox_nest *n, struct err *err)
{
	auto_free struct msg *m = xmalloc(sizeof(*m));
	struct msg_in in;
	int r;

	r = msg_recv(sandbox_nest_fd(n), m, err);
	if (r < 0)
		return err->sys == EAGAIN ? 0 : -1;
	if (r == 0)
		return err_set(err, ERR_SANDBOX, 0,
		    n->held.control >= 0 ? "what the nest holds died"
					 : "sandbox-init died during set-up");
	msg_close_fds(m);
	if (m->hdr.type == PROTO_READY && n->program)
		return program_hold(
		    n->host, n->program, n->control, &n->held, err);
	if (m->hdr.type == PROTO_READY || m->hdr.type == PROTO_HELD) {
		n->memory_at_rest = cg_memory_usage(&n->group.files);
		return 1;
	}
	msg_in_init(&in, m);
	return err_set(err, ERR_SANDBOX, 0, "%s", msg_get_str(&in));
}

int
nest_fork(const struct sandbox_nest *n, int control, struct err *err)
{
	return msg_send(sandbox_nest_fd(n), PROTO_FORK, NULL, &control, 1, err);
}

unsigned
nest_processes(const struct sandbox_nest *n)
{
	return n->program ? 2 : 1;
}

/*
 * Sockets whose program is dead hold their buffers for minutes, where v1 does
 * not count them as memory.  A peak that cannot be reset is the next job's.
 */
bool
sandbox_nest_is_clean(const struct sandbox_nest *n)
{
	enum { SLACK = 16 << 20 };
	const struct cg_files *f = &n->group.files;
	int64_t most = n->memory_at_rest + SLACK;

	return cg_memory_usage(f) < most && cg_socket_usage(f) == 0 &&
	       (cg_reset_peak(f) || cg_memory_peak(f) < most);
}

void
sandbox_nest_kill(struct sandbox_nest *n)
{
	/* The init of a pid namespace takes all below it along. */
	if (n->pidfd >= 0)
		(void)sys_pidfd_send_signal(n->pidfd, SIGKILL);
}

void
sandbox_nest_close(struct sandbox_nest *n)
{
	if (!n)
		return;
	sandbox_nest_kill(n);
	cleanup_closep(&n->control);
	program_close(&n->held);
	if (n->pid > 0)
		while (waitpid(n->pid, NULL, 0) < 0 && errno == EINTR)
			;
	cleanup_closep(&n->pidfd);
	cg_group_remove_soon(&n->host->cgroups, &n->group);
	host_give_range(n->host, n->range);
	free(n);
}
