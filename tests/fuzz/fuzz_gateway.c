/*
 * What a client sends, into the functions that read it: routes, queries,
 * authentication headers, job specs, and a job's record back out of Redis.
 * The first byte of the input chooses the reader.
 *
 * Runs in the repository's root: it loads conf/.
 */
// with: gateway/auth.c gateway/farm.c gateway/job_call.c gateway/keyring.c
// with: gateway/metrics.c gateway/out.c gateway/query.c gateway/request.c
// with: gateway/respond.c gateway/route.c gateway/route_cluster_read.c
// with: gateway/route_health_read.c gateway/route_job_cancel.c
// with: gateway/route_job_create.c gateway/route_job_list.c
// with: gateway/route_job_read.c gateway/route_key_validate.c
// with: gateway/route_language_list.c gateway/route_metrics_read.c
// with: gateway/route_shell_list.c gateway/route_stats_read.c
// with: gateway/route_table.c gateway/server.c gateway/signature.c
// with: gateway/spec.c gateway/view.c gateway/waiters.c
#include <hiredis/hiredis.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "job.h"
#include "json.h"
#include "lang.h"
#include "out.h"
#include "query.h"
#include "route.h"
#include "settings.h"
#include "signature.h"
#include "spec.h"
#include "view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
	struct settings set;
	struct lang_registry *langs;
};

static const struct world *
the_world(void)
{
	static struct world w; /* read-only once made; lives as long as us */
	struct err err;

	if (w.langs)
		return &w;
	settings_default(&w.set);
	w.set.gateway_max_code_kb = 1;
	w.set.gateway_max_file_kb = 1;
	w.langs = lang_load("conf", &err);
	if (!w.langs)
		abort();
	return &w;
}

static struct spec_rules
rules(void)
{
	return (struct spec_rules){ .set = &the_world()->set,
		.langs = the_world()->langs,
		.max_vcpu = 4 };
}

/* A spec that is accepted must survive its way through Redis. */
static void
check_spec(struct job_spec *s)
{
	struct job_spec *again;
	struct err err;
	char *text;

	if (!s)
		return;
	text = job_spec_encode(s);
	again = job_spec_decode(text, strlen(text), &err);
	if (!again || again->n_files != s->n_files ||
	    again->n_args != s->n_args || again->code.len != s->code.len)
		abort();
	job_spec_free(again);
	job_spec_free(s);
	free(text);
}

static void
fuzz_json(const char *text, size_t n)
{
	const struct spec_rules r = rules();
	struct err err;
	bool async;

	check_spec(spec_from_json(&r, text, n, &async, &err));
}

/* Query, newline, body. */
static void
fuzz_run(const char *text, size_t n)
{
	const struct spec_rules r = rules();
	const char *end = memchr(text, '\n', n);
	size_t len = end ? (size_t)(end - text) : n;
	const struct query q = { text, len };
	const char *body = end ? end + 1 : text + n;
	struct err err;

	check_spec(spec_from_run(
	    &r, body, (size_t)(text + n - body), n % 2 == 0, &q, &err));
}

static void
fuzz_route(const char *text, size_t n)
{
	static const char *const methods[] = { "GET", "POST", "DELETE", "HEAD",
		"PUT" };
	char allow[ROUTE_ALLOW_MAX];

	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		struct route_hit hit;

		if (route_find(methods[i], text, n, &hit) == ROUTE_FOUND &&
		    hit.id && (hit.id < text || hit.id + hit.id_len > text + n))
			abort();
	}
	route_allow(text, n, allow);
	if (strlen(allow) >= sizeof(allow))
		abort();
}

/* Three lines: the headers; then the body. */
static void
fuzz_claim(const char *text, size_t n)
{
	char *copy = strndup(text, n), *rest = copy, *line[3];
	struct claim c;
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(line); i++)
		line[i] = rest ? strsep(&rest, "\n") : NULL;
	if (claim_parse(line[0], line[1], line[2], &c, &err) == 0) {
		const struct signed_text t = { .method = "POST",
			.target = "/run?x",
			.target_len = 6,
			.path_len = 4,
			.body = rest ? rest : "",
			.body_len = rest ? strlen(rest) : 0 };

		(void)claim_check_clock(&c, 1700000000, 300, &err);
		(void)signature_fits("secret", &c, &t);
	}
	free(copy);
}

/* Whatever Redis held, we write what a strict parser reads. */
static void
check_json(struct out *o)
{
	struct err err;
	size_t n;
	char *text = out_steal(o, &n);
	json_t *v = json_parse(text, n, &err);

	if (!v)
		abort();
	json_decref(v);
	free(text);
	out_init(o);
}

static void
fuzz_view(const char *text, size_t n)
{
	redisReader *reader = redisReaderCreate();
	struct job_record rec;
	struct err err;
	struct out o;
	void *r = NULL;

	out_init(&o);

	(void)redisReaderFeed(reader, text, n);
	if (redisReaderGetReply(reader, &r) == REDIS_OK && r) {
		view_job_row(&o, r);
		check_json(&o);
		if (job_record_from_reply(&rec, "J", r, &err) == 0) {
			view_job(&o, &rec, VIEW_CANCEL);
			check_json(&o);
			job_record_done(&rec);
		}
		freeReplyObject(r);
	}
	redisReaderFree(reader);
}

static void
fuzz_query(const char *text, size_t n)
{
	const struct query q = { text, n };
	struct err err;
	long v;

	free(query_get(&q, "env", &err));
	(void)query_get_int(&q, "wait", 100, &v, &err);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const readers[])(const char *, size_t) = { fuzz_json,
		fuzz_run, fuzz_route, fuzz_claim, fuzz_view, fuzz_query };
	char *text;

	if (size == 0)
		return 0;
	/* A copy of exact size: one byte too far is found. */
	text = malloc(size);
	if (!text)
		return 0;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	readers[data[0] % ARRAY_LEN(readers)](text, size - 1);
	free(text);
	return 0;
}
