/*
 * un_cmd_languages.c - `un languages`, with its cache.
 *
 * ~/.unsandbox/languages.json holds the last answer for an hour, in the form
 * every client of this API shares: {"languages":[...],"timestamp":N}.  Ours
 * also says which server it came from, and another server's is not used.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "attr.h"
#include "buf.h"
#include "cleanup.h"
#include "clock.h"
#include "io.h"
#include "un_api.h"
#include "un_cmd.h"
#include "un_output.h"

enum { CACHE_SECONDS = 3600, CACHE_MAX = 1 << 20 };

struct languages_options {
	bool json;
};

static const struct un_opt opts[] = {
	{ 0, UN_OPT_FLAG, "json", offsetof(struct languages_options, json),
	    .help = "as a JSON array" },
};

/* ---- the cache: any failure only means that there is none ---- */

static bool
cache_path(char *ret_dir, char *ret_path, size_t size)
{
	const char *home = getenv("HOME");

	return home && *home &&
	       snprintf(ret_dir, size, "%s/.unsandbox", home) < (int)size &&
	       snprintf(ret_path, size, "%s/.unsandbox/languages.json", home) <
		   (int)size;
}

static bool
cache_fresh(const char *path)
{
	struct stat st;
	int64_t age;

	if (stat(path, &st) < 0)
		return false;
	age = clock_wall_ms() / 1000 - st.st_mtime;
	return age >= 0 && age < CACHE_SECONDS;
}

static json_t *
cache_read(const char *base)
{
	auto_buf struct buf text = { .cap = CACHE_MAX };
	char dir[PATH_MAX], path[PATH_MAX];
	json_auto_t *cache = NULL;
	struct err err = { 0 };
	json_t *languages;

	if (!cache_path(dir, path, sizeof(path)) || !cache_fresh(path) ||
	    io_read_file(AT_FDCWD, path, &text, &err) < 0 || !text.data)
		return NULL;
	cache = json_loadb(text.data, text.len, 0, NULL);
	if (strcmp(un_api_text(cache, "api_base"), base) != 0)
		return NULL;
	languages = json_object_get(cache, "languages");
	return json_array_size(languages) > 0 ? json_incref(languages) : NULL;
}

static void
cache_write(const char *base, json_t *languages)
{
	char dir[PATH_MAX], path[PATH_MAX];
	json_auto_t *cache = NULL;
	auto_free char *text = NULL;
	struct err err = { 0 };

	if (!cache_path(dir, path, sizeof(path)))
		return;
	cache = json_pack("{s:O,s:I,s:s}", "languages", languages, "timestamp",
	    (json_int_t)(clock_wall_ms() / 1000), "api_base", base);
	text = cache ? json_dumps(cache, JSON_COMPACT) : NULL;
	if (text && io_mkdir_all(dir, 0700, &err) == 0)
		(void)io_write_file(
		    AT_FDCWD, path, text, strlen(text), 0600, &err);
}

/* ---- the answer ---- */

static json_t *
fetch(struct un_api *api)
{
	const struct un_request rq = { .method = "GET", .path = "/languages" };
	auto_reply struct un_reply reply;
	json_t *languages;

	if (un_cmd_call(api, &rq, &reply) < 0)
		return NULL;
	languages = json_is_array(reply.json)
			? reply.json
			: json_object_get(reply.json, "languages");
	if (!json_is_array(languages)) {
		un_output_error(
		    "%s did not answer with languages", un_api_base(api));
		return NULL;
	}
	return json_incref(languages);
}

static void
print(const json_t *languages, bool as_json)
{
	auto_free char *text = NULL;

	if (as_json) {
		text = json_dumps(languages, JSON_COMPACT);
		if (text)
			(void)puts(text);
		return;
	}
	for (size_t i = 0; i < json_array_size(languages); i++) {
		const char *name = json_string_value(
		    json_array_get(languages, i));

		if (name)
			un_output_line(stdout, UN_PLAIN, "%s", name);
	}
}

static int
run(const struct un_call *call)
{
	const struct languages_options *o = call->options;
	const char *base = un_cmd_base(&call->global);
	json_auto_t *languages = NULL;
	struct un_api *api = NULL;
	int status = un_cmd_no_words(call);

	if (status != UN_OK)
		return status;
	languages = cache_read(base);
	if (!languages) {
		/* The list is open to everyone: keys are sent if we have any.*/
		status = un_cmd_connect(&call->global, false, &api);
		if (status == UN_OK)
			languages = fetch(api);
		un_api_free(api);
		if (languages)
			cache_write(base, languages);
	}
	if (!languages)
		return status != UN_OK ? status : UN_FAILED;
	print(languages, o->json);
	return UN_OK;
}

const struct un_cmd un_cmd_languages = {
	.name = "languages",
	.usage = "un languages [--json]",
	.summary = "list the languages of the farm",
	.opts = opts,
	.n_opts = ARRAY_LEN(opts),
	.options_size = sizeof(struct languages_options),
	.run = run,
};
