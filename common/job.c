#include "job.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "b64.h"
#include "buf.h"
#include "cleanup.h"
#include "json.h"
#include "mem.h"
#include "out.h"
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

void
job_bytes_take(struct job_bytes *b, struct buf *from)
{
	if (!from->data) {
		job_bytes_set(b, "", 0);
		return;
	}
	free(b->data);
	b->data = buf_steal(from, &b->len);
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
    struct buf *content)
{
	struct job_file *f;

	*files = xreallocarray(*files, *n_files + 1, sizeof(**files));
	f = &(*files)[(*n_files)++];
	*f = (struct job_file){ .name = xstrdup(name) };
	job_bytes_take(&f->content, content);
}

void
job_spec_add_file(struct job_spec *s, const char *name, struct buf *content)
{
	add_file(&s->files, &s->n_files, name, content);
}

void
job_spec_drop_files(struct job_spec *s)
{
	files_free(s->files, s->n_files);
	s->files = NULL;
	s->n_files = 0;
	free(s->code.data);
	s->code = (struct job_bytes){ .data = NULL };
}

/* Beside the text, or in its place, the bytes that JSON cannot hold. */
static void
out_bytes_base64(struct out *o, const char *name, const struct job_bytes *b)
{
	char long_name[32];

	(void)snprintf(long_name, sizeof(long_name), "%s_base64", name);
	out_base64(o, long_name, b->data, b->len);
}

static void
out_bytes(struct out *o, const char *name, const struct job_bytes *b)
{
	if (utf8_valid(b->data, b->len))
		out_text(o, name, b->data, b->len);
	else
		out_bytes_base64(o, name, b);
}

static void
out_files(
    struct out *o, const char *name, const struct job_file *files, size_t n)
{
	out_open(o, name, '[');
	for (size_t i = 0; i < n; i++) {
		const struct job_bytes *b = &files[i].content;

		out_open(o, NULL, '{');
		out_str(o, "filename", files[i].name);
		out_base64(o, "content_base64", b->data, b->len);
		out_close(o, '}');
	}
	out_close(o, ']');
}

/* Bytes that are no text become U+FFFD: a client must not stop the gateway. */
static void
out_lists(struct out *o, const struct job_spec *s)
{
	out_open(o, "args", '[');
	for (size_t i = 0; i < s->n_args; i++)
		out_str(o, NULL, s->args[i]);
	out_close(o, ']');
	out_open(o, "env", '{');
	for (size_t i = 0; i < s->n_env; i++)
		out_str(o, s->env[i].name, s->env[i].value);
	out_close(o, '}');
	out_files(o, "files", s->files, s->n_files);
}

char *
job_spec_encode(const struct job_spec *s)
{
	struct out o;

	out_init(&o);
	out_open(&o, NULL, '{');
	out_str(&o, "language", s->language);
	out_str(&o, "network_mode", s->network_mode);
	out_bytes(&o, "code", &s->code);
	if (s->input.data)
		out_bytes(&o, "stdin", &s->input);
	out_lists(&o, s);
	out_int(&o, "ttl", s->ttl);
	out_int(&o, "cpu_limit", s->cpu_limit);
	out_int(&o, "vcpu", s->vcpu);
	out_int(&o, "memory_mb", s->memory_mb);
	out_bool(&o, "return_artifact", s->return_artifact);
	out_close(&o, '}');
	return out_steal(&o, NULL);
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
	job_bytes_take(ret_bytes, &raw);
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
		job_spec_add_file(s, name, &raw);
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
    struct job_result *r, const char *name, struct buf *content)
{
	add_file(&r->artifacts, &r->n_artifacts, name, content);
}

const struct job_step *
job_result_last(const struct job_result *r)
{
	return r->run.ran || !r->compile.ran ? &r->run : &r->compile;
}

static void
out_step(struct out *o, const char *name, const struct job_step *s,
    const struct job_bytes *text)
{
	out_open(o, name, '{');
	out_str(o, "end_reason", job_reason_name(s->reason));
	out_int(o, "exit_code", s->exit_code);
	if (s->signal)
		out_int(o, "signal", s->signal);
	out_int(o, "wall_ms", s->wall_us / 1000);
	out_int(o, "cpu_ms", s->cpu_us / 1000);
	out_int(o, "memory_bytes", s->memory_peak);
	if (s->cached)
		out_bool(o, "cached", true);
	if (text && text->len > 0)
		out_text(o, "output", text->data, text->len);
	out_close(o, '}');
}

/* Text for everyone; the exact bytes too when they are not text. */
static void
out_stream(struct out *o, const char *name, const struct job_bytes *b)
{
	out_text(o, name, b->data, b->len);
	if (!utf8_valid(b->data, b->len))
		out_bytes_base64(o, name, b);
}

static void
out_streams(struct out *o, const struct job_result *r)
{
	const struct job_step *last = job_result_last(r);

	out_stream(o, "stdout", &r->out);
	out_stream(o, "stderr", &r->err);
	out_int(o, "exit_code", last->exit_code);
	if (last->signal)
		out_int(o, "signal", last->signal);
	out_str(o, "end_reason", job_reason_name(last->reason));
	out_int(o, "stdout_bytes", (long long)r->out_total);
	out_int(o, "stderr_bytes", (long long)r->err_total);
	out_bool(o, "stdout_truncated", r->out_total > r->out.len);
	out_bool(o, "stderr_truncated", r->err_total > r->err.len);
	out_int(o, "wall_ms", last->wall_us / 1000);
	out_int(o, "cpu_ms", last->cpu_us / 1000);
	out_int(o, "memory_bytes", last->memory_peak);
}

char *
job_result_encode(const struct job_result *r)
{
	struct out o;

	out_init(&o);
	out_open(&o, NULL, '{');
	out_streams(&o, r);
	out_int(&o, "total_time_ms", r->total_us / 1000);
	out_files(&o, "artifacts", r->artifacts, r->n_artifacts);
	if (r->artifacts_truncated)
		out_bool(&o, "artifacts_truncated", true);
	if (r->compile.ran)
		out_step(&o, "compile", &r->compile, &r->compile_text);
	if (r->run.ran)
		out_step(&o, "run", &r->run, NULL);
	if (r->layers)
		out_str(&o, "isolation", r->layers);
	out_close(&o, '}');
	return out_steal(&o, NULL);
}
