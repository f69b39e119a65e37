/*
 * A job's record and result as Redis gives them, into what a client reads:
 * whatever is in there, the answer is JSON.
 */
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "fuzz.h"
#include "mem.h"
#include "out.h"
#include "view.h"

static void
must_be_object(struct out *o)
{
	size_t n;
	auto_free char *text = out_steal(o, &n);

	must_be_json(text, n);
	must(text[0] == '{' && strstr(text, "\"status\":\""));
}

/* The same as news of its end. */
static void
show_news(const char *data, size_t size)
{
	auto_free char *text = xmalloc(size + 1);
	struct job_record rec;
	struct out o;

	memcpy(text, data, size);
	text[size] = '\0';
	if (!job_record_from_message(&rec, text, size))
		return;
	out_init(&o);
	view_job(&o, &rec, VIEW_JOB);
	must_be_object(&o);
	job_record_done(&rec);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, size };
	redisReply *r = fuzz_reply(&f, 0);
	struct job_record rec;
	struct out o;
	struct err err;

	out_init(&o);
	view_job_row(&o, r);
	must_be_object(&o);
	if (job_record_from_reply(&rec, "job_1", r, &err) == 0) {
		for (int shape = VIEW_FLAT; shape <= VIEW_ACCEPTED; shape++) {
			out_init(&o);
			view_job(&o, &rec, (enum view_shape)shape);
			must_be_object(&o);
		}
		job_record_done(&rec);
	}
	freeReplyObject(r);
	show_news((const char *)data, size);
	return 0;
}
