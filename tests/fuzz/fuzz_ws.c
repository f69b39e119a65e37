/*
 * A server that `un session` attaches to: a byte of how, then what it says,
 * over a socket.  With a good handshake the rest are frames.  Nothing hangs,
 * and no message is larger than a message may be.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "b64.h"
#include "fuzz.h"
#include "un_account.h"
#include "un_api.h"
#include "un_ws.h"

#define GUID     "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define PROTOCOL "unfarm.term.v1"

enum {
	GOOD_HEAD = 1,
	BACK = 2, /* we say something, too */
	MESSAGE_MAX = 1 << 20,
	ASK_MAX = 4096,
	KEY_LEN = 24,
	WAIT_MS = 30000,
	WORDS = 32, /* that we say at most */
};

static struct {
	struct un_api *api;
	int listener;
	int stop; /* nothing ever comes from it */
	const uint8_t *said;
	size_t n;
	unsigned how;
	sem_t served; /* the server has done with this input */
} run;

/* ---- the server ---- */

static void
say_all(int fd, const void *p, size_t n)
{
	const char *at = p;
	ssize_t k;

	while (n > 0 && (k = send(fd, at, n, MSG_NOSIGNAL)) > 0) {
		at += k;
		n -= (size_t)k;
	}
}

static void
say_head(int fd, const char *asked)
{
	static const char name[] = "Sec-WebSocket-Key: ";
	const char *key = strstr(asked, name);
	char text[KEY_LEN + sizeof(GUID)], accept[64], head[512];
	unsigned char hash[SHA_DIGEST_LENGTH];
	int n;

	must(key);
	(void)snprintf(
	    text, sizeof(text), "%.*s" GUID, KEY_LEN, key + sizeof(name) - 1);
	(void)SHA1((const unsigned char *)text, strlen(text), hash);
	b64_encode_to(accept, hash, sizeof(hash));
	n = snprintf(head, sizeof(head),
	    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
	    "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: " PROTOCOL
	    "\r\n\r\n",
	    accept);
	say_all(fd, head, (size_t)n);
}

static void
serve(int fd)
{
	char asked[ASK_MAX] = "";
	size_t len = 0;
	ssize_t n = 1;

	while (n > 0 && len < sizeof(asked) - 1 && !strstr(asked, "\r\n\r\n")) {
		n = recv(fd, asked + len, sizeof(asked) - 1 - len, 0);
		len += n > 0 ? (size_t)n : 0;
		asked[len] = '\0';
	}
	if (run.how & GOOD_HEAD)
		say_head(fd, asked);
	say_all(fd, run.said, run.n);
	(void)shutdown(fd, SHUT_WR);
	/* What it says is read to its end: else it would be a reset. */
	while (recv(fd, asked, sizeof(asked), 0) > 0)
		;
	(void)close(fd);
}

static void *
server(void *ctx)
{
	(void)ctx;
	for (;;) {
		int fd = accept4(run.listener, NULL, NULL, SOCK_CLOEXEC);

		must(fd >= 0);
		serve(fd);
		must(sem_post(&run.served) == 0);
	}
	return NULL;
}

static void
begin(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	struct un_account nobody = { .public_key = NULL };
	socklen_t len = sizeof(at);
	pthread_t thread;
	char base[64];
	struct err err;
	int p[2];

	if (run.api)
		return;
	must(sem_init(&run.served, 0, 0) == 0);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	run.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(run.listener >= 0 &&
	     bind(run.listener, (struct sockaddr *)&at, sizeof(at)) == 0 &&
	     listen(run.listener, 8) == 0 &&
	     getsockname(run.listener, (struct sockaddr *)&at, &len) == 0);
	(void)snprintf(
	    base, sizeof(base), "http://127.0.0.1:%u", ntohs(at.sin_port));
	must(un_api_new(base, &nobody, &run.api, &err) == 0);
	must(pipe2(p, O_CLOEXEC) == 0);
	run.stop = p[0];
	must(pthread_create(&thread, NULL, server, NULL) == 0 &&
	     pthread_detach(thread) == 0);
}

/* ---- the client ---- */

static void
on_heard(void *ctx)
{
	must(ctx == &run);
}

static void
on_message(void *ctx, const uint8_t *p, size_t n)
{
	unsigned sum = 0;

	must(ctx == &run && n <= MESSAGE_MAX);
	for (size_t i = 0; i < n; i++)
		sum += p[i]; /* it is there */
	must(sum <= 255 * n);
}

static bool
is_full(void *ctx)
{
	must(ctx == &run);
	return false;
}

static void
talk(struct un_ws *ws)
{
	struct pollfd p = { .fd = un_ws_fd(ws), .events = POLLIN };
	bool open = un_ws_receive(ws);

	for (int i = 0; open; i++) {
		if ((run.how & BACK) && i < WORDS)
			un_ws_queue(ws, "word", 4);
		open = un_ws_send(ws);
		must(poll(&p, 1, WAIT_MS) == 1);
		open = open && un_ws_receive(ws);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct un_ws_hooks hooks = { &run, on_heard, on_message,
		is_full };
	struct feed f = { data, size };
	struct un_ws *ws = NULL;
	struct err err = { .code = ERR_OK };
	long status = -1;

	begin();
	run.how = feed_u8(&f);
	run.said = f.p;
	run.n = f.left;
	if (un_ws_open(run.api, "/sessions/x/shell", PROTOCOL, run.stop, &hooks,
		&ws, &status, &err) < 0) {
		must(err.code != ERR_OK && *err.msg && !ws);
		must(!(run.how & GOOD_HEAD));
	} else {
		must(status == 101);
		talk(ws);
		un_ws_free(ws);
	}
	must(sem_wait(&run.served) == 0);
	return 0;
}
