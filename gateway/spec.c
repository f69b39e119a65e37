/*
 * One function a field, listed in a table; each reads its names from the object
 * and writes its part of the job.  /run builds the same object from its query,
 * so both calls know the same fields.
 */
#include "spec.h"

#include <stdio.h>
#include <string.h>

#include "attr.h"
#include "b64.h"
#include "buf.h"
#include "cleanup.h"
#include "job.h"
#include "json.h"
#include "lang.h"
#include "mem.h"
#include "query.h"
#include "settings.h"
#include "signature.h"

enum {
	TTL_MAX = 900,
	VCPU_MAX = 8,
	MEMORY_MIN_MB = 16,
	KIB = 1024,
};

DEFINE_CLEANUP(job_spec, job_spec_free)

struct spec_in {
	const struct spec_rules *rules;
	const json_t *obj;
	const struct lang *lang;
	/* The program as bytes: it need not be text.  NULL: `code` has it. */
	const char *raw_code;
	size_t raw_len;
	bool guess; /* the language is found in the code */
};

typedef int field_fn(struct spec_in *in, struct job_spec *s, struct err *err);

static int
over_kib(struct err *err, const char *field, long kib)
{
	return err_set(err, ERR_TOO_BIG, 0,
	    "`%s` is larger than %ld KiB: send less", field, kib);
}

/* ---- language and code ---- */

static int
read_code(struct spec_in *in, struct job_spec *s, struct err *err)
{
	long max = in->rules->set->gateway_max_code_kb;
	const char *text = in->raw_code;
	size_t n = in->raw_len;
	int r = 1;

	if (!text)
		r = json_get_str(in->obj, "code", &text, &n, err);
	if (r < 0)
		return -1;
	if (r == 0)
		return err_set(err, ERR_INVALID, 0,
		    "`code` is missing: send the program's text");
	if (n == 0)
		return err_set(err, ERR_INVALID, 0,
		    "`code` is empty: send the program's text");
	if (n > (size_t)max * KIB)
		return over_kib(err, "code", max);
	job_bytes_set(&s->code, text, n);
	return 0;
}

static const struct lang *
guess_lang(const struct spec_in *in, const struct job_spec *s, struct err *err)
{
	const struct lang *l = lang_guess(
	    in->rules->langs, s->code.data, s->code.len);

	if (!l)
		(void)err_set(err, ERR_LANGUAGE, 0,
		    "the language is not clear from the code: start it with a "
		    "line such as #!/usr/bin/env python3, or name `language` "
		    "in POST /execute");
	return l;
}

static const struct lang *
named_lang(const struct spec_in *in, struct err *err)
{
	const struct lang *l;
	const char *name;
	int r = json_get_str(in->obj, "language", &name, NULL, err);

	if (r < 0)
		return NULL;
	if (r == 0 || !*name) {
		(void)err_set(err, ERR_INVALID, 0,
		    "`language` is missing: GET /languages lists the names");
		return NULL;
	}
	l = lang_find(in->rules->langs, name);
	if (!l)
		(void)err_set(
		    err, ERR_LANGUAGE, 0, "Unsupported language: %.64s", name);
	return l;
}

static int
read_language(struct spec_in *in, struct job_spec *s, struct err *err)
{
	const struct spec_rules *rules = in->rules;

	in->lang = in->guess && !json_object_get(in->obj, "language")
		       ? guess_lang(in, s, err)
		       : named_lang(in, err);
	if (!in->lang)
		return -1;
	if (rules->runs && !rules->runs(rules->ctx, in->lang) && rules->trying)
		return err_set(err, ERR_UNAVAILABLE, 0,
		    "language `%s` is not ready yet: a machine of this farm "
		    "is still trying its languages, ask again in a moment",
		    in->lang->name);
	if (rules->runs && !rules->runs(rules->ctx, in->lang))
		return err_set(err, ERR_LANGUAGE, 0,
		    "language `%s` is not installed on any machine of this "
		    "farm: GET /languages lists what is",
		    in->lang->name);
	s->language = xstrdup(in->lang->name);
	return 0;
}

/* ---- where and how long it runs ---- */

static int
read_network(struct spec_in *in, struct job_spec *s, struct err *err)
{
	const char *mode = "zerotrust";
	int r = json_get_str(in->obj, "network_mode", &mode, NULL, err);

	if (r == 0)
		r = json_get_str(in->obj, "network", &mode, NULL, err);
	if (r < 0)
		return -1;
	if (strcmp(mode, "semitrusted") == 0)
		return err_set(err, ERR_UNAVAILABLE_MODE, 0,
		    "`network_mode` semitrusted is not available: this farm "
		    "has no egress proxy yet; use zerotrust");
	if (strcmp(mode, "zerotrust") != 0)
		return err_set(err, ERR_INVALID, 0,
		    "`network_mode` must be zerotrust or semitrusted");
	s->network_mode = xstrdup(mode);
	return 0;
}

