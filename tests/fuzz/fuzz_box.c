/*
 * What init says of a sandbox, to the worker that uses it: packets of any bytes
 * with any descriptors.  Whatever it is, an event comes out that can be used.
 */
#include <linux/magic.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "fuzz.h"
#include "liar.h"
#include "sandbox.h"

enum { END_MS = 5000 };

static void
check_file(const struct box_event *e)
{
	struct statfs fs;
	struct stat st;

	must(memchr(e->name, '\0', sizeof(e->name)));
	must_be_inside(e->name);
	must(e->fd >= 0 && fstat(e->fd, &st) == 0 && S_ISREG(st.st_mode));
	must(fstatfs(e->fd, &fs) == 0 && fs.f_type != PROC_SUPER_MAGIC);
}

/* As its caller sees it: it has a size, and a side for programs. */
static bool
is_terminal(int fd)
{
	struct winsize size;
	char name[64];

	return ioctl(fd, TIOCGWINSZ, &size) == 0 &&
	       ptsname_r(fd, name, sizeof(name)) == 0;
}

static void
check(const struct box_event *e)
{
	switch (e->kind) {
	case BOX_FILE:
		check_file(e);
		return;
	case BOX_FAILED:
		must(e->failure.code > ERR_OK && e->failure.code < ERR__COUNT);
		must(memchr(e->failure.msg, '\0', sizeof(e->failure.msg)));
		break;
	case BOX_FOLDER:
		must(memchr(e->name, '\0', sizeof(e->name)));
		must_be_inside(e->name);
		break;
	case BOX_STARTED:
		must(e->fd == -1 || is_terminal(e->fd));
		return;
	case BOX_REFUSED:
		must(memchr(e->failure.msg, '\0', sizeof(e->failure.msg)));
		break;
	case BOX_NOTHING:
	case BOX_ENDED:
	case BOX_EXITED:
	case BOX_COLLECTED:
	case BOX_GONE:
		break;
	}
	must(e->fd == -1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, size };
	struct sandbox_grant g = { .n_fds = 1, .mask = 1 };
	struct pollfd end = { .events = POLLIN };
	unsigned before = fuzz_free_fds();
	int init, sent;
	struct box_event e;
	struct box *b;
	struct err err;

	init = init_make(&g.fds[0]);
	b = box_adopt(&g, &err);
	must(b);
	while (f.left > 0) {
		sent = init_say(init, &f);
		if (sent < 0)
			continue;
		box_receive(b, &e);
		check(&e);
		must(e.kind != BOX_NOTHING);
		must(e.kind != BOX_FILE || sent == 1);
		if (e.fd >= 0)
			(void)close(e.fd);
	}
	box_receive(b, &e);
	must(e.kind == BOX_NOTHING);
	(void)close(init);
	/* Who reads /proc/PID/fd just then holds it a moment longer. */
	end.fd = box_fd(b);
	must(poll(&end, 1, END_MS) == 1);
	box_receive(b, &e);
	must(e.kind == BOX_GONE);
	box_free(b);
	must(fuzz_free_fds() == before);
	return 0;
}
