#include "view.h"

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

static const char *
field_str(const redisReply *r, const char *name)
{
	return store_reply_str(store_reply_field(r, name), "");
}

/* Times and counts: less than nothing is nothing. */
static int64_t
field_int(const redisReply *r, const char *name)
{
	int64_t v = store_reply_int(store_reply_field(r, name), 0);

	return v > 0 ? v : 0;
}

/* Nothing, or something that is no object, reads as "no result". */
static json_t *
parse_result(const redisReply *r)
{
	struct err ignored;
	json_t *v;

	if (!r || r->type != REDIS_REPLY_STRING || r->len == 0)
		return NULL;
	v = json_parse(r->str, r->len, &ignored);
	if (v && !json_is_object(v)) {
		json_decref(v);
		v = NULL;
	}
	return v;
}

int
job_record_from_reply(struct job_record *ret_rec, const char *id,
    const redisReply *r, struct err *err)
{
	const redisReply *f = store_reply_at(r, 0);
	int state;

	if (r->type == REDIS_REPLY_NIL)
		return err_set(
		    err, ERR_NOT_FOUND, 0, "Job not found or expired");
	state = job_state_from_name(field_str(f, "state"));
	if (state < 0)
		return err_set(
		    err, ERR_SYS, 0, "the record of job `%s` is damaged", id);
	*ret_rec = (struct job_record){
		.id = id,
		.state = (enum job_state)state,
		.language = field_str(f, "lang"),
		.network_mode = field_str(f, "net"),
		.detected = field_str(f, "detected"),
		.reason = field_str(f, "reason"),
		.message = field_str(f, "message"),
		.node = field_str(f, "node"),
		.created_ms = field_int(f, "created"),
		.started_ms = field_int(f, "started"),
		.finished_ms = field_int(f, "finished"),
		.attempts = field_int(f, "attempts"),
		.result = parse_result(store_reply_at(r, 1)),
	};
	return 0;
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
