#include "msg.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cleanup.h"

union fd_cmsg {
	char space[CMSG_SPACE(sizeof(int) * MSG_FDS_MAX)];
	struct cmsghdr align;
};

static void
put(struct msg_out *o, const void *p, size_t n)
{
	if (n > MSG_MAX - o->len) {
		o->overflow = true;
		return;
	}
	if (n > 0)
		memcpy(o->data + o->len, p, n);
	o->len += n;
}

void
msg_put_u32(struct msg_out *o, uint32_t v)
{
	put(o, &v, sizeof(v));
}

void
msg_put_u64(struct msg_out *o, uint64_t v)
{
	put(o, &v, sizeof(v));
}

/* Length, the bytes, and a NUL so that strings can be read in place. */
void
msg_put_bytes(struct msg_out *o, const void *p, size_t n)
{
	if (n > MSG_MAX) {
		o->overflow = true;
		return;
	}
	msg_put_u32(o, (uint32_t)n);
	put(o, p, n);
	put(o, "", 1);
}

void
msg_put_str(struct msg_out *o, const char *s)
{
	msg_put_bytes(o, s, strlen(s));
}

void
msg_put_strs(struct msg_out *o, const char *const *strs)
{
	uint32_t n = 0;

	while (strs[n])
		n++;
	msg_put_u32(o, n);
	for (uint32_t i = 0; i < n; i++)
		msg_put_str(o, strs[i]);
}

static const void *
get(struct msg_in *in, size_t n)
{
	const void *p = in->p;

	if (in->bad || n > in->left) {
		in->bad = true;
		return NULL;
	}
	in->p += n;
	in->left -= n;
	return p;
}

uint32_t
msg_get_u32(struct msg_in *in)
{
	uint32_t v = 0;
	const void *p = get(in, sizeof(v));

	if (p)
		memcpy(&v, p, sizeof(v));
	return v;
}

uint64_t
msg_get_u64(struct msg_in *in)
{
	uint64_t v = 0;
	const void *p = get(in, sizeof(v));

	if (p)
		memcpy(&v, p, sizeof(v));
	return v;
}

const void *
msg_get_bytes(struct msg_in *in, size_t *ret_len)
{
	size_t n = msg_get_u32(in);
	const char *p = get(in, n + 1);

	*ret_len = 0;
	if (!p || p[n] != '\0') {
		in->bad = true;
		return "";
	}
	*ret_len = n;
	return p;
}

const char *
msg_get_str(struct msg_in *in)
{
	size_t n;
	const char *s = msg_get_bytes(in, &n);

	if (strlen(s) != n) {
		in->bad = true;
		return "";
	}
	return s;
}

bool
msg_in_done(const struct msg_in *in)
{
	return !in->bad && in->left == 0;
}

int
msg_send(int sock, uint16_t type, const struct msg_out *o, const int *fds,
    size_t n_fds, struct err *err)
{
	struct msg_hdr hdr = { .version = MSG_VERSION, .type = type };
	struct iovec iov[2] = { { .iov_base = &hdr, .iov_len = sizeof(hdr) } };
	struct msghdr mh = { .msg_iov = iov, .msg_iovlen = 1 };
	union fd_cmsg cm;

	if (o && (o->overflow || o->len > MSG_MAX))
		return err_set(err, ERR_TOO_BIG, 0, "message %u is over %d",
		    type, MSG_MAX);
	if (n_fds > MSG_FDS_MAX)
		return err_set(err, ERR_TOO_BIG, 0,
		    "message %u: %zu descriptors", type, n_fds);
	if (o && o->len > 0) {
		hdr.len = (uint32_t)o->len;
		iov[1].iov_base = o->data;
		iov[1].iov_len = o->len;
		mh.msg_iovlen = 2;
	}
	if (n_fds > 0) {
		struct cmsghdr *c;

		memset(&cm, 0, sizeof(cm));
		mh.msg_control = cm.space;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
	}
	while (sendmsg(sock, &mh, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return err_errno(err, "send message %u", type);
	return 0;
}

/* Takes over every descriptor of the control data, even past our limit. */
static void
take_fds(struct msghdr *mh, struct msg *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(
			    &fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (m->n_fds < MSG_FDS_MAX)
				m->fds[m->n_fds++] = fd;
			else
				(void)close(fd);
		}
	}
}

int
msg_recv(int sock, struct msg *ret_msg, struct err *err)
{
	struct iovec iov[2] = {
		{ .iov_base = &ret_msg->hdr, .iov_len = sizeof(ret_msg->hdr) },
		{ .iov_base = ret_msg->body, .iov_len = MSG_MAX },
	};
	union fd_cmsg cm;
	struct msghdr mh = {
		.msg_iov = iov,
		.msg_iovlen = 2,
		.msg_control = cm.space,
		.msg_controllen = sizeof(cm.space),
	};
	ssize_t n;

	ret_msg->n_fds = 0;
	do
		n = recvmsg(sock, &mh, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_errno(err, "receive message");
	if (n == 0)
		return 0;
	take_fds(&mh, ret_msg);
	if (mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		msg_close_fds(ret_msg);
		return err_set(err, ERR_TOO_BIG, 0, "message was truncated");
	}
	if ((size_t)n < sizeof(ret_msg->hdr) ||
	    ret_msg->hdr.len != (size_t)n - sizeof(ret_msg->hdr) ||
	    ret_msg->hdr.version != MSG_VERSION) {
		msg_close_fds(ret_msg);
		return err_set(err, ERR_INVALID, 0, "malformed message");
	}
	return 1;
}

void
msg_close_fds(struct msg *m)
{
	for (size_t i = 0; i < m->n_fds; i++)
		cleanup_closep(&m->fds[i]);
	m->n_fds = 0;
}

void
msg_in_init(struct msg_in *in, const struct msg *m)
{
	*in = (struct msg_in){ .p = m->body, .left = m->hdr.len };
}
