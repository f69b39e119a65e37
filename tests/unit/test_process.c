/* A real sandbox with processes beside each other, terminals and a freezer. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "attr.h"
#include "buf.h"
#include "cleanup.h"
#include "clock.h"
#include "sandbox.h"

enum { PATIENCE_MS = 10000, FREEZE_MS = 2000 };

static const char *const env[] = { "PATH=/usr/bin:/bin", "HOME=/root",
	"TERM=xterm", NULL };

struct made {
	struct sandbox_host *host;
	struct sandbox_nest *nest;
	struct sandbox *sandbox;
	struct box *box;
	char dir[64];
};

static void
wait_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
}

static int
set_up(void **state)
{
	static struct made m;
	static char skeleton[80], cgroup[64], libexec[4096];
	struct sandbox_config cfg = {
		.cgroup = cgroup,
		.paths = "conf/sandbox.paths",
		.skeleton = skeleton,
		.libexec = libexec,
		.uid_base = 0x60000000,
		.ranges = 2,
		.disk_mb = 64,
		.inodes = 10000,
		.files = 256,
		.file_mb = 64,
	};
	struct err err;
	ssize_t n = readlink("/proc/self/exe", libexec, sizeof(libexec) - 1);

	assert_true(n > 0);
	libexec[n] = '\0';
	*strrchr(libexec, '/') = '\0';
	(void)snprintf(m.dir, sizeof(m.dir), "/tmp/unfarm-unit-XXXXXX");
	assert_non_null(mkdtemp(m.dir));
	(void)snprintf(skeleton, sizeof(skeleton), "%s/skeleton", m.dir);
	(void)snprintf(cgroup, sizeof(cgroup), "%s", strrchr(m.dir, '/') + 1);
	m.host = sandbox_host_open(&cfg, &err);
	if (!m.host)
		fail_msg("%s", err.msg);
	m.nest = sandbox_nest_open(m.host, 1, NULL, &err);
	assert_non_null(m.nest);
	do
		wait_readable(sandbox_nest_fd(m.nest));
	while (sandbox_nest_poll_ready(m.nest, &err) == 0);
	m.sandbox = sandbox_launch(m.nest, 12345, &err);
	assert_non_null(m.sandbox);
	do
		wait_readable(sandbox_fd(m.sandbox));
	while (sandbox_poll_ready(m.sandbox, &err) == 0);
	m.box = sandbox_use(m.sandbox, &err);
	if (!m.box)
		fail_msg("%s", err.msg);
	*state = &m;
	return 0;
}

static int
tear_down(void **state)
{
	struct made *m = *state;

	box_free(m->box);
	sandbox_free(m->sandbox);
	sandbox_nest_close(m->nest);
	sandbox_host_close(m->host);
	sandbox_skeleton_remove(m->dir);
	return 0;
}

static struct box_event
next(struct made *m)
{
	struct box_event e;

	do {
		wait_readable(box_fd(m->box));
		box_receive(m->box, &e);
	} while (e.kind == BOX_NOTHING);
	return e;
}

static struct box_event
start(struct made *m, uint32_t id, const char *script, bool terminal, int out)
{
	const char *const argv[] = { "sh", "-c", script, NULL };
	auto_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const struct box_process p = {
		.argv = argv,
		.env = env,
		.terminal = terminal,
		.cols = 100,
		.rows = 30,
		.fds = { null, out, out },
	};
	struct err err;

	assert_int_equal(box_start(m->box, id, &p, &err), 0);
	return next(m);
}

/* Reads until text is there. */
static void
expect(int fd, const char *text)
{
	auto_buf struct buf b = { .cap = 1 << 20 };
	char piece[4096];

	for (;;) {
		ssize_t n;

		wait_readable(fd);
		n = read(fd, piece, sizeof(piece));
		if (n <= 0)
			fail_msg("`%s` never came", text);
		assert_int_equal(buf_add(&b, piece, (size_t)n), 0);
		assert_int_equal(buf_add(&b, "", 1), 0);
		if (strstr(b.data, text))
			return;
		b.len--;
	}
}

