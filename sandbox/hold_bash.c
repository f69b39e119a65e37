/*
 * hold_bash.c - Bash held in a nest: what it noted when it started, and what a
 * fresh start would note in the job's process: the time, the host's name, its
 * number, and seeds of random numbers.
 *
 * Bash exports its own functions and variables for loadable builtins; another
 * interpreter has not got them, and nothing is done.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "attr.h"
#include "hold.h"

static struct {
	void (*seedrand)(void);
	void (*seedrand32)(void);
	void *(*bind_variable)(const char *name, char *value, int flags);
	time_t *shell_start_time; /* SECONDS counts from it */
	struct timeval *shellstart;
	pid_t *dollar_dollar_pid;
} bash;

static bool
find_bash(void)
{
	static const struct {
		const char *name;
		size_t at;
	} all[] = {
#define ONE(name) { #name, offsetof(__typeof__(bash), name) }
		ONE(seedrand),
		ONE(seedrand32),
		ONE(bind_variable),
		ONE(shell_start_time),
		ONE(shellstart),
		ONE(dollar_dollar_pid),
#undef ONE
	};

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		void *found = dlsym(RTLD_DEFAULT, all[i].name);

		if (!found)
			return false;
		memcpy(
		    (char *)&bash + all[i].at, (void *)&found, sizeof(found));
	}
	return true;
}

void
hold_bash_goes_on(void)
{
	char host[256];

	if (!find_bash())
		return;
	bash.seedrand();
	bash.seedrand32();
	(void)gettimeofday(bash.shellstart, NULL);
	*bash.shell_start_time = bash.shellstart->tv_sec;
	*bash.dollar_dollar_pid = getpid();
	if (gethostname(host, sizeof(host)) == 0)
		(void)bash.bind_variable("HOSTNAME", host, 0);
}
