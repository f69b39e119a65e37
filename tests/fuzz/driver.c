/*
 * driver.c - the main() of a fuzz target where there is no libFuzzer.
 *
 *   fuzz_NAME [-n INPUTS] [-s SECONDS] DIRECTORY...
 *   fuzz_NAME FILE
 *
 * Runs every file of the directories, then mutations of them, until there were
 * INPUTS of either kind or SECONDS of processor time are used.  Input number i
 * is the same in every run.  A FILE is run alone: a crash, once more.
 *
 * The inputs are run by a child, which puts each into memory shared with its
 * parent first: however the child ends or hangs, the parent has the input, and
 * writes it beside the program.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sanitizer/lsan_interface.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

enum {
	INPUT_MAX = 64 << 10,
	FILES_MAX = 1000,
	LEAK_STEP = 2000, /* inputs between two looks for leaks */
	HANG_SECONDS = 60,
	LEAKED = 42, /* exit status of the child */
};

struct file {
	unsigned char *data;
	size_t len;
};

/* Between the child and its parent. */
struct shared {
	unsigned long number; /* of the input that is being run */
	size_t len;
	unsigned char data[INPUT_MAX];
};

struct run {
	const char *name;
	struct file *files;
	size_t n_files;
	unsigned long inputs;
	long seconds;
	struct shared *now;
};

/* Leaks are looked for here, between inputs. */
const char *__asan_default_options(void);
const char *
__asan_default_options(void)
{
	return "leak_check_at_exit=0:allocator_may_return_null=1";
}

/* ---- files ---- */

static void
add_file(struct run *r, const char *path)
{
	FILE *f = fopen(path, "re");
	struct file *to = &r->files[r->n_files];

	must(f && r->n_files < FILES_MAX);
	to->data = malloc(INPUT_MAX);
	must(to->data);
	to->len = fread(to->data, 1, INPUT_MAX, f);
	(void)fclose(f);
	r->n_files++;
}