static void
say(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void
a_terminal_has_a_shell(void **state)
{
	struct made *m = *state;
	struct box_event e = start(m, 1, "exec sh -i", true, -1);

	assert_int_equal(e.kind, BOX_STARTED);
	assert_int_equal(e.id, 1);
	assert_true(e.fd >= 0 && e.pid > 1);
	say(e.fd, "stty size; tty; echo a$((40+2))b\n");
	expect(e.fd, "30 100");
	say(e.fd, "tty; ps -o tpgid= -p $$ | tr -d ' ' | sed s/^/is/\n");
	expect(e.fd, "/dev/pts/0");
	say(e.fd, "exit 7\n");
	cleanup_closep(&e.fd);
	e = next(m);
	assert_int_equal(e.kind, BOX_ENDED);
	assert_true(WIFEXITED(e.status) || WIFSIGNALED(e.status));
}

static void
control_c_reaches_the_foreground(void **state)
{
	struct made *m = *state;
	struct box_event e = start(m, 2,
	    "trap 'echo caught; exit 9' INT; echo up; while :; do sleep 9; "
	    "done",
	    true, -1);
	int fd = e.fd;

	expect(fd, "up");
	say(fd, "\003");
	expect(fd, "caught");
	e = next(m);
	assert_int_equal(e.kind, BOX_ENDED);
	assert_true(WIFEXITED(e.status) && WEXITSTATUS(e.status) == 9);
	(void)close(fd);
}

static void
two_run_beside_each_other(void **state)
{
	struct made *m = *state;
	int p[2];
	struct box_event e;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(
	    start(m, 3, "sleep 60", false, p[1]).kind, BOX_STARTED);
	assert_int_equal(
	    start(m, 4, "echo four; exit 4", false, p[1]).kind, BOX_STARTED);
	expect(p[0], "four");
	e = next(m);
	assert_int_equal(e.id, 4);
	assert_int_equal(e.kind, BOX_ENDED);
	assert_int_equal(WEXITSTATUS(e.status), 4);
	assert_int_equal(box_stop(m->box, 3, &(struct err){ 0 }), 0);
	e = next(m);
	assert_int_equal(e.id, 3);
	assert_true(WIFSIGNALED(e.status) && WTERMSIG(e.status) == SIGKILL);
	(void)close(p[0]);
	(void)close(p[1]);
}

/* How many processes there are, with those of QUIET. */
static long
count(struct made *m)
{
	char text[64] = "";
	struct box_event e;
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	e = start(m, 90, "set -- /proc/[0-9]*; echo $#", false, p[1]);
	assert_int_equal(e.kind, BOX_STARTED);
	assert_int_equal(next(m).kind, BOX_ENDED);
	assert_true(read(p[0], text, sizeof(text) - 1) > 0);
	(void)close(p[0]);
	(void)close(p[1]);
	return strtol(text, NULL, 10);
}

/* init, and what counts them with its keeper; other keepers may be ending. */
enum { QUIET = 3 };

static void
await_count(struct made *m, long n)
{
	int64_t until = clock_mono_ms() + PATIENCE_MS;

	while (count(m) != n)
		if (clock_mono_ms() > until)
			fail_msg("%ld processes, not %ld", count(m), n);
}

static void
stopping_reaches_daemons_too(void **state)
{
	struct made *m = *state;
	struct box_event e;
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	e = start(m, 5,
	    "(setsid sh -c 'sleep 99 & (setsid sleep 98 &) ; sleep 97' &) ; "
	    "for i in 1 2 3 4 5 6 7 8; do sleep 96 & done; echo up; wait",
	    false, p[1]);
	assert_int_equal(e.kind, BOX_STARTED);
	expect(p[0], "up");
	assert_true(count(m) > QUIET + 8);
	assert_int_equal(box_stop(m->box, 5, &(struct err){ 0 }), 0);
	e = next(m);
	assert_int_equal(e.kind, BOX_ENDED);
	await_count(m, QUIET);
	(void)close(p[0]);
	(void)close(p[1]);
}

static void
what_is_left_behind_lives_on(void **state)
{
	struct made *m = *state;
	struct box_event e = start(
	    m, 6, "setsid sleep 300 <&- >&- 2>&- & exit 0", false, 1);

	assert_int_equal(e.kind, BOX_STARTED);
	assert_int_equal(next(m).kind, BOX_ENDED);
	await_count(m, QUIET + 1);
	e = start(m, 7, "until pkill -x sleep; do :; done", false, 1);
	assert_int_equal(next(m).kind, BOX_ENDED);
	await_count(m, QUIET);
}

static void
what_cannot_run_is_refused(void **state)
{
	struct made *m = *state;
	const char *const argv[] = { "no-such-program", NULL };
	struct box_process p = { .argv = argv, .env = env, .fds = { 0, 1, 2 } };
	struct box_event e;
	struct err err;

	assert_int_equal(box_start(m->box, 8, &p, &err), 0);
	e = next(m);
	assert_int_equal(e.kind, BOX_REFUSED);
	assert_int_equal(e.id, 8);
	assert_int_equal(e.failure.sys, ENOENT);
	p.terminal = true;
	assert_int_equal(box_start(m->box, 8, &p, &err), 0);
	assert_int_equal(next(m).kind, BOX_REFUSED);
	p.dir = "/nowhere";
	assert_int_equal(box_start(m->box, 8, &p, &err), 0);
	assert_int_equal(next(m).kind, BOX_REFUSED);
	assert_int_equal(start(m, 8, "exit 0", false, 1).kind, BOX_STARTED);
	assert_int_equal(next(m).kind, BOX_ENDED);
}

static void
a_failed_put_is_told(void **state)
{
	struct made *m = *state;
	struct err err;

	assert_int_equal(
	    box_put_file(m->box, "/proc/x", 0644, "x", 1, &err), 0);
	assert_int_equal(start(m, 9, "exit 0", false, 1).kind, BOX_REFUSED);
	assert_int_equal(start(m, 9, "exit 0", false, 1).kind, BOX_STARTED);
	assert_int_equal(next(m).kind, BOX_ENDED);
}

static void
a_frozen_sandbox_stands_still(void **state)
{
	struct made *m = *state;
	struct box_event e = start(m, 10,
	    "stty -echo; echo up; while read x; do echo got $x; done", true,
	    -1);
	struct pollfd p = { .fd = e.fd, .events = POLLIN };
	struct err err;
	int fd = e.fd;

	expect(fd, "up");
	for (int i = 0; i < 100; i++) {
		char word[32];

		if (box_freeze(m->box, FREEZE_MS, &err) < 0)
			fail_msg("%s", err.msg);
		(void)snprintf(word, sizeof(word), "n%d.\n", i);
		say(fd, word);
		if (i == 0)
			assert_int_equal(poll(&p, 1, 200), 0);
		assert_int_equal(box_thaw(m->box, &err), 0);
		(void)snprintf(word, sizeof(word), "got n%d.", i);
		expect(fd, word);
	}
	assert_int_equal(box_freeze(m->box, FREEZE_MS, &err), 0);
	assert_int_equal(box_thaw(m->box, &err), 0);
	assert_int_equal(box_stop(m->box, 10, &err), 0);
	assert_int_equal(next(m).kind, BOX_ENDED);
	(void)close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_terminal_has_a_shell),
		cmocka_unit_test(control_c_reaches_the_foreground),
		cmocka_unit_test(two_run_beside_each_other),
		cmocka_unit_test(stopping_reaches_daemons_too),
		cmocka_unit_test(what_is_left_behind_lives_on),
		cmocka_unit_test(what_cannot_run_is_refused),
		cmocka_unit_test(a_failed_put_is_told),
		cmocka_unit_test(a_frozen_sandbox_stands_still),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
