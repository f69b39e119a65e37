#pragma once
/*
 * request.h - one request's life.
 *
 * It is made when its first line is there, gathers its body, is matched to a
 * route and authenticated, and is answered exactly once (respond.h).  While it
 * waits for Redis its connection is suspended, so it cannot go away under a
 * callback that holds it; it is freed when libmicrohttpd is done with it.
 */
#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "query.h"
#include "route.h"

struct gateway;
struct key_entry;
struct peer;
struct relay;

/* The headers that we read. */
enum header_id {
	HEADER_AUTHORIZATION,
	HEADER_TIMESTAMP,
	HEADER_SIGNATURE,
	HEADER_CONTENT_TYPE,
	HEADER_CONTENT_ENCODING,
	HEADER_CONTENT_LENGTH,
	HEADER_TRANSFER_ENCODING,
	HEADER_EXPECT,
	HEADER_IDEMPOTENCY_KEY,
	HEADER_UPGRADE,
	HEADER_WEBSOCKET_KEY,
	HEADER_WEBSOCKET_VERSION,
	HEADER_WEBSOCKET_PROTOCOL,
	HEADER_ORIGIN,
	HEADER__COUNT
};

struct header {
	const char *value; /* the first one's; borrowed from the connection */
	unsigned count;
};

enum request_state {
	REQUEST_NEW,     /* its first line is there */
	REQUEST_BODY,    /* headers are there; the body is arriving */
	REQUEST_WORKING, /* complete; an answer is being made */
	REQUEST_ANSWERED /* handed to libmicrohttpd */
};

enum { REQUEST_EXTRA_MAX = 8, REQUEST_VALUE_MAX = 72 };

struct request {
	struct gateway *gw;
	struct MHD_Connection *conn;
	struct peer *peer; /* borrowed: lives as long as the connection */
	enum request_state state;
	int64_t since_us;

	const char *method; /* borrowed from the connection */
	char *received;     /* owned: the target as it came */
	const char *target; /* in received: from the path's first slash on */
	size_t target_len, path_len;
	struct query query;
	struct route_hit hit; /* hit.route is NULL when nothing matched */
	struct header headers[HEADER__COUNT];

	struct buf body;
	bool drop_body; /* it will not be looked at */
	/* Known before the body was there, or for the log; or ERR_OK. */
	struct err refusal;

	struct key_entry *key; /* one reference; NULL until authenticated */

	/* What a handler keeps while it waits, and how that is freed. */
	void *call;
	void (*call_free)(void *call);

	struct relay *relay;           /* owned until it has the connection */
	struct MHD_Response *response; /* owned until it is queued */
	int status;
	bool suspended;
	struct {
		const char *name; /* a literal */
		char value[REQUEST_VALUE_MAX];
	} extra[REQUEST_EXTRA_MAX];
	size_t n_extra;
	char job[48]; /* "job=...", for the log; or "" */
};

struct request *request_new(
    struct gateway *gw, struct MHD_Connection *conn, const char *target);
void request_free(struct request *req);

/* libmicrohttpd's calls: headers, pieces of the body, end, after a resume. */
enum MHD_Result request_step(struct request *req, const char *method,
    const char *data, size_t *data_len);

/* Authentication is over: err, or NULL for go on. */
void request_authorized(struct request *req, const struct err *err);

/* What "{id}" stood for, cut to n - 1 bytes. */
void request_path_id(const struct request *req, char *ret_id, size_t n);

/* Free the body when nobody will read it again. */
void request_drop_body(struct request *req);