static int
not_hidden(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

static void
add_path(struct run *r, const char *path)
{
	struct dirent **names;
	int n = scandir(path, &names, not_hidden, alphasort);

	if (n < 0 && errno == ENOTDIR) {
		add_file(r, path);
		r->inputs = r->n_files;
		return;
	}
	for (int i = 0; i < n; i++) {
		char file[4096];

		(void)snprintf(
		    file, sizeof(file), "%s/%s", path, names[i]->d_name);
		add_file(r, file);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

/* ---- mutations ---- */

/* splitmix64: each state gives a good number, also 0, 1, 2, ... */
static uint64_t
draw(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* 0 to n - 1, small ones more often: that is where headers are. */
static size_t
draw_below(uint64_t *state, size_t n)
{
	uint64_t v = draw(state);

	if (n == 0)
		return 0;
	return (v & 3) == 0 ? (v >> 2) % (n < 16 ? n : 16) : (v >> 2) % n;
}

static void
insert(struct shared *s, size_t at, const unsigned char *p, size_t n)
{
	if (n > INPUT_MAX - s->len)
		n = INPUT_MAX - s->len;
	memmove(s->data + at + n, s->data + at, s->len - at);
	memcpy(s->data + at, p, n);
	s->len += n;
}

static void
cut(struct shared *s, size_t at, size_t n)
{
	if (n > s->len - at)
		n = s->len - at;
	memmove(s->data + at, s->data + at + n, s->len - at - n);
	s->len -= n;
}

static void
change_byte(struct shared *s, size_t at, uint64_t v)
{
	static const unsigned char telling[] = { 0, 1, 0x7f, 0x80, 0xff, 0xc0,
		0xed, ' ', '\n', '\r', '\t', '"', '\\', '/', '.', '%', '=', '&',
		'{', '}', '[', ']', ',', ':', '-', '0', '9', '#', ';', '~' };

	if (s->len == 0)
		return;
	switch (v % 4) {
	case 0:
		s->data[at] ^= (unsigned char)(1 << (v >> 8 & 7));
		break;
	case 1:
		s->data[at] = (unsigned char)(v >> 8);
		break;
	case 2:
		s->data[at] = (unsigned char)(s->data[at] + (v >> 8) % 9 - 4);
		break;
	default:
		s->data[at] = telling[(v >> 8) % sizeof(telling)];
		break;
	}
}

/* The same few bytes many times: depth, and lengths that pass a limit. */
static void
repeat(struct shared *s, size_t at, uint64_t v)
{
	unsigned char piece[64];
	size_t n = 1 + v % 8, times = (size_t)1 << (v >> 8 & 7);

	if (n > s->len - at)
		n = s->len - at;
	memcpy(piece, s->data + at, n);
	for (size_t i = 0; i < times; i++)
		insert(s, at, piece, n);
}

static void
mutate(const struct run *r, struct shared *s, uint64_t *state)
{
	const struct file *other = &r->files[draw(state) % r->n_files];
	size_t at = draw_below(state, s->len + 1);
	size_t n = 1 + draw_below(state, 64), from;

	switch (draw(state) % 8) {
	case 0:
		cut(s, at, n);
		break;
	case 1:
		from = draw_below(state, other->len);
		if (n > other->len - from)
			n = other->len - from;
		insert(s, at, other->data + from, n);
		break;
	case 2:
		repeat(s, at, draw(state));
		break;
	case 3:
		cut(s, at, (size_t)(draw(state) % 4 == 0 ? INPUT_MAX : 1));
		break;
	default:
		change_byte(s, at < s->len ? at : 0, draw(state));
		break;
	}
}

static void
make_input(const struct run *r, unsigned long number)
{
	uint64_t state = number;
	struct shared *s = r->now;
	const struct file *f =
	    &r->files[number < r->n_files ? number : draw(&state) % r->n_files];
	size_t changes = number < r->n_files ? 0 : 1 + draw(&state) % 6;

	memcpy(s->data, f->data, f->len);
	s->len = f->len;
	while (changes-- > 0)
		mutate(r, s, &state);
	s->number = number;
}

/* ---- the child ---- */

/* A copy of exact size: one byte too far is found. */
static void
run_input(const struct shared *s)
{
	uint8_t *copy = malloc(s->len ? s->len : 1);

	must(copy);
	memcpy(copy, s->data, s->len);
	(void)LLVMFuzzerTestOneInput(copy, s->len);
	free(copy);
}

static void
child(const struct run *r, unsigned long from, unsigned long leak_step)
{
	const clock_t end = r->seconds * CLOCKS_PER_SEC;

	for (unsigned long i = from; i < r->inputs; i++) {
		if (i >= r->n_files && r->seconds > 0 && clock() > end)
			break;
		make_input(r, i);
		run_input(r->now);
		if ((i + 1) % leak_step == 0 &&
		    __lsan_do_recoverable_leak_check())
			_exit(LEAKED);
	}
	if (__lsan_do_recoverable_leak_check())
		_exit(LEAKED);
	exit(0);
}

/* ---- the parent ---- */

static void
keep_input(const struct run *r, const char *program, const char *what)
{
	char path[4096];
	FILE *f;

	(void)snprintf(
	    path, sizeof(path), "%s-crash-%lu", program, r->now->number);
	f = fopen(path, "we");
	if (!f || fwrite(r->now->data, 1, r->now->len, f) != r->now->len ||
	    fclose(f) != 0)
		perror(path);
	printf("%s: input %lu %s; it is kept: %s\n", r->name, r->now->number,
	    what, path);
}

/* The child's wait status; a child that hangs is killed. */
static int
wait_for(const struct run *r, pid_t pid)
{
	const struct timespec limit = { .tv_sec = HANG_SECONDS };
	unsigned long last = r->now->number;
	sigset_t ended;
	int status;

	(void)sigemptyset(&ended);
	(void)sigaddset(&ended, SIGCHLD);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (sigtimedwait(&ended, NULL, &limit) >= 0 || errno != EAGAIN)
			continue;
		if (r->now->number == last)
			(void)kill(pid, SIGKILL);
		last = r->now->number;
	}
	return status;
}

static int
run_child(const struct run *r, unsigned long from, unsigned long leak_step)
{
	int status;
	pid_t pid;

	r->now->number = from;
	(void)fflush(NULL);
	pid = fork();
	must(pid >= 0);
	if (pid == 0) {
		(void)signal(SIGCHLD, SIG_DFL);
		child(r, from, leak_step);
	}
	status = wait_for(r, pid);
	if (status != 0)
		fuzz_folder_remove(pid);
	return status;
}

static bool
leaked(int status)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == LEAKED;
}

static bool
run_all(const struct run *r, const char *program)
{
	char what[64] = "leaks";
	int status = run_child(r, 0, LEAK_STEP);
	unsigned long last = r->now->number;

	if (status == 0)
		return true;
	/* Which of the last ones was it?  Once more, looking after each. */
	if (leaked(status))
		status = run_child(r, last - last % LEAK_STEP, 1);
	if (WIFSIGNALED(status))
		(void)snprintf(what, sizeof(what), "%s (signal %d)",
		    WTERMSIG(status) == SIGKILL ? "hangs" : "crashes",
		    WTERMSIG(status));
	else if (!leaked(status))
		(void)snprintf(what, sizeof(what), "crashes (exit status %d)",
		    WEXITSTATUS(status));
	keep_input(r, program, what);
	return false;
}

static void
usage(void)
{
	(void)fputs("usage: fuzz_NAME [-n INPUTS] [-s SECONDS] "
		    "DIRECTORY|FILE...\n",
	    stderr);
	exit(64);
}

int
main(int argc, char **argv)
{
	struct run r = { .inputs = 20000 };
	const char *slash = strrchr(argv[0], '/');
	sigset_t ended;
	bool ok;
	int c;

	r.name = slash ? slash + 1 : argv[0];
	while ((c = getopt(argc, argv, "n:s:")) != -1)
		if (c == 'n')
			r.inputs = strtoul(optarg, NULL, 10);
		else if (c == 's')
			r.seconds = strtol(optarg, NULL, 10);
		else
			usage();
	r.files = calloc(FILES_MAX, sizeof(*r.files));
	r.now = mmap(NULL, sizeof(*r.now), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(r.files && r.now != MAP_FAILED);
	for (int i = optind; i < argc; i++)
		add_path(&r, argv[i]);
	if (r.n_files == 0)
		usage();
	(void)sigemptyset(&ended);
	(void)sigaddset(&ended, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &ended, NULL);
	ok = run_all(&r, argv[0]);
	if (ok)
		printf("%-28s %6lu inputs\n", r.name, r.now->number + 1);
	for (size_t i = 0; i < r.n_files; i++)
		free(r.files[i].data);
	free(r.files);
	return ok ? 0 : 1;
}
