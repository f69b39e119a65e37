#include "request.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#include "auth.h"
#include "clock.h"
#include "gateway.h"
#include "json.h"
#include "keyring.h"
#include "log.h"
#include "mem.h"
#include "relay.h"
#include "respond.h"
#include "server.h"

enum {
	KIB = 1024,
	/* All bodies together: this many of the largest. */
	BODIES_MAX = 32,
	/* A refused body up to this is read to its end, for the answer to get
	 * through; a longer one costs the client its connection. */
	SWALLOW_MAX = 64 << 20,
	LOG_PATH = 80,
};

/* ---- birth and death ---- */

/* The path of "http://host/path"; proxies send such targets. */
static const char *
path_start(const char *target)
{
	const char *p = target;

	if (strncasecmp(p, "http://", 7) == 0)
		p += 7;
	else if (strncasecmp(p, "https://", 8) == 0)
		p += 8;
	else
		return target;
	p += strcspn(p, "/?");
	return p;
}

struct request *
request_new(struct gateway *gw, struct MHD_Connection *conn, const char *target)
{
	struct request *req = xcalloc(1, sizeof(*req));

	req->gw = gw;
	req->conn = conn;
	req->since_us = clock_mono_us();
	req->received = xstrdup(target);
	req->target = path_start(req->received);
	req->target_len = strlen(req->target);
	req->path_len = strcspn(req->target, "?");
	if (req->path_len < req->target_len) {
		req->query.text = req->target + req->path_len + 1;
		req->query.len = req->target_len - req->path_len - 1;
	}
	gw->metrics->open_requests++;
	return req;
}

void
request_path_id(const struct request *req, char *ret_id, size_t n)
{
	size_t len = req->hit.id_len < n ? req->hit.id_len : n - 1;

	memcpy(ret_id, req->hit.id, len);
	ret_id[len] = '\0';
}

void
request_drop_body(struct request *req)
{
	req->gw->body_bytes -= req->body.len;
	buf_done(&req->body);
	req->drop_body = true;
}

/* The one line a request leaves; only our own failures are worth it by day. */
static void
request_log(const struct request *req)
{
	int len = (int)(req->path_len < LOG_PATH ? req->path_len : LOG_PATH);

	log_(req->status >= 500 ? LOG_INFO : LOG_DEBUG,
	    *req->job ? req->job : NULL,
	    "request|method=%s path=%.*s status=%d ms=%lld why=\"%s\"",
	    req->method ? req->method : "-", len, req->target, req->status,
	    (long long)(clock_mono_us() - req->since_us) / 1000,
	    req->refusal.code != ERR_OK ? req->refusal.msg : "");
}

void
request_free(struct request *req)
{
	struct metrics *m;

	if (!req)
		return;
	m = req->gw->metrics;
	m->open_requests--;
	if (req->status)
		metrics_answered(m,
		    req->hit.route ? route_index(req->hit.route)
				   : METRICS_ROUTES - 1,
		    req->status, clock_mono_us() - req->since_us);
	request_log(req);
	if (req->call)
		req->call_free(req->call);
	if (req->response)
		MHD_destroy_response(req->response);
	relay_abandon(req->relay);
	keyring_unref(req->key);
	request_drop_body(req);
	free(req->received);
	free(req);
}

/* ---- headers ---- */

static enum MHD_Result
on_header(
    void *ctx, enum MHD_ValueKind kind, const char *name, const char *value)
{
	static const char *const names[] = {
		[HEADER_AUTHORIZATION] = "Authorization",
		[HEADER_TIMESTAMP] = "X-Timestamp",
		[HEADER_SIGNATURE] = "X-Signature",
		[HEADER_CONTENT_TYPE] = "Content-Type",
		[HEADER_CONTENT_ENCODING] = "Content-Encoding",
		[HEADER_CONTENT_LENGTH] = "Content-Length",
		[HEADER_TRANSFER_ENCODING] = "Transfer-Encoding",
		[HEADER_EXPECT] = "Expect",
		[HEADER_IDEMPOTENCY_KEY] = "Idempotency-Key",
		[HEADER_UPGRADE] = "Upgrade",
		[HEADER_WEBSOCKET_KEY] = "Sec-WebSocket-Key",
		[HEADER_WEBSOCKET_VERSION] = "Sec-WebSocket-Version",
		[HEADER_WEBSOCKET_PROTOCOL] = "Sec-WebSocket-Protocol",
		[HEADER_ORIGIN] = "Origin",
	};
	struct request *req = ctx;

	(void)kind;
	for (size_t i = 0; i < HEADER__COUNT; i++)
		if (strcasecmp(name, names[i]) == 0) {
			struct header *h = &req->headers[i];

			if (h->count++ == 0)
				h->value = value ? value : "";
		}
	return MHD_YES;
}

