/*
 * What a node answers to a gateway (common/link.h): a byte of how, then what it
 * says, which comes in one piece or in many.  The gateway learns of one answer,
 * or why there is none, once; nothing is left of the call.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "fuzz.h"
#include "gateway.h"
#include "json.h"
#include "link.h"
#include "node_call.h"

enum {
	GOOD_CHALLENGE = 1, /* before what the input has */
	IN_PIECES = 2,
	RESET = 4,
	TAKE = 8,
	CANCEL = 16,
	TURNS = 100000,
	IN_MAX = 256 << 20,
};

static struct {
	struct gateway gw;
	int listener;
	in_port_t port;
	struct node_call *call;
	unsigned how, told;
	int taken; /* -1: none */
} run;

static void
begin(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof(at);

	if (run.port != 0)
		return;
	must(uv_loop_init(&run.gw.loop) == 0);
	TAILQ_INIT(&run.gw.node_calls);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	run.listener = socket(
	    AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	must(run.listener >= 0 &&
	     bind(run.listener, (struct sockaddr *)&at, sizeof(at)) == 0 &&
	     listen(run.listener, 8) == 0 &&
	     getsockname(run.listener, (struct sockaddr *)&at, &len) == 0);
	run.port = ntohs(at.sin_port);
}

/* ---- the gateway's side ---- */

static void
check_answer(const struct node_answer *a)
{
	char *read = NULL;
	size_t len;

	must(a->status >= 100 && a->status <= 599);
	must(*a->type && !strpbrk(a->type, " \n"));
	if (a->body) {
		unsigned sum = 0;

		must(a->len < IN_MAX);
		for (size_t i = 0; i < a->len; i++)
			sum += (unsigned char)a->body[i]; /* it is there */
		must(sum <= 255 * a->len);
	} else if (run.how & TAKE) {
		run.taken = node_call_take(run.call, &read, &len);
		must(run.taken >= 0 && read);
		free(read);
	}
}

static void
on_done(void *ctx, const struct node_answer *a, const struct err *err)
{
	must(ctx == &run && ++run.told == 1);
	must(!a != !err);
	if (a)
		check_answer(a);
	else
		must(err->code == ERR_UNAVAILABLE && *err->msg);
	run.call = NULL;
}

static void
call(void)
{
	const struct node_hooks hooks = { &run, on_done };
	json_auto_t *node = json_object(), *head = json_object();

	json_set_str(node, "address", "127.0.0.1");
	json_set_int(node, "port", run.port);
	json_set_str(node, "secret", "0123456789abcdef");
	json_set_str(head, "call", "get");
	run.told = 0;
	run.taken = -1;
	run.call = node_call_start(&run.gw, node, head, "body", 4, &hooks);
}

/* ---- the node's ---- */

static int
accept_it(void)
{
	int fd = -1;

	for (int i = 0; i < TURNS && fd < 0; i++) {
		(void)uv_run(&run.gw.loop, UV_RUN_NOWAIT);
		fd = accept4(run.listener, NULL, NULL, SOCK_CLOEXEC);
	}
	must(fd >= 0);
	return fd;
}

static void
say(int fd, const uint8_t *p, size_t n)
{
	while (n > 0) {
		size_t piece = (run.how & IN_PIECES) && n > 7 ? 1 + n % 7 : n;
		ssize_t k = send(fd, p, piece, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (k < 0 && errno != EAGAIN)
			return;
		p += k > 0 ? k : 0;
		n -= k > 0 ? (size_t)k : 0;
		(void)uv_run(&run.gw.loop, UV_RUN_NOWAIT);
	}
}

static void
hang_up(int fd)
{
	const struct linger at_once = { .l_onoff = 1 };

	if (run.how & RESET)
		(void)setsockopt(
		    fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	(void)close(fd);
}

static void
close_all(uv_handle_t *h, void *ctx)
{
	(void)ctx;
	must(uv_is_closing(h));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char challenge[] = "0123456789abcdef0123456789abcdef\n";
	struct feed f = { data, size };
	int fd;

	begin();
	run.how = feed_u8(&f);
	call();
	fd = accept_it();
	if (run.how & GOOD_CHALLENGE)
		say(fd, (const uint8_t *)challenge, LINK_CHALLENGE_LEN + 1);
	say(fd, f.p, f.left);
	if (run.call && (run.how & CANCEL)) {
		node_call_cancel(run.call);
		run.call = NULL;
		run.told = 1;
	}
	hang_up(fd);
	for (int i = 0; run.told == 0; i++) {
		must(i < TURNS);
		(void)uv_run(&run.gw.loop, UV_RUN_NOWAIT);
	}
	if (run.taken >= 0)
		(void)close(run.taken);
	must(TAILQ_EMPTY(&run.gw.node_calls));
	uv_walk(&run.gw.loop, close_all, NULL);
	must(uv_run(&run.gw.loop, UV_RUN_NOWAIT) == 0);
	return 0;
}
