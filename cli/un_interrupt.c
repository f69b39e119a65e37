#include "un_interrupt.h"

#include <signal.h>
#include <time.h>

/* A handler can reach nothing but a file-scope variable. */
static volatile sig_atomic_t came;

static void
on_signal(int sig)
{
	came = sig;
}

static void
set_handler(void (*handler)(int), int flags)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = flags };

	(void)sigemptyset(&sa.sa_mask);
	(void)sigaction(SIGINT, &sa, NULL);
	(void)sigaction(SIGTERM, &sa, NULL);
}

void
un_interrupt_catch(void)
{
	/* No SA_RESTART: poll and nanosleep must return. */
	set_handler(on_signal, (int)SA_RESETHAND);
}

void
un_interrupt_release(void)
{
	set_handler(SIG_DFL, 0);
}

int
un_interrupt_pending(void)
{
	return came;
}

int
un_interrupt_take(void)
{
	int sig = came;

	came = 0;
	return sig;
}

void
un_interrupt_sleep(int64_t ms)
{
	struct timespec ts = { .tv_sec = ms / 1000,
		.tv_nsec = ms % 1000 * 1000000 };

	if (ms > 0 && !came)
		(void)nanosleep(&ts, NULL);
}
