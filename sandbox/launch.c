/*
 * launch.c - a sandbox, from its nest's fork to its end.
 *
 * The nest forks a process into new namespaces below its own, and into its own
 * cgroup, and hands us its pidfd (BORN).  The process finds the plan with the
 * seccomp filter in its socket, executes it, and says READY.  When
 * an interpreter is to wait in it, it is told to start that, and says HELD.
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

#include "box.h"
#include "buf.h"
#include "cleanup.h"
#include "fault.h"
#include "host.h"
#include "io.h"
#include "msg.h"
#include "nest.h"
#include "program.h"
#include "proto.h"
#include "syscalls.h"

struct sandbox {
	struct sandbox_nest *nest; /* borrowed; its cgroup is ours */
	int pidfd;                 /* -1 before it is born */
	int control;               /* -1 once granted */
	const struct sandbox_program *program; /* borrowed; NULL: none waits */
	struct program held;
	unsigned serial;
};

static int
send_plan(struct sandbox *sb, struct err *err)
{
	static unsigned char body[MSG_MAX]; /* there is one thread */
	struct msg_out o = { .data = body };
	char hostname[32];
	struct plan plan;

	(void)snprintf(
	    hostname, sizeof(hostname), "unsb-vm-%05u", sb->serial % 100000);
	host_plan(sb->nest->host, hostname, &plan);
	plan_encode(&plan, &o);
	plan_done(&plan);
	return msg_send(sb->control, PROTO_SETUP, &o,
	    &sb->nest->host->filter_fd[SECCOMP_SANDBOX], 1, err);
}

static int
on_born(struct sandbox *sb, struct msg *m, struct err *err)
{
	if (m->n_fds != 1 || sb->pidfd >= 0)
		return err_set(err, ERR_SANDBOX, 0, "no process was born");
	sb->pidfd = steal_fd(&m->fds[0]);
	FAULT(master_planned);
	return 0;
}

static struct sandbox *
sandbox_new(struct sandbox_nest *nest, unsigned serial)
{
	struct sandbox *sb = xcalloc(1, sizeof(*sb));

	sb->nest = nest;
	sb->serial = serial;
	sb->pidfd = sb->control = -1;
	sb->held = (struct program)PROGRAM_NONE;
	return sb;
}

/* The plan waits in the socket until the nest's fork reads it. */
static int
order(struct sandbox *sb, int theirs, struct err *err)
{
	if (fcntl(sb->control, F_SETFL, O_NONBLOCK) < 0)
		return err_errno(err, "make control socket");
	FAULT(master_launching);
	if (cg_unlimit(&sb->nest->group.files, err) < 0 ||
	    send_plan(sb, err) < 0 || nest_fork(sb->nest, theirs, err) < 0)
		return -1;
	return 0;
}

struct sandbox *
sandbox_launch(struct sandbox_nest *nest, unsigned serial, struct err *err)
{
	return sandbox_launch_ahead(nest, serial, NULL, err);
}

struct sandbox *
sandbox_launch_ahead(struct sandbox_nest *nest, unsigned serial,
    const struct sandbox_program *program, struct err *err)
{
	auto_close int theirs = -1;
	struct sandbox *sb;
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0) {
		(void)err_errno(err, "make control socket");
		return NULL;
	}
	theirs = sv[1];
	sb = sandbox_new(nest, serial);
	sb->program = program;
	sb->control = sv[0];
	if (order(sb, theirs, err) < 0) {
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
	static struct msg packet; /* there is one thread */
	struct msg *m = &packet;
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
	if (m->hdr.type == PROTO_READY && sb->program)
		return program_hold_ahead(
		    sb->nest->host, sb->program, sb->control, &sb->held, err);
	if (m->hdr.type == PROTO_READY || m->hdr.type == PROTO_HELD)
		return 1;
	msg_in_init(&in, m);
	return err_set(err, ERR_SANDBOX, 0, "%s", msg_get_str(&in));
}

void
sandbox_grant(struct sandbox *sb, struct sandbox_grant *ret_grant)
{
	const struct cg_files *files = &sb->nest->group.files;
	struct sandbox_grant g = {
		.serial = sb->serial,
		.others = nest_processes(sb->nest) + 1, /* and its init */
	};

	/* Bit 0 is the control socket, bit 1 + k file k of the cgroup. */
	g.fds[g.n_fds++] = sb->control;
	g.mask = 1;
	for (int k = 0; k < CG_FILE__GRANTED; k++)
		if (files->fd[k] >= 0) {
			g.fds[g.n_fds++] = files->fd[k];
			g.mask |= 2U << k;
		}
	g.mask |= files->v2 << 16;
	*ret_grant = g;
}

void
sandbox_granted(struct sandbox *sb)
{
	cleanup_closep(&sb->control);
	sb->control = -1;
	program_close(&sb->held);
}

struct box *
sandbox_use(struct sandbox *sb, struct err *err)
{
	struct sandbox_nest *n = sb->nest;
	struct cg_files files;

	if (cg_group_open_freezer(&n->host->cgroups, &n->group, err) < 0 ||
	    cg_files_copy(&n->group.files, &files, err) < 0)
		return NULL;
	return box_new(steal_fd(&sb->control), &files, nest_processes(n) + 1);
}

void
sandbox_kill(struct sandbox *sb)
{
	struct err err;

	/*
	 * The init of a pid namespace takes all of it along, as soon as it
	 * runs: not when the next period of a used-up limit begins.
	 */
	if (sb->pidfd < 0)
		return;
	(void)cg_unlimit_cpu(&sb->nest->group.files, &err);
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
	program_close(&sb->held);
	if (sb->pidfd >= 0)
		wait_dead(sb->pidfd);
	cleanup_closep(&sb->pidfd);
	free(sb);
}
