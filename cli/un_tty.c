#include "un_tty.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "attr.h"

enum { LINE_MAX_ = 512 };

/* A handler can reach nothing but a file-scope variable. */
static struct {
	struct termios was;
	volatile sig_atomic_t raw;
} tty;

static const int broken[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL };
static const int taken[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT,
	SIGWINCH };

/* tcsetattr() may be called in a handler. */
static void
on_broken(int sig)
{
	un_tty_restore();
	(void)raise(sig); /* its default action: SA_RESETHAND */
}

static void
guard(void)
{
	struct sigaction sa = { .sa_handler = on_broken,
		.sa_flags = (int)SA_RESETHAND };

	(void)sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < ARRAY_LEN(broken); i++)
		(void)sigaction(broken[i], &sa, NULL);
}

/* TCSANOW: what was typed ahead is for the session. */
int
un_tty_raw(struct err *err)
{
	struct termios t;

	if (!isatty(STDIN_FILENO))
		return 0;
	if (tcgetattr(STDIN_FILENO, &t) < 0)
		return err_errno(err, "look at the terminal");
	if (!tty.raw) {
		tty.was = t;
		guard();
	}
	t = tty.was;
	cfmakeraw(&t);
	tty.raw = true;
	if (tcsetattr(STDIN_FILENO, TCSANOW, &t) < 0)
		return err_errno(err, "make the terminal raw");
	return 0;
}

void
un_tty_restore(void)
{
	if (!tty.raw)
		return;
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &tty.was);
	tty.raw = false;
}

bool
un_tty_is_raw(void)
{
	return tty.raw;
}

bool
un_tty_size(unsigned *ret_cols, unsigned *ret_rows)
{
	static const int fds[] = { STDOUT_FILENO, STDIN_FILENO, STDERR_FILENO };
	struct winsize w;

	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		if (ioctl(fds[i], TIOCGWINSZ, &w) < 0 || w.ws_col == 0 ||
		    w.ws_row == 0)
			continue;
		*ret_cols = w.ws_col;
		*ret_rows = w.ws_row;
		return true;
	}
	return false;
}

/* O_NONBLOCK on the one we have would be everybody's who has it. */
int
un_tty_output(void)
{
	struct stat st;

	if (fstat(STDOUT_FILENO, &st) < 0 ||
	    !(S_ISFIFO(st.st_mode) || isatty(STDOUT_FILENO)))
		return -1;
	return open(
	    "/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static void
taken_set(sigset_t *ret_set)
{
	struct sigaction sa;

	(void)sigemptyset(ret_set);
	for (size_t i = 0; i < ARRAY_LEN(taken); i++)
		if (sigaction(taken[i], NULL, &sa) == 0 &&
		    sa.sa_handler != SIG_IGN)
			(void)sigaddset(ret_set, taken[i]);
}

int
un_tty_signals(struct err *err)
{
	sigset_t set;
	int fd;

	taken_set(&set);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return fd < 0 ? err_errno(err, "take signals") : fd;
}

void
un_tty_signals_end(int fd)
{
	sigset_t set;

	taken_set(&set);
	if (fd >= 0)
		(void)close(fd);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
}

void
un_tty_stop(void)
{
	un_tty_restore();
	(void)raise(SIGSTOP);
}

void
un_tty_say(const char *fmt, ...)
{
	const char *end = tty.raw ? "\r\n" : "\n";
	char text[LINE_MAX_];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == '\177')
			*p = '?';
	(void)fprintf(stderr, "%s%s%s", tty.raw ? "\r\n" : "", text, end);
	(void)fflush(stderr);
}
