/*
 * bench-queue - what the queue's scripts cost while many jobs wait.
 *
 *	bench-queue [-d DEPTH,DEPTH...] [-n ROUNDS] [-k KEYS] EMPTY FULL
 *	bench-queue -f N -K PUBLIC_KEY [-P PREFIX] URL
 *
 * EMPTY and FULL are the URLs of two Redis servers that nobody else uses.  At
 * each depth FULL has that many waiting jobs, spread over KEYS keys, and EMPTY
 * none; enqueue, take and finish are timed one call at a time on both in turn,
 * so that a machine that is busier for a moment slows both.  Prints a line of
 * JSON a depth, microseconds.
 *
 * The second form puts N jobs of a key into a farm's queue and ends.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "attr.h"
#include "clock_ns.h"
#include "hist.h"
#include "id.h"
#include "mem.h"
#include "store.h"

#define SPEC                                                                   \
	"{\"language\":\"bash\",\"network_mode\":\"zerotrust\",\"code\":"      \
	"\"ZWNobyAxCg==\",\"ttl\":60,\"vcpu\":1}"
#define WORKER   "bench"
#define NO_LIMIT "100000000"

enum { PIPELINE = 1000, BATCH = 50, DEPTHS_MAX = 16, KEYS_MAX = 100000 };

enum step { ENQUEUE, TAKE, FINISH, STEP__COUNT };
static const char *const step_names[] = { "enqueue", "take", "finish" };

struct queue {
	uv_loop_t *loop;
	struct store *store;
	const char *key; /* NULL: keys of our own, in turn */
	long keys, next_key;
	long depth;
	unsigned pending;
	char job[ID_MAX], lease[64];
	struct hist hist[STEP__COUNT];
};

static void
fail(const char *what, const char *why)
{
	(void)fprintf(stderr, "bench-queue: %s: %s\n", what, why);
	exit(70);
}

static void
on_done(void *ctx, const redisReply *r, const struct err *err)
{
	struct queue *q = ctx;

	(void)r;
	if (err)
		fail("redis", err->msg);
	q->pending--;
}

static void
settle(struct queue *q)
{
	while (q->pending > 0)
		(void)uv_run(q->loop, UV_RUN_ONCE);
}

static void
connect_to(struct queue *q, const char *url, const char *prefix)
{
	struct err err;

	q->store = store_new(q->loop, url, prefix, 0, NULL, &err);
	if (!q->store)
		fail(url, err.msg);
	while (!store_up(q->store))
		(void)uv_run(q->loop, UV_RUN_ONCE);
}

/* ---- the steps ---- */

static void
on_enqueued(void *ctx, const redisReply *r, const struct err *err)
{
	const char *word = store_reply_str(store_reply_at(r, 0), "");

	if (!err && strcmp(word, "ok") != 0)
		fail("enqueue", word);
	on_done(ctx, r, err);
}

static void
enqueue(struct queue *q)
{
	char id[ID_MAX], key[32];

	id_new_job(id);
	(void)snprintf(
	    key, sizeof(key), "unsb-pk-%ld", q->next_key++ % q->keys);
	q->pending++;
	store_eval_str(q->store, STORE_enqueue, on_enqueued, q, id,
	    q->key ? q->key : key, "bash:1", "bash", "zerotrust", SPEC,
	    NO_LIMIT, NO_LIMIT, NO_LIMIT, NO_LIMIT, "", "", "0", "", "", NULL);
}

static void
on_taken(void *ctx, const redisReply *r, const struct err *err)
{
	const redisReply *job = store_reply_at(r, 0);
	struct queue *q = ctx;

	if (!err && !job)
		fail("take", "nothing");
	(void)snprintf(q->job, sizeof(q->job), "%s",
	    store_reply_str(store_reply_at(job, 0), ""));
	(void)snprintf(q->lease, sizeof(q->lease), "%s",
	    store_reply_str(store_reply_at(job, 1), ""));
	on_done(ctx, r, err);
}

static void
take(struct queue *q)
{
	q->pending++;
	store_eval_str(q->store, STORE_take, on_taken, q, WORKER, "node", "8",
	    "1", "600000", NULL);
}

static void
on_finished(void *ctx, const redisReply *r, const struct err *err)
{
	if (!err && store_reply_int(r, 0) != 1)
		fail("finish", "the lease was lost");
	on_done(ctx, r, err);
}

static void
finish(struct queue *q)
{
	q->pending++;
	store_eval_str(q->store, STORE_finish, on_finished, q, q->job, q->lease,
	    "completed", "exited", "", "{}", "1000", NULL);
}

static void (*const steps[])(struct queue *q) = { enqueue, take, finish };

/* Jobs in, out and ended, as many of each: the depth stays. */
static void
measure(struct queue *q, long n)
{
	for (long i = 0; i < n; i++)
		for (int s = 0; s < STEP__COUNT; s++) {
			int64_t since = clock_ns();

			steps[s](q);
			settle(q);
			hist_add(&q->hist[s], clock_ns() - since);
		}
}

/* ---- depths ---- */

