/*
 * unfarm key - API keys: create, list, show, set, suspend, resume, delete.
 *
 * Keys are the hashes of key.h.  A change is one script (keyset), which also
 * makes the gateways forget what they remember; deleting is another (forget).
 * Only create needs the master key: it seals the secret, which is printed once
 * and cannot be read back.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "clock.h"
#include "json.h"
#include "key.h"
#include "secret.h"
#include "store.h"
#include "unfarm_expiry.h"
#include "unfarm_op.h"
#include "unfarm_table.h"
#include "utf8.h"

#define auto_reply __attribute__((cleanup(reply_done)))
#define auto_key   __attribute__((cleanup(key_done)))

DEFINE_CLEANUP(table, table_free)

enum { NUMBER_MAX = 24, FORGET_BATCH = 1000 };

/* What a key may do; the settings' rows [key] give range and default. */
enum limit { RATE, BURST, CONCURRENCY, QUEUE, LIMIT__COUNT };

static const struct {
	const char *option;  /* also the field of the hash */
	const char *setting; /* in section [key] */
	size_t in_settings;
	size_t in_key;
} limits[] = {
	[RATE] = { "rate", "rate_per_minute",
	    offsetof(struct settings, key_rate_per_minute),
	    offsetof(struct key, rate) },
	[BURST] = { "burst", "burst", offsetof(struct settings, key_burst),
	    offsetof(struct key, burst) },
	[CONCURRENCY] = { "concurrency", "concurrency",
	    offsetof(struct settings, key_concurrency),
	    offsetof(struct key, concurrency) },
	[QUEUE] = { "queue", "queue", offsetof(struct settings, key_queue),
	    offsetof(struct key, queue) },
};

/* The options of all subcommands; each takes those its row names. */
struct args {
	const char *limit[LIMIT__COUNT]; /* NULL: not given, like below */
	const char *tier;
	const char *note;
	const char *expires;
	bool json;
	bool force;
	const char *public_key;
};

enum { OPT_TIER = 256, OPT_NOTE, OPT_EXPIRES, OPT_JSON, OPT_FORCE, OPT_HELP };

static void
reply_done(redisReply **r)
{
	freeReplyObject(*r);
}

static long *
limit_of(struct key *k, enum limit l)
{
	return (long *)(void *)((char *)k + limits[l].in_key);
}

static void
usage(FILE *out)
{
	(void)fputs(
	    "Usage: unfarm key create [LIMITS] [--json]\n"
	    "       unfarm key list [--json]\n"
	    "       unfarm key show KEY [--json]\n"
	    "       unfarm key set KEY LIMITS\n"
	    "       unfarm key suspend KEY\n"
	    "       unfarm key resume KEY\n"
	    "       unfarm key delete KEY [--force]\n"
	    "\n"
	    "create prints a public and a secret key; the secret is shown "
	    "this\n"
	    "once.  KEY is a public key.  A suspended key is refused; its "
	    "jobs\n"
	    "go on.  delete refuses while jobs wait or run, unless --force,\n"
	    "which cancels them.\n"
	    "\n"
	    "LIMITS (what is not given is [key] of the configuration, or "
	    "stays):\n"
	    "  --rate N         jobs it may create a minute\n"
	    "  --burst N        jobs it may create at once\n"
	    "  --concurrency N  jobs that run at the same time\n"
	    "  --queue N        jobs that may wait besides the running ones\n"
	    "  --expires WHEN   30d (s, m, h, d, w), 2027-01-31T00:00:00Z, "
	    "never\n"
	    "  --tier TEXT      shown to the key's owner\n"
	    "  --note TEXT      for yourself\n"
	    "\n"
	    "  --json           for programs\n"
	    "  --help           print this\n",
	    out);
}

/* ---- values of options ---- */

static int
set_text(char ret[KEY_TEXT_MAX], const char *option, const char *text,
    struct err *err)
{
	size_t n = strlen(text);

	if (n >= KEY_TEXT_MAX || !utf8_valid(text, n))
		return err_set(err, ERR_INVALID, 0,
		    "--%s: at most %d bytes of valid UTF-8", option,
		    KEY_TEXT_MAX - 1);
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return err_set(err, ERR_INVALID, 0,
			    "--%s: no control characters", option);
	(void)snprintf(ret, KEY_TEXT_MAX, "%s", text);
	return 0;
}

