/*
 * Results: what a worker saw, any bytes, through its record in Redis to what
 * the client reads, and there back to the same bytes.
 */
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "b64.h"
#include "buf.h"
#include "cleanup.h"
#include "fuzz.h"
#include "job.h"
#include "json.h"
#include "out.h"
#include "un_result.h"
#include "view.h"

enum { ARTIFACTS_MAX = 4 };

static void
feed_bytes_to(struct feed *f, struct job_bytes *to)
{
	size_t n;
	const uint8_t *p = feed_bytes(f, feed_u8(f) * 2, &n);

	job_bytes_set(to, p, n);
}

static void
feed_step(struct feed *f, struct job_step *s)
{
	s->ran = feed_u8(f) & 1;
	s->reason = (enum job_reason)(feed_u8(f) % REASON__COUNT);
	s->exit_code = (int)feed_u8(f) - 1;
	s->signal = (int)feed_u8(f) & 63;
	s->wall_us = (int64_t)(feed_u64(f) >> 1);
	s->cpu_us = (int64_t)(feed_u64(f) >> 1);
	s->memory_peak = (int64_t)(feed_u64(f) >> 1);
}

static void
feed_result(struct feed *f, struct job_result *r)
{
	size_t n = feed_u8(f) % ARTIFACTS_MAX;

	feed_step(f, &r->compile);
	feed_step(f, &r->run);
	feed_bytes_to(f, &r->compile_text);
	feed_bytes_to(f, &r->out);
	feed_bytes_to(f, &r->err);
	r->out_total = r->out.len + feed_u8(f);
	r->err_total = r->err.len + feed_u8(f);
	r->layers = "user,mount";
	while (n-- > 0) {
		auto_free char *name = feed_line(f);
		size_t len;
		const uint8_t *p = feed_bytes(f, feed_u8(f), &len);
		auto_buf struct buf content = { .cap = len };

		must(buf_add(&content, p, len) == 0);
		job_result_add_artifact(r, name, &content);
	}
}

/* As Redis gives it back: the record's fields, then the result. */
static void
show(char *result, struct out *o)
{
	static char state[] = "state", completed[] = "completed";
	redisReply name = { .type = REDIS_REPLY_STRING, .str = state };
	redisReply value = { .type = REDIS_REPLY_STRING, .str = completed };
	redisReply *pair[] = { &name, &value };
	redisReply fields = {
		.type = REDIS_REPLY_ARRAY, .elements = 2, .element = pair
	};
	redisReply text = {
		.type = REDIS_REPLY_STRING, .str = result, .len = strlen(result)
	};
	redisReply *both[] = { &fields, &text };
	const redisReply reply = {
		.type = REDIS_REPLY_ARRAY, .elements = 2, .element = both
	};
	struct job_record rec;
	struct err err;

	must(job_record_from_reply(&rec, "job_1", &reply, &err) == 0);
	must(rec.result);
	view_job(o, &rec, VIEW_JOB);
	job_record_done(&rec);
}

/* The exact bytes are in base64 beside the text when they are no text. */
static void
must_hold(const json_t *job, const char *name, const char *name_base64,
    const struct job_bytes *b)
{
	auto_buf struct buf raw = { .cap = SIZE_MAX / 4 };
	const json_t *exact = json_object_get(job, name_base64);
	const json_t *text = json_object_get(job, name);
	struct err err;

	must(json_is_string(text));
	if (exact)
		must(b64_decode(json_string_value(exact),
			 json_string_length(exact), &raw, &err) == 0);
	else
		must(buf_add(&raw, json_string_value(text),
			 json_string_length(text)) == 0);
	must(raw.len == b->len &&
	     (b->len == 0 || memcmp(raw.data, b->data, b->len) == 0));
}

static void
must_hold_artifacts(const json_t *job, const struct job_result *r)
{
	const json_t *list = json_object_get(job, "artifacts");

	must(json_array_size(list) == r->n_artifacts);
	for (size_t i = 0; i < r->n_artifacts; i++) {
		const json_t *a = json_array_get(list, i);

		must(json_is_string(json_object_get(a, "filename")));
		must_hold(a, "content_base64", "content_base64",
		    &r->artifacts[i].content);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, size };
	struct job_result r = { .layers = NULL };
	auto_free char *text = NULL, *answer = NULL;
	json_auto_t *job = NULL;
	struct err err;
	struct out o;
	size_t n;
	int status;

	feed_result(&f, &r);
	text = job_result_encode(&r);
	must_be_json(text, strlen(text));
	out_init(&o);
	show(text, &o);
	answer = out_steal(&o, &n);
	must_be_json(answer, n);
	job = json_parse(answer, n, &err);
	must_hold(job, "stdout", "stdout_base64", &r.out);
	must_hold(job, "stderr", "stderr_base64", &r.err);
	must_hold_artifacts(job, &r);
	status = un_result_status(job);
	must(status >= 0 && status <= 255);
	must((status == 0) == (job_result_last(&r)->exit_code == 0));
	job_result_done(&r);
	return 0;
}
