/* A job as clients see it: names, order, and what a missing result reads as. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "cleanup.h"
#include "json.h"
#include "mem.h"
#include "out.h"
#include "view.h"

#define FLAT                                                                   \
	"\"job_id\":\"J\",\"id\":\"J\",\"status\":\"completed\","              \
	"\"success\":true,\"stdout\":\"hi\\n\",\"stderr\":\"e\","              \
	"\"output\":\"hi\\ne\",\"exit_code\":0,\"language\":\"python\","       \
	"\"network_mode\":\"zerotrust\",\"artifacts\":[],"                     \
	"\"execution_mode\":\"pooled\",\"total_time_ms\":12,"                  \
	"\"execution_time_ms\":11,\"execution_time\":11,\"duration_ms\":12,"   \
	"\"created_at\":\"1970-01-01T00:00:01Z\","                             \
	"\"started_at\":\"1970-01-01T00:00:02Z\","                             \
	"\"completed_at\":\"1970-01-01T00:00:03Z\",\"state\":\"completed\","   \
	"\"end_reason\":\"exited\",\"attempts\":1,\"node\":\"n\","             \
	"\"wall_ms\":11,\"run\":{\"exit_code\":5}"
#define NESTED                                                                 \
	"\"result\":{\"success\":true,\"stdout\":\"hi\\n\",\"stderr\":\"e\","  \
	"\"exit_code\":0,\"language\":\"python\",\"artifacts\":[],"            \
	"\"execution_mode\":\"pooled\",\"network_mode\":\"zerotrust\","        \
	"\"total_time_ms\":12}"

static struct job_record
record(enum job_state state)
{
	return (struct job_record){ .id = "J",
		.state = state,
		.language = "python",
		.network_mode = "zerotrust",
		.detected = "",
		.reason = "",
		.message = "",
		.node = "",
		.created_ms = 1000 };
}

static char *
text_of(const struct job_record *rec, enum view_shape shape)
{
	struct out o;
	size_t n;

	out_init(&o);
	view_job(&o, rec, shape);
	return out_steal(&o, &n);
}

/* As a strict parser reads it. */
static json_t *
parsed(const struct job_record *rec, enum view_shape shape)
{
	auto_free char *text = text_of(rec, shape);
	struct err err;
	json_t *v = json_parse(text, strlen(text), &err);

	assert_non_null(v);
	return v;
}

static struct job_record
finished(void)
{
	struct job_record rec = record(JOB_completed);
	struct err err;
	static const char text[] =
	    "{\"run\":{\"exit_code\":5},\"stdout\":\"hi\\n\",\"stderr\":\"e\","
	    "\"exit_code\":0,\"wall_ms\":11,\"total_time_ms\":12,"
	    "\"artifacts\":[],\"isolation\":null,\"unknown\":1}";

	rec.started_ms = 2000;
	rec.finished_ms = 3000;
	rec.attempts = 1;
	rec.reason = "exited";
	rec.node = "n";
	rec.result = json_parse(text, strlen(text), &err);
	assert_non_null(rec.result);
	return rec;
}

static void
test_flat_order(void **state)
{
	struct job_record rec = finished();
	auto_free char *text = text_of(&rec, VIEW_FLAT);

	(void)state;
	assert_string_equal(text, "{" FLAT "}");
	job_record_done(&rec);
}

static void
test_job_is_flat_then_nested(void **state)
{
	struct job_record rec = finished();
	auto_free char *text = text_of(&rec, VIEW_JOB);

	(void)state;
	assert_string_equal(text, "{" FLAT "," NESTED "}");
	job_record_done(&rec);
}

static void
test_open_job_has_no_result(void **state)
{
	struct job_record rec = record(JOB_pending);
	auto_free char *text = text_of(&rec, VIEW_JOB);

	(void)state;
	assert_string_equal(text,
	    "{\"job_id\":\"J\",\"id\":\"J\",\"status\":\"pending\","
	    "\"language\":\"python\",\"network_mode\":\"zerotrust\","
	    "\"created_at\":\"1970-01-01T00:00:01Z\",\"state\":\"pending\"}");
}

static void
test_accepted_job(void **state)
{
	struct job_record rec = record(JOB_pending);
	auto_free char *text = NULL;

	(void)state;
	rec.detected = "python";
	text = text_of(&rec, VIEW_ACCEPTED);
	assert_non_null(strstr(text,
	    "{\"job_id\":\"J\",\"id\":\"J\",\"status\":\"pending\","
	    "\"message\":\"Job accepted for execution\","
	    "\"detected_language\":\"python\""));
}

