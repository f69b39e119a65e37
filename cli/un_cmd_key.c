/* un_cmd_key.c - `un key`: is our key good, and what may it do? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "un_api.h"
#include "un_cmd.h"
#include "un_output.h"

struct key_options {
	bool extend;
};

static const struct un_opt opts[] = {
	{ 0, UN_OPT_FLAG, "extend", offsetof(struct key_options, extend),
	    .help = "how to extend it" },
};

struct row {
	const char *label;
	const char *key;
	const char *unit;
};

static const struct row valid_rows[] = {
	{ "Public Key:", "public_key", "" },
	{ "Tier:", "tier", "" },
	{ "Status:", "status", "" },
	{ "Expires:", "expires_at", "" },
	{ "Time Remaining:", "time_remaining", "" },
	{ "Rate Limit:", "rate_per_minute", "/min" },
	{ "Burst:", "burst", "" },
	{ "Concurrency:", "concurrency", "" },
};

static const struct row invalid_rows[] = {
	{ "Public Key:", "public_key", "" },
	{ "Tier:", "tier", "" },
	{ "Expired:", "expired_at_datetime", "" },
	{ "Expired Ago:", "expired_ago", "" },
	{ "Renew:", "renew_url", "" },
};

static const struct {
	const char *reason;
	const char *text;
} reasons[] = {
	{ "invalid_key", "Invalid: key not found" },
	{ "expired", "Expired" },
	{ "suspended", "Suspended: key has been suspended" },
};

static void
show_rows(const struct row *rows, size_t n, const json_t *key)
{
	for (size_t i = 0; i < n; i++) {
		const struct row *r = &rows[i];
		const json_t *v = json_object_get(key, r->key);

		if (json_is_string(v))
			un_output_line(stdout, UN_PLAIN, "%-20s %s%s", r->label,
			    json_string_value(v), r->unit);
		else if (json_is_integer(v))
			un_output_line(stdout, UN_PLAIN,
			    "%-20s %" JSON_INTEGER_FORMAT "%s", r->label,
			    json_integer_value(v), r->unit);
	}
}

static int
show_invalid(const struct un_reply *reply)
{
	const char *error = un_api_text(reply->json, "error");
	const char *reason = un_api_text(reply->json, "reason");
	const char *text = "Invalid";

	for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
		if (strcmp(reasons[i].reason, reason) == 0)
			text = reasons[i].text;
	if (*error)
		un_output_line(stdout, UN_RED, "Invalid: %s", error);
	else
		un_output_line(stdout, UN_RED, "%s", text);
	show_rows(invalid_rows, ARRAY_LEN(invalid_rows), reply->json);
	return UN_FAILED;
}

static int
validate(struct un_api *api)
{
	const struct un_request rq = { .method = "POST",
		.path = "/keys/validate" };
	auto_reply struct un_reply reply;
	struct err err = { 0 };

	if (un_api_call(api, &rq, &reply, &err) < 0)
		return un_output_refuse(UN_FAILED, "%s", err.msg);
	if (json_is_true(json_object_get(reply.json, "valid"))) {
		un_output_line(stdout, UN_GREEN, "Valid");
		show_rows(valid_rows, ARRAY_LEN(valid_rows), reply.json);
		return UN_OK;
	}
	if (json_is_false(json_object_get(reply.json, "valid")))
		return show_invalid(&reply);
	un_reply_complain(&reply);
	return UN_FAILED;
}

static int
run(const struct un_call *call)
{
	const struct key_options *o = call->options;
	struct un_api *api = NULL;
	int status = un_cmd_no_words(call);

	if (status == UN_OK && o->extend)
		return un_output_refuse(UN_FAILED,
		    "un key --extend is not available in this "
		    "version: ask who runs the farm");
	if (status == UN_OK)
		status = un_cmd_connect(&call->global, true, &api);
	if (status == UN_OK)
		status = validate(api);
	un_api_free(api);
	return status;
}

const struct un_cmd un_cmd_key = {
	.name = "key",
	.usage = "un key",
	.summary = "check the key and show its limits",
	.opts = opts,
	.n_opts = ARRAY_LEN(opts),
	.options_size = sizeof(struct key_options),
	.run = run,
};