/*
 * One way to say where the body ends.  libmicrohttpd takes the first of two
 * lengths and prefers chunks to a length; a proxy in front may choose otherwise
 * and take a part of this body for the next request.
 */
static int
check_framing(const struct request *req, struct err *err)
{
	const struct header *length = &req->headers[HEADER_CONTENT_LENGTH];
	const struct header *coding = &req->headers[HEADER_TRANSFER_ENCODING];

	if (length->count + coding->count > 1)
		return err_set(err, ERR_INVALID, 0,
		    "the length of the body is said twice: send one "
		    "Content-Length or one Transfer-Encoding");
	if (coding->count > 0 && strcasecmp(coding->value, "chunked") != 0)
		return err_set(err, ERR_INVALID, 0,
		    "the only Transfer-Encoding that is read is chunked");
	return 0;
}

static int
find_route(struct request *req, struct err *err)
{
	char allow[ROUTE_ALLOW_MAX];

	switch (
	    route_find(req->method, req->target, req->path_len, &req->hit)) {
	case ROUTE_FOUND:
		return 0;
	case ROUTE_NO_METHOD:
		route_allow(req->target, req->path_len, allow);
		respond_header(req, "Allow", "%s", allow);
		return err_set(err, ERR_METHOD, 0,
		    "method %.16s is not allowed here: use %s", req->method,
		    allow);
	case ROUTE_NO_PATH:
		break;
	}
	return err_set(err, ERR_NOT_FOUND, 0,
	    "there is nothing at %.*s: docs/api.md lists the paths",
	    (int)(req->path_len < 64 ? req->path_len : 64), req->target);
}

/* Clients send odd types; only what cannot work is refused. */
static int
check_media(const struct request *req, struct err *err)
{
	const char *type = req->headers[HEADER_CONTENT_TYPE].value;
	const char *coding = req->headers[HEADER_CONTENT_ENCODING].value;

	if (type && strncasecmp(type, "multipart/", 10) == 0)
		return err_set(err, ERR_MEDIA, 0,
		    "multipart bodies are not read: send application/json");
	if (coding && *coding && strcasecmp(coding, "identity") != 0)
		return err_set(err, ERR_MEDIA, 0,
		    "compressed bodies are not read: send the body as it is, "
		    "without Content-Encoding");
	return 0;
}

static size_t
body_limit(const struct request *req)
{
	size_t job = (size_t)req->gw->set.gateway_max_body_kb * KIB;
	size_t max = req->hit.route ? req->hit.route->max_body : 0;

	return max < job ? max : job;
}

static long long
announced_length(const struct request *req)
{
	const char *text = req->headers[HEADER_CONTENT_LENGTH].value;

	return text ? strtoll(text, NULL, 10) : 0;
}

static int
too_large(const struct request *req, struct err *err)
{
	return err_set(err, ERR_TOO_BIG, 0,
	    "the body is larger than %zu KiB: send less",
	    body_limit(req) / KIB);
}

static int
check_head(struct request *req, struct err *err)
{
	if (find_route(req, err) < 0 || check_media(req, err) < 0)
		return -1;
	if (announced_length(req) > (long long)body_limit(req))
		return too_large(req, err);
	return 0;
}

/* ---- the answer ---- */

static enum MHD_Result
queue_answer(struct request *req)
{
	enum MHD_Result r = MHD_queue_response(
	    req->conn, (unsigned)req->status, req->response);

	MHD_destroy_response(req->response);
	req->response = NULL;
	req->state = REQUEST_ANSWERED;
	return r;
}

/*
 * A refusal is answered when the body has been read: most clients look at the
 * answer only then.  Not so when they wait for our 100, or would send for long.
 */
static bool
refuse_at_once(const struct request *req)
{
	return req->refusal.code != ERR_OK &&
	       (req->headers[HEADER_EXPECT].count > 0 ||
		   announced_length(req) > SWALLOW_MAX);
}

/* The answer, before the body and instead of it: nothing more is read. */
static enum MHD_Result
answer_head(struct request *req)
{
	respond_header(req, "Connection", "close");
	respond_err(req, &req->refusal);
	return queue_answer(req);
}

