#include "respond.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway.h"
#include "json.h"
#include "keyring.h"
#include "out.h"
#include "request.h"
#include "server.h"

void
respond_header(struct request *req, const char *name, const char *fmt, ...)
{
	va_list ap;

	if (req->n_extra == REQUEST_EXTRA_MAX)
		return;
	req->extra[req->n_extra].name = name;
	va_start(ap, fmt);
	(void)vsnprintf(
	    req->extra[req->n_extra].value, REQUEST_VALUE_MAX, fmt, ap);
	va_end(ap);
	req->n_extra++;
}

/* What the key's bucket looked like when we last heard of it. */
static void
limit_headers(struct request *req)
{
	const struct key_entry *k = req->key;

	if (!k || !k->limit_known)
		return;
	respond_header(req, "X-RateLimit-Limit", "%ld", k->key.rate);
	respond_header(req, "X-RateLimit-Remaining", "%ld", k->tokens_left);
	respond_header(
	    req, "X-RateLimit-Reset", "%lld", (long long)k->full_at_s);
}

static void
answer(struct request *req, int status, const char *content_type, char *text,
    size_t len)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(
	    len, text, MHD_RESPMEM_MUST_FREE);

	if (!r)
		abort();
	(void)MHD_add_response_header(r, "Content-Type", content_type);
	respond_ready(req, status, r);
}

void
respond_ready(struct request *req, int status, struct MHD_Response *r)
{
	limit_headers(req);
	for (size_t i = 0; i < req->n_extra; i++)
		(void)MHD_add_response_header(
		    r, req->extra[i].name, req->extra[i].value);
	if (req->gw->draining)
		(void)MHD_add_response_header(r, "Connection", "close");
	req->response = r;
	req->status = status;
	if (req->suspended) {
		req->suspended = false;
		MHD_resume_connection(req->conn);
		server_resumed(req->gw->server);
	}
}

void
respond_text(struct request *req, int status, const char *content_type,
    char *text, size_t len)
{
	answer(req, status, content_type, text, len);
}

void
respond_out(struct request *req, int status, struct out *o)
{
	size_t len;
	char *text = out_steal(o, &len);

	answer(req, status, "application/json", text, len);
}

void
respond_json(struct request *req, int status, const json_t *body)
{
	char *text = json_text(body);

	answer(req, status, "application/json", text, strlen(text));
}

/*
 * Failures whose `error` is a fixed word or sentence that clients compare with;
 * elsewhere it is the message itself.  `quiet` ones tell the log, not the
 * client, what went wrong.
 */
static const struct headline {
	const char *error;
	const char *message; /* NULL: the message of the err */
	bool quiet;
} headlines[ERR__COUNT] = {
	[ERR_KEY] = { "Invalid API key", "Invalid API key", false },
	[ERR_CLOCK] = { "Request timestamp expired",
	    "Request timestamp expired", false },
	[ERR_KEY_EXPIRED] = { "API key expired", "API key expired", false },
	[ERR_KEY_SUSPENDED] = { "API key suspended", "API key suspended",
	    false },
	[ERR_RATE] = { "rate_limit_exceeded", NULL, false },
	[ERR_BUSY] = { "concurrency_limit_reached", NULL, false },
	[ERR_SYS] = { "Internal error", "Internal error", true },
	[ERR_SANDBOX] = { "Internal error", "Internal error", true },
	[ERR_UNAVAILABLE] = { "Service unavailable", NULL, false },
};

json_t *
respond_err_body(const struct err *err)
{
	const struct headline *h = &headlines[err->code];
	json_t *o = json_object();

	json_set_str(o, "error", h->error ? h->error : err->msg);
	json_set_str(o, "message", h->message ? h->message : err->msg);
	json_set_str(o, "code", err_wire_code(err->code));
	json_set_str(o, "details",
	    h->message && !h->quiet ? err->msg : err_text(err->code));
	return o;
}

void
respond_err(struct request *req, const struct err *err)
{
	json_auto_t *body = respond_err_body(err);

	req->refusal = *err;
	if (err->code == ERR_UNAVAILABLE)
		respond_header(req, "Retry-After", "1");
	respond_json(req, err_http_status(err->code), body);
}
