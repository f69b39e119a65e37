#include "un_api.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "clock.h"
#include "mem.h"
#include "secret.h"
#include "un_account.h"
#include "un_interrupt.h"
#include "un_output.h"
#include "un_status.h"

enum {
	BASE_MAX = 2048,
	HEADER_MAX = 512,
	/* A big upload gets a second for each of these bytes on top. */
	UPLOAD_BYTES_A_SECOND = 1 << 20,
	ERROR_BODY_SHOWN = 2000
};

struct un_api {
	CURL *curl;
	char *base; /* owned; no slash at its end */
	bool local; /* this machine: never through a proxy */
	struct un_account account;
	char why[CURL_ERROR_SIZE];
};

static void
slist_freep(struct curl_slist **l)
{
	curl_slist_free_all(*l);
}
#define auto_slist __attribute__((cleanup(slist_freep)))

void
un_reply_done(struct un_reply *r)
{
	buf_done(&r->body);
	json_decref(r->json);
	r->json = NULL;
}

/* ---- the connection ---- */

static bool
starts_with(const char *s, const char *prefix)
{
	return strncasecmp(s, prefix, strlen(prefix)) == 0;
}

/* http_proxy in the environment must not catch a farm on this machine. */
static bool
base_is_local(const char *base)
{
	static const char *const hosts[] = { "127.", "localhost", "[::1]" };
	const char *host = strstr(base, "://") + 3;

	for (size_t i = 0; i < ARRAY_LEN(hosts); i++)
		if (starts_with(host, hosts[i]))
			return true;
	return false;
}

static int
base_check(const char *base, struct err *err)
{
	if (!starts_with(base, "http://") && !starts_with(base, "https://"))
		return err_set(err, ERR_INVALID, 0,
		    "base URL `%s` begins with neither http:// nor https://",
		    base);
	if (strlen(base) > BASE_MAX || strpbrk(base, "?# \t\r\n"))
		return err_set(err, ERR_INVALID, 0,
		    "base URL is too long, or holds a query or a blank");
	return 0;
}

int
un_api_new(const char *base, struct un_account *account,
    struct un_api **ret_api, struct err *err)
{
	struct un_api *api;
	size_t n = strlen(base);

	if (base_check(base, err) < 0)
		return -1;
	while (n > 0 && base[n - 1] == '/')
		n--;
	api = xcalloc(1, sizeof(*api));
	api->account = *account;
	*account = (struct un_account){ .public_key = NULL };
	api->base = strndup(base, n);
	api->curl = curl_easy_init();
	if (!api->base || !api->curl)
		abort();
	api->local = base_is_local(base);
	*ret_api = api;
	return 0;
}

void
un_api_free(struct un_api *api)
{
	if (!api)
		return;
	curl_easy_cleanup(api->curl);
	un_account_done(&api->account);
	free(api->base);
	free(api);
}

const char *
un_api_base(const struct un_api *api)
{
	return api->base;
}

bool
un_api_is_local(const struct un_api *api)
{
	return api->local;
}

/* ---- the request ---- */

static void
header_add(struct curl_slist **list, const char *name, const char *value)
{
	char line[HEADER_MAX];
	struct curl_slist *more;

	/* Keys are 255 bytes at most, the rest is ours: it always fits. */
	(void)snprintf(line, sizeof(line), "%s: %s", name, value);
	more = curl_slist_append(*list, line);
	if (!more)
		abort();
	*list = more;
}

struct signature {
	char stamp[24], sig[SECRET_SIG_LEN + 1], bearer[HEADER_MAX / 2 + 64];
};

static void
sign(const struct un_api *api, const struct un_request *rq,
    struct signature *ret_s)
{
	char *stamp = ret_s->stamp;
	struct secret_part parts[] = {
		{ stamp, 0 },
		{ ":", 1 },
		{ rq->method, strlen(rq->method) },
		{ ":", 1 },
		{ rq->path, strlen(rq->path) },
		{ ":", 1 },
		{ rq->body, rq->body_len },
	};

	(void)snprintf(
	    stamp, sizeof(ret_s->stamp), "%" PRId64, clock_wall_ms() / 1000);
	parts[0].len = strlen(stamp);
	secret_sign(
	    api->account.secret_key, parts, ARRAY_LEN(parts), ret_s->sig);
	(void)snprintf(ret_s->bearer, sizeof(ret_s->bearer), "Bearer %s",
	    api->account.public_key);
}

static void
headers_sign(const struct un_api *api, const struct un_request *rq,
    struct curl_slist **headers)
{
	struct signature s = { .stamp = "" };

	sign(api, rq, &s);
	header_add(headers, "Authorization", s.bearer);
	header_add(headers, "X-Timestamp", s.stamp);
	header_add(headers, "X-Signature", s.sig);
}

char *
un_api_signed_lines(const struct un_api *api, const struct un_request *rq)
{
	struct signature s = { .stamp = "" };
	char *lines;

	if (!api->account.secret_key)
		return xstrdup("");
	sign(api, rq, &s);
	if (asprintf(&lines,
		"Authorization: %s\r\nX-Timestamp: %s\r\nX-Signature: %s\r\n",
		s.bearer, s.stamp, s.sig) < 0)
		abort();
	return lines;
}

static size_t
on_body(char *p, size_t size, size_t n, void *user)
{
	struct buf *body = user;

	/* Anything but the full count makes curl stop. */
	return buf_add(body, p, size * n) == 0 ? size * n : 0;
}

