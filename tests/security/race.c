/*
 * race FOLDER CGROUP PATHS INIT FLIP READS
 *
 * Collects from a sandbox while the program in it still runs and flips names
 * (flip.c).  A farm never does that: what runs is dead before anything is read.
 * So this asks whether init would hold alone.  Prints what came out:
 * "reads own other folders".
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "io.h"
#include "sandbox.h"

enum { WAIT_MS = 20000, MOST = 60, ROOM = 1 << 20 };

struct count {
	long reads; /* names that were looked at */
	long own;   /* came out, and were the sandbox's own */
	long other; /* came out, and were not */
	long empty; /* rounds in which the folder itself was something else */
};

static void
stop(const char *what, const struct err *err)
{
	(void)fprintf(stderr, "%s: %s\n", what, err ? err->msg : "");
	exit(2);
}

/* The next thing init says. */
static void
receive(struct box *b, struct box_event *e)
{
	struct pollfd p = { .fd = box_fd(b), .events = POLLIN };

	do {
		if (poll(&p, 1, WAIT_MS) <= 0)
			stop("init hangs", NULL);
		box_receive(b, e);
	} while (e->kind == BOX_NOTHING);
	if (e->kind == BOX_GONE)
		stop("init is gone", NULL);
}

static void
judge(struct count *c, const struct box_event *e)
{
	char text[64] = "";
	ssize_t n = pread(e->fd, text, sizeof(text) - 1, 0);

	if (n == 4 && strcmp(text, "own\n") == 0) {
		c->own++;
		return;
	}
	if (c->other++ == 0)
		(void)fprintf(stderr, "%s: %zd bytes\n", e->name, n);
}

static void
collect(struct box *b, struct count *c)
{
	struct box_event e;
	struct err err;
	long before = c->own + c->other;

	if (box_collect(b, "/tmp/artifacts", MOST, ROOM, &err) < 0)
		stop("collect", &err);
	for (;;) {
		receive(b, &e);
		if (e.kind == BOX_COLLECTED)
			break;
		if (e.kind != BOX_FILE)
			stop("the flipping ended", NULL);
		judge(c, &e);
		(void)close(e.fd);
	}
	if (c->own + c->other == before)
		c->empty++;
	else
		c->reads += 56; /* all names of flip.c, each file or not */
}

static bool
readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, WAIT_MS) > 0;
}

static struct sandbox_nest *
open_nest(struct sandbox_host *h)
{
	struct err err = { .msg = "" };
	struct sandbox_nest *n = sandbox_nest_open(h, 1, NULL, &err);

	if (!n || !readable(sandbox_nest_fd(n)) ||
	    sandbox_nest_poll_ready(n, &err) != 1)
		stop("nest", &err);
	return n;
}

static struct sandbox *
launch(struct sandbox_nest *n)
{
	struct err err = { .msg = "" };
	struct sandbox *sb = sandbox_launch(n, 2, &err);
	int r = sb ? 0 : -1;

	while (r == 0 && readable(sandbox_fd(sb)))
		r = sandbox_poll_ready(sb, &err);
	if (r != 1)
		stop("launch", &err);
	return sb;
}

static struct box *
start(struct sandbox *sb, const char *flip_path)
{
	const struct box_limits limits = {
		.memory_bytes = 256 << 20, .pids = 32, .vcpu = 4
	};
	const char *const argv[] = { "./flip", "600", "/tmp/artifacts",
		"/root/secret", NULL };
	const char *const env[] = { "PATH=/usr/bin:/bin", NULL };
	const struct box_command cmd = {
		.argv = argv, .env = env, .fds = { 0, 2, 2 }
	};
	struct buf program;
	struct sandbox_grant g;
	struct box *b;
	struct err err;

	buf_init(&program, 8 << 20);
	if (io_read_file(AT_FDCWD, flip_path, &program, &err) < 0)
		stop("read flip", &err);
	sandbox_grant(sb, &g);
	for (size_t i = 0; i < g.n_fds; i++)
		g.fds[i] = dup(g.fds[i]);
	b = box_adopt(&g, &err);
	if (!b || box_set_limits(b, &limits, &err) < 0 ||
	    box_put_file(b, "flip", 0755, program.data, program.len, &err) <
		0 ||
	    box_run(b, &cmd, &err) < 0)
		stop("start flip", &err);
	buf_done(&program);
	return b;
}

int
main(int argc, char **argv)
{
	struct sandbox_config cfg = {
		.uid_base = 1879048192,
		.ranges = 4,
		.disk_mb = 64,
		.inodes = 4096,
		.files = 1024,
		.file_mb = 64,
	};
	struct count c = { .reads = 0 };
	struct sandbox_host *h;
	struct sandbox_nest *n;
	struct sandbox *sb;
	struct box *b;
	struct err err;

	if (argc != 7)
		return 64;
	cfg.skeleton = argv[1];
	cfg.cgroup = argv[2];
	cfg.paths = argv[3];
	cfg.libexec = argv[4];
	h = sandbox_host_open(&cfg, &err);
	if (!h)
		stop("open", &err);
	n = open_nest(h);
	sb = launch(n);
	b = start(sb, argv[5]);
	while (c.reads < strtol(argv[6], NULL, 10) && c.other == 0)
		collect(b, &c);
	box_free(b);
	sandbox_free(sb);
	sandbox_nest_close(n);
	sandbox_host_close(h);
	(void)printf("%ld %ld %ld %ld\n", c.reads, c.own, c.other, c.empty);
	return 0;
}
