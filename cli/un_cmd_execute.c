/*
 * un_cmd_execute.c - `un FILE`, `un CODE`, `un -s LANGUAGE CODE`: the default.
 *
 * One request to /execute carries everything and its answer is the result,
 * unless the job outlasts the request: then it is polled.  Where somebody sits
 * at a terminal the job is submitted to /execute/async and waited for instead,
 * because only a job whose id is known can be cancelled by Ctrl-C.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attr.h"
#include "cleanup.h"
#include "un_api.h"
#include "un_artifact.h"
#include "un_cmd.h"
#include "un_execute.h"
#include "un_interrupt.h"
#include "un_job.h"
#include "un_output.h"
#include "un_result.h"
#include "un_source.h"

enum { VCPU_MAX = 8, TTL_MAX = 900, TTL_SLACK = 30 };

#define AT(member) .offset = offsetof(struct un_execute, member)
static const struct un_opt opts[] = {
	{ 's', UN_OPT_TEXT, "shell", AT(language), .arg = "LANG",
	    .help = "the argument is code in this language" },
	{ 'e', UN_OPT_LIST, NULL, AT(env), .max = UN_ENV_MAX,
	    .arg = "NAME=VALUE",
	    .help = "environment variable (again for more)" },
	{ 'f', UN_OPT_LIST, NULL, AT(files), .max = UN_FILES_MAX, .arg = "FILE",
	    .help = "input file, by its base name (again for more)" },
	{ 'F', UN_OPT_LIST, NULL, AT(files), .max = UN_FILES_MAX, .arg = "FILE",
	    .help = "input file, by its path as typed" },
	{ 'a', UN_OPT_FLAG, "artifacts", AT(artifacts),
	    .help = "save /tmp/artifacts and the compiled program" },
	{ 'o', UN_OPT_TEXT, "output", AT(output), .arg = "DIR",
	    .help = "where to save them (implies -a; default .)" },
	{ 'n', UN_OPT_TEXT, "network", AT(network), .arg = "MODE",
	    .help = "zerotrust (default) or semitrusted" },
	{ 'v', UN_OPT_NUMBER, "vcpu", AT(vcpu), 1, VCPU_MAX, "N",
	    "processors, 1 to 8, with 2 GB of memory each" },
	{ 't', UN_OPT_NUMBER, "ttl", AT(ttl), 1, TTL_MAX, "SECONDS",
	    "time limit, 1 to 900 (default 60)" },
	{ 'y', UN_OPT_FLAG, "yes", AT(yes),
	    .help = "do not ask about large input files" },
	{ 0, UN_OPT_FLAG, "stdin", AT(stdin_wanted),
	    .help = "send our standard input to the program" },
	{ 0, UN_OPT_FLAG, "async", AT(async),
	    .help = "print the job's id and do not wait for it" },
	{ 0, UN_OPT_FLAG, "wasm", AT(wasm),
	    .help = "compile to WebAssembly (not in this version)" },
};

/* ---- what was asked for ---- */

static int
check_words(const struct un_execute *x, const struct un_words *w)
{
	const char *word = w->n ? w->v[0] : NULL;

	if (!word && !x->language)
		return un_output_refuse(UN_USAGE, "no FILE and no CODE given");
	if (x->stdin_wanted && un_source_is_stdin(word, x->language))
		return un_output_refuse(
		    UN_USAGE, "--stdin: standard input is already the code");
	/* Code is one word; two are more likely a forgotten quote. */
	if (w->n_plain > 1 && !un_source_is_stdin(word, x->language) &&
	    !un_source_is_file(word, x->language))
		return un_output_refuse(UN_USAGE,
		    "unexpected argument `%s`: quote the code; arguments for "
		    "the program come after --",
		    w->v[1]);
	return UN_OK;
}

static int
check_env(const struct un_list *env)
{
	for (size_t i = 0; i < env->n; i++) {
		const char *eq = strchr(env->items[i].value, '=');

		if (!eq || eq == env->items[i].value)
			return un_output_refuse(UN_USAGE,
			    "-e: `%s` is not NAME=VALUE", env->items[i].value);
	}
	return UN_OK;
}

static int
check(const struct un_execute *x, const struct un_words *w)
{
	int status = check_words(x, w);

	if (status == UN_OK)
		status = check_env(&x->env);
	if (status != UN_OK)
		return status;
	if (x->wasm)
		return un_output_refuse(
		    UN_FAILED, "--wasm is not available in this version");
	if (x->language && !*x->language)
		return un_output_refuse(
		    UN_FAILED, "-s/--shell: no language given");
	if (x->network && strcmp(x->network, "zerotrust") != 0 &&
	    strcmp(x->network, "semitrusted") != 0)
		return un_output_refuse(UN_FAILED,
		    "-n/--network: `%s` is neither zerotrust nor semitrusted",
		    x->network);
	return UN_OK;
}

/* ---- the job ---- */

static bool
submit_async(const struct un_execute *x)
{
	return x->async || isatty(STDERR_FILENO);
}

static long
read_seconds(const struct un_execute *x)
{
	long want = x->ttl + TTL_SLACK;

	return want > UN_READ_SECONDS ? want : UN_READ_SECONDS;
}

