/* store: large payloads on their way to Redis; the other end is a child. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "buf.h"
#include "cleanup.h"
#include "err.h"
#include "mem.h"
#include "store.h"

enum { MB = 1 << 20, SOME = 40 };

/* ---- the other end: echoes, and takes any script ---- */

static size_t
number_line(FILE *in)
{
	char line[64];

	if (!fgets(line, sizeof(line), in))
		_exit(0);
	return strtoul(line + 1, NULL, 10);
}

/* The last word of a command, and its length; the caller frees it. */
static char *
next_command(FILE *in, bool *ret_echo, size_t *ret_len)
{
	size_t words = number_line(in);
	char *word = NULL;

	for (size_t i = 0; i < words; i++) {
		size_t n = number_line(in);

		free(word);
		word = xmalloc(n + 2);
		if (fread(word, 1, n + 2, in) != n + 2)
			_exit(0);
		if (i == 0)
			*ret_echo = n == 4 && memcmp(word, "ECHO", 4) == 0;
		*ret_len = n;
	}
	return word;
}

static void
serve(int listener)
{
	int fd = accept(listener, NULL, NULL);
	FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");

	if (!in || !out)
		_exit(1);
	for (;;) {
		bool echo = false;
		size_t n = 0;
		auto_free char *word = next_command(in, &echo, &n);

		if (echo) {
			(void)fprintf(out, "$%zu\r\n", n);
			(void)fwrite(word, 1, n, out);
			(void)fputs("\r\n", out);
		} else {
			(void)fputs("$40\r\n0123456789012345678901234567890123"
				    "456789\r\n",
			    out);
		}
		(void)fflush(out);
	}
}

struct world {
	char path[64];
	pid_t server;
	uv_loop_t loop;
	struct store *store;
	size_t replies, failures;
	char *sent[SOME]; /* owned; what is to come back */
	size_t len[SOME];
};

static int
set_up(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char url[80];
	struct err e;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)snprintf(w->path, sizeof(w->path), "/tmp/unfarm-test-store.%d",
	    (int)getpid());
	(void)snprintf(at.sun_path, sizeof(at.sun_path), "%s", w->path);
	(void)unlink(w->path);
	if (bind(listener, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    listen(listener, 1) < 0)
		return -1;
	w->server = fork();
	if (w->server == 0)
		serve(listener);
	(void)close(listener);
	(void)uv_loop_init(&w->loop);
	(void)snprintf(url, sizeof(url), "unix:%s", w->path);
	w->store = store_new(&w->loop, url, "t", 0, NULL, &e);
	while (!store_up(w->store))
		(void)uv_run(&w->loop, UV_RUN_ONCE);
	*state = w;
	return 0;
}

static int
tear_down(void **state)
{
	struct world *w = *state;

	store_free(w->store);
	(void)uv_run(&w->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&w->loop), 0);
	(void)kill(w->server, SIGKILL);
	(void)waitpid(w->server, NULL, 0);
	(void)unlink(w->path);
	for (size_t i = 0; i < SOME; i++)
		free(w->sent[i]);
	free(w);
	return 0;
}

static void
run_until(struct world *w, size_t answers)
{
	while (w->replies + w->failures < answers)
		/* 0: nothing is left that an answer could come from. */
		assert_int_not_equal(uv_run(&w->loop, UV_RUN_ONCE) +
					 (int)(w->replies + w->failures),
		    0);
}

/* ---- tests ---- */

static void
on_echo(void *ctx, const redisReply *reply, const struct err *err)
{
	struct world *w = ctx;
	size_t i = w->replies + w->failures;

	if (err) {
		w->failures++;
		return;
	}
	assert_int_equal(reply->len, w->len[i]);
	assert_memory_equal(reply->str, w->sent[i], w->len[i]);
	w->replies++;
}

static void
send_echo(struct world *w, size_t i, size_t n)
{
	w->sent[i] = xmalloc(n + 1);
	w->len[i] = n;
	for (size_t k = 0; k < n; k++)
		w->sent[i][k] = (char)(k * 7 + k / 251 + i);
	store_command(w->store, on_echo, w, "ECHO %b", w->sent[i], n);
}

/* More than the socket takes, and commands behind it while it is sent. */
static void
payloads_of_any_size_arrive_whole_and_in_order(void **state)
{
	static const size_t sizes[] = { 0, 1, 3 * MB, 4095, 4096, 65535, 65536,
		65537, MB, 212992, 1 };
	struct world *w = *state;

	for (size_t i = 0; i < SOME; i++) {
		send_echo(w, i, sizes[i % (sizeof(sizes) / sizeof(*sizes))]);
		if (i % 3 == 0)
			(void)uv_run(&w->loop, UV_RUN_NOWAIT);
	}
	run_until(w, SOME);
	assert_int_equal(w->replies, SOME);
}

static void
on_taken(void *ctx, const redisReply *reply, const struct err *err)
{
	struct world *w = ctx;

	(void)reply;
	assert_null(err);
	w->replies++;
}

/* Processor time of the script call with so much, the best of three. */
static double
cost(struct world *w, const char *payload)
{
	double best = 1e9;

	for (int i = 0; i < 3; i++) {
		struct timespec from, to;
		double s;

		(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
		store_eval_str(
		    w->store, STORE_finish, on_taken, w, payload, NULL);
		run_until(w, w->replies + 1);
		(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
		s = (double)(to.tv_sec - from.tv_sec) +
		    (double)(to.tv_nsec - from.tv_nsec) / 1e9;
		best = s < best ? s : best;
	}
	return best;
}

/* 8 times the bytes; when the rest is moved after each piece, 60 times the cost
 * and more. */
static void
a_payload_costs_as_much_a_byte_when_it_is_large(void **state)
{
	struct world *w = *state;
	auto_free char *payload = xmalloc(64 * MB + 1);
	double small, large;

	/* Fresh memory each time: else it would cost only the large one. */
	(void)mallopt(M_MMAP_THRESHOLD, 64 << 10);
	memset(payload, 'x', 64 * MB);
	payload[64 * MB] = '\0';
	large = cost(w, payload);
	payload[8 * MB] = '\0';
	small = cost(w, payload);
	if (getenv("VERBOSE"))
		(void)fprintf(stderr, "%.1f ms, %.1f ms: %.1f\n", small * 1e3,
		    large * 1e3, large / small);
	assert_true(large < 32 * small);
}

static void
a_connection_that_breaks_in_a_payload_ends_its_calls(void **state)
{
	struct world *w = *state;

	(void)kill(w->server, SIGSTOP);
	send_echo(w, 0, 3 * MB);
	send_echo(w, 1, 10);
	for (int i = 0; i < 5; i++)
		(void)uv_run(&w->loop, UV_RUN_NOWAIT);
	(void)kill(w->server, SIGKILL);
	run_until(w, 2);
	assert_int_equal(w->failures, 2);
	assert_false(store_up(w->store));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    payloads_of_any_size_arrive_whole_and_in_order, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(
		    a_payload_costs_as_much_a_byte_when_it_is_large, set_up,
		    tear_down),
		cmocka_unit_test_setup_teardown(
		    a_connection_that_breaks_in_a_payload_ends_its_calls,
		    set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