/* Checked against the settings' ranges; what is not given stays. */
static int
apply(struct key *k, const struct args *a, struct err *err)
{
	struct settings ranges;

	settings_default(&ranges);
	for (size_t i = 0; i < LIMIT__COUNT; i++) {
		if (!a->limit[i])
			continue;
		if (settings_set(&ranges, "key", limits[i].setting, a->limit[i],
			err) < 0)
			return err_wrap(err, "--%s", limits[i].option);
		*limit_of(k, (enum limit)i) = *(
		    const long *)(const void *)((const char *)&ranges +
						limits[i].in_settings);
	}
	if (a->tier && set_text(k->tier, "tier", a->tier, err) < 0)
		return -1;
	if (a->note && set_text(k->note, "note", a->note, err) < 0)
		return -1;
	if (a->expires &&
	    expiry_parse(a->expires, clock_wall_ms(), &k->expires_ms, err) < 0)
		return err_wrap(err, "--expires");
	return 0;
}

/* ---- a key and its books ---- */

struct books {
	long long running;
	long long waiting;
};

static int
read_books(
    struct op *op, const char *pk, struct books *ret_books, struct err *err)
{
	const char *prefix = op->settings.farm_prefix;
	auto_reply redisReply *r = op_command(
	    op, err, "HMGET {%s}:book:%s running waiting", prefix, pk);

	if (!r)
		return -1;
	ret_books->running = store_reply_int(store_reply_at(r, 0), 0);
	ret_books->waiting = store_reply_int(store_reply_at(r, 1), 0);
	return 0;
}

/* Without its secret. */
static int
read_key(struct op *op, const char *pk, struct key *ret_key,
    struct books *ret_books, struct err *err)
{
	auto_reply redisReply *r = op_command(
	    op, err, "HGETALL {%s}:key:%s", op->settings.farm_prefix, pk);

	if (!r || key_from_reply(ret_key, pk, r, NULL, err) < 0)
		return -1;
	return read_books(op, pk, ret_books, err);
}

static const char *
state_word(const struct key *k)
{
	if (k->suspended)
		return "suspended";
	return key_expired(k, clock_wall_ms()) ? "expired" : "active";
}

static void
expiry_text(const struct key *k, char ret_text[CLOCK_ISO_LEN])
{
	if (k->expires_ms == 0)
		(void)snprintf(ret_text, CLOCK_ISO_LEN, "never");
	else
		clock_iso8601(k->expires_ms, ret_text);
}

static json_t *
key_json(const struct key *k, const struct books *b)
{
	json_t *o = json_object();
	char text[CLOCK_ISO_LEN];

	json_set_str(o, "public_key", k->public_key);
	json_set_str(o, "state", state_word(k));
	json_set_str(o, "tier", k->tier);
	json_set_str(o, "note", k->note);
	json_set_int(o, "rate", k->rate);
	json_set_int(o, "burst", k->burst);
	json_set_int(o, "concurrency", k->concurrency);
	json_set_int(o, "queue", k->queue);
	clock_iso8601(k->created_ms, text);
	json_set_str(o, "created", text);
	if (k->expires_ms > 0) {
		clock_iso8601(k->expires_ms, text);
		json_set_str(o, "expires", text);
	} else if (json_object_set_new(o, "expires", json_null()) < 0) {
		abort();
	}
	json_set_int(o, "running", b->running);
	json_set_int(o, "waiting", b->waiting);
	return o;
}

/* ---- the subcommands: 0, or -1 with err ---- */

static void
print_created(const struct key *k)
{
	char expires[CLOCK_ISO_LEN];

	expiry_text(k, expires);
	(void)printf("public key  %s\n"
		     "secret key  %s\n"
		     "\n"
		     "The secret is shown this once: keep it now.\n"
		     "Limits: %ld jobs a minute, %ld at once, %ld running, "
		     "%ld waiting; expires: %s.\n",
	    k->public_key, k->secret, k->rate, k->burst, k->concurrency,
	    k->queue, expires);
}

