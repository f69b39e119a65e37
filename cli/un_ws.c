#include "un_ws.h"

#include <curl/curl.h>
#include <errno.h>
#include <openssl/sha.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <wslay/wslay.h>

#include "b64.h"
#include "buf.h"
#include "cleanup.h"
#include "clock.h"
#include "json.h"
#include "mem.h"
#include "un_api.h"
#include "un_status.h"

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 */

enum {
	KEY_BYTES = 16,
	KEY_LEN = 24,     /* base64 of these */
	ACCEPT_LEN = 28,  /* base64 of a SHA-1 */
	HEAD_MAX = 16384, /* of an answer, with what came behind it */
	MESSAGE_MAX = 1 << 20,
	HANDSHAKE_MS = 10000,
	STATUS_SWITCHING = 101,
};

struct un_ws {
	CURL *curl;
	int fd; /* curl's */
	wslay_event_context_ptr ws;
	struct un_ws_hooks hooks;
	struct buf left; /* came with the handshake's answer */
	char why[CURL_ERROR_SIZE];
	bool over;
	bool dry; /* nothing more to read for now */
};

/* ---- bytes ---- */

/* More than 0; 0: not now; -1: no more. */
static ssize_t
line_read(struct un_ws *ws, void *p, size_t n)
{
	size_t got = 0;
	CURLcode rc = curl_easy_recv(ws->curl, p, n, &got);

	if (rc == CURLE_AGAIN)
		return 0;
	return rc == CURLE_OK && got > 0 ? (ssize_t)got : -1;
}

