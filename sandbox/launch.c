/*
 * launch.c - a sandbox, from its nest's fork to its end.
 *
 * The nest forks a process into new namespaces below its own and hands us its
 * pidfd (BORN); the process waits for one byte, which says that it is in its
 * cgroup.  We then send the plan with the seccomp filters; it says READY.
 */
#include "mem.h"
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "buf.h"
#include "cleanup.h"
#include "fault.h"
#include "host.h"
#include "io.h"
#include "msg.h"
#include "nest.h"
#include "proto.h"
#include "syscalls.h"

struct sandbox {
	struct sandbox_host *host; /* borrowed */
	struct cg_group group;
	int pidfd;   /* -1 before it is born */
	int control; /* -1 once granted */
	unsigned serial;
};

static int
send_plan(struct sandbox *sb, struct err *err)
{
	auto_free unsigned char *body = xmalloc(MSG_MAX);
	struct msg_out o = { .data = body };
	char hostname[32];
	struct plan plan;

	(void)snprintf(
	    hostname, sizeof(hostname), "unsb-vm-%05u", sb->serial % 100000);
	host_plan(sb->host, hostname, &plan);
	plan_encode(&plan, &o);
	plan_done(&plan);
	return msg_send(sb->control, PROTO_SETUP, &o, sb->host->filters,
	    SECCOMP_FILTERS, err);
}

/* As we see it, whatever it is called in its own namespaces. */
static pid_t
pid_of(int pidfd, struct err *err)
{
	auto_buf struct buf text = { .cap = 4096 };
	char path[64];
	const char *at;

	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	if (io_read_file(AT_FDCWD, path, &text, err) < 0)
		return -1;
	at = strstr(text.data, "\nPid:");
	if (!at || strtol(at + 5, NULL, 10) <= 0)
		return err_set(err, ERR_SANDBOX, 0, "it died at birth");
	return (pid_t)strtol(at + 5, NULL, 10);
}

static int
on_born(struct sandbox *sb, struct msg *m, struct err *err)
{
	pid_t pid;

	if (m->n_fds != 1 || sb->pidfd >= 0)
		return err_set(err, ERR_SANDBOX, 0, "no process was born");
	sb->pidfd = steal_fd(&m->fds[0]);
	pid = pid_of(sb->pidfd, err);
	if (pid < 0 || cg_group_add_pid(
			   &sb->host->cgroups, &sb->group, pid, false, err) < 0)
		return -1;
	if (write(sb->control, "g", 1) != 1)
		return err_errno(err, "start the sandbox's init");
	if (send_plan(sb, err) < 0)
		return -1;
	FAULT(master_planned);
	return 0;
}

static struct sandbox *
sandbox_new(struct sandbox_host *host, unsigned serial, struct err *err)
{
	struct sandbox *sb = xcalloc(1, sizeof(*sb));
	char name[32];

	sb->host = host;
	sb->serial = serial;
	sb->pidfd = sb->control = -1;
	(void)snprintf(name, sizeof(name), "s%u", serial);
	if (cg_group_make(&host->cgroups, name, &sb->group, err) < 0) {
		free(sb);
		return NULL;
	}
	FAULT(master_launching);
	return sb;
}

struct sandbox *
sandbox_launch(struct sandbox_nest *nest, unsigned serial, struct err *err)
{
	struct sandbox *sb = sandbox_new(nest->host, serial, err);
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
	if (fcntl(sb->control, F_SETFL, O_NONBLOCK) < 0 ||
	    nest_fork(nest, theirs, err) < 0) {
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
	if (m->hdr.type == PROTO_BORN)
		r = on_born(sb, m, err);
	msg_close_fds(m);
	if (m->hdr.type == PROTO_BORN)
		return r;
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

static void
wait_dead(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
}

void
sandbox_free(struct sandbox *sb)
{
	if (!sb)
		return;
	sandbox_kill(sb);
	cleanup_closep(&sb->control);
	if (sb->pidfd >= 0)
		wait_dead(sb->pidfd);
	cleanup_closep(&sb->pidfd);
	cg_group_remove_soon(&sb->host->cgroups, &sb->group);
	free(sb);
}