static int
key_create(struct op *op, const struct args *a, struct err *err)
{
	auto_key struct key k = { .secret = NULL };
	struct secret_master master;
	char path[SETTINGS_STR_MAX + 16];
	int r;

	key_init_new(&k, &op->settings);
	if (apply(&k, a, err) < 0)
		return -1;
	(void)snprintf(
	    path, sizeof(path), "%s/master.key", op->settings.farm_data_dir);
	if (secret_master_load(path, true, &master, err) < 0)
		return -1;
	r = key_save(op->redis, op->settings.farm_prefix, &k, &master, err);
	explicit_bzero(&master, sizeof(master));
	if (r < 0)
		return -1;
	if (a->json) {
		json_auto_t *o = key_json(&k, &(struct books){ 0, 0 });

		json_set_str(o, "secret_key", k.secret);
		op_print_json(o);
	} else {
		print_created(&k);
	}
	return 0;
}

static int
by_name(const void *a, const void *b)
{
	const redisReply *const *x = a, *const *y = b;

	return strcmp(store_reply_str(*x, ""), store_reply_str(*y, ""));
}

static void
add_key_row(struct table *t, const struct key *k, const struct books *b)
{
	char expires[CLOCK_ISO_LEN];

	expiry_text(k, expires);
	table_add(t, "%s", k->public_key);
	table_add(t, "%s", state_word(k));
	table_add(t, "%s", k->tier);
	table_add(t, "%ld", k->rate);
	table_add(t, "%ld", k->burst);
	table_add(t, "%ld", k->concurrency);
	table_add(t, "%ld", k->queue);
	table_add(t, "%lld", b->running);
	table_add(t, "%lld", b->waiting);
	table_add(t, "%s", expires);
	table_add(t, "%s", k->note);
}

static int
key_list(struct op *op, const struct args *a, struct err *err)
{
	static const char *const headings[] = { "PUBLIC KEY", "STATE", "TIER",
		">RATE/MIN", ">BURST", ">AT ONCE", ">QUEUE", ">RUNNING",
		">WAITING", "EXPIRES", "NOTE" };
	auto_ref(table) t = table_new(headings, ARRAY_LEN(headings));
	json_auto_t *list = json_array();
	auto_reply redisReply *r = op_command(
	    op, err, "SMEMBERS {%s}:keys", op->settings.farm_prefix);

	if (!r)
		return -1;
	if (r->elements > 0)
		qsort(r->element, r->elements, sizeof(redisReply *), by_name);
	for (size_t i = 0; i < r->elements; i++) {
		struct key k;
		struct books b;

		err->code = ERR_OK;
		if (read_key(op, store_reply_str(r->element[i], ""), &k, &b,
			err) < 0) {
			if (err->code == ERR_NOT_FOUND)
				continue; /* deleted since */
			return -1;
		}
		add_key_row(t, &k, &b);
		if (json_array_append_new(list, key_json(&k, &b)) < 0)
			abort();
	}
	if (a->json)
		op_print_json(list);
	else if (json_array_size(list) > 0)
		table_print(t);
	else
		(void)puts("There is no key.  `unfarm key create` makes one.");
	return 0;
}

static void
print_key(const struct key *k, const struct books *b)
{
	char created[CLOCK_ISO_LEN], expires[CLOCK_ISO_LEN];

	clock_iso8601(k->created_ms, created);
	expiry_text(k, expires);
	(void)printf("public key   %s\n"
		     "state        %s\n"
		     "tier         %s\n"
		     "note         %s\n"
		     "created      %s\n"
		     "expires      %s\n"
		     "rate         %ld jobs a minute\n"
		     "burst        %ld at once\n"
		     "concurrency  %ld running\n"
		     "queue        %ld waiting besides\n"
		     "jobs now     %lld running, %lld waiting\n",
	    k->public_key, state_word(k), k->tier, k->note, created, expires,
	    k->rate, k->burst, k->concurrency, k->queue, b->running,
	    b->waiting);
}

static int
key_show(struct op *op, const struct args *a, struct err *err)
{
	struct key k;
	struct books b;

	if (read_key(op, a->public_key, &k, &b, err) < 0)
		return -1;
	if (a->json) {
		json_auto_t *o = key_json(&k, &b);

		op_print_json(o);
	} else {
		print_key(&k, &b);
	}
	return 0;
}

