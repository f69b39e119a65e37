/*
 * unfarm status - one look at the farm: Redis, leader, workers, queue, totals.
 *
 * Exit status 0: somebody can run jobs.  1: nobody can, because no worker lives
 * or Redis is away.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "job.h"
#include "json.h"
#include "store.h"
#include "unfarm_op.h"
#include "unfarm_table.h"

#define auto_reply __attribute__((cleanup(reply_done)))

enum { EXIT_UNWELL = 1 };

static const char hint_workers[] =
    "no worker lives: jobs are accepted, and wait.  Start one with\n"
    "`systemctl start unfarm-worker` (or `make run`); if one should be "
    "running,\n"
    "its log says why it is not.";

DEFINE_CLEANUP(table, table_free)

static void
reply_done(redisReply **r)
{
	freeReplyObject(*r);
}

static void
usage(FILE *out)
{
	(void)fprintf(out, "Usage: unfarm status [--json]\n"
			   "\n"
			   "Shows workers and their slots, waiting and running "
			   "jobs, totals, the\n"
			   "leading scheduler and Redis.  Exit status 1 when "
			   "no worker lives or\n"
			   "Redis is away.\n"
			   "\n"
			   "  --json  for programs\n"
			   "  --help  print this\n");
}

/* ---- gathering ---- */

/* "redis_version:7.0.15\r\n" in the text of INFO. */
static void
info_field(const char *info, const char *name, char *ret_value, size_t size)
{
	const char *p = strstr(info, name);
	size_t n;

	if (!p)
		return;
	p += strlen(name);
	n = strcspn(p, "\r\n");
	if (n >= size)
		n = size - 1;
	memcpy(ret_value, p, n);
	ret_value[n] = '\0';
}

/* Where it is, without the password. */
static void
set_where(json_t *o, const char *url)
{
	const char *at = strrchr(url, '@');

	json_set_str(o, "at", at ? at + 1 : url);
}

static int
gather_redis(struct op *op, json_t *all, struct err *err)
{
	auto_reply redisReply *r = NULL;
	char version[32] = "", memory[32] = "0";
	json_t *o = json_object();

	json_set_bool(o, "up", op->redis != NULL);
	set_where(o, op->settings.farm_redis_url);
	if (json_object_set_new(all, "redis", o) < 0)
		abort();
	if (!op->redis)
		return 0;
	r = op_command(op, err, "INFO");
	if (!r)
		return -1;
	info_field(
	    store_reply_str(r, ""), "redis_version:", version, sizeof(version));
	info_field(
	    store_reply_str(r, ""), "used_memory:", memory, sizeof(memory));
	json_set_str(o, "version", version);
	json_set_int(o, "memory_bytes", strtoll(memory, NULL, 10));
	return 0;
}

/* A worker's own description, as far as it can be read, and its name. */
static json_t *
worker_json(const redisReply *w)
{
	const char *text = store_reply_str(store_reply_at(w, 1), "");
	const char *langs = store_reply_str(store_reply_at(w, 2), "");
	struct err err;
	json_t *o = json_parse(text, strlen(text), &err);
	long long n = *langs != '\0';

	if (!json_is_object(o)) {
		json_decref(o);
		o = json_object();
	}
	json_set_str(o, "worker", store_reply_str(store_reply_at(w, 0), "?"));
	for (; *langs; langs++)
		n += *langs == ' ';
	json_set_int(o, "languages", n);
	return o;
}

static int
gather_overview(struct op *op, json_t *all, struct err *err)
{
	auto_reply redisReply *r = store_eval_sync(op->redis,
	    op->settings.farm_prefix, STORE_overview, err, (char *)NULL);
	const redisReply *workers, *stats;
	json_t *list = json_array(), *totals = json_object();
	long long slots = 0, n;

	if (json_object_set_new(all, "workers", list) < 0 ||
	    json_object_set_new(all, "totals", totals) < 0)
		abort();
	if (!r)
		return -1;
	workers = store_reply_at(r, 0);
	for (size_t i = 0; store_reply_at(workers, i); i++) {
		json_t *w = worker_json(store_reply_at(workers, i));

		if (json_get_int(w, "slots", 0, INT32_MAX, &n, err) > 0)
			slots += n;
		if (json_array_append_new(list, w) < 0)
			abort();
	}
	stats = store_reply_at(r, 1);
	for (size_t i = 0; store_reply_at(stats, i + 1); i += 2)
		json_set_int(totals,
		    store_reply_str(store_reply_at(stats, i), "?"),
		    store_reply_int(store_reply_at(stats, i + 1), 0));
	json_set_int(all, "slots", slots);
	json_set_int(all, "waiting",
	    store_reply_int(store_reply_field(stats, "waiting"), 0));
	json_set_int(all, "running", store_reply_int(store_reply_at(r, 2), 0));
	json_set_int(
	    all, "keys_waiting", store_reply_int(store_reply_at(r, 3), 0));
	json_set_int(all, "retrying", store_reply_int(store_reply_at(r, 4), 0));
	return 0;
}

