#pragma once
/*
 * stream.h - an answer that comes in pieces from a node, passed on as it comes.
 */
#include <stddef.h>

struct request;
struct gateway;

/* Takes fd and read.  The answer ends when the node closes its side. */
void stream_start(
    struct request *req, int fd, char *read, size_t len, const char *type);
/* They end here: the gateway does. */
void stream_close_all(struct gateway *gw);