static ssize_t
on_recv(wslay_event_context_ptr c, uint8_t *p, size_t n, int flags, void *ctx)
{
	struct un_ws *ws = ctx;
	ssize_t got = 0;

	(void)flags;
	ws->dry = true;
	if (ws->hooks.is_full(ws->hooks.ctx)) {
		wslay_event_set_error(c, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	if (ws->left.len > 0) {
		ws->dry = false;
		got = (ssize_t)(n < ws->left.len ? n : ws->left.len);
		memcpy(p, ws->left.data, (size_t)got);
		buf_consume(&ws->left, (size_t)got);
		return got;
	}
	got = line_read(ws, p, n);
	ws->dry = got <= 0;
	if (got > 0)
		return got;
	wslay_event_set_error(
	    c, got == 0 ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static ssize_t
on_send(
    wslay_event_context_ptr c, const uint8_t *p, size_t n, int flags, void *ctx)
{
	struct un_ws *ws = ctx;
	size_t sent = 0;
	CURLcode rc = curl_easy_send(ws->curl, p, n, &sent);

	(void)flags;
	if (rc == CURLE_OK)
		return (ssize_t)sent;
	wslay_event_set_error(c, rc == CURLE_AGAIN
				     ? WSLAY_ERR_WOULDBLOCK
				     : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static int
on_mask(wslay_event_context_ptr c, uint8_t *p, size_t n, void *ctx)
{
	(void)c;
	(void)ctx;
	return getrandom(p, n, 0) == (ssize_t)n ? 0 : -1;
}

static void
on_message(wslay_event_context_ptr c,
    const struct wslay_event_on_msg_recv_arg *m, void *ctx)
{
	struct un_ws *ws = ctx;

	(void)c;
	ws->hooks.on_heard(ws->hooks.ctx);
	if (m->opcode == WSLAY_BINARY_FRAME)
		ws->hooks.on_message(ws->hooks.ctx, m->msg, m->msg_length);
	else if (m->opcode == WSLAY_CONNECTION_CLOSE)
		ws->over = true;
}

/* ---- the handshake ---- */

struct hello {
	char key[KEY_LEN + 1];
	const char *path, *protocol;
	int stop_fd;
	int64_t deadline_ms;
};

static int
wait_for(struct un_ws *ws, const struct hello *h, short events, struct err *err)
{
	struct pollfd fds[] = { { ws->fd, events, 0 },
		{ h->stop_fd, POLLIN, 0 } };
	int64_t left = h->deadline_ms - clock_mono_ms();

	if (left <= 0 || poll(fds, 2, (int)left) == 0)
		return err_set(err, ERR_TIMEOUT, 0, "no answer in time");
	return fds[1].revents ? err_set(err, ERR_TIMEOUT, 0, "interrupted") : 0;
}

static int
write_all(struct un_ws *ws, const struct hello *h, const char *p, size_t n,
    struct err *err)
{
	while (n > 0) {
		size_t sent = 0;
		CURLcode rc = curl_easy_send(ws->curl, p, n, &sent);

		if (rc != CURLE_OK && rc != CURLE_AGAIN)
			return err_set(err, ERR_UNAVAILABLE, 0,
			    "the connection broke: %s", curl_easy_strerror(rc));
		p += sent;
		n -= sent;
		if (sent == 0 && wait_for(ws, h, POLLOUT, err) < 0)
			return -1;
	}
	return 0;
}

/* "host:port" and the path that stands before all paths. */
static int
split_base(const char *base, char **ret_host, char **ret_path)
{
	CURLU *u = curl_url();
	char *host = NULL, *port = NULL, *path = NULL;
	int r = -1;

	if (u && curl_url_set(u, CURLUPART_URL, base, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_PATH, &path, 0) == CURLUE_OK) {
		(void)curl_url_get(u, CURLUPART_PORT, &port, 0);
		if (asprintf(ret_host, "%s%s%s", host, port ? ":" : "",
			port ? port : "") < 0)
			abort();
		/* Without a path, curl says "/". */
		*ret_path = xstrdup(strcmp(path, "/") == 0 ? "" : path);
		r = 0;
	}
	curl_free(host);
	curl_free(port);
	curl_free(path);
	curl_url_cleanup(u);
	return r;
}

static int
ask(struct un_ws *ws, const struct un_api *api, struct hello *h,
    struct err *err)
{
	const struct un_request rq = { .method = "GET", .path = h->path };
	auto_free char *host = NULL, *prefix = NULL, *text = NULL;
	auto_free char *signed_lines = un_api_signed_lines(api, &rq);
	uint8_t random[KEY_BYTES];
	int n;

	if (split_base(un_api_base(api), &host, &prefix) < 0)
		return err_set(err, ERR_INVALID, 0, "`%s` is no address",
		    un_api_base(api));
	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		abort();
	b64_encode_to(h->key, random, sizeof(random));
	n = asprintf(&text,
	    "GET %s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: un/" UNFARM_VERSION
	    "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n"
	    "Sec-WebSocket-Protocol: %s\r\n%s\r\n",
	    prefix, h->path, host, h->key, h->protocol, signed_lines);
	if (n < 0)
		abort();
	return write_all(ws, h, text, (size_t)n, err);
}

/* Length of the head with its empty line, or 0: it is not all there. */
static size_t
head_len(const struct buf *b)
{
	const char *end = b->len > 0 ? strstr(b->data, "\r\n\r\n") : NULL;

	return end ? (size_t)(end - b->data) + 4 : 0;
}

static int
read_some(struct un_ws *ws, const struct hello *h, struct err *err)
{
	char piece[2048];
	ssize_t n = line_read(ws, piece, sizeof(piece));

	if (n < 0)
		return err_set(
		    err, ERR_UNAVAILABLE, 0, "the connection was closed");
	if (n == 0)
		return wait_for(ws, h, POLLIN, err);
	if (buf_add(&ws->left, piece, (size_t)n) < 0)
		return err_set(
		    err, ERR_UNAVAILABLE, 0, "its answer is too long");
	return 0;
}

/* Text of a header in a head that ends in a NUL; NULL when it is not there. */
static char *
header_get(const char *head, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = strstr(head, "\r\n"); p; p = strstr(p, "\r\n")) {
		p += 2;
		if (strncasecmp(p, name, n) != 0 || p[n] != ':')
			continue;
		p += n + 1;
		p += strspn(p, " \t");
		return xstrndup(p, strcspn(p, " \t\r"));
	}
	return NULL;
}

static bool
header_is(const char *head, const char *name, const char *value)
{
	auto_free char *text = header_get(head, name);

	return text && strcmp(text, value) == 0;
}

static int
check_accepted(const char *head, const struct hello *h, struct err *err)
{
	char text[KEY_LEN + sizeof(GUID)], accept[ACCEPT_LEN + 1];
	unsigned char hash[SHA_DIGEST_LENGTH];

	(void)snprintf(text, sizeof(text), "%s%s", h->key, GUID);
	(void)SHA1((const unsigned char *)text, strlen(text), hash);
	b64_encode_to(accept, hash, sizeof(hash));
	if (header_is(head, "Sec-WebSocket-Accept", accept) &&
	    header_is(head, "Sec-WebSocket-Protocol", h->protocol))
		return 0;
	return err_set(err, ERR_UNAVAILABLE, 0, "the server does not speak %s",
	    h->protocol);
}

/* Reads what a refusal says, as far as it comes. */
static int
refused(struct un_ws *ws, const struct hello *h, const char *head, long status,
    struct err *err)
{
	auto_free char *length = header_get(head, "Content-Length");
	size_t want = length ? (size_t)strtoul(length, NULL, 10) : 0;
	json_auto_t *o = NULL;
	const char *said;

	while (ws->left.len < want && ws->left.len < HEAD_MAX / 2)
		if (read_some(ws, h, err) < 0)
			break;
	if (ws->left.len > 0)
		o = json_loadb(ws->left.data, ws->left.len, 0, NULL);
	said = un_api_text(o, "message");
	if (!*said)
		said = un_api_text(o, "error");
	return err_set(err,
	    status == 404 || status == 410 ? ERR_NOT_FOUND : ERR_UNAVAILABLE, 0,
	    "HTTP %ld%s%s", status, *said ? ": " : "", said);
}

/* Of "HTTP/1.1 101 ..."; 0: it is none. */
static long
status_of(const char *head)
{
	static const char version[] = "HTTP/1.";
	const size_t at = sizeof(version) + 1; /* a digit and a blank later */

	if (strncmp(head, version, sizeof(version) - 1) != 0 ||
	    strlen(head) < at)
		return 0;
	return strtol(head + at, NULL, 10);
}

static int
answer_read(
    struct un_ws *ws, const struct hello *h, long *ret_status, struct err *err)
{
	auto_free char *head = NULL;
	size_t n;

	while ((n = head_len(&ws->left)) == 0)
		if (read_some(ws, h, err) < 0)
			return -1;
	head = xstrndup(ws->left.data, n - 2);
	buf_consume(&ws->left, n);
	*ret_status = status_of(head);
	if (*ret_status == 0)
		return err_set(
		    err, ERR_UNAVAILABLE, 0, "the answer is not HTTP");
	if (*ret_status != STATUS_SWITCHING)
		return refused(ws, h, head, *ret_status, err);
	return check_accepted(head, h, err);
}

/* ---- the connection ---- */

static int
on_progress(void *user, curl_off_t dl_total, curl_off_t dl, curl_off_t ul_total,
    curl_off_t ul)
{
	const struct hello *h = user;
	struct pollfd stop = { h->stop_fd, POLLIN, 0 };

	(void)dl_total;
	(void)dl;
	(void)ul_total;
	(void)ul;
	return poll(&stop, 1, 0) > 0;
}

static int
connect_to(struct un_ws *ws, const struct un_api *api, const struct hello *h,
    struct err *err)
{
	CURL *c = ws->curl;
	curl_socket_t fd = CURL_SOCKET_BAD;
	CURLcode rc;

	(void)curl_easy_setopt(c, CURLOPT_URL, un_api_base(api));
	(void)curl_easy_setopt(c, CURLOPT_CONNECT_ONLY, 1L);
	(void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(
	    c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(c, CURLOPT_HTTPPROXYTUNNEL, 1L);
	(void)curl_easy_setopt(
	    c, CURLOPT_CONNECTTIMEOUT, (long)UN_CONNECT_SECONDS);
	(void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, ws->why);
	(void)curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	(void)curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
	(void)curl_easy_setopt(c, CURLOPT_XFERINFODATA, h);
	if (un_api_is_local(api))
		(void)curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
	rc = curl_easy_perform(c);
	(void)curl_easy_setopt(c, CURLOPT_NOPROGRESS, 1L);
	if (rc == CURLE_OK)
		rc = curl_easy_getinfo(c, CURLINFO_ACTIVESOCKET, &fd);
	if (rc != CURLE_OK || fd == CURL_SOCKET_BAD)
		return err_set(err, ERR_UNAVAILABLE, 0, "cannot reach %s: %s",
		    un_api_base(api),
		    ws->why[0] ? ws->why : curl_easy_strerror(rc));
	ws->fd = fd;
	return 0;
}

int
un_ws_open(struct un_api *api, const char *path, const char *protocol,
    int stop_fd, const struct un_ws_hooks *hooks, struct un_ws **ret_ws,
    long *ret_status, struct err *err)
{
	static const struct wslay_event_callbacks calls = {
		.recv_callback = on_recv,
		.send_callback = on_send,
		.genmask_callback = on_mask,
		.on_msg_recv_callback = on_message,
	};
	struct hello h = { .path = path,
		.protocol = protocol,
		.stop_fd = stop_fd,
		.deadline_ms = clock_mono_ms() + HANDSHAKE_MS };
	struct un_ws *ws = xcalloc(1, sizeof(*ws));

	*ret_status = 0;
	ws->hooks = *hooks;
	buf_init(&ws->left, HEAD_MAX);
	ws->curl = curl_easy_init();
	if (!ws->curl || wslay_event_context_client_init(&ws->ws, &calls, ws))
		abort();
	wslay_event_config_set_max_recv_msg_length(ws->ws, MESSAGE_MAX);
	if (connect_to(ws, api, &h, err) < 0 || ask(ws, api, &h, err) < 0 ||
	    answer_read(ws, &h, ret_status, err) < 0) {
		un_ws_free(ws);
		return -1;
	}
	*ret_ws = ws;
	return 0;
}

void
un_ws_free(struct un_ws *ws)
{
	if (!ws)
		return;
	wslay_event_context_free(ws->ws);
	curl_easy_cleanup(ws->curl);
	buf_done(&ws->left);
	free(ws);
}

int
un_ws_fd(const struct un_ws *ws)
{
	return ws->fd;
}

bool
un_ws_wants_write(const struct un_ws *ws)
{
	return wslay_event_want_write(ws->ws);
}

void
un_ws_queue(struct un_ws *ws, const void *p, size_t n)
{
	const struct wslay_event_msg msg = { WSLAY_BINARY_FRAME, p, n };

	(void)wslay_event_queue_msg(ws->ws, &msg);
}

bool
un_ws_receive(struct un_ws *ws)
{
	int r = 0;

	/* It stops at half a head, too; the rest may wait in TLS, unheard. */
	do {
		ws->dry = true; /* if it does not even try */
		r = wslay_event_recv(ws->ws);
	} while (r == 0 && !ws->dry);
	return r == 0 && !ws->over && wslay_event_want_read(ws->ws);
}

bool
un_ws_send(struct un_ws *ws)
{
	return wslay_event_send(ws->ws) == 0;
}
