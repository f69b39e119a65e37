#include "program.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"
#include "host.h"
#include "io.h"
#include "mem.h"
#include "msg.h"
#include "proto.h"
#include "sandbox.h"

enum { HOLD_FDS = HOLD_LIBRARY_FD + 1 };

static int
send_hold(const struct sandbox_program *p, int init,
    const int fds[HOLD_FDS + 1], size_t n_fds, struct err *err)
{
	auto_free unsigned char *body = xmalloc(MSG_MAX);
	struct msg_out o = { .data = body };
	auto_free const char **env = NULL;
	size_t n_env = 0;

	static_assert(HOLD_LIBRARY_FD == 4, "HOLD_VARIABLE says so");
	while (p->env[n_env])
		n_env++;
	env = xcalloc(n_env + 2, sizeof(*env));
	memcpy(env, p->env, n_env * sizeof(*env));
	env[n_env] = HOLD_VARIABLE;
	msg_put_strs(&o, p->argv);
	msg_put_strs(&o, env);
	msg_put_u64(&o, 0);
	return msg_send(init, PROTO_HOLD, &o, fds, n_fds, err);
}

static int
send_program(
    const struct sandbox_program *p, int control, bool ahead, struct err *err)
{
	auto_free unsigned char *body = xmalloc(MSG_MAX);
	struct msg_out o = { .data = body };

	msg_put_strs(&o, p->stops);
	msg_put_str(&o, p->code);
	msg_put_u32(&o, ahead);
	return msg_send(control, PROTO_PROGRAM, &o, NULL, 0, err);
}

static int
make_pipe(int *ret_read, int *ret_write, struct err *err)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_errno(err, "make a pipe");
	*ret_read = p[0];
	*ret_write = p[1];
	return 0;
}

static int
start(const struct sandbox_host *h, const struct sandbox_program *p, int init,
    bool ahead, struct program *pr, struct err *err)
{
	auto_close int in = -1, out = -1, err_fd = -1, theirs = -1;
	int type = SOCK_SEQPACKET | SOCK_CLOEXEC | (ahead ? 0 : SOCK_NONBLOCK);
	int sv[2];

	/* Streams of the types that a job's are, for those who look once. */
	in = io_memfd_sealed("stdin", "", 0, err);
	if (in < 0 || make_pipe(&pr->output[0], &out, err) < 0 ||
	    make_pipe(&pr->output[1], &err_fd, err) < 0)
		return -1;
	if (socketpair(AF_UNIX, type, 0, sv) < 0)
		return err_errno(err, "make control socket");
	pr->control = sv[0];
	theirs = sv[1];
	if (send_program(p, pr->control, ahead, err) < 0)
		return -1;
	return send_hold(p, init,
	    (int[]){ in, out, err_fd, theirs, h->hold_fd, pr->control },
	    ahead ? HOLD_FDS + 1 : HOLD_FDS, err);
}

int
program_hold(const struct sandbox_host *h, const struct sandbox_program *p,
    int init, struct program *ret_program, struct err *err)
{
	return start(h, p, init, false, ret_program, err);
}

/* An interpreter may look whether its program is there before it opens it. */
static int
put_placeholder(const char *name, int init, struct err *err)
{
	auto_free unsigned char *body = xmalloc(MSG_MAX);
	struct msg_out o = { .data = body };

	msg_put_str(&o, name);
	msg_put_u32(&o, 0644);
	msg_put_u32(&o, PUT_FILE);
	msg_put_str(&o, "");
	msg_put_bytes(&o, "", 0);
	return msg_send(init, PROTO_PUT, &o, NULL, 0, err);
}

static bool
is_word(const char *text, const char *const *words)
{
	while (*words && strcmp(*words, text) != 0)
		words++;
	return *words != NULL;
}

int
program_hold_ahead(const struct sandbox_host *h,
    const struct sandbox_program *p, int init, struct program *ret_program,
    struct err *err)
{
	for (const char *const *name = p->stops; *name; name++)
		if (is_word(*name, p->argv) &&
		    put_placeholder(*name, init, err) < 0)
			return -1;
	if (start(h, p, init, true, ret_program, err) < 0)
		return -1;
	cleanup_closep(&ret_program->control); /* init has it */
	ret_program->control = -1;
	return 0;
}

void
program_close(struct program *p)
{
	cleanup_closep(&p->control);
	cleanup_closep(&p->output[0]);
	cleanup_closep(&p->output[1]);
	*p = (struct program)PROGRAM_NONE;
}