/* No answer, so no id: there is nothing that could be cancelled. */
static int
submit_failed(void)
{
	int sig = un_interrupt_pending();

	if (!sig)
		return UN_FAILED;
	un_output_line(stderr, UN_YELLOW,
	    "The job, if it has begun, runs on until its --ttl.");
	return UN_SIGNALED + sig;
}

static int
submit(struct un_api *api, const struct un_execute *x, const json_t *body,
    json_t **ret_job)
{
	auto_free char *text = json_dumps(body, JSON_COMPACT);
	auto_reply struct un_reply reply;
	struct un_request rq = { .method = "POST",
		.path = submit_async(x) ? "/execute/async" : "/execute",
		.body = text,
		.timeout_seconds = read_seconds(x) };

	if (!text)
		abort();
	rq.body_len = strlen(text);
	if (un_cmd_call(api, &rq, &reply) < 0)
		return submit_failed();
	if (!json_is_object(reply.json))
		return un_output_refuse(UN_FAILED,
		    "%s did not answer with a job", un_api_base(api));
	*ret_job = json_incref(reply.json);
	return UN_OK;
}

/* Ctrl-C: end the job, show what it had written, leave as if killed. */
static int
cancel(struct un_api *api, const char *id)
{
	int sig = un_interrupt_take();
	json_auto_t *job = NULL;
	struct err err = { 0 };

	if (un_job_cancel(api, id, &job, &err) < 0) {
		un_output_error(
		    "job %s could not be cancelled: %s", id, err.msg);
		return UN_SIGNALED + sig;
	}
	un_result_show_stdout(job);
	un_result_show_stderr(job);
	un_output_line(stderr, UN_YELLOW, "job %s cancelled", id);
	return UN_SIGNALED + sig;
}

/* Replaces *job by its final state. */
static int
wait_end(struct un_api *api, bool said, json_t **job)
{
	json_auto_t *start = json_incref(*job);
	const char *id = un_job_id(start);
	json_t *end = NULL;
	struct err err = { 0 };

	if (!un_job_id_valid(id))
		return un_output_refuse(
		    UN_FAILED, "the server gave no usable job id");
	if (said)
		un_output_line(stderr, UN_PLAIN, "job %s", id);
	if (un_job_wait(api, id, said, &end, &err) == 0) {
		json_decref(*job);
		*job = end;
		return UN_OK;
	}
	if (un_interrupt_pending())
		return cancel(api, id);
	un_output_error("%s", err.msg);
	un_output_line(
	    stderr, UN_PLAIN, "It may still be there: un jobs --get %s", id);
	return UN_FAILED;
}

static int
finish(const struct un_execute *x, const struct un_source *source,
    const json_t *job)
{
	int status = un_result_status(job);
	bool saved = true;

	un_result_show(job);
	if (x->artifacts || x->output)
		saved = un_artifact_save_all(
		    job, x->output ? x->output : ".", source->path);
	return saved || status != UN_OK ? status : UN_FAILED;
}

static int
execute(struct un_api *api, const struct un_execute *x,
    const struct un_source *source, const json_t *body)
{
	json_auto_t *job = NULL;
	int status;

	if (!x->async)
		un_interrupt_catch();
	status = submit(api, x, body, &job);
	if (status == UN_OK && !x->async && !un_job_ended(job))
		status = wait_end(api, !submit_async(x), &job);
	un_interrupt_release();
	if (status != UN_OK)
		return status;
	if (!x->async)
		return finish(x, source, job);
	un_output_line(stdout, UN_PLAIN, "%s", un_job_id(job));
	return UN_OK;
}

static int
run_source(const struct un_call *call, const struct un_source *source)
{
	const struct un_execute *x = call->options;
	const struct un_words *w = &call->words;
	json_auto_t *body = NULL;
	struct un_api *api = NULL;
	struct err err = { 0 };
	int status;

	body = un_execute_body(x, source, w->v + 1, w->n - 1, &err);
	if (!body)
		return un_output_refuse(UN_FAILED, "%s", err.msg);
	status = un_cmd_connect(&call->global, true, &api);
	if (status == UN_OK)
		status = execute(api, x, source, body);
	un_api_free(api);
	return status;
}

static int
run(const struct un_call *call)
{
	const struct un_execute *x = call->options;
	const struct un_words *w = &call->words;
	struct un_source source;
	struct err err = { 0 };
	int status = check(x, w);

	if (status != UN_OK)
		return status;
	if (un_source_load(w->n ? w->v[0] : NULL, x->language, &source, &err) <
	    0)
		status = un_output_refuse(UN_FAILED, "%s", err.msg);
	else
		status = run_source(call, &source);
	un_source_done(&source);
	return status;
}

const struct un_cmd un_cmd_execute = {
	.name = "execute",
	.usage = "un [options] FILE [ARGUMENT...]\n"
		 "       un [options] CODE [-- ARGUMENT...]\n"
		 "       un [options] -s LANG [CODE | -] [-- ARGUMENT...]",
	.summary =
	    "Runs a file, or code, in a sandbox of the farm and exits as "
	    "the program did.\nWithout -s the language is told by the "
	    "file's name or first line; code is bash.",
	.opts = opts,
	.n_opts = ARRAY_LEN(opts),
	.options_size = sizeof(struct un_execute),
	.run = run,
};
