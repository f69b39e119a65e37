#pragma once
/*
 * client.h - one call that sessiond handed over: its head, its body, its answer
 * (common/link.h).
 */
#include <jansson.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "err.h"
#include "shim.h"

enum { CLIENT_ANSWER_MAX = (256 << 20) - 4096 };

struct client {
	TAILQ_ENTRY(client) link;
	struct shim *shim;
	int fd; /* owned */
	uv_poll_t poll;
	json_t *head; /* owned */
	struct buf body;
	size_t expected;
	struct buf out;
	size_t written; /* of it */
	bool answered, last, dead, called;
	unsigned handles;
	/* When the client is gone before all of the answer was said. */
	void (*on_gone)(void *ctx);
	/* What waited was written: it is not full any more.  Or NULL. */
	void (*on_room)(void *ctx);
	void *ctx;
	/*
	 * When all of the answer was read: the gateway hangs up behind it.  Not
	 * called when it died in the middle.
	 */
	void (*on_taken)(struct shim *s);
};

/* Takes fd and head. */
void client_adopt(struct shim *s, int fd, json_t *head);
/* One answer, one of these. */
void client_json(struct client *c, int status, const json_t *body);
void client_err(struct client *c, const struct err *err);
/* Text of the caller's, borrowed. */
void client_bytes(
    struct client *c, int status, const char *type, const char *p, size_t n);
/* Pieces, then the end. */
void client_stream(struct client *c, const char *type);
void client_piece(struct client *c, const char *p, size_t n);
void client_end(struct client *c);
/* More than this waits to be written: the source should pause. */
bool client_is_full(const struct client *c);
/* The connection becomes the caller's, after the answer 101; the call ends. */
int client_upgrade(struct client *c);
void client_free_all(struct shim *s);

/* Of the head, or of the body's JSON. */
const char *client_str(const json_t *o, const char *name, const char *def);
long long client_int(const json_t *o, const char *name, long long def);
