/*
 * A connection to the gateway's HTTP server: the input is what the client
 * sends, over a socket, before it closes its side.  Redis is away.  Each
 * request is answered, in JSON where we answer and not libmicrohttpd.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "farm.h"
#include "fuzz.h"
#include "gateway.h"
#include "keyring.h"
#include "log.h"
#include "server.h"
#include "store.h"
#include "waiters.h"

enum { ANSWER_MAX = 64 << 20 };

static struct sockaddr_in where; /* it listens there */

static struct gateway *
the_gateway(void)
{
	static struct gateway gw; /* made once, lives as long as we */
	socklen_t len = sizeof(where);
	struct err err;

	if (gw.server)
		return &gw;
	log_init("fuzz_http", LOG_CRIT);
	settings_default(&gw.set);
	gw.set.farm_dev_key = true;
	gw.set.gateway_clock_skew_seconds = 1L << 50;
	gw.set.gateway_max_body_kb = 64;
	gw.langs = (struct lang_registry *)(uintptr_t)fuzz_langs();
	must(uv_loop_init(&gw.loop) == 0);
	gw.keyring = keyring_new(&gw);
	gw.waiters = waiters_new(&gw);
	gw.farm = farm_new(&gw);
	gw.store = store_new(
	    &gw.loop, "unix:/nonexistent/redis", "fuzz", 1000, NULL, &err);
	must(gw.store);
	gw.set.gateway_port = 0; /* one that is free */
	gw.set.gateway_processes = 1;
	must(prefork_open(&gw.prefork, &gw.set, &err) == 0);
	must(getsockname(gw.prefork.listeners[0], (struct sockaddr *)&where,
		 &len) == 0);
	gw.metrics = &gw.prefork.metrics[0];
	gw.server = server_new(&gw, gw.prefork.listeners[0], &err);
	must(gw.server);
	return &gw;
}

/* ---- a client ---- */

static int
connect_to_it(void)
{
	const struct linger at_once = { .l_onoff = 1 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	must(fd >= 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	must(connect(fd, (struct sockaddr *)&where, sizeof(where)) == 0 ||
	     errno == EINPROGRESS);
	return fd;
}

static void
send_some(int fd, const uint8_t **p, size_t *left)
{
	ssize_t n = send(fd, *p, *left, MSG_NOSIGNAL);

	if (n < 0 && (errno == EAGAIN || errno == ENOTCONN))
		return;
	/* It has heard enough of us, and has closed. */
	if (n < 0)
		n = (ssize_t)*left;
	*p += n;
	*left -= (size_t)n;
	if (*left == 0)
		(void)shutdown(fd, SHUT_WR);
}

/* False at the end of the answers. */
static bool
receive_some(int fd, struct buf *answers)
{
	char chunk[16 << 10];
	ssize_t n = recv(fd, chunk, sizeof(chunk), 0);

	if (n < 0)
		return errno == EAGAIN || errno == ENOTCONN;
	must(buf_add(answers, chunk, (size_t)n) == 0);
	return n > 0;
}

static void
talk(struct gateway *gw, const uint8_t *data, size_t size, struct buf *answers)
{
	int fd = connect_to_it();
	bool open = true;

	while (open) {
		if (size > 0)
			send_some(fd, &data, &size);
		(void)uv_run(&gw->loop, UV_RUN_NOWAIT);
		open = receive_some(fd, answers);
	}
	(void)close(fd);
	while (gw->metrics->open_requests > 0)
		(void)uv_run(&gw->loop, UV_RUN_NOWAIT);
}

/* ---- what came back ---- */

static long
header_number(const char *head, const char *name)
{
	const char *at = strstr(head, name);

	return at ? strtol(at + strlen(name), NULL, 10) : -1;
}

/* The first answer; of a HEAD there is no body. */
static void
check_first(struct buf *answers, bool with_body)
{
	char *head = answers->data, *end;
	long status, length;

	if (answers->len == 0)
		return; /* nothing that looks like a request */
	must(strncmp(head, "HTTP/1.", 7) == 0);
	status = strtol(head + 9, NULL, 10);
	must((status >= 200 && status <= 599) || status == 100);
	end = memmem(head, answers->len, "\r\n\r\n", 4);
	must(end);
	*end = '\0';
	must(strlen(head) == (size_t)(end - head));
	length = header_number(head, "\r\nContent-Length: ");
	if (!with_body || status == 100 ||
	    !strstr(head, "\r\nContent-Type: application/json\r\n"))
		return;
	must(length > 0);
	end += 4;
	must((size_t)length <= answers->len - (size_t)(end - head));
	must_be_json(end, (size_t)length);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gateway *gw = the_gateway();
	auto_buf struct buf answers = { .cap = ANSWER_MAX };

	if (size == 0)
		return 0;
	talk(gw, data, size, &answers);
	must(gw->body_bytes == 0);
	check_first(&answers, size < 5 || memcmp(data, "HEAD ", 5) != 0);
	return 0;
}
