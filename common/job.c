#include "job.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "b64.h"
#include "buf.h"
#include "cleanup.h"
#include "json.h"
#include "mem.h"
#include "utf8.h"

enum { FILE_NAME_MAX = 256, FILE_PART_MAX = 255 };

static const struct {
	const char *name;
	bool final;
} states[] = {
#define STATE(name, final, doc) [JOB_##name] = { #name, final },
#include "job_states.def"
#undef STATE
};

/* The .def names states in capitals to read well beside reasons. */
enum {
	STATE_COMPLETED = JOB_completed,
	STATE_TIMEOUT = JOB_timeout,
	STATE_CANCELLED = JOB_cancelled,
	STATE_FAILED = JOB_failed,
};

static const struct {
	const char *name;
	enum job_state state;
} reasons[] = {
#define REASON(name, state, doc)                                               \
	[REASON_##name] = { #name, (enum job_state)STATE_##state },
#include "job_reasons.def"
#undef REASON
};

const char *
job_state_name(enum job_state s)
{
	return states[s].name;
}

int
job_state_from_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(states); i++)
		if (strcmp(states[i].name, name) == 0)
			return (int)i;
	return -1;
}

bool
job_state_final(enum job_state s)
{
	return states[s].final;
}

const char *
job_reason_name(enum job_reason r)
{
	return reasons[r].name;
}

enum job_state
job_reason_state(enum job_reason r)
{
	return reasons[r].state;
}

/* ---- specs ---- */

void
job_bytes_set(struct job_bytes *b, const void *p, size_t n)
{
	char *data = xmalloc(n + 1);

	if (n > 0)
		memcpy(data, p, n);
	data[n] = '\0';
	free(b->data);
	b->data = data;
	b->len = n;
}

struct job_spec *
job_spec_new(void)
{
	struct job_spec *s = xcalloc(1, sizeof(*s));

	return s;
}

static void
files_free(struct job_file *files, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(files[i].name);
		free(files[i].content.data);
	}
	free(files);
}

void
job_spec_free(struct job_spec *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_args; i++)
		free(s->args[i]);
	for (size_t i = 0; i < s->n_env; i++) {
		free(s->env[i].name);
		free(s->env[i].value);
	}
	free(s->args);
	free(s->env);
	files_free(s->files, s->n_files);
	free(s->language);
	free(s->network_mode);
	free(s->code.data);
	free(s->input.data);
	free(s);
}
DEFINE_CLEANUP(job_spec, job_spec_free)

void
job_spec_add_arg(struct job_spec *s, const char *arg)
{
	s->args = xreallocarray(s->args, s->n_args + 1, sizeof(*s->args));
	s->args[s->n_args++] = xstrdup(arg);
}

void
job_spec_add_env(struct job_spec *s, const char *name, const char *value)
{
	s->env = xreallocarray(s->env, s->n_env + 1, sizeof(*s->env));
	s->env[s->n_env++] = (struct job_env){ .name = xstrdup(name),
		.value = xstrdup(value) };
}

static void
add_file(struct job_file **files, size_t *n_files, const char *name,
    const void *p, size_t n)
{
	struct job_file *f;

	*files = xreallocarray(*files, *n_files + 1, sizeof(**files));
	f = &(*files)[(*n_files)++];
	*f = (struct job_file){ .name = xstrdup(name) };
	job_bytes_set(&f->content, p, n);
}

void
job_spec_add_file(struct job_spec *s, const char *name, const void *p, size_t n)
{
	add_file(&s->files, &s->n_files, name, p, n);
}

/* Text as text; bytes that JSON cannot hold as base64 under name_base64. */
static void
set_bytes(json_t *obj, const char *name, const struct job_bytes *b)
{
	auto_free char *text = NULL;
	char long_name[32];

	if (utf8_valid(b->data, b->len)) {
		json_set_text(obj, name, b->data, b->len);
		return;
	}
	(void)snprintf(long_name, sizeof(long_name), "%s_base64", name);
	text = b64_encode(b->data, b->len);
	json_set_str(obj, long_name, text);
}

static void
set_new(json_t *obj, const char *name, json_t *v)
{
	if (!v || json_object_set_new(obj, name, v) < 0)
		abort();
}

static json_t *
files_encode(const struct job_file *files, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		json_t *f = json_object();
		auto_free char *text = b64_encode(
		    files[i].content.data, files[i].content.len);

		json_set_str(f, "filename", files[i].name);
		set_new(f, "content_base64", json_string_nocheck(text));
		if (json_array_append_new(list, f) < 0)
			abort();
	}
	return list;
}

/* Bytes that are no text become U+FFFD: a client must not stop the gateway. */
static void
add_text(json_t *list, const char *s)
{
	auto_buf struct buf clean = { .cap = SIZE_MAX / 4 };

	if (utf8_sanitize(s, strlen(s), &clean) < 0 ||
	    json_array_append_new(list,
		json_stringn_nocheck(clean.data ? clean.data : "", clean.len)) <
		0)
		abort();
}

