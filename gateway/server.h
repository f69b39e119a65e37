#pragma once
/*
 * server.h - libmicrohttpd on our loop.
 *
 * It has no thread of its own: its epoll descriptor is watched by libuv, and a
 * timer stands for its time-outs.
 */
#include "err.h"

struct gateway;
struct server;
struct peer;

/*
 * listener is owned from here on, also when this fails; nothing is served
 * before the loop runs.
 */
struct server *server_new(struct gateway *gw, int listener, struct err *err);
void server_free(struct server *s);

/* No new connections from here on; those that are open go on. */
void server_stop_listening(struct server *s);

/*
 * A suspended connection was resumed, or an upgraded one given back; it is
 * served in this turn of the loop.
 */
void server_resumed(struct server *s);

/* A request is complete: its peer may now take the time we take. */
void server_request_arrived(struct peer *p);
