#pragma once
/*
 * msg.h - messages between our own processes.
 *
 * AF_UNIX SOCK_SEQPACKET: the kernel keeps the boundaries, one packet is one
 * message, and descriptors may ride along.  A payload is what struct msg_out
 * builds: fixed-width integers and length-prefixed strings, read back by
 * struct msg_in to the last byte.  MSG_VERSION changes whenever a payload does.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum { MSG_VERSION = 1, MSG_MAX = 192 << 10, MSG_FDS_MAX = 16 };

struct msg_hdr {
	uint16_t version;
	uint16_t type;
	uint32_t len;
};

/* A message being written; overflow is remembered and fails the send. */
struct msg_out {
	unsigned char *data; /* borrowed: MSG_MAX bytes of the caller's */
	size_t len;
	bool overflow;
};

void msg_put_u32(struct msg_out *o, uint32_t v);
void msg_put_u64(struct msg_out *o, uint64_t v);
void msg_put_bytes(struct msg_out *o, const void *p, size_t n);
void msg_put_str(struct msg_out *o, const char *s);
/* Their number, then each; strs is ended by NULL. */
void msg_put_strs(struct msg_out *o, const char *const *strs);

/* A message being read; a short or malformed one sets bad and reads as 0. */
struct msg_in {
	const unsigned char *p;
	size_t left;
	bool bad;
};

uint32_t msg_get_u32(struct msg_in *in);
uint64_t msg_get_u64(struct msg_in *in);
const void *msg_get_bytes(struct msg_in *in, size_t *ret_len);
/* Borrowed from the message, NUL-terminated there; "" when bad. */
const char *msg_get_str(struct msg_in *in);
/* True when nothing was bad and every byte was consumed. */
bool msg_in_done(const struct msg_in *in);

/* Borrows fds; the caller still closes its copies. */
int msg_send(int sock, uint16_t type, const struct msg_out *o, const int *fds,
    size_t n_fds, struct err *err);

struct msg {
	struct msg_hdr hdr;
	unsigned char body[MSG_MAX];
	int fds[MSG_FDS_MAX]; /* owned until taken with steal_fd() */
	size_t n_fds;
};

/*
 * 1 = message, 0 = peer closed, -1 = error (err->sys is EAGAIN when a
 * non-blocking socket has nothing).  Descriptors arrive close-on-exec.
 */
int msg_recv(int sock, struct msg *ret_msg, struct err *err);
void msg_close_fds(struct msg *m);
void msg_in_init(struct msg_in *in, const struct msg *m);