static int
gather_leader(struct op *op, json_t *all, struct err *err)
{
	auto_reply redisReply *r = op_command(
	    op, err, "GET {%s}:leader", op->settings.farm_prefix);

	if (!r)
		return -1;
	if (store_reply_str(r, NULL))
		json_set_str(all, "leader", store_reply_str(r, ""));
	else if (json_object_set_new(all, "leader", json_null()) < 0)
		abort();
	return 0;
}

/* ---- printing ---- */

static long long
num(const json_t *o, const char *name)
{
	return json_integer_value(json_object_get(o, name));
}

static const char *
str(const json_t *o, const char *name, const char *def)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s ? s : def;
}

/* A number the worker may not have told. */
static void
add_number(struct table *t, const json_t *o, const char *name)
{
	const json_t *v = json_object_get(o, name);

	if (json_is_integer(v))
		table_add(t, "%lld", (long long)json_integer_value(v));
	else
		table_add(t, "-");
}

static void
print_workers(const json_t *workers)
{
	static const char *const headings[] = { "WORKER", "NODE", ">SLOTS",
		">BUSY", ">READY", ">LANGUAGES", ">LARGEST VCPU" };
	auto_ref(table) t = table_new(headings, ARRAY_LEN(headings));

	for (size_t i = 0; i < json_array_size(workers); i++) {
		const json_t *w = json_array_get(workers, i);

		table_add(t, "%s", str(w, "worker", "?"));
		table_add(t, "%s", str(w, "node", "-"));
		add_number(t, w, "slots");
		add_number(t, w, "busy");
		add_number(t, w, "ready");
		add_number(t, w, "languages");
		add_number(t, w, "max_vcpu");
	}
	(void)putchar('\n');
	table_print(t);
}

static void
print_totals(const json_t *totals)
{
	(void)printf("totals      submitted %lld, retried %lld",
	    num(totals, "submitted"), num(totals, "retried"));
	for (int s = 0; s < JOB__COUNT; s++) {
		char name[32];

		if (!job_state_final((enum job_state)s))
			continue;
		(void)snprintf(name, sizeof(name), "ended_%s",
		    job_state_name((enum job_state)s));
		(void)printf(", %s %lld", job_state_name((enum job_state)s),
		    num(totals, name));
	}
	(void)putchar('\n');
}

static void
print_text(const json_t *all)
{
	const json_t *redis = json_object_get(all, "redis");
	const json_t *workers = json_object_get(all, "workers");

	(void)printf("redis       %s, version %s, %.1f MiB\n",
	    str(redis, "at", "?"), str(redis, "version", "?"),
	    (double)num(redis, "memory_bytes") / (1 << 20));
	(void)printf("leader      %s\n",
	    str(all, "leader",
		"none: no scheduler runs, so nothing is repaired; start "
		"unfarm-scheduler"));
	(void)printf("workers     %zu, %lld slots\n", json_array_size(workers),
	    num(all, "slots"));
	(void)printf(
	    "jobs        %lld waiting (%lld for a retry), %lld running\n",
	    num(all, "waiting"), num(all, "retrying"), num(all, "running"));
	print_totals(json_object_get(all, "totals"));
	if (json_array_size(workers) > 0)
		print_workers(workers);
}

static int
parse_options(int argc, char **argv, bool *ret_json)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int o;

	optind = 0;
	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (o == 'j') {
			*ret_json = true;
			continue;
		}
		usage(o == 'h' ? stdout : stderr);
		return o == 'h' ? 0 : err_exit_status(ERR_INVALID);
	}
	if (optind == argc)
		return -1;
	usage(stderr);
	return err_exit_status(ERR_INVALID);
}

static int
away(json_t *all, bool as_json, const struct err *err)
{
	if (as_json) {
		json_set_bool(json_object_get(all, "redis"), "up", false);
		json_set_str(json_object_get(all, "redis"), "error", err->msg);
		op_print_json(all);
	}
	(void)op_fail(err, op_hint_redis);
	return EXIT_UNWELL;
}

int
cmd_status(struct op *op, int argc, char **argv)
{
	json_auto_t *all = json_object();
	bool as_json = false;
	struct err err, why;
	int status = parse_options(argc, argv, &as_json);

	if (status >= 0)
		return status;
	if (op_load(op, &err) < 0)
		return op_fail(&err, NULL);
	(void)op_redis(op, &why);
	if (gather_redis(op, all, &err) < 0)
		return away(all, as_json, &err);
	if (!op->redis)
		return away(all, as_json, &why);
	if (gather_leader(op, all, &err) < 0 ||
	    gather_overview(op, all, &err) < 0)
		return away(all, as_json, &err);
	if (as_json)
		op_print_json(all);
	else
		print_text(all);
	if (json_array_size(json_object_get(all, "workers")) > 0)
		return 0;
	(void)fprintf(stderr, "unfarm: %s\n", hint_workers);
	return EXIT_UNWELL;
}