char *
job_spec_encode(const struct job_spec *s)
{
	json_auto_t *o = json_object();
	json_t *args = json_array(), *env = json_object();

	for (size_t i = 0; i < s->n_args; i++)
		add_text(args, s->args[i]);
	for (size_t i = 0; i < s->n_env; i++)
		json_set_str(env, s->env[i].name, s->env[i].value);
	json_set_str(o, "language", s->language);
	json_set_str(o, "network_mode", s->network_mode);
	set_bytes(o, "code", &s->code);
	if (s->input.data)
		set_bytes(o, "stdin", &s->input);
	set_new(o, "args", args);
	set_new(o, "env", env);
	set_new(o, "files", files_encode(s->files, s->n_files));
	json_set_int(o, "ttl", s->ttl);
	json_set_int(o, "cpu_limit", s->cpu_limit);
	json_set_int(o, "vcpu", s->vcpu);
	json_set_int(o, "memory_mb", s->memory_mb);
	json_set_bool(o, "return_artifact", s->return_artifact);
	return json_text(o);
}

static int
get_bytes(const json_t *o, const char *name, struct job_bytes *ret_bytes,
    struct err *err)
{
	auto_buf struct buf raw = { .cap = SIZE_MAX / 4 };
	char long_name[32];
	const char *text;
	size_t n;
	int r = json_get_str(o, name, &text, &n, err);

	if (r > 0)
		job_bytes_set(ret_bytes, text, n);
	if (r != 0)
		return r < 0 ? -1 : 0;
	(void)snprintf(long_name, sizeof(long_name), "%s_base64", name);
	r = json_get_str(o, long_name, &text, &n, err);
	if (r <= 0)
		return r;
	if (b64_decode(text, n, &raw, err) < 0)
		return err_wrap(err, "`%s`", long_name);
	job_bytes_set(ret_bytes, raw.data, raw.len);
	return 0;
}

/* Only what the gateway lets in: the worker makes paths of it. */
static bool
name_clean(const char *name)
{
	struct err ignored;
	auto_free char *clean = job_file_name(name, strlen(name), &ignored);

	return clean && strcmp(clean, name) == 0;
}

/* As a C string; NULL when it is none. */
static const char *
c_string(const json_t *v)
{
	const char *s = json_string_value(v);

	return s && strlen(s) == json_string_length(v) ? s : NULL;
}

static int
get_lists(struct job_spec *s, const json_t *o, struct err *err)
{
	const json_t *args = json_object_get(o, "args");
	json_t *env = json_object_get(o, "env");
	const json_t *files = json_object_get(o, "files");
	const char *key;
	json_t *v;

	if (!json_is_array(args) || !json_is_object(env) ||
	    !json_is_array(files))
		return err_set(err, ERR_INVALID, 0, "job record: lists");
	for (size_t i = 0; i < json_array_size(args); i++) {
		const char *text = c_string(json_array_get(args, i));

		if (!text)
			return err_set(err, ERR_INVALID, 0, "job record: args");
		job_spec_add_arg(s, text);
	}
	json_object_foreach (env, key, v) {
		if (!*key || strchr(key, '=') || !c_string(v))
			return err_set(err, ERR_INVALID, 0, "job record: env");
		job_spec_add_env(s, key, c_string(v));
	}
	for (size_t i = 0; i < json_array_size(files); i++) {
		auto_buf struct buf raw = { .cap = SIZE_MAX / 4 };
		const char *name = NULL, *text = NULL;
		size_t n = 0;

		v = json_array_get(files, i);
		if (json_get_str(v, "filename", &name, NULL, err) <= 0 ||
		    json_get_str(v, "content_base64", &text, &n, err) <= 0 ||
		    !name_clean(name))
			return err_set(
			    err, ERR_INVALID, 0, "job record: files");
		if (b64_decode(text, n, &raw, err) < 0)
			return -1;
		job_spec_add_file(s, name, raw.data, raw.len);
	}
	return 0;
}

struct job_spec *
job_spec_decode(const char *text, size_t n, struct err *err)
{
	auto_ref(job_spec) s = job_spec_new();
	json_auto_t *o = json_parse(text, n, err);
	long long ttl = 0, cpu = 0, vcpu = 0, memory = 0;
	const char *language = NULL, *net = NULL;

	if (!o)
		return NULL;
	if (json_get_str(o, "language", &language, NULL, err) <= 0 ||
	    json_get_str(o, "network_mode", &net, NULL, err) <= 0 ||
	    json_get_int(o, "ttl", 1, 900, &ttl, err) <= 0 ||
	    json_get_int(o, "cpu_limit", 0, 7200, &cpu, err) <= 0 ||
	    json_get_int(o, "vcpu", 1, 8, &vcpu, err) <= 0 ||
	    json_get_int(o, "memory_mb", 0, 1 << 20, &memory, err) <= 0 ||
	    json_get_bool(o, "return_artifact", &s->return_artifact, err) <=
		0) {
		(void)err_set(err, ERR_INVALID, 0, "job record: a field");
		return NULL;
	}
	s->language = xstrdup(language);
	s->network_mode = xstrdup(net);
	s->ttl = (int)ttl;
	s->cpu_limit = (int)cpu;
	s->vcpu = (int)vcpu;
	s->memory_mb = (int)memory;
	if (get_bytes(o, "code", &s->code, err) < 0 ||
	    get_bytes(o, "stdin", &s->input, err) < 0 ||
	    get_lists(s, o, err) < 0)
		return NULL;
	if (!s->code.data) {
		(void)err_set(err, ERR_INVALID, 0, "job record: no code");
		return NULL;
	}
	return steal_ptr(&s);
}

