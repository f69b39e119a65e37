/*
 * init_ahead.c - a sandbox's job that was started before it was known.
 *
 * An interpreter waits in the sandbox, as hold.c stopped it: all that a fresh
 * start does before it reads its program is done, and no byte of a user's was
 * read.  It is our child like every command, in its own session, under all
 * limits.  GO gives it the streams of its job; then it is the command, and
 * nothing of ours is open in it.  A compiler may run before, beside it.
 */
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init.h"
#include "msg.h"
#include "proto.h"

/*
 * It has just been started; until it waits there is nothing else for us to do.
 * Whoever launches the sandbox has a limit of time.
 */
void
init_ahead_wait(struct init *in, int held, struct msg *packet)
{
	struct err err;

	if (msg_recv(held, packet, &err) <= 0 ||
	    packet->hdr.type != PROTO_HELD ||
	    msg_send(in->control, PROTO_HELD, NULL, NULL, 0, &err) < 0) {
		(void)err_set(&err, ERR_SANDBOX, 0,
		    "it ended before it opened its program");
		init_tell_failure(in, &err);
		_exit(1);
	}
	in->ahead = in->job;
	in->held = held;
	in->job = 0;
}

/* Dead, it is no end of a job: the sandbox ends, and the job has another. */
void
init_ahead_go(struct init *in, uint64_t address_space, const struct msg *m)
{
	unsigned char body[8];
	struct msg_out o = { .data = body };
	struct err err;

	msg_put_u64(&o, address_space);
	if (msg_send(in->held, PROTO_GO, &o, m->fds, 3, &err) < 0)
		_exit(1);
	in->job = in->ahead;
	in->ahead = 0;
}

/* It says one byte as it takes over; one that was dying then has not. */
void
init_ahead_over(struct init *in)
{
	char byte;

	if (in->held < 0)
		return;
	if (recv(in->held, &byte, 1, MSG_DONTWAIT) != 1)
		_exit(1);
	(void)close(in->held);
	in->held = -1;
}

/* SIGKILL for all but us and it; how many there were. */
static unsigned
kill_seen(pid_t spare)
{
	const struct dirent *d;
	DIR *dir = opendir("/proc");
	unsigned n = 0;

	if (!dir)
		_exit(1);
	while ((d = readdir(dir))) {
		pid_t pid = (pid_t)strtol(d->d_name, NULL, 10);

		if (pid > 1 && pid != spare) {
			(void)kill(pid, SIGKILL);
			n++;
		}
	}
	(void)closedir(dir);
	return n;
}

/*
 * kill() takes all or one.  What is stopped does not fork, so those seen then
 * are all.
 */
void
init_ahead_kill_others(const struct init *in)
{
	(void)kill(-1, SIGSTOP);
	while (kill_seen(in->ahead) > 0)
		(void)waitpid(-1, NULL, 0);
	(void)kill(in->ahead, SIGCONT);
}
