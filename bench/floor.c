/*
 * bench-floor - what the machine asks for a program, without anything around.
 *
 *	bench-floor [-n N] [-j LOOPS] [-e TEXT] -- PROGRAM [ARG]...
 *
 * Starts PROGRAM N times in each of LOOPS processes, one after the other: start
 * (posix_spawn, which is vfork and exec), read its standard output through a
 * pipe to the end, wait.  That is the yardstick; with the command line of
 * another sandbox it measures that one.  TEXT must be in the output.  Prints
 * one line of JSON.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock_ns.h"
#include "hist.h"

enum { OUT_MAX = 4096, LOOPS_MAX = 256 };

struct options {
	long n, loops;
	const char *expect; /* NULL: anything */
	char *const *argv;
};

struct loop {
	struct hist hist;
	uint64_t failed;
};

/* All of fd; what fits is kept and NUL-terminated. */
static void
read_to_end(int fd, char out[OUT_MAX])
{
	char rest[OUT_MAX];
	size_t len = 0;
	ssize_t n;

	for (;;) {
		bool room = len < OUT_MAX - 1;

		n = room ? read(fd, out + len, OUT_MAX - 1 - len)
			 : read(fd, rest, sizeof(rest));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		if (room)
			len += (size_t)n;
	}
	out[len] = '\0';
}

static pid_t
start(char *const *argv, int out)
{
	posix_spawn_file_actions_t todo;
	pid_t pid = -1;
	int r;

	if (posix_spawn_file_actions_init(&todo) != 0)
		return -1;
	(void)posix_spawn_file_actions_addopen(
	    &todo, 0, "/dev/null", O_RDONLY, 0);
	(void)posix_spawn_file_actions_adddup2(&todo, out, 1);
	r = posix_spawnp(&pid, argv[0], &todo, NULL, argv, environ);
	(void)posix_spawn_file_actions_destroy(&todo);
	return r == 0 ? pid : -1;
}

/* False when it could not be started, failed, or said something else. */
static bool
run_once(const struct options *o, int64_t *ret_ns)
{
	auto_close int in = -1, out = -1;
	char said[OUT_MAX];
	int64_t since = clock_ns();
	int fds[2], status = -1;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return false;
	in = fds[0];
	out = fds[1];
	pid = start(o->argv, out);
	if (pid < 0)
		return false;
	cleanup_closep(&out);
	out = -1;
	read_to_end(in, said);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	*ret_ns = clock_ns() - since;
	return status == 0 && (!o->expect || strstr(said, o->expect));
}

static void
loop_run(const struct options *o, struct loop *l)
{
	for (long i = 0; i < o->n; i++) {
		int64_t ns;

		if (run_once(o, &ns))
			hist_add(&l->hist, ns);
		else
			l->failed++;
	}
}

/* In processes, as independent farms of one core would do it. */
static int
run_loops(const struct options *o, struct loop *loops)
{
	int bad = 0;

	if (o->loops == 1) {
		loop_run(o, loops);
		return 0;
	}
	for (long i = 0; i < o->loops; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			loop_run(o, &loops[i]);
			_exit(0);
		}
		bad |= pid < 0;
	}
	for (int status; wait(&status) > 0;)
		bad |= status != 0;
	return bad ? -1 : 0;
}

static int
report(const struct options *o, const struct loop *loops, int64_t took_ns)
{
	static struct hist all;
	double seconds = (double)took_ns / 1e9;
	uint64_t failed = 0;

	hist_init(&all);
	for (long i = 0; i < o->loops; i++) {
		hist_merge(&all, &loops[i].hist);
		failed += loops[i].failed;
	}
	(void)printf("{\"loops\":%ld,\"seconds\":%.6f,\"operations\":%" PRIu64
		     ",\"errors\":%" PRIu64 ",\"rate\":%.3f,\"us\":",
	    o->loops, seconds, all.n, failed, (double)all.n / seconds);
	hist_print(stdout, &all);
	(void)printf("}\n");
	return failed > 0;
}

static long
number(const char *text, long max)
{
	char *end;
	long v = strtol(text, &end, 10);

	if (*text == '\0' || *end != '\0' || v < 1 || v > max) {
		(void)fprintf(
		    stderr, "bench-floor: not 1 to %ld: %s\n", max, text);
		exit(64);
	}
	return v;
}

int
main(int argc, char **argv)
{
	struct options o = { .n = 100, .loops = 1 };
	struct loop *loops;
	int64_t since;
	int c;

	while ((c = getopt(argc, argv, "+n:j:e:")) != -1) {
		if (c == 'n')
			o.n = number(optarg, 100000000);
		else if (c == 'j')
			o.loops = number(optarg, LOOPS_MAX);
		else if (c == 'e')
			o.expect = optarg;
		else
			return 64;
	}
	o.argv = argv + optind;
	if (!o.argv[0]) {
		(void)fputs("bench-floor: no program given\n", stderr);
		return 64;
	}
	loops = mmap(NULL, (size_t)o.loops * sizeof(*loops),
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (loops == MAP_FAILED) {
		perror("bench-floor: mmap");
		return 71;
	}
	since = clock_ns();
	if (run_loops(&o, loops) < 0) {
		(void)fputs("bench-floor: a loop died\n", stderr);
		return 71;
	}
	return report(&o, loops, clock_ns() - since);
}
