#include "liar.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "attr.h"
#include "fuzz.h"
#include "msg.h"

enum { FDS_MAX = MSG_FDS_MAX + 2, PACKET_MAX = 4096 };

int
init_make(int *ret_theirs)
{
	int sv[2];

	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		 0, sv) == 0);
	*ret_theirs = sv[1];
	return sv[0];
}

static int
memory_file(void)
{
	int fd = memfd_create("artifact", MFD_CLOEXEC);

	must(fd >= 0 && write(fd, "bytes", 5) == 5);
	return fd;
}

static int
one_end(bool to_write)
{
	int p[2];

	must(pipe2(p, O_CLOEXEC) == 0);
	(void)close(p[!to_write]);
	return p[to_write];
}

static int
opened(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	must(fd >= 0);
	return fd;
}

static size_t
memory_files(size_t n, int fds[FDS_MAX])
{
	for (size_t i = 0; i < n; i++)
		fds[i] = memory_file();
	return n;
}

/* Good ones and those that would block, act, or be another's when read. */
static size_t
descriptors(unsigned which, int fds[FDS_MAX])
{
	switch (which) {
	case 0:
		return 0;
	case 2:
		fds[0] = one_end(false);
		return 1;
	case 3:
		fds[0] = opened("/", O_RDONLY | O_DIRECTORY);
		return 1;
	case 4:
		return memory_files(2, fds);
	case 5:
		return memory_files(FDS_MAX, fds);
	case 6:
		fds[0] = opened("/dev/zero", O_RDONLY);
		return 1;
	case 7:
		fds[0] = opened("/proc/self/status", O_RDONLY);
		return 1;
	case 8:
		fds[0] = one_end(true);
		return 1;
	case 9:
		fds[0] = opened("/", O_PATH);
		return 1;
	case 10:
		fds[0] = opened("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK);
		return 1;
	default:
		return memory_files(1, fds);
	}
}

static void
send_packet(int init, const struct msg_hdr *hdr, const uint8_t *p, size_t n,
    const int *fds, size_t n_fds)
{
	char room[CMSG_SPACE(sizeof(int) * FDS_MAX)]
	    __attribute__((aligned(8))) = { 0 };
	struct iovec iov[2] = {
		{ (void *)(uintptr_t)hdr, hdr ? sizeof(*hdr) : 0 },
		{ (void *)(uintptr_t)p, n },
	};
	struct msghdr mh = { .msg_iov = iov, .msg_iovlen = 2 };

	if (n_fds > 0) {
		struct cmsghdr *c;

		mh.msg_control = room;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
	}
	/* A full socket: then this one was not said. */
	(void)!sendmsg(init, &mh, MSG_NOSIGNAL);
}

int
init_say(int init, struct feed *f)
{
	unsigned what = feed_u8(f), type = what & 15;
	size_t n = feed_u16(f) % PACKET_MAX, n_fds;
	const uint8_t *p = feed_bytes(f, n, &n);
	struct msg_hdr hdr = { MSG_VERSION, (uint16_t)type, (uint32_t)n };
	int fds[FDS_MAX];

	/* An empty packet cannot be told from the end. */
	if (type == INIT_TURN || (type == INIT_RAW && n == 0))
		return -1;
	n_fds = descriptors(what >> 4, fds);
	send_packet(init, type == INIT_RAW ? NULL : &hdr, p, n, fds, n_fds);
	for (size_t i = 0; i < n_fds; i++)
		(void)close(fds[i]);
	return (int)n_fds;
}
