#pragma once
/*
 * un_ws.h - a WebSocket to the farm, as its client.
 *
 * libcurl makes the connection (TLS, proxies), the handshake is ours and signed
 * as every request, the frames are wslay's.  Pings are answered here.  After
 * the handshake nothing blocks: who uses it polls the descriptor.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct un_api;
struct un_ws;

struct un_ws_hooks {
	void *ctx;
	/* Something whole came, pings too. */
	void (*on_heard)(void *ctx);
	/* A binary message; after that. */
	void (*on_message)(void *ctx, const uint8_t *p, size_t n);
	/* No more for now: what has come is left where it is. */
	bool (*is_full)(void *ctx);
};

/*
 * path is signed, and comes behind the base's own.  Ends early when stop_fd can
 * be read.  -1 with the HTTP status of a refusal, or 0 when nobody answered.
 */
int un_ws_open(struct un_api *api, const char *path, const char *protocol,
    int stop_fd, const struct un_ws_hooks *hooks, struct un_ws **ret_ws,
    long *ret_status, struct err *err);
/* Accepts NULL.  What is queued is not sent any more. */
void un_ws_free(struct un_ws *ws);

int un_ws_fd(const struct un_ws *ws);
bool un_ws_wants_write(const struct un_ws *ws);

/* Copies a binary message; it leaves with un_ws_send(). */
void un_ws_queue(struct un_ws *ws, const void *p, size_t n);
/* Both: false when the line is over. */
bool un_ws_receive(struct un_ws *ws);
bool un_ws_send(struct un_ws *ws);
