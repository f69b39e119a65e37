/*
 * hold.c - sandbox-hold.so: holds an interpreter just before it reads its
 * program, and forks it there.
 *
 * Loaded by LD_PRELOAD into the interpreter that a nest starts.  The first time
 * the interpreter opens the program's file, everything that comes before in a
 * fresh start has been done, and nothing of what follows (Python's first look is
 * not it: hold_python_only_looks()).  There we stop,
 * tell the launcher, and serve its FORKs.  The first process of a sandbox is a
 * fork of us and serves as its init; the job is a fork of that, in which the
 * open() finally happens, on the sandbox's own file.
 *
 * The interpreter must have one thread: others would not be there in a fork.
 * One that cannot be forked is started in the sandbox itself, and waits there
 * for the one job that it will be (hold_ahead.c).
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "hold.h"
#include "hold_python.h"
#include "init.h"
#include "msg.h"
#include "proto.h"

enum { OUT_OF_THE_WAY = 200, STOPS_MAX = 8, NAME_ROOM = 256, CODE_ROOM = 4096 };

static char stops[STOPS_MAX][NAME_ROOM]; /* files */
static unsigned n_stops; /* 0: nothing is to be held, or it was */
static bool ahead;       /* the job is not a fork, but we */
static char held_code[CODE_ROOM];
static char *const *words; /* that the interpreter was executed with */
static struct init nest = { .control = -1, .signals = -1 };
static jmp_buf going_on;
static sigset_t mask_before;
static struct msg packet;

/* ---- before main() ---- */

/* Out of the environment, and out of /proc/self/environ: it is the last one. */
static void
drop_variable(void)
{
	char **e = environ;

	while (*e && strncmp(*e, HOLD_VARIABLE, sizeof(HOLD_VARIABLE) - 1) != 0)
		e++;
	if (!*e)
		return;
	memset(*e, 0, strlen(*e));
	*e = NULL;
}

/* The first message says what is to be held. */
static int
read_program(void)
{
	struct msg_in in;
	struct err err;

	if (msg_recv(nest.control, &packet, &err) <= 0 ||
	    packet.hdr.type != PROTO_PROGRAM)
		return -1;
	msg_in_init(&in, &packet);
	n_stops = msg_get_u32(&in);
	if (n_stops > STOPS_MAX)
		return -1;
	for (unsigned i = 0; i < n_stops; i++)
		(void)snprintf(stops[i], NAME_ROOM, "%s", msg_get_str(&in));
	(void)snprintf(held_code, sizeof(held_code), "%s", msg_get_str(&in));
	ahead = msg_get_u32(&in);
	return msg_in_done(&in) ? 0 : -1;
}

__attribute__((constructor)) static void
begin(int argc, char **argv)
{
	(void)argc;
	words = argv;
	drop_variable();
	nest.control = fcntl(HOLD_CONTROL_FD, F_DUPFD_CLOEXEC, OUT_OF_THE_WAY);
	(void)close(HOLD_CONTROL_FD);
	(void)close(HOLD_LIBRARY_FD);
	if (nest.control < 0 || read_program() < 0)
		_exit(1);
}

/* ---- the nest's side ---- */

static bool
one_thread(void)
{
	DIR *d = opendir("/proc/self/task");
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		(void)closedir(d);
	return n == 3; /* ., .. and us */
}

/* In the job's process, deep in the init of its sandbox. */
static void
go_on(void)
{
	(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	longjmp(going_on, 1);
}

static void
handle(void)
{
	struct signalfd_siginfo si;
	struct err err;

	(void)!read(nest.signals, &si, sizeof(si));
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	if (msg_recv(nest.control, &packet, &err) <= 0) {
		if (err.sys == EAGAIN)
			return;
		_exit(0);
	}
	if (packet.hdr.type == PROTO_FORK)
		init_fork(&nest, &packet);
	msg_close_fds(&packet);
}

static _Noreturn void
serve(void)
{
	struct pollfd p[2] = {
		{ .fd = nest.control, .events = POLLIN },
		{ .fd = nest.signals, .events = POLLIN },
	};
	struct err err;

	if (!one_thread()) {
		(void)err_set(&err, ERR_SANDBOX, 0, "it has threads");
		init_tell_failure(&nest, &err);
		_exit(1);
	}
	if (*held_code)
		hold_python_prepare(held_code);
	if (msg_send(nest.control, PROTO_HELD, NULL, NULL, 0, &err) < 0)
		_exit(1);
	for (;;)
		if (poll(p, 2, -1) > 0)
			handle();
}

/* Returns in the job's process only. */
static void
hold(const char *program)
{
	sigset_t all, child;

	n_stops = 0;
	if (ahead) {
		hold_ahead(nest.control, &packet);
		return;
	}
	(void)sigfillset(&all);
	(void)sigemptyset(&child);
	(void)sigaddset(&child, SIGCHLD);
	(void)sigprocmask(SIG_SETMASK, &all, &mask_before);
	nest.signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	nest.resume = go_on;
	if (setjmp(going_on) == 0)
		serve();
	hold_bash_goes_on();
	(void)sigprocmask(SIG_SETMASK, &mask_before, NULL);
	hold_python_goes_on(program, words);
}

/* ---- the ways to open a file ---- */

static void
opening(const char *path)
{
	static const char dir[] = "/tmp/"; /* where programs lie and run */
	const char *name = path;

	if (n_stops == 0 || !path)
		return;
	if (strncmp(name, dir, sizeof(dir) - 1) == 0)
		name += sizeof(dir) - 1;
	for (unsigned i = 0; i < n_stops; i++)
		if (strcmp(name, stops[i]) == 0) {
			if (!hold_python_only_looks(held_code))
				hold(path);
			return;
		}
}

static void *
next(const char *name)
{
	void *f = dlsym(RTLD_NEXT, name);

	if (!f)
		_exit(1);
	return f;
}

#define visible __attribute__((visibility("default")))
#define OPEN(name)                                                             \
	visible int name(const char *path, int flags, ...)                     \
	{                                                                      \
		static int (*real)(const char *, int, ...);                    \
		va_list ap;                                                    \
		mode_t mode;                                                   \
                                                                               \
		va_start(ap, flags);                                           \
		mode = va_arg(ap, mode_t);                                     \
		va_end(ap);                                                    \
		opening(path);                                                 \
		if (!real)                                                     \
			*(void **)&real = next(#name);                         \
		return real(path, flags, mode);                                \
	}
#define FOPEN(name)                                                            \
	visible FILE *name(const char *path, const char *how)                  \
	{                                                                      \
		static FILE *(*real)(const char *, const char *);              \
                                                                               \
		opening(path);                                                 \
		if (!real)                                                     \
			*(void **)&real = next(#name);                         \
		return real(path, how);                                        \
	}
OPEN(open)
OPEN(open64)
FOPEN(fopen)
FOPEN(fopen64)
