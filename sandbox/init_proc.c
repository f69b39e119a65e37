/*
 * init_proc.c - processes that run beside each other, for sandboxes that live
 * long.
 *
 * Each has a keeper: a fork of init that starts it, waits for it and tells its
 * end.  The keeper is the subreaper of all that the process starts, so that
 * SIGTERM to the keeper kills all of it, daemons too.  When the process ends by
 * itself, its children live on: they become init's.
 *
 * Root inside may signal a keeper, as anybody else's process.  One that is
 * killed leaves its process alone, and it counts as killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "init.h"
#include "msg.h"
#include "proto.h"

/* Too large for a stack. */
static struct init_process process;

enum {
	STREAMS = 3,
	OUT_OF_THE_WAY = 64,
	KILL_ROUNDS = 2000,
	KILL_PAUSE_NS = 1000000,
	REPORT_MS = 10000,
	COPY_PIECE = 1 << 20,
	CHILDREN_MAX = 16 << 10,
	DEEP = 256,
};

/* ---- what is told ---- */

static void
tell_refused(const struct init *in, uint32_t id, int why, const char *what)
{
	unsigned char body[512];
	struct msg_out o = { .data = body };
	char text[256];
	struct err ignored;

	(void)snprintf(text, sizeof(text), "%.200s", what);
	msg_put_u32(&o, id);
	msg_put_str(&o, text);
	msg_put_u32(&o, (uint32_t)ERR_INVALID);
	msg_put_u32(&o, (uint32_t)why);
	(void)msg_send(in->control, PROTO_REFUSED, &o, NULL, 0, &ignored);
}

static void
tell_started(const struct init *in, uint32_t id, pid_t pid, int master)
{
	unsigned char body[64];
	struct msg_out o = { .data = body };
	struct err ignored;

	msg_put_u32(&o, id);
	msg_put_u32(&o, (uint32_t)pid);
	(void)msg_send(
	    in->control, PROTO_STARTED, &o, &master, master >= 0, &ignored);
}

static void
tell_ended(int control, uint32_t id, int status, const struct rusage *ru)
{
	unsigned char body[64];
	struct msg_out o = { .data = body };
	struct err ignored;

	msg_put_u32(&o, id);
	msg_put_u32(&o, (uint32_t)status);
	msg_put_u64(&o, (uint64_t)(init_micros(&ru->ru_utime) +
				   init_micros(&ru->ru_stime)));
	msg_put_u64(&o, (uint64_t)ru->ru_maxrss << 10);
	(void)msg_send(control, PROTO_ENDED, &o, NULL, 0, &ignored);
}

/* ---- the process itself ---- */

/* A session of its own, with the terminal as its controlling one. */
static int
take_terminal(int slave)
{
	(void)setsid();
	return slave < 0 ? 0 : ioctl(slave, TIOCSCTTY, 0);
}

static int
place_streams(const int fds[STREAMS])
{
	int high[STREAMS];

	for (int i = 0; i < STREAMS; i++) {
		high[i] = fcntl(fds[i], F_DUPFD, OUT_OF_THE_WAY);
		if (high[i] < 0)
			return -1;
	}
	for (int i = 0; i < STREAMS; i++)
		if (dup2(high[i], i) < 0)
			return -1;
	return 0;
}

static void
default_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/*
 * Where memory is out, programs go first, and not init or a keeper: with them
 * the session would go.
 */
static void
set_oom_score(const char *text)
{
	auto_close int fd = open(
	    "/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)!write(fd, text, strlen(text));
}

/* Returns when it failed, with errno.  Of all descriptors report is kept. */
static void
become(const struct init_process *p, const int fds[STREAMS], int slave,
    int *report)
{
	if (take_terminal(slave) < 0 || place_streams(fds) < 0)
		return;
	if (dup3(*report, STREAMS, O_CLOEXEC) < 0)
		return;
	*report = STREAMS;
	if (close_range(STREAMS + 1, ~0U, 0) < 0 ||
	    chdir(*p->dir ? p->dir : "/tmp") < 0)
		return;
	set_oom_score("1000");
	(void)umask(022);
	default_signals();
	environ = (char **)(uintptr_t)p->command.env;
	(void)execvp(
	    p->command.argv[0], (char *const *)(uintptr_t)p->command.argv);
}

struct report {
	int why; /* 0: it runs */
	pid_t pid;
};

/* Starts it; the pipe is closed by exec, or has its errno. */
static void
start_process(const struct init_process *p, const int fds[STREAMS], int slave,
    struct report *ret_report)
{
	auto_close int rd = -1, wr = -1;
	int pipe_fds[2];

	ret_report->why = 0;
	if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
		ret_report->why = errno;
		return;
	}
	rd = pipe_fds[0];
	wr = pipe_fds[1];
	ret_report->pid = fork();
	if (ret_report->pid < 0) {
		ret_report->why = errno;
		return;
	}
	if (ret_report->pid == 0) {
		become(p, fds, slave, &wr);
		(void)!write(wr, &(int){ errno }, sizeof(int));
		_exit(127);
	}
	(void)close(steal_fd(&wr));
	(void)!read(rd, &ret_report->why, sizeof(ret_report->why));
}

