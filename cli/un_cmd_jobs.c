/* un_cmd_jobs.c - `un jobs`: list them, show one, cancel one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "cleanup.h"
#include "un_api.h"
#include "un_artifact.h"
#include "un_cmd.h"
#include "un_job.h"
#include "un_output.h"
#include "un_result.h"

struct jobs_options {
	const char *get;
	const char *cancel;
	const char *output;
	bool list;
};

#define AT(member) .offset = offsetof(struct jobs_options, member)
static const struct un_opt opts[] = {
	{ 'l', UN_OPT_FLAG, "list", AT(list),
	    .help = "list recent jobs (the default)" },
	{ 0, UN_OPT_TEXT, "get", AT(get), .arg = "ID",
	    .help = "show a job and its output" },
	{ 0, UN_OPT_TEXT, "cancel", AT(cancel), .arg = "ID",
	    .help = "end a job" },
	{ 'o', UN_OPT_TEXT, "output", AT(output), .arg = "DIR",
	    .help = "with --get: save its artifacts here" },
};

static int
list(struct un_api *api)
{
	static const char row[] = "%-38s %-12s %-14s %s";
	const struct un_request rq = { .method = "GET", .path = "/jobs" };
	auto_reply struct un_reply reply;
	const json_t *jobs;

	if (un_cmd_call(api, &rq, &reply) < 0)
		return UN_FAILED;
	jobs = json_is_array(reply.json) ? reply.json
					 : json_object_get(reply.json, "jobs");
	if (json_array_size(jobs) == 0) {
		(void)puts("No jobs found");
		return UN_OK;
	}
	(void)printf(row, "JOB ID", "STATUS", "LANGUAGE", "CREATED\n");
	for (size_t i = 0; i < json_array_size(jobs); i++) {
		const json_t *job = json_array_get(jobs, i);

		un_output_line(stdout, UN_PLAIN, row, un_job_id(job),
		    un_api_text(job, "status"), un_api_text(job, "language"),
		    un_api_text(job, "created_at"));
	}
	return UN_OK;
}

static const struct {
	const char *label;
	const char *key;
} rows[] = {
	{ "Status:", "status" },
	{ "Language:", "language" },
	{ "Network:", "network_mode" },
	{ "Created:", "created_at" },
	{ "Started:", "started_at" },
	{ "Completed:", "completed_at" },
	{ "Exit Code:", "exit_code" },
	{ "Time (ms):", "total_time_ms" },
	{ "Ended by:", "end_reason" },
	{ "Error:", "error" },
};

static void
show_row(const char *label, const json_t *value)
{
	if (json_is_string(value))
		un_output_line(stdout, UN_PLAIN, "%-11s %s", label,
		    json_string_value(value));
	else if (json_is_integer(value))
		un_output_line(stdout, UN_PLAIN, "%-11s %" JSON_INTEGER_FORMAT,
		    label, json_integer_value(value));
}

static void
show(const json_t *job)
{
	un_output_line(stdout, UN_PLAIN, "%-11s %s", "Job ID:", un_job_id(job));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		show_row(rows[i].label, json_object_get(job, rows[i].key));
	if (!un_job_ended(job))
		return;
	(void)puts("--- stdout ---");
	un_result_show_stdout(job);
	(void)fflush(stdout);
	if (*un_api_text(job, "stderr"))
		(void)fputs("--- stderr ---\n", stderr);
	un_result_show_stderr(job);
}

static int
get(struct un_api *api, const struct jobs_options *o)
{
	auto_free char *path = NULL;
	auto_reply struct un_reply reply = { .status = 0 };
	struct un_request rq = { .method = "GET" };

	if (asprintf(&path, "/jobs/%s", o->get) < 0)
		abort();
	rq.path = path;
	if (un_cmd_call(api, &rq, &reply) < 0)
		return UN_FAILED;
	show(reply.json);
	if (o->output && !un_artifact_save_all(reply.json, o->output, NULL))
		return UN_FAILED;
	return UN_OK;
}

static int
cancel(struct un_api *api, const char *id)
{
	json_auto_t *job = NULL;
	struct err err = { 0 };
	const char *status;

	if (un_job_cancel(api, id, &job, &err) < 0)
		return un_output_refuse(UN_FAILED, "%s", err.msg);
	status = un_api_text(job, "status");
	if (*status && strcmp(status, "cancelled") != 0)
		un_output_line(stdout, UN_YELLOW,
		    "Job %s has already ended: %s", id, status);
	else
		un_output_line(stdout, UN_GREEN, "Job %s cancelled", id);
	return UN_OK;
}

static int
check(const struct un_call *call)
{
	const struct jobs_options *o = call->options;
	const char *id = o->get ? o->get : o->cancel;

	if ((o->get != NULL) + (o->cancel != NULL) + o->list > 1)
		return un_output_refuse(
		    UN_USAGE, "--list, --get and --cancel: choose one");
	if (id && !un_job_id_valid(id))
		return un_output_refuse(UN_USAGE, "`%s` is not a job id", id);
	return un_cmd_no_words(call);
}

static int
run(const struct un_call *call)
{
	const struct jobs_options *o = call->options;
	struct un_api *api = NULL;
	int status = check(call);

	if (status == UN_OK)
		status = un_cmd_connect(&call->global, true, &api);
	if (status == UN_OK)
		status = o->get      ? get(api, o)
			 : o->cancel ? cancel(api, o->cancel)
				     : list(api);
	un_api_free(api);
	return status;
}

const struct un_cmd un_cmd_jobs = {
	.name = "jobs",
	.usage = "un jobs [--list | --get ID [-o DIR] | --cancel ID]",
	.summary = "list, show and cancel jobs",
	.opts = opts,
	.n_opts = ARRAY_LEN(opts),
	.options_size = sizeof(struct jobs_options),
	.run = run,
};