static int
read_times(struct spec_in *in, struct job_spec *s, struct err *err)
{
	long long ttl = in->rules->set->job_default_ttl, cpu = 0;

	if (json_get_int(in->obj, "ttl", 1, TTL_MAX, &ttl, err) < 0 ||
	    json_get_int(in->obj, "cpu_limit", 1, TTL_MAX, &cpu, err) < 0)
		return -1;
	s->ttl = (int)ttl;
	s->cpu_limit = (int)cpu;
	return 0;
}

static int
read_vcpu(struct spec_in *in, struct job_spec *s, struct err *err)
{
	long most = in->rules->max_vcpu;
	long long vcpu = 1;

	if (json_get_int(in->obj, "vcpu", 1, VCPU_MAX, &vcpu, err) < 0)
		return -1;
	if (most > 0 && vcpu > most)
		return err_set(err, ERR_INVALID, 0,
		    "`vcpu` is %lld, but the largest machine of this farm "
		    "offers %ld: ask for %ld or less",
		    vcpu, most, most);
	s->vcpu = (int)vcpu;
	return 0;
}

/* After read_vcpu() and read_language(). */
static int
read_memory(struct spec_in *in, struct job_spec *s, struct err *err)
{
	long long mb = 0, most = (long long)JOB_MEMORY_PER_VCPU_MB * s->vcpu;
	int r = json_get_int(
	    in->obj, "memory_mb", MEMORY_MIN_MB, most, &mb, err);

	if (r < 0)
		return -1;
	if (r > 0 && mb < in->lang->min_memory_mb)
		return err_set(err, ERR_INVALID, 0,
		    "`memory_mb` is %lld, but %s needs at least %ld", mb,
		    in->lang->name, in->lang->min_memory_mb);
	s->memory_mb = (int)mb;
	return 0;
}

static int
read_artifact(struct spec_in *in, struct job_spec *s, struct err *err)
{
	static const char *const names[] = { "return_artifact",
		"return_artifacts", "artifacts" };
	bool wasm = false, want;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		want = false;
		if (json_get_bool(in->obj, names[i], &want, err) < 0)
			return -1;
		s->return_artifact |= want;
	}
	if (json_get_bool(in->obj, "return_wasm_artifact", &wasm, err) < 0)
		return -1;
	if (wasm)
		return err_set(err, ERR_UNAVAILABLE_MODE, 0,
		    "`return_wasm_artifact` is not available on this farm yet: "
		    "use return_artifact for a native binary");
	return 0;
}

/* ---- standard input ---- */

static int
read_stdin_base64(struct spec_in *in, struct job_spec *s, struct err *err)
{
	long max = in->rules->set->gateway_max_stdin_kb;
	auto_buf struct buf raw = { .cap = (size_t)max * KIB };
	const char *text;
	size_t n;
	int r = json_get_str(in->obj, "stdin_base64", &text, &n, err);

	if (r <= 0)
		return r;
	if (b64_decode(text, n, &raw, err) < 0)
		return err->code == ERR_TOO_BIG
			   ? over_kib(err, "stdin_base64", max)
			   : err_wrap(err, "`stdin_base64`");
	job_bytes_take(&s->input, &raw);
	return 0;
}

static int
read_stdin(struct spec_in *in, struct job_spec *s, struct err *err)
{
	long max = in->rules->set->gateway_max_stdin_kb;
	const char *text;
	size_t n;
	int r = json_get_str(in->obj, "stdin", &text, &n, err);

	if (r < 0)
		return -1;
	if (r == 0)
		return read_stdin_base64(in, s, err);
	if (n > (size_t)max * KIB)
		return over_kib(err, "stdin", max);
	job_bytes_set(&s->input, text, n);
	return 0;
}

/* ---- arguments and environment ---- */

/*
 * A string, number or boolean as text, which the caller frees; NULL for other
 * values and for text with a NUL, which no argv or environment can hold.
 */
static char *
scalar_text(const json_t *v)
{
	const char *s = json_string_value(v);

	if (s)
		return strlen(s) == json_string_length(v) ? xstrdup(s) : NULL;
	if (json_is_number(v) || json_is_boolean(v))
		return json_text(v);
	return NULL;
}