/* ---- its keeper ---- */

/*
 * Pids of the children of pid, at most max; the kernel's list of a process of
 * one thread.  Threads that forked hand their children to their process.
 */
static size_t
list_children(pid_t pid, pid_t *ret_pids, size_t max)
{
	static char text[CHILDREN_MAX];
	char path[64], *at = text;
	auto_close int fd = -1;
	size_t n = 0;
	ssize_t got;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children",
	    (int)pid, (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	got = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
	text[got > 0 ? got : 0] = '\0';
	while (n < max) {
		char *end;
		long child = strtol(at, &end, 10);

		if (end == at)
			break;
		ret_pids[n++] = (pid_t)child;
		at = end;
	}
	return n;
}

/*
 * Only our own children are looked for: a killed process hands its children to
 * us, and a killed process cannot fork.
 */
static void
kill_all(void)
{
	const struct timespec pause = { 0, KILL_PAUSE_NS };
	pid_t pids[DEEP];

	for (int i = 0; i < KILL_ROUNDS; i++) {
		size_t n = list_children(getpid(), pids, DEEP);

		for (size_t k = 0; k < n; k++)
			(void)kill(pids[k], SIGKILL);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (n == 0 && waitpid(-1, NULL, WNOHANG) < 0)
			return;
		(void)nanosleep(&pause, NULL);
	}
}

static _Noreturn void
keep(const struct init *in, uint32_t id, pid_t child, int signals)
{
	struct signalfd_siginfo si;
	struct rusage ru;
	int status;
	pid_t pid;

	while (read(signals, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		bool end = si.ssi_signo == SIGTERM;

		if (end)
			(void)kill(child, SIGKILL);
		while ((pid = wait4(-1, &status, end ? 0 : WNOHANG, &ru)) > 0) {
			if (pid != child)
				continue;
			if (end)
				kill_all();
			tell_ended(in->control, id, status, &ru);
			_exit(0);
		}
	}
	_exit(1);
}

static int
watch_signals(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigaddset(&set, SIGTERM);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

int
init_own_null(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode))
		return 0;
	return dup3(STDIN_FILENO, fd, O_CLOEXEC) < 0 ? -1 : 0;
}

/*
 * What comes as a file of memory is the host's, and was made outside of our
 * limits; who holds it open keeps it.  A copy in its place is ours.
 */
static int
take_stdin(int fd)
{
	auto_close int own = -1;
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return init_own_null(fd);
	own = memfd_create("stdin", MFD_CLOEXEC);
	if (own < 0)
		return -1;
	while ((n = sendfile(own, fd, NULL, COPY_PIECE)) > 0)
		;
	return n < 0 || lseek(own, 0, SEEK_SET) < 0 ||
		       dup3(own, fd, O_CLOEXEC) < 0
		   ? -1
		   : 0;
}

/* In the keeper, whose signals are blocked as init's are. */
static _Noreturn void
keeper(const struct init *in, const struct init_process *p,
    const int fds[STREAMS], int slave, int report)
{
	struct report r = { .why = EIO };
	int signals = watch_signals();
	char none;

	if (!p->terminal && take_stdin(fds[0]) < 0)
		r.why = errno;
	else if (signals >= 0 && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
		start_process(p, fds, slave, &r);
	if (write(report, &r, sizeof(r)) != (ssize_t)sizeof(r) || r.why != 0)
		_exit(1);
	/* Closed when STARTED was told: the end must not be told before. */
	(void)!read(report, &none, 1);
	/* Else its end would not be seen at the other ends. */
	for (int i = 0; i < STREAMS; i++)
		(void)close(fds[i]);
	(void)close(report);
	(void)close(in->signals);
	keep(in, p->id, r.pid, signals);
}

/* ---- init's side ---- */

static struct init_kept *
find_kept(struct init *in, uint32_t id)
{
	for (size_t i = 0; i < INIT_KEPT_MAX; i++)
		if (in->kept[i].keeper > 0 && in->kept[i].id == id)
			return &in->kept[i];
	return NULL;
}

static struct init_kept *
find_free(struct init *in)
{
	for (size_t i = 0; i < INIT_KEPT_MAX; i++)
		if (in->kept[i].keeper == 0)
			return &in->kept[i];
	return NULL;
}

/* Master and slave of a new terminal of the sandbox's own devpts. */
static int
open_terminal(const struct init_process *p, int *ret_master, int *ret_slave)
{
	const struct winsize size = {
		.ws_row = (unsigned short)p->rows,
		.ws_col = (unsigned short)p->cols,
	};
	int unlock = 0;

	*ret_master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (*ret_master < 0)
		return -1;
	if (ioctl(*ret_master, TIOCSPTLCK, &unlock) < 0 ||
	    ioctl(*ret_master, TIOCSWINSZ, &size) < 0)
		return -1;
	*ret_slave = ioctl(
	    *ret_master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	return *ret_slave < 0 ? -1 : 0;
}

/*
 * The keeper waits until *ret_report is closed.  Somebody inside may have
 * stopped it, or what it forked.
 */
static struct report
start_keeper(struct init *in, struct init_kept *k, const struct init_process *p,
    const int fds[STREAMS], int master, int slave, int *ret_report)
{
	struct report r = { .why = EIO };
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return (struct report){ .why = errno };
	*ret_report = sv[0];
	k->keeper = fork();
	if (k->keeper == 0) {
		(void)close(steal_fd(ret_report));
		/* Else closing it elsewhere would not hang up. */
		if (master >= 0)
			(void)close(master);
		keeper(in, p, fds, slave, sv[1]);
	}
	(void)close(sv[1]);
	if (k->keeper < 0) {
		k->keeper = 0;
		return r;
	}
	k->id = p->id;
	if (poll(&(struct pollfd){ .fd = *ret_report, .events = POLLIN }, 1,
		REPORT_MS) == 1)
		(void)!read(*ret_report, &r, sizeof(r));
	if (r.why != 0) {
		(void)kill(k->keeper, SIGKILL);
		(void)waitpid(k->keeper, NULL, 0);
		k->keeper = 0;
	}
	return r;
}

static void
start_one(struct init *in, const struct init_process *p, const int given[])
{
	struct init_kept *k = find_free(in);
	auto_close int master = -1, slave = -1, report = -1;
	struct report r = { .why = ENOSPC };

	if (k && p->terminal && open_terminal(p, &master, &slave) < 0) {
		r.why = errno;
	} else if (k) {
		const int own[STREAMS] = { slave, slave, slave };

		r = start_keeper(in, k, p, p->terminal ? own : given, master,
		    slave, &report);
	}
	if (r.why != 0)
		tell_refused(in, p->id, r.why, p->command.argv[0]);
	else
		tell_started(in, p->id, r.pid, master);
}

void
init_start(struct init *in, const struct msg *m)
{
	struct err before = in->failure;

	in->failure.code = ERR_OK;
	if (!init_read_start(m, &process))
		_exit(1);
	if (!in->lives_long)
		set_oom_score("500");
	in->lives_long = true;
	if (before.code != ERR_OK)
		tell_refused(in, process.id, before.sys, before.msg);
	else
		start_one(in, &process, m->fds);
}

void
init_stop(struct init *in, const struct msg *m)
{
	struct init_kept *k;
	struct msg_in body;
	uint32_t id;

	msg_in_init(&body, m);
	id = msg_get_u32(&body);
	if (!msg_in_done(&body))
		_exit(1);
	k = find_kept(in, id);
	if (k)
		(void)kill(k->keeper, SIGTERM);
}

bool
init_keeper_ended(struct init *in, pid_t pid, int status)
{
	static const struct rusage none;

	for (size_t i = 0; i < INIT_KEPT_MAX; i++) {
		struct init_kept *k = &in->kept[i];

		if (k->keeper != pid)
			continue;
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			tell_ended(in->control, k->id, SIGKILL, &none);
		*k = (struct init_kept){ .keeper = 0 };
		return true;
	}
	return false;
}
