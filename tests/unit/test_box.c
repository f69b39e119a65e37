/* A box believes nothing that its init says of files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attr.h"
#include "cleanup.h"
#include "msg.h"
#include "proto.h"
#include "sandbox.h"

/* What becomes of a file of that name with that descriptor. */
static enum box_event_kind
said(const char *name, int fd)
{
	struct sandbox_grant g = { .n_fds = 1, .mask = 1 };
	unsigned char body[1024];
	struct msg_out o = { .data = body };
	struct box_event e;
	struct box *b;
	struct err err;
	int sv[2];

	assert_int_equal(
	    socketpair(
		AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv),
	    0);
	g.fds[0] = sv[0];
	b = box_adopt(&g, &err);
	assert_non_null(b);
	msg_put_str(&o, name);
	msg_put_u64(&o, 5);
	assert_int_equal(msg_send(sv[1], PROTO_FILE, &o, &fd, 1, &err), 0);
	box_receive(b, &e);
	assert_int_equal(e.kind == BOX_FILE, e.fd >= 0);
	cleanup_closep(&e.fd);
	(void)close(sv[1]);
	box_free(b);
	return e.kind;
}

static void
names_lead_nowhere_else(void **state)
{
	static const char *const good[] = { "a", "a/b", ".a", "..a", "a/...",
		"a/..b/c." };
	static const char *const bad[] = { "", "/", "/a", "a/", "a//b", ".",
		"..", "../a", "a/..", "a/../b", "a/./b", "./a" };
	auto_close int fd = memfd_create("file", MFD_CLOEXEC);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_int_equal(said(good[i], fd), BOX_FILE);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (said(bad[i], fd) != BOX_GONE)
			fail_msg("`%s` is taken", bad[i]);
}

static void
only_stored_files_are_taken(void **state)
{
	static const char *const bad[] = { "/", "/dev/zero",
		"/proc/self/status",
		"/sys/kernel/mm/transparent_hugepage/"
		"enabled" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		auto_close int fd = open(bad[i], O_RDONLY | O_CLOEXEC);

		if (fd >= 0 && said("a", fd) != BOX_GONE)
			fail_msg("%s is taken", bad[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_lead_nowhere_else),
		cmocka_unit_test(only_stored_files_are_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