static int
read_args(struct spec_in *in, struct job_spec *s, struct err *err)
{
	const struct settings *set = in->rules->set;
	const json_t *list = json_object_get(in->obj, "args");
	size_t n = json_array_size(list), total = 0;

	if (!list || json_is_null(list))
		return 0;
	if (!json_is_array(list))
		return err_set(
		    err, ERR_INVALID, 0, "`args` must be a list of strings");
	if (n > (size_t)set->gateway_max_args)
		return err_set(err, ERR_INVALID, 0,
		    "`args` has %zu entries: at most %ld are accepted", n,
		    set->gateway_max_args);
	for (size_t i = 0; i < n; i++) {
		auto_free char *text = scalar_text(json_array_get(list, i));

		if (!text)
			return err_set(err, ERR_INVALID, 0,
			    "`args` entry %zu must be a string without NUL "
			    "characters",
			    i);
		total += strlen(text) + 1;
		if (total > (size_t)set->gateway_max_args_kb * KIB)
			return over_kib(err, "args", set->gateway_max_args_kb);
		job_spec_add_arg(s, text);
	}
	return 0;
}

static int
add_variable(struct job_spec *s, const char *name, const json_t *v, long max_kb,
    size_t *total, struct err *err)
{
	auto_free char *text = scalar_text(v);

	if (!*name || strchr(name, '='))
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): auto_free */
		return err_set(err, ERR_INVALID, 0,
		    "`env` has the name `%.64s`: a name must not be empty or "
		    "hold `=`",
		    name);
	if (!text)
		return err_set(err, ERR_INVALID, 0,
		    "`env` variable `%.64s` must be a string without NUL "
		    "characters",
		    name);
	*total += strlen(name) + strlen(text) + 2;
	if (*total > (size_t)max_kb * KIB)
		return over_kib(err, "env", max_kb);
	job_spec_add_env(s, name, text);
	return 0;
}

static int
read_env(struct spec_in *in, struct job_spec *s, struct err *err)
{
	const struct settings *set = in->rules->set;
	json_t *env = json_object_get(in->obj, "env"), *v;
	size_t total = 0;
	const char *name;

	/* PHP writes an empty map as []. */
	if (!env || json_is_null(env) ||
	    (json_is_array(env) && json_array_size(env) == 0))
		return 0;
	if (!json_is_object(env))
		return err_set(err, ERR_INVALID, 0,
		    "`env` must be an object of names and strings");
	if (json_object_size(env) > (size_t)set->gateway_max_env)
		return err_set(err, ERR_INVALID, 0,
		    "`env` has %zu variables: at most %ld are accepted",
		    json_object_size(env), set->gateway_max_env);
	json_object_foreach (env, name, v)
		if (add_variable(
			s, name, v, set->gateway_max_env_kb, &total, err) < 0)
			return -1;
	return 0;
}

/* ---- input files ---- */

/* "a" and "a", or "a" and "a/b": one of them could not be written. */
static bool
names_clash(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b), least = n < m ? n : m;

	return strncmp(a, b, least) == 0 &&
	       (n == m || (n < m ? b : a)[least] == '/');
}

static char *
file_name(const json_t *f, size_t i, struct err *err)
{
	char number[24];
	const char *name = number;
	size_t n;
	int r;

	n = (size_t)snprintf(number, sizeof(number), "%zu", i);
	r = json_get_str(f, "filename", &name, &n, err);
	if (r < 0)
		return NULL;
	/* Shell clients leave the newline of their command substitution. */
	while (n > 0 && (name[n - 1] == '\n' || name[n - 1] == '\r'))
		n--;
	return job_file_name(name, n, err);
}

/* Both names of the content mean base64. */
static int
file_content(const json_t *f, struct buf *ret_raw, struct err *err)
{
	const char *text;
	size_t n;
	int r = json_get_str(f, "content", &text, &n, err);

	if (r == 0)
		r = json_get_str(f, "content_base64", &text, &n, err);
	if (r < 0)
		return -1;
	if (r == 0)
		return err_set(err, ERR_INVALID, 0,
		    "`content_base64` is missing: send the file's bytes as "
		    "base64");
	return b64_decode(text, n, ret_raw, err);
}

static int
add_file(struct spec_in *in, struct job_spec *s, size_t i, size_t *total,
    struct err *err)
{
	const struct settings *set = in->rules->set;
	const json_t *f = json_array_get(
	    json_object_get(in->obj, "input_files"), i);
	auto_buf struct buf raw = { .cap = (size_t)set->gateway_max_file_kb *
					   KIB };
	auto_free char *name = NULL;

