#include "un_artifact.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "attr.h"
#include "b64.h"
#include "buf.h"
#include "cleanup.h"
#include "io.h"
#include "un_api.h"
#include "un_output.h"

enum { MODE_PROGRAM = 0755, MODE_DATA = 0644, DIR_MODE = 0777 };

struct magic {
	const char *bytes;
	size_t n;
};
#define MAGIC(s)                                                               \
	{                                                                      \
		s, sizeof(s) - 1                                               \
	}

/* ELF; PE; Mach-O of either width and byte order, and its fat form. */
static const struct magic programs[] = {
	MAGIC("\177ELF"),
	MAGIC("MZ"),
	MAGIC("\xfe\xed\xfa\xce"),
	MAGIC("\xfe\xed\xfa\xcf"),
	MAGIC("\xce\xfa\xed\xfe"),
	MAGIC("\xcf\xfa\xed\xfe"),
	MAGIC("\xca\xfe\xba\xbe"),
};

static const struct magic data_magics[] = {
	MAGIC("\x89PNG"),
	MAGIC("\xff\xd8\xff"),
	MAGIC("GIF8"),
	MAGIC("RIFF"),
	MAGIC("%PDF"),
	MAGIC("PK\3\4"),
	MAGIC("\x1f\x8b"),
	MAGIC("BZh"),
	MAGIC("\xfd"
	      "7zXZ"),
	MAGIC("\x28\xb5\x2f\xfd"),
	MAGIC("SQLite format 3"),
	MAGIC("{"),
	MAGIC("<"),
};

static const char *const data_extensions[] = { "avi", "bin", "bmp", "bz2",
	"cfg", "class", "conf", "css", "csv", "dat", "db", "gif", "gz", "h5",
	"htm", "html", "ico", "ini", "jar", "jpeg", "jpg", "js", "json",
	"jsonl", "log", "md", "mp3", "mp4", "npy", "npz", "ogg", "parquet",
	"pdf", "pickle", "pkl", "png", "ps", "rst", "sqlite", "svg", "tar",
	"tex", "tgz", "tif", "tiff", "toml", "tsv", "txt", "wasm", "wav",
	"webm", "webp", "xls", "xlsx", "xml", "xz", "yaml", "yml", "zip",
	"zst" };

static bool
magic_found(
    const struct magic *table, size_t n_rows, const void *data, size_t n)
{
	for (size_t i = 0; i < n_rows; i++)
		if (n >= table[i].n &&
		    memcmp(data, table[i].bytes, table[i].n) == 0)
			return true;
	return false;
}

/* A Java class begins like a fat Mach-O: its version is above any CPU count. */
static bool
is_program(const void *data, size_t n)
{
	const unsigned char *p = data;

	if (n >= 8 && memcmp(p, "\xca\xfe\xba\xbe", 4) == 0)
		return p[4] == 0 && p[5] == 0 && p[6] == 0 && p[7] < 30;
	return magic_found(programs, ARRAY_LEN(programs), data, n);
}

static bool
is_data(const char *name, const void *data, size_t n)
{
	const char *dot = strrchr(name, '.');

	if (magic_found(data_magics, ARRAY_LEN(data_magics), data, n))
		return true;
	for (size_t i = 0; dot && i < ARRAY_LEN(data_extensions); i++)
		if (strcasecmp(dot + 1, data_extensions[i]) == 0)
			return true;
	return false;
}

unsigned
un_artifact_mode(const char *name, const void *data, size_t n)
{
	if (is_program(data, n) || (n >= 2 && memcmp(data, "#!", 2) == 0))
		return MODE_PROGRAM;
	return is_data(name, data, n) ? MODE_DATA : MODE_PROGRAM;
}

/* ---- names ---- */

static bool
part_is(const char *p, size_t n, const char *text)
{
	return strlen(text) == n && memcmp(p, text, n) == 0;
}

static int
part_add(struct buf *out, const char *p, size_t n, struct err *err)
{
	if (n == 0 || part_is(p, n, "."))
		return 0;
	if (part_is(p, n, ".."))
		return err_set(err, ERR_INVALID, 0, "it holds `..`");
	if (n > NAME_MAX || (out->len > 0 && buf_adds(out, "/") < 0) ||
	    buf_add(out, p, n) < 0)
		return err_set(err, ERR_INVALID, 0, "it is too long");
	return 0;
}

static int
name_check(const char *name, size_t n, struct err *err)
{
	if (n > 0 && name[0] == '/')
		return err_set(err, ERR_INVALID, 0, "it is absolute");
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)name[i] < ' ' || name[i] == '\177')
			return err_set(
			    err, ERR_INVALID, 0, "it holds control characters");
	return 0;
}

char *
un_artifact_name(const char *name, size_t n, struct err *err)
{
	auto_buf struct buf out = { .cap = PATH_MAX / 2 };

	if (name_check(name, n, err) < 0)
		return NULL;
	for (size_t i = 0; i <= n; i++) {
		const char *slash = i < n ? memchr(name + i, '/', n - i) : NULL;
		size_t len = slash ? (size_t)(slash - name) - i : n - i;

		if (part_add(&out, name + i, len, err) < 0)
			return NULL;
		i += len;
	}
	if (out.len == 0) {
		(void)err_set(err, ERR_INVALID, 0, "it is empty");
		return NULL;
	}
	return buf_steal(&out, NULL);
}

char *
un_artifact_postfix(const char *name, const char *postfix)
{
	const char *slash = strrchr(name, '/');
	const char *base = slash ? slash + 1 : name;
	const char *dot = strrchr(base, '.');
	char *whole;

	if (!dot || dot == base)
		dot = base + strlen(base);
	if (asprintf(
		&whole, "%.*s-%s%s", (int)(dot - name), name, postfix, dot) < 0)
		abort();
	return whole;
}