static void
fill(struct queue *q, long depth)
{
	for (; q->depth < depth; q->depth++) {
		enqueue(q);
		if (q->pending >= PIPELINE)
			settle(q);
	}
	settle(q);
}

static void
make_keys(struct queue *q)
{
	for (long i = 0; i < q->keys; i++) {
		q->pending++;
		store_command(q->store, on_done, q,
		    "HSET %skey:unsb-pk-%ld concurrency " NO_LIMIT,
		    store_prefix(q->store), i);
	}
	q->pending++;
	store_command(q->store, on_done, q, "SADD %scan:" WORKER " bash",
	    store_prefix(q->store));
	settle(q);
}

static void
print_queue(const char *name, const struct queue *q)
{
	(void)printf(",\"%s\":{", name);
	for (int s = 0; s < STEP__COUNT; s++) {
		(void)printf("%s\"%s\":", s > 0 ? "," : "", step_names[s]);
		hist_print(stdout, &q->hist[s]);
	}
	(void)printf("}");
}

static void
measure_depth(struct queue *empty, struct queue *full, long rounds)
{
	for (int s = 0; s < STEP__COUNT; s++) {
		hist_init(&empty->hist[s]);
		hist_init(&full->hist[s]);
	}
	for (long done = 0; done < rounds; done += BATCH) {
		measure(empty, BATCH);
		measure(full, BATCH);
	}
	(void)printf("{\"depth\":%ld", full->depth);
	print_queue("empty", empty);
	print_queue("full", full);
	(void)printf("}\n");
	(void)fflush(stdout);
}

/* ---- options ---- */

static long
number(const char *text, char **ret_end)
{
	char *end;
	long v = strtol(text, &end, 10);

	if (end == text || v < 0 || v > 100000000 || (!ret_end && *end))
		fail("not a number", text);
	if (ret_end)
		*ret_end = end;
	return v;
}

struct options {
	long depths[DEPTHS_MAX];
	size_t n_depths;
	long rounds, keys, fill;
	const char *key, *prefix;
};

static void
parse_depths(struct options *o, const char *text)
{
	char *end;

	for (o->n_depths = 0; o->n_depths < DEPTHS_MAX;) {
		o->depths[o->n_depths++] = number(text, &end);
		if (*end != ',')
			return;
		text = end + 1;
	}
}

static int
parse_options(int argc, char **argv, struct options *o)
{
	int c;

	while ((c = getopt(argc, argv, "d:n:k:f:K:P:")) != -1) {
		if (c == 'd')
			parse_depths(o, optarg);
		else if (c == 'n')
			o->rounds = number(optarg, NULL);
		else if (c == 'k')
			o->keys = number(optarg, NULL);
		else if (c == 'f')
			o->fill = number(optarg, NULL);
		else if (c == 'K')
			o->key = optarg;
		else if (c == 'P')
			o->prefix = optarg;
		else
			return -1;
	}
	if (o->keys < 1 || o->keys > KEYS_MAX || (o->fill > 0) != !!o->key)
		return -1;
	return argc - optind == (o->key ? 1 : 2) ? 0 : -1;
}

static struct queue *
queue_new(uv_loop_t *loop, const char *url, const struct options *o)
{
	struct queue *q = xcalloc(1, sizeof(*q));

	q->loop = loop;
	q->keys = o->keys;
	q->key = o->key;
	connect_to(q, url, o->prefix);
	return q;
}

/* The loop ends only when nobody is connected any more. */
static void
queues_free(struct queue *a, struct queue *b)
{
	uv_loop_t *loop = a->loop;

	store_free(a->store);
	if (b)
		store_free(b->store);
	(void)uv_run(loop, UV_RUN_DEFAULT);
	free(a);
	free(b);
}

static void
measure_depths(uv_loop_t *loop, const struct options *o, char **urls)
{
	struct queue *empty = queue_new(loop, urls[0], o);
	struct queue *full = queue_new(loop, urls[1], o);

	make_keys(empty);
	make_keys(full);
	measure(empty, BATCH); /* once for the caches */
	measure(full, BATCH);
	for (size_t i = 0; i < o->n_depths; i++) {
		fill(full, o->depths[i]);
		measure_depth(empty, full, o->rounds);
	}
	queues_free(empty, full);
}

int
main(int argc, char **argv)
{
	struct options o = { .depths = { 0, 1000 },
		.n_depths = 2,
		.rounds = 1000,
		.keys = 100,
		.prefix = "unfarm" };
	uv_loop_t loop;

	if (parse_options(argc, argv, &o) < 0) {
		(void)fputs("usage: bench-queue [-d DEPTH,...] [-n ROUNDS] "
			    "[-k KEYS] EMPTY FULL\n"
			    "       bench-queue -f N -K PUBLIC_KEY [-P PREFIX] "
			    "URL\n",
		    stderr);
		return 64;
	}
	(void)uv_loop_init(&loop);
	if (o.key) {
		struct queue *q = queue_new(&loop, argv[optind], &o);

		fill(q, o.fill);
		queues_free(q, NULL);
	} else {
		measure_depths(&loop, &o, argv + optind);
	}
	return uv_loop_close(&loop) == 0 ? 0 : 70;
}
