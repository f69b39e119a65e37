#pragma once
/*
 * link.h - how a gateway speaks to the sessiond of a node; docs/protocol.md.
 *
 * One connection a call.  sessiond begins with a challenge and a newline; the
 * gateway answers with one line: the MAC of challenge and head, a space, and
 * the head, which is a JSON object without newlines.  Then come as many bytes
 * of body as the head's "body" says.  The answer is one line,
 *
 *   STATUS LENGTH TYPE
 *
 * and LENGTH bytes, or all until the end when LENGTH is "-".  After 101 both
 * sides carry the frames of a WebSocket.  The secret is the node's own: it
 * makes one at each start and puts it in its record in Redis.
 */
#include <stddef.h>

#include "secret.h"

enum {
	LINK_CHALLENGE_LEN = 32, /* hex digits */
	LINK_SECRET_LEN = 64,    /* hex digits */
	LINK_HEAD_MAX = 16 << 10,
};

/* ret_mac: SECRET_SIG_LEN hex digits and a NUL. */
void link_mac(const char *secret, const char *challenge, const char *head,
    size_t n, char ret_mac[SECRET_SIG_LEN + 1]);
