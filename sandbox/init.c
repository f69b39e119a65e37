/*
 * init.c - pid 1 inside a nest or a sandbox: what it serves.
 *
 * Theory of operation.  The launcher has cloned a nest's first process into new
 * namespaces, mapped it to root of its user namespace, placed it in its cgroup,
 * and executed sandbox-init with one descriptor beside 0-2: the control socket.
 * The first message is the plan of the set-up; init executes it and answers
 * READY, or FAILED with the step's name.  From then on the launcher may have it
 * hold a program, and fork sandboxes: the first process of each begins like
 * this too, with a plan and a socket of its own.  There it serves one user of
 * the socket: put files in, run commands, collect files.
 *
 * RUN is for a job, one command at a time: when its first process ends,
 * everything else in the pid namespace is killed before the end is told, and
 * nothing outlives the command it belongs to.  START is for a sandbox that
 * lives long: processes beside each other, with terminals (init_proc.c).
 * When the socket closes, init ends, and the kernel kills what is left.
 *
 * Single-threaded, no allocation after set-up, no library but libc.
 */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "msg.h"
#include "proto.h"

/* Too large for a stack; the process has exactly one. */
static struct msg packet;

void
init_tell_failure(const struct init *in, const struct err *err)
{
	unsigned char body[1024];
	struct msg_out o = { .data = body };
	struct err ignored;

	msg_put_str(&o, err->msg);
	msg_put_u32(&o, (uint32_t)err->code);
	msg_put_u32(&o, (uint32_t)err->sys);
	(void)msg_send(in->control, PROTO_FAILED, &o, NULL, 0, &ignored);
}

static void
handle(struct init *in)
{
	struct err err;

	if (msg_recv(in->control, &packet, &err) <= 0)
		_exit(0); /* the kernel kills the rest of the namespace */
	switch (packet.hdr.type) {
	case PROTO_PUT:
		init_put(in, &packet);
		break;
	case PROTO_RUN:
		init_run(in, &packet);
		break;
	case PROTO_COLLECT:
	case PROTO_COLLECT_ALL:
		init_collect(in, &packet);
		break;
	case PROTO_START:
		init_start(in, &packet);
		break;
	case PROTO_STOP:
		init_stop(in, &packet);
		break;
	case PROTO_HOLD:
		init_hold(in, &packet);
		break;
	case PROTO_FORK:
		init_fork(in, &packet);
		break;
	default:
		_exit(1);
	}
	msg_close_fds(&packet);
}

static _Noreturn void
serve(struct init *in)
{
	struct pollfd p[2] = {
		{ .fd = in->control, .events = POLLIN },
		{ .fd = in->signals, .events = POLLIN },
	};

	for (;;) {
		struct signalfd_siginfo si;

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			_exit(1);
		if (p[1].revents & POLLIN) {
			(void)!read(in->signals, &si, sizeof(si));
			init_reap(in);
		}
		if (p[0].revents)
			handle(in);
	}
}

static int
block_signals(struct err *err)
{
	sigset_t all, child;
	int fd;

	(void)sigfillset(&all);
	(void)sigemptyset(&child);
	(void)sigaddset(&child, SIGCHLD);
	if (sigprocmask(SIG_SETMASK, &all, NULL) < 0)
		return err_errno(err, "block signals");
	fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return err_errno(err, "watch children");
	return fd;
}

/*
 * The sandbox's own device as our standard input, while nobody can have put
 * anything in its place.
 */
static int
take_null(struct err *err)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return err_errno(err, "open the sandbox's /dev/null");
	r = dup2(fd, STDIN_FILENO);
	(void)close(fd);
	return r < 0 ? err_errno(err, "take the sandbox's /dev/null") : 0;
}

void
init_begin(struct init *in)
{
	struct err err;

	/* Nobody inside may read or trace us, whatever its uid. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		_exit(1);
	(void)umask(0);
	if (msg_recv(in->control, &packet, &err) <= 0 ||
	    packet.hdr.type != PROTO_SETUP)
		_exit(1);
	if (init_setup(&packet, &err) < 0 || take_null(&err) < 0 ||
	    (in->signals = block_signals(&err)) < 0) {
		init_tell_failure(in, &err);
		_exit(1);
	}
	msg_close_fds(&packet);
	in->inodes = init_inodes();
	if (msg_send(in->control, PROTO_READY, NULL, NULL, 0, &err) < 0)
		_exit(1);
	serve(in);
}
