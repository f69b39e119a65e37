/*
 * instead.so - preloaded into a worker master: the processes that it starts by
 * executing itself run under valgrind.
 *
 * The master itself cannot: valgrind 3.19 knows neither clone3 nor
 * mount_setattr.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ARGS_MAX = 64 };

int
execv(const char *path, char *const argv[])
{
	int (*real)(const char *, char *const *) = (int (*)(
	    const char *, char *const *))dlsym(RTLD_NEXT, "execv");
	static char exe[PATH_MAX], options[1024];
	char *args[ARGS_MAX], *word;
	size_t n = 0;

	if (strcmp(path, "/proc/self/exe") != 0 ||
	    readlink(path, exe, sizeof(exe) - 1) < 0 ||
	    !getenv("VALGRIND_COMMAND"))
		return real(path, argv);
	strncpy(options, getenv("VALGRIND_COMMAND"), sizeof(options) - 1);
	for (word = strtok(options, " "); word && n < ARGS_MAX - 1;
	     word = strtok(NULL, " "))
		args[n++] = word;
	args[n++] = exe;
	for (size_t i = 1; argv[i] && n < ARGS_MAX - 1; i++)
		args[n++] = argv[i];
	args[n] = NULL;
	unsetenv("LD_PRELOAD");
	return real(args[0], args);
}