static int
on_progress(void *user, curl_off_t dl_total, curl_off_t dl, curl_off_t ul_total,
    curl_off_t ul)
{
	const struct un_request *rq = user;

	(void)dl_total;
	(void)dl;
	(void)ul_total;
	(void)ul;
	return !rq->to_its_end && un_interrupt_pending() != 0;
}

static void
set_common(struct un_api *api, const struct un_request *rq)
{
	long wait = rq->timeout_seconds ? rq->timeout_seconds : UN_READ_SECONDS;
	CURL *c = api->curl;

	wait += (long)(rq->body_len / UPLOAD_BYTES_A_SECOND);
	curl_easy_reset(c);
	(void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(
	    c, CURLOPT_CONNECTTIMEOUT, (long)UN_CONNECT_SECONDS);
	(void)curl_easy_setopt(c, CURLOPT_TIMEOUT, wait);
	(void)curl_easy_setopt(c, CURLOPT_USERAGENT, "un/" UNFARM_VERSION);
	(void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, api->why);
	(void)curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	(void)curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
	(void)curl_easy_setopt(c, CURLOPT_XFERINFODATA, rq);
	if (api->local)
		(void)curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
	api->why[0] = '\0';
}

static void
set_body(CURL *c, const struct un_request *rq)
{
	bool post = strcmp(rq->method, "POST") == 0;

	(void)curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, rq->method);
	if (!post && !rq->body)
		return;
	(void)curl_easy_setopt(
	    c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)rq->body_len);
	(void)curl_easy_setopt(c, CURLOPT_POSTFIELDS, rq->body ? rq->body : "");
}

static size_t
answer_max(const struct un_request *rq)
{
	return rq->answer_max ? rq->answer_max : UN_ANSWER_MAX;
}

static int
explain(struct un_api *api, const struct un_request *rq, CURLcode rc,
    struct err *err)
{
	const char *why = api->why[0] ? api->why : curl_easy_strerror(rc);

	if (rc == CURLE_ABORTED_BY_CALLBACK)
		return err_set(err, ERR_TIMEOUT, 0, "interrupted");
	if (rc == CURLE_WRITE_ERROR)
		return err_set(err, ERR_TOO_BIG, 0,
		    "the answer is larger than %zu MB", answer_max(rq) >> 20);
	return err_set(
	    err, ERR_UNAVAILABLE, 0, "cannot reach %s: %s", api->base, why);
}

int
un_api_call(struct un_api *api, const struct un_request *rq,
    struct un_reply *ret_reply, struct err *err)
{
	auto_slist struct curl_slist *headers = NULL;
	auto_free char *url = NULL;
	CURLcode rc;

	*ret_reply = (struct un_reply){ .status = 0 };
	buf_init(&ret_reply->body, answer_max(rq));
	if (asprintf(&url, "%s%s", api->base, rq->path) < 0)
		abort();
	if (api->account.secret_key)
		headers_sign(api, rq, &headers);
	header_add(&headers, "Content-Type", "application/json");

	set_common(api, rq);
	set_body(api->curl, rq);
	(void)curl_easy_setopt(api->curl, CURLOPT_URL, url);
	(void)curl_easy_setopt(api->curl, CURLOPT_HTTPHEADER, headers);
	(void)curl_easy_setopt(api->curl, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(api->curl, CURLOPT_WRITEDATA, &ret_reply->body);
	rc = curl_easy_perform(api->curl);
	if (rc != CURLE_OK)
		return explain(api, rq, rc, err);

	(void)curl_easy_getinfo(
	    api->curl, CURLINFO_RESPONSE_CODE, &ret_reply->status);
	if (ret_reply->body.len > 0)
		ret_reply->json = json_loadb(ret_reply->body.data,
		    ret_reply->body.len, JSON_ALLOW_NUL, NULL);
	return 0;
}

/* ---- the answer ---- */

bool
un_reply_ok(const struct un_reply *r)
{
	return r->status >= 200 && r->status < 300;
}

const char *
un_api_text(const json_t *obj, const char *name)
{
	const char *s = json_string_value(json_object_get(obj, name));

	return s ? s : "";
}

/* The help every client of this API gives: the usual cause of a 401. */
static void
complain_of_clock(const struct un_reply *r)
{
	if (r->status != 401 || !r->body.data ||
	    !strstr(r->body.data, "timestamp"))
		return;
	un_output_line(stderr, UN_YELLOW,
	    "The clock of this machine and the server's differ by more than\n"
	    "five minutes. Set the clock (for example: sudo timedatectl\n"
	    "set-ntp true) and try again.");
}

void
un_reply_complain(const struct un_reply *r)
{
	const char *error = un_api_text(r->json, "error");
	const char *message = un_api_text(r->json, "message");

	un_output_error("HTTP %ld", r->status);
	if (*error && *message && strcmp(error, message) != 0)
		un_output_line(stderr, UN_PLAIN, "%s: %s", error, message);
	else if (*error || *message)
		un_output_line(
		    stderr, UN_PLAIN, "%s", *error ? error : message);
	else if (r->body.len > 0)
		un_output_line(
		    stderr, UN_PLAIN, "%.*s", ERROR_BODY_SHOWN, r->body.data);
	complain_of_clock(r);
}
