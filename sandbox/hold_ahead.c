/*
 * hold_ahead.c - waits, in an interpreter that was started before its job.
 *
 * Nothing is forked: other threads wait as they always do when the main one is
 * busy.  What a fresh start would have been given by its parent, and we could
 * not know, is put in its place here; the rest (session, working directory,
 * mask of files, signals) our parent has given us as it does to any command.
 */
#include "hold.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cleanup.h"
#include "msg.h"
#include "proto.h"

/* Node, for one, has marked its streams close-on-exec. */
static int
put_stream(int fd, int as)
{
	int flags = fcntl(as, F_GETFD);

	if (flags < 0 || dup2(fd, as) < 0)
		return -1;
	return fcntl(as, F_SETFD, flags);
}

static int
take_over(int control, struct msg *m)
{
	struct rlimit as = { 0, 0 };
	struct msg_in in;

	msg_in_init(&in, m);
	as.rlim_cur = as.rlim_max = msg_get_u64(&in);
	if (m->hdr.type != PROTO_GO || m->n_fds != 3 || !msg_in_done(&in))
		return -1;
	for (int i = 0; i < 3; i++)
		if (put_stream(m->fds[i], i) < 0)
			return -1;
	msg_close_fds(m);
	if (as.rlim_cur > 0 && setrlimit(RLIMIT_AS, &as) < 0)
		return -1;
	if (write(control, "t", 1) != 1)
		return -1;
	return close(control);
}

void
hold_ahead(int control, struct msg *packet)
{
	struct err err;

	if (msg_send(control, PROTO_HELD, NULL, NULL, 0, &err) < 0 ||
	    msg_recv(control, packet, &err) <= 0 ||
	    take_over(control, packet) < 0)
		_exit(1);
}
