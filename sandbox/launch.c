/*
 * launch.c - from nothing to a ready sandbox.
 *
 * clone3() makes the new namespaces.  The child hands over its user namespace
 * (we may not look for it ourselves) and waits for one byte, which says
 * that its user namespace is mapped and that it is in its cgroup; only then it
 * becomes root of the namespace and executes sandbox-init.  The parent then
 * sends the plan with the id-mapped trees, and is done: init says READY.
 */
#include "mem.h"
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cleanup.h"
#include "fault.h"
#include "host.h"
#include "msg.h"
#include "proto.h"
#include "syscalls.h"

struct sandbox {
	struct sandbox_host *host; /* borrowed */
	struct cg_group group;
	pid_t pid;
	int pidfd;
	int control; /* -1 once granted */
	int range;
	unsigned serial;
};

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
first_uid(const struct sandbox *sb)
{
	return sb->host->uid_base + (uint32_t)sb->range * RANGE_SIZE;
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
start_child(struct sandbox *sb, int theirs, bool *ret_in_group, struct err *err)
{
	auto_close int group = cg_group_open_dir(
	    &sb->host->cgroups, &sb->group);
	struct clone_args args = {
		.flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID |
			 CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET |
			 CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
		.pidfd = (uint64_t)(uintptr_t)&sb->pidfd,
		.exit_signal = SIGCHLD,
	};

	if (group >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)group;
	}
	*ret_in_group = group >= 0;
	sb->pid = clone_as(first_uid(sb), &args);
	if (sb->pid == 0)
		child(theirs, sb->host->init_fd);
	if (sb->pid < 0)
		return err_errno(err, "new namespaces (clone3)");
	return 0;
}

static int
send_plan(struct sandbox *sb, const int *fds, size_t n_fds, struct err *err)
{
	auto_free unsigned char *body = xmalloc(MSG_MAX);
	struct msg_out o = { .data = body };
	char hostname[32];
	struct plan plan;
	int r;

	(void)snprintf(
	    hostname, sizeof(hostname), "unsb-vm-%05u", sb->serial % 100000);
	host_plan(sb->host, hostname, &plan);
	plan_encode(&plan, &o);
	plan_done(&plan);
	r = msg_send(sb->control, PROTO_SETUP, &o, fds, n_fds, err);
	return r;
}

/* Trees and filters, in the order that the plan counts them. */
static int
send_setup(struct sandbox *sb, const int *trees, struct err *err)
{
	const struct sandbox_host *h = sb->host;
	size_t n = h->view.n_trees;
	int fds[HOST_TREES_MAX + SECCOMP_FILTERS];

	memcpy(fds, trees, n * sizeof(*fds));
	for (size_t i = 0; i < SECCOMP_FILTERS; i++)
		fds[n + i] = h->filters[i];
	/* Until now the child waited; from now on nobody can look into it. */
	if (write(sb->control, "g", 1) != 1)
		return err_errno(err, "start sandbox-init");
	return send_plan(sb, fds, n + SECCOMP_FILTERS, err);
}

static int
set_up(struct sandbox *sb, int *theirs, struct err *err)
{
	uint32_t first = first_uid(sb);
	auto_close int userns = -1;
	int trees[HOST_TREES_MAX], r;
	bool in_group;

	if (start_child(sb, *theirs, &in_group, err) < 0)
		return -1;
	FAULT(master_cloned);
	/* Only the child holds its end now: its death is told by EOF. */
	(void)close(steal_fd(theirs));
	if (write_map(sb->pid, "uid_map", first, err) < 0 ||
	    write_map(sb->pid, "gid_map", first, err) < 0 ||
	    cg_group_add_pid(
		&sb->host->cgroups, &sb->group, sb->pid, in_group, err) < 0)
		return -1;
	userns = receive_userns(sb->control, err);
	if (userns < 0 || host_clone_trees(sb->host, userns, trees, err) < 0)
		return -1;
	r = send_setup(sb, trees, err);
	FAULT(master_planned);
	for (size_t i = 0; i < sb->host->view.n_trees; i++)
		(void)close(trees[i]);
	return r;
}

