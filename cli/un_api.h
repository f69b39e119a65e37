#pragma once
/*
 * un_api.h - one signed request to the farm, and its answer.
 *
 * A connection is kept between calls.  Every call makes its own timestamp and
 * signature, so a caller may simply call again.  Nothing is retried here, no
 * redirect is followed (its signature would be wrong), and an answer that is
 * larger than was said is refused instead of filling the memory.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "err.h"

struct un_account;
struct un_api;

enum {
	UN_ANSWER_MAX = 64 << 20,
	UN_CONNECT_SECONDS = 10,
	UN_READ_SECONDS = 130, /* a server holds a request for 110 s at most */
};

struct un_request {
	const char *method;
	const char *path; /* with its query; begins with a slash */
	const char *body; /* NULL: none */
	size_t body_len;
	long timeout_seconds; /* 0: UN_READ_SECONDS */
	size_t answer_max;    /* 0: UN_ANSWER_MAX */
	bool to_its_end;      /* un_interrupt_pending() does not end it */
};

struct un_reply {
	long status; /* HTTP status */
	struct buf body;
	json_t *json; /* owned; NULL when the body is not JSON */
};

void un_reply_done(struct un_reply *r);
#define auto_reply __attribute__((cleanup(un_reply_done)))

/*
 * Takes the account's keys over and leaves it empty; an empty account makes
 * unsigned requests.  base is http:// or https://, a host, and maybe a path
 * that a proxy removes: it is not signed.
 */
int un_api_new(const char *base, struct un_account *account,
    struct un_api **ret_api, struct err *err);
void un_api_free(struct un_api *api);
const char *un_api_base(const struct un_api *api);
/* The server is this machine: it is reached without a proxy. */
bool un_api_is_local(const struct un_api *api);
/* The headers that sign a request, as lines of HTTP.  Caller frees. */
char *
un_api_signed_lines(const struct un_api *api, const struct un_request *rq);

/*
 * 0 with an answer, of whatever status.  -1 without one: ERR_UNAVAILABLE when
 * the server was not reached or went silent, ERR_TOO_BIG past the ceiling,
 * ERR_TIMEOUT when un_interrupt_pending() ended it.  ret_reply is always left
 * fit for un_reply_done().
 */
int un_api_call(struct un_api *api, const struct un_request *rq,
    struct un_reply *ret_reply, struct err *err);

bool un_reply_ok(const struct un_reply *r);
/* Tells the user why the server refused: status, error, and help with clocks.*/
void un_reply_complain(const struct un_reply *r);

/* A string member of an object, or "". */
const char *un_api_text(const json_t *obj, const char *name);