/* Fields and values, as many as there are before the first NULL. */
static int
change(struct op *op, const char *pk, const char *const v[14], struct err *err)
{
	auto_reply redisReply *r = store_eval_sync(op->redis,
	    op->settings.farm_prefix, STORE_keyset, err, pk, v[0], v[1], v[2],
	    v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12],
	    v[13], (char *)NULL);

	if (!r)
		return -1;
	if (store_reply_int(r, 0) != 1)
		return err_set(err, ERR_NOT_FOUND, 0, "no key `%s`", pk);
	return 0;
}

static int
key_set(struct op *op, const struct args *a, struct err *err)
{
	struct key k;
	struct books b;
	const char *v[14] = { NULL };
	char numbers[LIMIT__COUNT][NUMBER_MAX], expires[NUMBER_MAX];
	size_t n = 0;

	if (read_key(op, a->public_key, &k, &b, err) < 0 ||
	    apply(&k, a, err) < 0)
		return -1;
	for (size_t i = 0; i < LIMIT__COUNT; i++)
		if (a->limit[i]) {
			(void)snprintf(numbers[i], NUMBER_MAX, "%ld",
			    *limit_of(&k, (enum limit)i));
			v[n++] = limits[i].option;
			v[n++] = numbers[i];
		}
	if (a->tier) {
		v[n++] = "tier";
		v[n++] = k.tier;
	}
	if (a->note) {
		v[n++] = "note";
		v[n++] = k.note;
	}
	if (a->expires) {
		(void)snprintf(
		    expires, sizeof(expires), "%" PRId64, k.expires_ms);
		v[n++] = "expires";
		v[n++] = expires;
	}
	if (n == 0)
		return err_set(err, ERR_INVALID, 0,
		    "nothing to change: give --rate, --burst, --concurrency, "
		    "--queue, --expires, --tier or --note");
	if (change(op, a->public_key, v, err) < 0 ||
	    read_key(op, a->public_key, &k, &b, err) < 0)
		return -1;
	print_key(&k, &b);
	return 0;
}

static int
key_suspend(struct op *op, const struct args *a, struct err *err)
{
	const char *const v[14] = { "suspended", "1" };

	if (change(op, a->public_key, v, err) < 0)
		return -1;
	(void)printf(
	    "%s is suspended: new calls are refused, its jobs go on.\n",
	    a->public_key);
	return 0;
}

static int
key_resume(struct op *op, const struct args *a, struct err *err)
{
	const char *const v[14] = { "suspended", "0" };

	if (change(op, a->public_key, v, err) < 0)
		return -1;
	(void)printf("%s is active again.\n", a->public_key);
	return 0;
}

static int
key_delete(struct op *op, const struct args *a, struct err *err)
{
	char batch[NUMBER_MAX], ttl[NUMBER_MAX];
	bool more = true;

	(void)snprintf(batch, sizeof(batch), "%d", FORGET_BATCH);
	(void)snprintf(
	    ttl, sizeof(ttl), "%ld", op->settings.job_result_seconds * 1000);
	while (more) {
		auto_reply redisReply *r = store_eval_sync(op->redis,
		    op->settings.farm_prefix, STORE_forget, err, a->public_key,
		    a->force ? "force" : "", batch, ttl, (char *)NULL);
		const char *word = store_reply_str(store_reply_at(r, 0), "");
		long long n = store_reply_int(store_reply_at(r, 1), 0);

		if (!r)
			return -1;
		if (strcmp(word, "none") == 0)
			return err_set(err, ERR_NOT_FOUND, 0, "no key `%s`",
			    a->public_key);
		if (strcmp(word, "active") == 0)
			return err_set(err, ERR_CONFLICT, 0,
			    "`%s` has %lld jobs waiting or running",
			    a->public_key, n);
		more = strcmp(word, "more") == 0;
		if (!more && n > 0)
			(void)printf(
			    "%lld running jobs were told to end.\n", n);
	}
	(void)printf("%s is deleted.\n", a->public_key);
	return 0;
}

/* ---- options ---- */

static const struct subcommand {
	const char *name;
	int (*run)(struct op *op, const struct args *a, struct err *err);
	bool wants_key;
	bool sets; /* takes LIMITS */
	bool json;
	bool force;
} subcommands[] = {
	{ "create", key_create, false, true, true, false },
	{ "list", key_list, false, false, true, false },
	{ "show", key_show, true, false, true, false },
	{ "set", key_set, true, true, false, false },
	{ "suspend", key_suspend, true, false, false, false },
	{ "resume", key_resume, true, false, false, false },
	{ "delete", key_delete, true, false, false, true },
};