static struct sandbox *
sandbox_new(struct sandbox_host *host, unsigned serial, struct err *err)
{
	struct sandbox *sb = xcalloc(1, sizeof(*sb));
	char name[32];

	sb->host = host;
	sb->serial = serial;
	sb->pid = sb->pidfd = sb->control = -1;
	sb->range = host_take_range(host);
	if (sb->range < 0) {
		(void)err_set(err, ERR_BUSY, 0, "no free range of user ids");
		free(sb);
		return NULL;
	}
	(void)snprintf(name, sizeof(name), "s%u", serial);
	if (cg_group_make(&host->cgroups, name, &sb->group, err) < 0) {
		host_give_range(host, sb->range);
		free(sb);
		return NULL;
	}
	FAULT(master_launching);
	return sb;
}

struct sandbox *
sandbox_launch(struct sandbox_host *host, unsigned serial, struct err *err)
{
	struct sandbox *sb = sandbox_new(host, serial, err);
	auto_close int theirs = -1;
	int sv[2];

	if (!sb)
		return NULL;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0) {
		(void)err_errno(err, "make control socket");
		sandbox_free(sb);
		return NULL;
	}
	sb->control = sv[0];
	theirs = sv[1];
	if (set_up(sb, &theirs, err) < 0 ||
	    fcntl(sb->control, F_SETFL, O_NONBLOCK) < 0) {
		(void)err_wrap(err, "launch sandbox");
		sandbox_free(sb);
		return NULL;
	}
	return sb;
}

int
sandbox_fd(const struct sandbox *sb)
{
	return sb->control;
}

int
sandbox_pidfd(const struct sandbox *sb)
{
	return sb->pidfd;
}

int
sandbox_poll_ready(struct sandbox *sb, struct err *err)
{
	auto_free struct msg *m = xmalloc(sizeof(*m));
	struct msg_in in;
	int r;

	r = msg_recv(sb->control, m, err);
	if (r < 0)
		return err->sys == EAGAIN ? 0 : -1;
	if (r == 0)
		return err_set(
		    err, ERR_SANDBOX, 0, "sandbox-init died during set-up");
	msg_close_fds(m);
	if (m->hdr.type == PROTO_READY)
		return 1;
	msg_in_init(&in, m);
	return err_set(err, ERR_SANDBOX, 0, "%s", msg_get_str(&in));
}

void
sandbox_grant(struct sandbox *sb, struct sandbox_grant *ret_grant)
{
	struct sandbox_grant g = { .serial = sb->serial };

	/* Bit 0 is the control socket, bit 1 + k file k of the cgroup. */
	g.fds[g.n_fds++] = sb->control;
	g.mask = 1;
	for (int k = 0; k < CG_FILE__COUNT; k++)
		if (sb->group.files.fd[k] >= 0) {
			g.fds[g.n_fds++] = sb->group.files.fd[k];
			g.mask |= 2U << k;
		}
	g.mask |= sb->group.files.v2 << 16;
	*ret_grant = g;
}

void
sandbox_granted(struct sandbox *sb)
{
	cleanup_closep(&sb->control);
	sb->control = -1;
	cg_files_close(&sb->group.files);
}

void
sandbox_kill(struct sandbox *sb)
{
	/* The init of a pid namespace takes all of it along. */
	if (sb->pidfd >= 0)
		(void)sys_pidfd_send_signal(sb->pidfd, SIGKILL);
}

/* The cgroup's directories linger until the last task is accounted. */
static void
remove_group(struct sandbox *sb)
{
	enum { TRIES = 100, PAUSE_US = 500 };

	for (int i = 0; i < TRIES; i++) {
		if (cg_group_remove(&sb->host->cgroups, &sb->group))
			return;
		(void)usleep(PAUSE_US);
	}
}

void
sandbox_free(struct sandbox *sb)
{
	if (!sb)
		return;
	sandbox_kill(sb);
	cleanup_closep(&sb->control);
	if (sb->pid > 0)
		while (waitpid(sb->pid, NULL, 0) < 0 && errno == EINTR)
			;
	cleanup_closep(&sb->pidfd);
	remove_group(sb);
	host_give_range(sb->host, sb->range);
	free(sb);
}