static void
test_jobs_without_a_result(void **state)
{
	static const struct {
		enum job_state state;
		int exit_code;
		bool error;
	} cases[] = {
		{ JOB_cancelled, -1, false },
		{ JOB_failed, -1, true },
		{ JOB_timeout, 124, false },
		{ JOB_completed, -1, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct job_record rec = record(cases[i].state);
		json_auto_t *o = parsed(&rec, VIEW_CANCEL);
		const json_t *in = json_object_get(o, "result");

		assert_int_equal(
		    json_integer_value(json_object_get(o, "exit_code")),
		    cases[i].exit_code);
		assert_int_equal(
		    json_integer_value(json_object_get(in, "exit_code")),
		    cases[i].exit_code);
		assert_string_equal(
		    json_string_value(json_object_get(o, "stdout")), "");
		assert_true(json_is_false(json_object_get(o, "success")));
		assert_int_equal(
		    json_object_get(o, "error") != NULL, cases[i].error);
		assert_non_null(json_object_get(o, "message"));
	}
}

/* Replies as Redis sends them. */
static redisReply *
reply(const char *text)
{
	redisReader *reader = redisReaderCreate();
	void *r = NULL;

	assert_int_equal(redisReaderFeed(reader, text, strlen(text)), REDIS_OK);
	assert_int_equal(redisReaderGetReply(reader, &r), REDIS_OK);
	redisReaderFree(reader);
	assert_non_null(r);
	return r;
}

static void
test_odd_replies_are_errors(void **state)
{
	static const struct {
		const char *text;
		enum err_code code;
	} cases[] = {
		{ "*-1\r\n", ERR_NOT_FOUND },
		{ "*0\r\n", ERR_SYS },
		{ ":1\r\n", ERR_SYS },
		{ "*2\r\n:1\r\n:2\r\n", ERR_SYS },
		{ "*1\r\n*2\r\n$5\r\nstate\r\n$3\r\nodd\r\n", ERR_SYS },
		{ "*1\r\n*3\r\n$5\r\nstate\r\n:1\r\n$1\r\nx\r\n", ERR_SYS },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		redisReply *r = reply(cases[i].text);
		struct job_record rec;
		struct err err;

		assert_int_equal(job_record_from_reply(&rec, "J", r, &err), -1);
		assert_int_equal(err.code, cases[i].code);
		freeReplyObject(r);
	}
}

/* Their difference does not fit a number. */
static void
test_times_before_all_time_read_as_unset(void **state)
{
	redisReply *r = reply("*1\r\n*6\r\n$5\r\nstate\r\n$9\r\ncompleted\r\n"
			      "$7\r\ncreated\r\n$19\r\n9223372036854775807\r\n"
			      "$8\r\nfinished\r\n"
			      "$20\r\n-9223372036854775808\r\n");
	struct job_record rec;
	struct err err;
	json_t *o;

	(void)state;
	assert_int_equal(job_record_from_reply(&rec, "J", r, &err), 0);
	assert_int_equal(rec.finished_ms, 0);
	o = parsed(&rec, VIEW_JOB);
	assert_int_equal(
	    json_integer_value(json_object_get(o, "total_time_ms")), 0);
	assert_null(json_object_get(o, "completed_at"));
	json_decref(o);
	freeReplyObject(r);
}

static void
test_damaged_result_reads_as_none(void **state)
{
	static const char *const texts[] = {
		"*2\r\n*2\r\n$5\r\nstate\r\n$9\r\ncompleted\r\n$3\r\n{,}\r\n",
		"*2\r\n*2\r\n$5\r\nstate\r\n$9\r\ncompleted\r\n$2\r\n[]\r\n",
		"*2\r\n*2\r\n$5\r\nstate\r\n$9\r\ncompleted\r\n$0\r\n\r\n",
		"*1\r\n*2\r\n$5\r\nstate\r\n$9\r\ncompleted\r\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		redisReply *r = reply(texts[i]);
		struct job_record rec;
		struct err err;
		json_t *o;

		assert_int_equal(job_record_from_reply(&rec, "J", r, &err), 0);
		assert_null(rec.result);
		o = parsed(&rec, VIEW_JOB);
		assert_non_null(json_object_get(o, "result"));
		json_decref(o);
		freeReplyObject(r);
	}
}

#define NEWS                                                                   \
	"J\0state\0completed\0pk\0unsb-pk-1\0detected\0\0odd\0x\0"             \
	"finished\0003000\0\0"

static void
test_news_of_an_end(void **state)
{
	static const char whole[] = NEWS "{\"exit_code\":0}", bare[] = NEWS,
			  damaged[] = NEWS "{,}";
	struct job_record rec;

	(void)state;
	assert_true(job_record_from_message(&rec, whole, sizeof(whole) - 1));
	assert_string_equal(rec.id, "J");
	assert_int_equal(rec.state, JOB_completed);
	assert_string_equal(rec.owner, "unsb-pk-1");
	assert_string_equal(rec.detected, "");
	assert_string_equal(rec.node, "");
	assert_int_equal(rec.finished_ms, 3000);
	assert_non_null(rec.result);
	job_record_done(&rec);
	assert_true(job_record_from_message(&rec, bare, sizeof(bare) - 1));
	assert_null(rec.result);
	assert_true(
	    job_record_from_message(&rec, damaged, sizeof(damaged) - 1));
	assert_null(rec.result);
}

/* However much of it is there: nothing beyond is looked at. */
static void
test_news_that_are_cut_off_tell_nothing(void **state)
{
	static const char news[] = NEWS, odd[] = "J\0state\0odd\0\0";
	struct job_record rec;

	(void)state;
	for (size_t n = 1; n < sizeof(news) - 1; n++) {
		auto_free char *cut = xmalloc(n + 1);

		memcpy(cut, news, n);
		cut[n] = '\0';
		assert_false(job_record_from_message(&rec, cut, n));
	}
	assert_false(job_record_from_message(&rec, odd, sizeof(odd) - 1));
}

static void
test_row(void **state)
{
	redisReply *r = reply("*5\r\n$1\r\nJ\r\n$7\r\nrunning\r\n$1\r\nc\r\n"
			      "$9\r\nzerotrust\r\n$4\r\n1000\r\n");
	auto_free char *text = NULL;
	struct out o;
	size_t n;

	out_init(&o);
	view_job_row(&o, r);
	text = out_steal(&o, &n);
	(void)state;
	assert_string_equal(text,
	    "{\"job_id\":\"J\",\"id\":\"J\",\"status\":\"running\","
	    "\"language\":\"c\",\"network_mode\":\"zerotrust\","
	    "\"created_at\":\"1970-01-01T00:00:01Z\","
	    "\"submitted_at\":\"1970-01-01T00:00:01Z\","
	    "\"state\":\"running\"}");
	freeReplyObject(r);
}

static void
test_text_is_written_for_strict_and_for_simple_readers(void **state)
{
	static const struct {
		const char *in;
		size_t n;
		const char *want;
	} cases[] = {
		{ "", 0, "\"\"" },
		{ "a\"\\b\n\r\t", 7, "\"a\\\"\\\\b\\n\\r\\t\"" },
		{ "\x1b\b\f\0", 4, "\"\\u001b\\u0008\\u000c\\u0000\"" },
		{ "/\x7f\xc3\xa9", 4, "\"/\x7f\xc3\xa9\"" },
		{ "a\xff", 2, "\"a\xef\xbf\xbd\"" },
		{ "\\\\", 2, "\"\\\\\\u005c\"" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_free char *text = NULL;
		struct out o;
		size_t n;

		out_init(&o);
		out_text(&o, NULL, cases[i].in, cases[i].n);
		text = out_steal(&o, &n);
		assert_string_equal(text, cases[i].want);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flat_order),
		cmocka_unit_test(test_job_is_flat_then_nested),
		cmocka_unit_test(test_open_job_has_no_result),
		cmocka_unit_test(test_accepted_job),
		cmocka_unit_test(test_jobs_without_a_result),
		cmocka_unit_test(test_odd_replies_are_errors),
		cmocka_unit_test(test_damaged_result_reads_as_none),
		cmocka_unit_test(test_times_before_all_time_read_as_unset),
		cmocka_unit_test(test_news_of_an_end),
		cmocka_unit_test(test_news_that_are_cut_off_tell_nothing),
		cmocka_unit_test(test_row),
		cmocka_unit_test(
		    test_text_is_written_for_strict_and_for_simple_readers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