static enum MHD_Result
take_head(struct request *req, const char *method)
{
	req->method = method;
	req->state = REQUEST_BODY;
	(void)MHD_get_connection_values(
	    req->conn, MHD_HEADER_KIND, on_header, req);
	if (check_framing(req, &req->refusal) < 0)
		return answer_head(req);
	if (check_head(req, &req->refusal) < 0)
		req->drop_body = true;
	req->body.cap = body_limit(req);
	return refuse_at_once(req) ? answer_head(req) : MHD_YES;
}

/* ---- the body ---- */

static void
refuse_body(struct request *req)
{
	struct gateway *gw = req->gw;

	if (req->body.len + 1 > body_limit(req)) {
		(void)too_large(req, &req->refusal);
	} else {
		gw->metrics->counters[METRIC_bodies_refused]++;
		(void)err_set(&req->refusal, ERR_UNAVAILABLE, 0,
		    "too many large requests at once: try again");
	}
	request_drop_body(req);
}

static void
take_body(struct request *req, const char *data, size_t n)
{
	struct gateway *gw = req->gw;
	size_t most = (size_t)gw->set.gateway_max_body_kb * KIB * BODIES_MAX;

	if (req->drop_body)
		return;
	if (n > body_limit(req) - req->body.len) {
		(void)too_large(req, &req->refusal);
		request_drop_body(req);
	} else if (gw->body_bytes + n > most ||
		   buf_add(&req->body, data, n) < 0) {
		refuse_body(req);
	} else {
		gw->body_bytes += n;
	}
}

/* ---- work ---- */

static void
run_handler(struct request *req)
{
	struct err err = { .code = ERR_OK };

	if (req->hit.route->handle(req, &err) < 0)
		respond_err(req, &err);
}

static void
describe_key(json_t *body, const struct key *k, const struct err *err)
{
	char at[CLOCK_ISO_LEN];

	json_set_str(body, "public_key", k->public_key);
	json_set_str(body, "tier", k->tier);
	json_set_bool(body, "expired", err->code == ERR_KEY_EXPIRED);
	if (k->expires_ms <= 0)
		return;
	clock_iso8601(k->expires_ms, at);
	json_set_str(body, "expired_at_datetime", at);
}

/* POST /keys/validate says in its answer what is the matter with the key. */
static void
respond_key_refusal(struct request *req, const struct err *err)
{
	json_auto_t *body = respond_err_body(err);
	const char *reason = err->code == ERR_KEY_EXPIRED     ? "expired"
			     : err->code == ERR_KEY_SUSPENDED ? "suspended"
							      : "invalid_key";

	json_set_bool(body, "valid", false);
	json_set_str(body, "reason", reason);
	if (req->key && err->code != ERR_KEY)
		describe_key(body, &req->key->key, err);
	respond_json(req, err_http_status(err->code), body);
}

void
request_authorized(struct request *req, const struct err *err)
{
	if (!err)
		run_handler(req);
	else if (req->hit.route->scope == AUTH_KEY_CHECK &&
		 err_http_status(err->code) < 500)
		respond_key_refusal(req, err);
	else
		respond_err(req, err);
}

static bool
is_open(const struct request *req)
{
	enum auth_scope scope = req->hit.route->scope;

	return scope == AUTH_PUBLIC ||
	       (scope == AUTH_MAYBE &&
		   req->headers[HEADER_AUTHORIZATION].count == 0);
}

static enum MHD_Result
start_work(struct request *req)
{
	req->state = REQUEST_WORKING;
	server_request_arrived(req->peer);
	if (req->refusal.code != ERR_OK)
		respond_err(req, &req->refusal);
	else if (is_open(req))
		run_handler(req);
	else
		auth_check(req);
	if (req->response)
		return queue_answer(req);
	req->suspended = true;
	MHD_suspend_connection(req->conn);
	return MHD_YES;
}

enum MHD_Result
request_step(
    struct request *req, const char *method, const char *data, size_t *data_len)
{
	switch (req->state) {
	case REQUEST_NEW:
		return take_head(req, method);
	case REQUEST_BODY:
		if (*data_len == 0)
			return start_work(req);
		take_body(req, data, *data_len);
		*data_len = 0;
		return MHD_YES;
	case REQUEST_WORKING:
		/* Resumed; or, rarely, called again without reason. */
		return req->response ? queue_answer(req) : MHD_YES;
	case REQUEST_ANSWERED:
		break;
	}
	return MHD_YES;
}