/* "dir/main.c" -> "main"; NULL when that would be the source itself. */
static char *
program_name(const char *source)
{
	const char *slash = source ? strrchr(source, '/') : NULL;
	const char *base = slash ? slash + 1 : source;
	const char *dot = base ? strrchr(base, '.') : NULL;

	return dot && dot != base ? strndup(base, (size_t)(dot - base)) : NULL;
}

static bool
name_taken(const json_t *artifacts, const char *name)
{
	for (size_t i = 0; i < json_array_size(artifacts); i++)
		if (strcmp(
			un_api_text(json_array_get(artifacts, i), "filename"),
			name) == 0)
			return true;
	return false;
}

/* ---- writing ---- */

/* Opens, making it when missing, one directory below another. */
static int
dir_step(int parent, const char *name, struct err *err)
{
	int fd;

	if (mkdirat(parent, name, DIR_MODE) < 0 && errno != EEXIST)
		return err_errno(err, "make directory `%s`", name);
	fd = openat(
	    parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_errno(err, "open directory `%s`", name) : fd;
}

/* Each part of a checked name is shorter than NAME_MAX. */
static int
write_below(int dir, const char *name, const struct buf *data, mode_t mode,
    struct err *err)
{
	auto_close int here = -1;
	const char *slash;

	while ((slash = strchr(name, '/')) != NULL) {
		char part[NAME_MAX + 1] = "";
		int next;

		memcpy(part, name, (size_t)(slash - name));
		next = dir_step(here < 0 ? dir : here, part, err);
		if (next < 0)
			return -1;
		if (here >= 0)
			(void)close(here);
		here = next;
		name = slash + 1;
	}
	return io_write_file(here < 0 ? dir : here, name,
	    data->data ? data->data : "", data->len, mode, err);
}

/* What the umask leaves; there is no way to ask without setting it. */
static mode_t
mode_allowed(unsigned mode)
{
	mode_t mask = umask(0);

	(void)umask(mask);
	return mode & ~mask;
}

struct saving {
	const json_t *artifacts;
	const char *dir;
	const char *postfix; /* NULL: none */
	int dir_fd;
	char *program; /* owned; name for the first program, then NULL */
};

static int
content_get(const json_t *artifact, struct buf *ret_data, struct err *err)
{
	const json_t *text = json_object_get(artifact, "content_base64");

	if (!text)
		text = json_object_get(artifact, "content");
	if (!json_is_string(text))
		return err_set(err, ERR_INVALID, 0, "it has no content");
	buf_init(ret_data, json_string_length(text));
	return b64_decode(
	    json_string_value(text), json_string_length(text), ret_data, err);
}

static int
save(struct saving *s, const json_t *artifact, struct err *err)
{
	const json_t *sent = json_object_get(artifact, "filename");
	auto_buf struct buf data = { .cap = 0 };
	auto_free char *name = NULL;
	unsigned mode;
	bool here;

	if (!json_is_string(sent))
		return err_set(err, ERR_INVALID, 0, "it has no name");
	name = un_artifact_name(
	    json_string_value(sent), json_string_length(sent), err);
	if (!name || content_get(artifact, &data, err) < 0)
		return -1;
	mode = un_artifact_mode(name, data.data ? data.data : "", data.len);
	if (s->program && data.data && is_program(data.data, data.len)) {
		free(name);
		name = steal_ptr(&s->program);
	}
	if (s->postfix) {
		char *whole = un_artifact_postfix(name, s->postfix);

		free(name);
		name = whole;
	}
	if (write_below(s->dir_fd, name, &data, mode_allowed(mode), err) < 0)
		return -1;
	here = strcmp(s->dir, ".") == 0;
	un_output_line(stderr, UN_GREEN, "Artifact saved: %s%s%s (%zu bytes)",
	    here ? "" : s->dir, here ? "" : "/", name, data.len);
	return 0;
}

static bool
save_each(struct saving *s)
{
	bool all = true;

	for (size_t i = 0; i < json_array_size(s->artifacts); i++) {
		const json_t *a = json_array_get(s->artifacts, i);
		struct err err = { 0 };

		if (save(s, a, &err) == 0)
			continue;
		un_output_error("artifact `%s` is not saved: %s",
		    un_api_text(a, "filename"), err.msg);
		all = false;
	}
	return all;
}

static bool
save_below(struct saving *s)
{
	auto_close int fd = -1;
	struct err err = { 0 };

	if (json_array_size(s->artifacts) == 0)
		return true;
	if (io_mkdir_all(s->dir, DIR_MODE, &err) < 0) {
		un_output_error("%s", err.msg);
		return false;
	}
	fd = s->dir_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		un_output_error("open `%s`: %s", s->dir, strerror(errno));
		return false;
	}
	return save_each(s);
}

bool
un_artifact_save_all(const json_t *job, const char *dir, const char *source)
{
	struct saving s = { .artifacts = json_object_get(job, "artifacts"),
		.dir = dir,
		.program = program_name(source) };
	bool all;

	if (s.program && name_taken(s.artifacts, s.program))
		free(steal_ptr(&s.program));
	all = save_below(&s);
	free(s.program);
	return all;
}

bool
un_artifact_save_named(
    const json_t *answer, const char *dir, const char *postfix)
{
	struct saving s = { .artifacts = json_object_get(answer, "artifacts"),
		.dir = dir,
		.postfix = postfix };

	return save_below(&s);
}