char *
job_file_name(const char *name, size_t len, struct err *err)
{
	auto_buf struct buf out = { .cap = FILE_NAME_MAX };
	const char *p = name, *end = name + len;

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f) {
			(void)err_set(err, ERR_INVALID, 0,
			    "file name holds a control character");
			return NULL;
		}
	while (p < end) {
		const char *slash = memchr(p, '/', (size_t)(end - p));
		size_t n = (size_t)((slash ? slash : end) - p);

		if (n == 2 && p[0] == '.' && p[1] == '.') {
			(void)err_set(err, ERR_INVALID, 0,
			    "file name must not contain `..`");
			return NULL;
		}
		if (n > FILE_PART_MAX ||
		    (n > 0 && !(n == 1 && p[0] == '.') &&
			((out.len > 0 && buf_add(&out, "/", 1) < 0) ||
			    buf_add(&out, p, n) < 0))) {
			(void)err_set(err, ERR_INVALID, 0,
			    "file name is longer than %d characters",
			    FILE_NAME_MAX);
			return NULL;
		}
		p = slash ? slash + 1 : end;
	}
	if (out.len == 0 || !utf8_valid(out.data, out.len)) {
		(void)err_set(err, ERR_INVALID, 0, "file name is %s",
		    out.len == 0 ? "empty" : "not valid UTF-8");
		return NULL;
	}
	return buf_steal(&out, NULL);
}

/* ---- results ---- */

void
job_result_done(struct job_result *r)
{
	files_free(r->artifacts, r->n_artifacts);
	free(r->compile_text.data);
	free(r->out.data);
	free(r->err.data);
	free(r->message);
	*r = (struct job_result){ .layers = NULL };
}

void
job_result_add_artifact(
    struct job_result *r, const char *name, const void *p, size_t n)
{
	add_file(&r->artifacts, &r->n_artifacts, name, p, n);
}

const struct job_step *
job_result_last(const struct job_result *r)
{
	return r->run.ran || !r->compile.ran ? &r->run : &r->compile;
}

static json_t *
step_encode(const struct job_step *s)
{
	json_t *o = json_object();

	json_set_str(o, "end_reason", job_reason_name(s->reason));
	json_set_int(o, "exit_code", s->exit_code);
	if (s->signal)
		json_set_int(o, "signal", s->signal);
	json_set_int(o, "wall_ms", s->wall_us / 1000);
	json_set_int(o, "cpu_ms", s->cpu_us / 1000);
	json_set_int(o, "memory_bytes", s->memory_peak);
	return o;
}

/* Text for everyone; the exact bytes too when they are not text. */
static void
set_stream(json_t *o, const char *name, const struct job_bytes *b)
{
	const char *data = b->data ? b->data : "";

	json_set_text(o, name, data, b->len);
	if (!utf8_valid(data, b->len))
		set_bytes(o, name, b);
}

char *
job_result_encode(const struct job_result *r)
{
	json_auto_t *o = json_object();
	const struct job_step *last = job_result_last(r);

	set_stream(o, "stdout", &r->out);
	set_stream(o, "stderr", &r->err);
	json_set_int(o, "exit_code", last->exit_code);
	if (last->signal)
		json_set_int(o, "signal", last->signal);
	json_set_str(o, "end_reason", job_reason_name(last->reason));
	json_set_int(o, "stdout_bytes", (long long)r->out_total);
	json_set_int(o, "stderr_bytes", (long long)r->err_total);
	json_set_bool(o, "stdout_truncated", r->out_total > r->out.len);
	json_set_bool(o, "stderr_truncated", r->err_total > r->err.len);
	json_set_int(o, "wall_ms", last->wall_us / 1000);
	json_set_int(o, "cpu_ms", last->cpu_us / 1000);
	json_set_int(o, "memory_bytes", last->memory_peak);
	json_set_int(o, "total_time_ms", r->total_us / 1000);
	set_new(o, "artifacts", files_encode(r->artifacts, r->n_artifacts));
	if (r->artifacts_truncated)
		json_set_bool(o, "artifacts_truncated", true);
	if (r->compile.ran) {
		json_t *c = step_encode(&r->compile);

		if (r->compile_text.len > 0)
			json_set_text(c, "output", r->compile_text.data,
			    r->compile_text.len);
		set_new(o, "compile", c);
	}
	if (r->run.ran)
		set_new(o, "run", step_encode(&r->run));
	if (r->layers)
		json_set_str(o, "isolation", r->layers);
	return json_text(o);
}
