#include "un_result.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "attr.h"
#include "b64.h"
#include "buf.h"
#include "un_api.h"
#include "un_output.h"
#include "un_status.h"

enum { EXIT_CODE_MAX = 255 };

/* base64 when the bytes are not UTF-8: the text beside it is only a likeness.*/
static void
show_stream(const json_t *job, FILE *f, enum un_colour c, const char *text_key,
    const char *base64_key)
{
	const json_t *exact = json_object_get(job, base64_key);
	const json_t *text = json_object_get(job, text_key);
	auto_buf struct buf raw = { .cap = UN_ANSWER_MAX };
	struct err err = { 0 };

	if (json_is_string(exact) &&
	    b64_decode(json_string_value(exact), json_string_length(exact),
		&raw, &err) == 0)
		un_output_bytes(f, c, raw.data, raw.len);
	else if (json_is_string(text))
		un_output_bytes(
		    f, c, json_string_value(text), json_string_length(text));
}

void
un_result_show_stdout(const json_t *job)
{
	show_stream(job, stdout, UN_BLUE, "stdout", "stdout_base64");
}

void
un_result_show_stderr(const json_t *job)
{
	show_stream(job, stderr, UN_RED, "stderr", "stderr_base64");
}

/* What a user cannot see from the exit status alone. */
static const struct {
	const char *key;
	const char *value; /* NULL: a boolean that is true */
	const char *text;
} notes[] = {
	{ "stdout_truncated", NULL, "standard output was cut at the limit" },
	{ "stderr_truncated", NULL, "standard error was cut at the limit" },
	{ "artifacts_truncated", NULL, "artifacts were left out at a limit" },
	{ "status", "timeout", "stopped: its time (--ttl) ran out" },
	{ "status", "cancelled", "the job was cancelled" },
	{ "end_reason", "cpu", "stopped: its CPU time ran out" },
	{ "end_reason", "memory", "stopped: it used all its memory (--vcpu)" },
	{ "end_reason", "output", "stopped: it wrote too much output" },
	{ "end_reason", "processes", "it reached its limit of processes" },
};

static void
show_notes(const json_t *job)
{
	for (size_t i = 0; i < ARRAY_LEN(notes); i++) {
		const json_t *v = json_object_get(job, notes[i].key);
		bool hit = notes[i].value ? json_is_string(v) &&
						strcmp(json_string_value(v),
						    notes[i].value) == 0
					  : json_is_true(v);

		if (hit)
			un_output_line(
			    stderr, UN_YELLOW, "un: %s", notes[i].text);
	}
}

/* The only object of the API where "error" may stand beside a success. */
static const char *
failure(const json_t *job)
{
	return strcmp(un_api_text(job, "status"), "failed") == 0
		   ? un_api_text(job, "error")
		   : "";
}

void
un_result_show(const json_t *job)
{
	un_result_show_stdout(job);
	un_result_show_stderr(job);
	if (*failure(job))
		un_output_error("%s", failure(job));
	show_notes(job);
}

int
un_result_status(const json_t *job)
{
	const json_t *code = json_object_get(job, "exit_code");
	const char *status = un_api_text(job, "status");
	json_int_t n = json_integer_value(code);

	if (json_is_integer(code) && n > 0 && n <= EXIT_CODE_MAX)
		return (int)n;
	if (strcmp(status, "timeout") == 0)
		return UN_TIMEOUT;
	/* A job that is failed or cancelled never counts as a success. */
	if (json_is_integer(code) && n == 0 && strcmp(status, "failed") != 0 &&
	    strcmp(status, "cancelled") != 0)
		return UN_OK;
	return UN_FAILED;
}
