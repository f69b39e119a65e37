#include "view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "clock.h"
#include "json.h"
#include "out.h"
#include "store.h"

static void
set_time(struct out *o, const char *name, int64_t wall_ms)
{
	char text[CLOCK_ISO_LEN];

	if (wall_ms <= 0)
		return;
	clock_iso8601(wall_ms, text);
	out_str(o, name, text);
}

/* ---- reading ---- */

static const struct {
	const char *name;
	size_t offset; /* in the record */
	bool number;   /* else a text */
} fields[] = {
#define TEXT(name, member)                                                     \
	{                                                                      \
		name, offsetof(struct job_record, member), false               \
	}
#define NUMBER(name, member)                                                   \
	{                                                                      \
		name, offsetof(struct job_record, member), true                \
	}
	TEXT("pk", owner),
	TEXT("lang", language),
	TEXT("net", network_mode),
	TEXT("detected", detected),
	TEXT("reason", reason),
	TEXT("message", message),
	TEXT("node", node),
	NUMBER("created", created_ms),
	NUMBER("started", started_ms),
	NUMBER("finished", finished_ms),
	NUMBER("attempts", attempts),
#undef TEXT
#undef NUMBER
};

/* Times and counts: less than nothing is nothing, and so is what is none. */
static int64_t
number(const char *text)
{
	char *end;
	long long v;

	errno = 0;
	v = strtoll(text, &end, 10);
	return errno == 0 && *end == '\0' && v > 0 ? v : 0;
}

/* One whose state is not known yet. */
static struct job_record
record_new(const char *id)
{
	struct job_record rec = { .id = id, .state = JOB__COUNT };

	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (!fields[i].number)
			*(const char **)((char *)&rec + fields[i].offset) = "";
	return rec;
}

static void
record_set(struct job_record *rec, const char *name, const char *value)
{
	int state;

	if (strcmp(name, "state") == 0) {
		state = job_state_from_name(value);
		rec->state = state < 0 ? JOB__COUNT : (enum job_state)state;
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		void *member = (char *)rec + fields[i].offset;

		if (strcmp(name, fields[i].name) != 0)
			continue;
		if (fields[i].number)
			*(int64_t *)member = number(value);
		else
			*(const char **)member = value;
		return;
	}
}

/* Nothing, or something that is no object, reads as "no result". */
static json_t *
parse_result(const char *text, size_t n)
{
	struct err ignored;
	json_t *v;

	if (n == 0)
		return NULL;
	v = json_parse(text, n, &ignored);
	if (v && !json_is_object(v)) {
		json_decref(v);
		v = NULL;
	}
	return v;
}

json_t *
job_result_from_reply(const redisReply *r)
{
	return r && r->type == REDIS_REPLY_STRING ? parse_result(r->str, r->len)
						  : NULL;
}

int
job_record_from_reply(struct job_record *ret_rec, const char *id,
    const redisReply *r, struct err *err)
{
	const redisReply *f = store_reply_at(r, 0), *text;
	struct job_record rec = record_new(id);

	if (r->type == REDIS_REPLY_NIL)
		return err_set(
		    err, ERR_NOT_FOUND, 0, "Job not found or expired");
	for (size_t i = 0; store_reply_at(f, i + 1); i += 2)
		record_set(&rec, store_reply_str(f->element[i], ""),
		    store_reply_str(f->element[i + 1], ""));
	if (rec.state == JOB__COUNT)
		return err_set(
		    err, ERR_SYS, 0, "the record of job `%s` is damaged", id);
	text = store_reply_at(r, 1);
	rec.large = text && text->type == REDIS_REPLY_INTEGER;
	rec.result = job_result_from_reply(text);
	*ret_rec = rec;
	return 0;
}

bool
job_record_from_message(
    struct job_record *ret_rec, const char *message, size_t n)
{
	const char *end = message + n, *p = message + strlen(message) + 1;
	struct job_record rec = record_new(message);