	if (!json_is_object(f))
		return err_set(err, ERR_INVALID, 0,
		    "must be an object with `filename` and `content_base64`");
	name = file_name(f, i, err);
	if (!name)
		return -1;
	for (size_t k = 0; k < s->n_files; k++)
		if (names_clash(s->files[k].name, name))
			return err_set(err, ERR_INVALID, 0,
			    "`%.80s` collides with `%.80s`: give each file its "
			    "own name",
			    name, s->files[k].name);
	if (file_content(f, &raw, err) < 0)
		return err->code == ERR_TOO_BIG
			   ? over_kib(err, name, set->gateway_max_file_kb)
			   : err_wrap(err, "`%.80s`", name);
	*total += raw.len;
	if (*total > (size_t)set->gateway_max_files_kb * KIB)
		return err_set(err, ERR_TOO_BIG, 0,
		    "together the files are larger than %ld KiB: send less",
		    set->gateway_max_files_kb);
	job_spec_add_file(s, name, &raw);
	return 0;
}

static int
read_files(struct spec_in *in, struct job_spec *s, struct err *err)
{
	long max = in->rules->set->gateway_max_files;
	const json_t *list = json_object_get(in->obj, "input_files");
	size_t n = json_array_size(list), total = 0;

	if (!list || json_is_null(list))
		return 0;
	if (!json_is_array(list))
		return err_set(err, ERR_INVALID, 0,
		    "`input_files` must be a list of objects with `filename` "
		    "and `content_base64`");
	if (n > (size_t)max)
		return err_set(err, ERR_INVALID, 0,
		    "`input_files` has %zu entries: at most %ld are accepted",
		    n, max);
	for (size_t i = 0; i < n; i++)
		if (add_file(in, s, i, &total, err) < 0)
			return err_wrap(err, "`input_files` entry %zu", i);
	return 0;
}

/* ---- all of it ---- */

/* Order matters where a comment above says so. */
static field_fn *const fields[] = { read_code, read_language, read_network,
	read_times, read_vcpu, read_memory, read_artifact, read_stdin,
	read_args, read_env, read_files };

static struct job_spec *
read_fields(struct spec_in *in, struct err *err)
{
	auto_ref(job_spec) s = job_spec_new();

	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (fields[i](in, s, err) < 0)
			return NULL;
	return steal_ptr(&s);
}

json_t *
spec_object(const char *text, size_t len, struct err *err)
{
	json_t *obj;

	if (body_says_nothing(text, len))
		return json_object();
	obj = json_parse(text, len, err);
	if (!obj) {
		(void)err_wrap(err, "the body is wrong");
		return NULL;
	}
	if (!json_is_object(obj)) {
		json_decref(obj);
		(void)err_set(err, ERR_INVALID, 0,
		    "the body must be a JSON object such as "
		    "{\"language\":\"python\",\"code\":\"print(1)\"}");
		return NULL;
	}
	return obj;
}

struct job_spec *
spec_files(const struct settings *set, const json_t *obj, struct err *err)
{
	const struct spec_rules rules = { .set = set };
	struct spec_in in = { .rules = &rules,
		.obj = (json_t *)(uintptr_t)obj };
	auto_ref(job_spec) s = job_spec_new();

	return read_files(&in, s, err) == 0 ? steal_ptr(&s) : NULL;
}

struct job_spec *
spec_from_json(const struct spec_rules *rules, const char *text, size_t len,
    bool *ret_async, struct err *err)
{
	json_auto_t *obj = spec_object(text, len, err);
	struct spec_in in = { .rules = rules, .obj = obj };
	bool async = false;
	struct job_spec *s;

	if (!obj || json_get_bool(obj, "async", &async, err) < 0)
		return NULL;
	s = read_fields(&in, err);
	if (s)
		*ret_async = async;
	return s;
}

/* Parameters of /run become the fields that /execute has. */
static int
overlay_query(json_t *obj, const struct query *q, struct err *err)
{
	static const char *const names[] = { "ttl", "network_mode", "network",
		"vcpu", "memory_mb", "cpu_limit", "return_artifact",
		"return_artifacts", "return_wasm_artifact", "stdin" };
	auto_free char *env = NULL;
	json_t *v;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		auto_free char *text = query_get(q, names[i], err);

		if (text)
			json_set_str(obj, names[i], text);
		else if (err->code != ERR_OK)
			return -1;
	}
	env = query_get(q, "env", err);
	if (!env)
		return err->code == ERR_OK ? 0 : -1;
	v = json_parse(env, strlen(env), err);
	if (!v)
		return err_wrap(err, "query parameter `env`");
	if (json_object_set_new(obj, "env", v) < 0)
		abort();
	return 0;
}

struct job_spec *
spec_from_run(const struct spec_rules *rules, const char *text, size_t len,
    bool json, const struct query *q, struct err *err)
{
	json_auto_t *obj = json ? spec_object(text, len, err) : json_object();
	struct spec_in in = { .rules = rules, .obj = obj, .guess = true };

	if (!obj || overlay_query(obj, q, err) < 0)
		return NULL;
	if (!json) {
		in.raw_code = text ? text : "";
		in.raw_len = len;
	}
	return read_fields(&in, err);
}
