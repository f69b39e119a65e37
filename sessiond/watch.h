#pragma once
/*
 * watch.h - a descriptor that is watched for a part of its process's life.
 *
 * A handle of libuv belongs to its loop until it says that it was closed, which
 * is later: it must not be made again before.  So each is a new one.
 */
#include <uv.h>

/* Aborts without memory; never fails else: fd is a socket, pipe or terminal. */
uv_poll_t *watch_new(uv_loop_t *loop, int fd, void *ctx);

/* fd may be closed at once.  *w is NULL afterwards, as it may be before. */
void watch_drop(uv_poll_t **w);