	while (p < end && *p) {
		const char *value = p + strlen(p) + 1;

		if (value >= end)
			return false;
		record_set(&rec, p, value);
		p = value + strlen(value) + 1;
	}
	if (p++ >= end || rec.state == JOB__COUNT)
		return false;
	rec.result = parse_result(p, (size_t)(end - p));
	*ret_rec = rec;
	return true;
}

void
job_record_done(struct job_record *rec)
{
	json_decref(rec->result);
	rec->result = NULL;
}

/* ---- what a result says, or would have said ---- */

static const char *
result_str(const struct job_record *rec, const char *name, size_t *ret_len)
{
	const json_t *v = json_object_get(rec->result, name);
	const char *s = json_string_value(v);

	*ret_len = s ? json_string_length(v) : 0;
	return s ? s : "";
}

static long long
result_int(const struct job_record *rec, const char *name, long long def)
{
	const json_t *v = json_object_get(rec->result, name);

	return json_is_integer(v) ? json_integer_value(v) : def;
}

/* Jobs that never ran have no result; timeout(1) taught people 124. */
static long long
exit_code(const struct job_record *rec)
{
	return result_int(
	    rec, "exit_code", rec->state == JOB_timeout ? 124 : -1);
}

static long long
total_ms(const struct job_record *rec)
{
	int64_t from = rec->started_ms > 0 ? rec->started_ms : rec->created_ms;
	int64_t took = rec->finished_ms - from;

	return result_int(rec, "total_time_ms", took > 0 ? took : 0);
}

static bool
success(const struct job_record *rec)
{
	return rec->state == JOB_completed && exit_code(rec) == 0;
}

/* ---- writing ---- */

static void
set_result_text(struct out *o, const char *name, const struct job_record *rec,
    const char *from)
{
	size_t n;
	const char *s = result_str(rec, from, &n);

	out_text(o, name, s, n);
}

static void
set_output(struct out *o, const struct job_record *rec)
{
	size_t n_out, n_err;
	const char *out = result_str(rec, "stdout", &n_out);
	const char *err = result_str(rec, "stderr", &n_err);

	out_joined(o, "output", out, n_out, err, n_err);
}

static void
set_artifacts(struct out *o, const struct job_record *rec)
{
	const json_t *list = json_object_get(rec->result, "artifacts");

	if (json_is_array(list) && json_array_size(list) > 0) {
		out_value(o, "artifacts", list);
		return;
	}
	out_open(o, "artifacts", '[');
	out_close(o, ']');
}

static void
set_ids(struct out *o, const struct job_record *rec)
{
	out_str(o, "job_id", rec->id);
	out_str(o, "id", rec->id);
	out_str(o, "status", job_state_name(rec->state));
}

/* Fields that the flat part and `result` share, in the contract's order. */
static void
set_verdict(struct out *o, const struct job_record *rec, bool with_output)
{
	out_bool(o, "success", success(rec));
	set_result_text(o, "stdout", rec, "stdout");
	set_result_text(o, "stderr", rec, "stderr");
	if (with_output)
		set_output(o, rec);
	out_int(o, "exit_code", exit_code(rec));
	out_str(o, "language", rec->language);
}

static void
set_times(struct out *o, const struct job_record *rec)
{
	long long total = total_ms(rec);
	long long run = result_int(rec, "wall_ms", total);

	out_int(o, "total_time_ms", total);
	out_int(o, "execution_time_ms", run);
	out_int(o, "execution_time", run);
	out_int(o, "duration_ms", total);
}

/* What the worker says beyond the contract; passed on as it is. */
static void
set_extras(struct out *o, const struct job_record *rec)
{
	static const char *const names[] = { "signal", "wall_ms", "cpu_ms",
		"memory_bytes", "stdout_bytes", "stderr_bytes",
		"stdout_truncated", "stderr_truncated", "artifacts_truncated",
		"isolation", "stdout_base64", "stderr_base64", "compile",
		"run" };

	out_str(o, "state", job_state_name(rec->state));
	if (*rec->reason)
		out_str(o, "end_reason", rec->reason);
	if (rec->attempts > 0)
		out_int(o, "attempts", rec->attempts);
	if (*rec->node)
		out_str(o, "node", rec->node);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const json_t *v = json_object_get(rec->result, names[i]);

		if (v && !json_is_null(v))
			out_value(o, names[i], v);
	}
}