static const struct subcommand *
find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(subcommands); i++)
		if (name && strcmp(subcommands[i].name, name) == 0)
			return &subcommands[i];
	return NULL;
}

/* True when the subcommand takes the option. */
static bool
take_option(const struct subcommand *sub, int o, struct args *a)
{
	const char **text = NULL;

	if (o >= 0 && o < LIMIT__COUNT)
		text = &a->limit[o];
	else if (o == OPT_TIER)
		text = &a->tier;
	else if (o == OPT_NOTE)
		text = &a->note;
	else if (o == OPT_EXPIRES)
		text = &a->expires;
	if (text) {
		*text = optarg;
		return sub->sets;
	}
	a->json |= o == OPT_JSON;
	a->force |= o == OPT_FORCE;
	return (o == OPT_JSON && sub->json) || (o == OPT_FORCE && sub->force);
}

/* 0: go on; 1: help was printed; -1: err says what is wrong. */
static int
parse_options(const struct subcommand *sub, int argc, char **argv,
    struct args *a, struct err *err)
{
	static const struct option options[] = {
		{ "rate", required_argument, NULL, RATE },
		{ "burst", required_argument, NULL, BURST },
		{ "concurrency", required_argument, NULL, CONCURRENCY },
		{ "queue", required_argument, NULL, QUEUE },
		{ "tier", required_argument, NULL, OPT_TIER },
		{ "note", required_argument, NULL, OPT_NOTE },
		{ "expires", required_argument, NULL, OPT_EXPIRES },
		{ "json", no_argument, NULL, OPT_JSON },
		{ "force", no_argument, NULL, OPT_FORCE },
		{ "help", no_argument, NULL, OPT_HELP },
		{ NULL, 0, NULL, 0 },
	};
	int o, index = -1;

	optind = 0;
	while ((o = getopt_long(argc, argv, "", options, &index)) != -1) {
		if (o == OPT_HELP) {
			usage(stdout);
			return 1;
		}
		if (o == '?')
			return err_set(err, ERR_INVALID, 0,
			    "key %s: bad option", sub->name);
		if (!take_option(sub, o, a))
			return err_set(err, ERR_INVALID, 0,
			    "key %s takes no --%s", sub->name,
			    options[index].name);
	}
	if (argc - optind != (sub->wants_key ? 1 : 0))
		return err_set(err, ERR_INVALID, 0, "key %s wants %s",
		    sub->name,
		    sub->wants_key ? "one public key" : "options only");
	a->public_key = sub->wants_key ? argv[optind] : NULL;
	if (a->public_key && !id_is_public_key(a->public_key))
		return err_set(err, ERR_INVALID, 0,
		    "`%s` is not a public key (unsb-pk-...)", a->public_key);
	return 0;
}

static const char *
hint_for(const struct err *err)
{
	switch (err->code) {
	case ERR_INVALID:
		return "`unfarm key --help` shows what is possible.";
	case ERR_NOT_FOUND:
		return "`unfarm key list` shows the keys there are.";
	case ERR_CONFLICT:
		return "wait for them, suspend the key, or delete --force to "
		       "cancel them.";
	case ERR_SYS:
		return err->sys == ENOENT || err->sys == EACCES
			   ? "run it as root, and make farm.data_dir first "
			     "(`unfarm config` names it)."
			   : NULL;
	default:
		return NULL;
	}
}

int
cmd_key(struct op *op, int argc, char **argv)
{
	const struct subcommand *sub = find(argv[1]);
	struct args a = { .json = false };
	struct err err = { 0 };
	int r;

	if (argc > 1 && strcmp(argv[1], "--help") == 0) {
		usage(stdout);
		return 0;
	}
	if (!sub) {
		usage(stderr);
		return err_exit_status(ERR_INVALID);
	}
	r = parse_options(sub, argc - 1, argv + 1, &a, &err);
	if (r > 0)
		return 0;
	if (r < 0 || !op_redis(op, &err) || sub->run(op, &a, &err) < 0)
		return op_fail(&err, hint_for(&err));
	return 0;
}
