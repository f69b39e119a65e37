#pragma once
/*
 * relay.h - bytes between a client and the shim of its session, once both have
 * said 101: a WebSocket that is only carried on, each way at the pace of its
 * reader.
 */
#include <stddef.h>

struct request;

/*
 * Answers the request with 101 and carries on between its connection and fd,
 * which is owned from here on, as is read: what has come from there already.
 * accept: the value of Sec-WebSocket-Accept; protocol: "" for none.
 */
void relay_start(struct request *req, int fd, char *read, size_t len,
    const char *accept, const char *protocol);

/* The request ended before its connection was handed over.  NULL is fine. */
struct relay;
void relay_abandon(struct relay *r);

/* All of them: when the gateway ends. */
struct gateway;
void relay_close_all(struct gateway *gw);