static void
set_nested(struct out *o, const struct job_record *rec)
{
	out_open(o, "result", '{');
	set_verdict(o, rec, false);
	set_artifacts(o, rec);
	out_str(o, "execution_mode", "pooled");
	out_str(o, "network_mode", rec->network_mode);
	out_int(o, "total_time_ms", total_ms(rec));
	out_close(o, '}');
}

static const char *
cancel_message(const struct job_record *rec)
{
	if (rec->state == JOB_cancelled)
		return "Job cancelled";
	return job_state_final(rec->state) ? "Job had ended already"
					   : "Job is being cancelled";
}

static void
set_open_job(struct out *o, const struct job_record *rec, enum view_shape shape)
{
	set_ids(o, rec);
	if (shape == VIEW_CANCEL)
		out_str(o, "message", cancel_message(rec));
	out_str(o, "language", rec->language);
	out_str(o, "network_mode", rec->network_mode);
	if (*rec->detected)
		out_str(o, "detected_language", rec->detected);
	set_time(o, "created_at", rec->created_ms);
	set_time(o, "started_at", rec->started_ms);
	out_str(o, "state", job_state_name(rec->state));
}

static void
set_accepted(struct out *o, const struct job_record *rec)
{
	set_ids(o, rec);
	out_str(o, "message", "Job accepted for execution");
	if (*rec->detected)
		out_str(o, "detected_language", rec->detected);
	out_str(o, "language", rec->language);
	out_str(o, "network_mode", rec->network_mode);
	set_time(o, "created_at", rec->created_ms);
	out_str(o, "state", job_state_name(rec->state));
}

static void
set_final_job(
    struct out *o, const struct job_record *rec, enum view_shape shape)
{
	set_ids(o, rec);
	if (shape == VIEW_CANCEL)
		out_str(o, "message", cancel_message(rec));
	set_verdict(o, rec, true);
	out_str(o, "network_mode", rec->network_mode);
	set_artifacts(o, rec);
	out_str(o, "execution_mode", "pooled");
	set_times(o, rec);
	if (*rec->detected)
		out_str(o, "detected_language", rec->detected);
	set_time(o, "created_at", rec->created_ms);
	set_time(o, "started_at", rec->started_ms);
	set_time(o, "completed_at", rec->finished_ms);
	/* The one place where `error` is a field of an answer with 200. */
	if (rec->state == JOB_failed)
		out_str(o, "error",
		    *rec->message ? rec->message : "the job could not be run");
	set_extras(o, rec);
	if (shape != VIEW_FLAT)
		set_nested(o, rec);
}

void
view_job(struct out *o, const struct job_record *rec, enum view_shape shape)
{
	out_open(o, NULL, '{');
	if (shape == VIEW_ACCEPTED)
		set_accepted(o, rec);
	else if (job_state_final(rec->state))
		set_final_job(o, rec, shape);
	else
		set_open_job(o, rec, shape);
	out_close(o, '}');
}

void
view_job_row(struct out *o, const redisReply *r)
{
	static const char *const names[] = { "job_id", "status", "language",
		"network_mode" };
	int64_t created = store_reply_int(store_reply_at(r, 4), 0);

	out_open(o, NULL, '{');
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *s = store_reply_str(store_reply_at(r, i), "");

		out_str(o, names[i], s);
		if (i == 0)
			out_str(o, "id", s);
	}
	set_time(o, "created_at", created);
	set_time(o, "submitted_at", created);
	out_str(o, "state", store_reply_str(store_reply_at(r, 1), ""));
	out_close(o, '}');
}
