/*
 * hostile_init: a box whose sandbox-init was taken over.  Prints a line for
 * each thing that it says: its name, and what the worker's side made of it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem.h"
#include "msg.h"
#include "proto.h"
#include "sandbox.h"

static const char *const kinds[] = { [BOX_NOTHING] = "nothing",
	[BOX_EXITED] = "exited",
	[BOX_FAILED] = "failed",
	[BOX_FILE] = "file",
	[BOX_COLLECTED] = "collected",
	[BOX_GONE] = "gone",
	[BOX_FOLDER] = "folder" };

static int
open_fifo(void)
{
	char path[] = "/tmp/unfarm-test-fifo-XXXXXX";
	int fd;

	if (!mkdtemp(path) || chdir(path) < 0 || mkfifo("f", 0600) < 0)
		exit(2);
	fd = open("f", O_RDWR | O_CLOEXEC);
	(void)unlink("f");
	(void)chdir("/");
	(void)rmdir(path);
	return fd;
}

static int
count_fds(void)
{
	int n = 0;

	for (int i = 0; i < 256; i++)
		n += fcntl(i, F_GETFD) >= 0;
	return n;
}

/* One message with these descriptors, and what comes of it. */
static void
say(const char *what, uint16_t type, const struct msg_out *o, const int *fds,
    size_t n_fds)
{
	struct sandbox_grant g = { .n_fds = 1, .mask = 1 };
	struct box_event e;
	struct err err;
	int sv[2], before;
	struct box *b;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, sv) < 0)
		exit(2);
	g.fds[0] = sv[0];
	b = box_adopt(&g, &err);
	if (!b || msg_send(sv[1], type, o, fds, n_fds, &err) < 0) {
		(void)fprintf(stderr, "%s: %s\n", what, err.msg);
		exit(2);
	}
	before = count_fds();
	box_receive(b, &e);
	(void)printf("%s: %s %d\n", what, kinds[e.kind],
	    count_fds() - before - (e.fd >= 0));
	if (e.fd >= 0)
		(void)close(e.fd);
	box_free(b);
	(void)close(sv[1]);
}

static void
say_file(const char *what, const char *name, const int *fds, size_t n_fds)
{
	unsigned char *body = xmalloc(MSG_MAX);
	struct msg_out o = { .data = body };

	msg_put_str(&o, name);
	msg_put_u64(&o, 5);
	say(what, PROTO_FILE, &o, fds, n_fds);
	free(body);
}

static void
say_folder(const char *what, const char *name)
{
	unsigned char body[1024];
	struct msg_out o = { .data = body };

	msg_put_str(&o, name);
	msg_put_u32(&o, 0777);
	say(what, PROTO_FOLDER, &o, NULL, 0);
}

static void
say_words(const char *what, uint16_t type, unsigned n)
{
	unsigned char body[256];
	struct msg_out o = { .data = body };

	for (unsigned i = 0; i < n; i++)
		msg_put_u32(&o, 0xffffffff);
	say(what, type, &o, NULL, 0);
}

int
main(void)
{
	int file = memfd_create("file", MFD_CLOEXEC), pair[2];
	const int two[] = { file, file };
	char long_name[600];
	const struct {
		const char *name;
		int fd;
	} odd[] = {
		{ "fifo", open_fifo() },
		{ "device", open("/dev/zero", O_RDONLY | O_CLOEXEC) },
		{ "folder", open("/tmp", O_RDONLY | O_CLOEXEC) },
		{ "socket", socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0
				? -1
				: pair[0] },
	};

	say_file("a file", "name", &file, 1);
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		say_file(odd[i].name, "name", &odd[i].fd, 1);
	say_file("no descriptor", "name", NULL, 0);
	say_file("two descriptors", "name", two, 2);
	memset(long_name, 'x', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	say_file("a long name", long_name, &file, 1);
	say_folder("a folder by its name", "name");
	say_folder("a folder with a long name", long_name);
	say_folder("a folder above", "a/../../b");
	say_folder("a folder of the root", "/tmp");
	for (uint16_t type = 0; type <= PROTO_FOLDER + 1; type++) {
		char what[32];

		(void)snprintf(what, sizeof(what), "garbage %d", type);
		say_words(what, type, 1 + 9 * (type == PROTO_COLLECTED));
		(void)snprintf(what, sizeof(what), "nothing in %d", type);
		say_words(what, type, 0);
	}
	say_words("an exit that is too long", PROTO_EXITED, 6);
	return 0;
}
