/*
 * The registry is two arrays of records and one hash of every name that leads
 * to a record: canonical names and aliases in lower case with a blank in front,
 * shebang names with "#!" in front, extensions with "." in front.  None of them
 * holds a blank, so the name ".net" is no extension.
 */
#include "lang.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Out of memory is fatal at start-up; the default would exit silently. */
#define uthash_fatal(msg) abort()
/* The default one falls through a switch in a way that clang reports. */
#define HASH_FUNCTION(key, len, hash) HASH_OAT(key, len, hash)
#include <uthash.h>

#include "cleanup.h"
#include "json.h"
#include "mem.h"

enum { RECORD_MAX = 256 << 10, WORD_MAX = 64 };

struct name {
	UT_hash_handle hh;
	const struct lang *lang; /* borrowed from the registry */
	char text[];
};

struct lang_registry {
	struct lang **langs; /* owned, sorted by name */
	size_t n_langs;
	struct shell **shells; /* owned, in file order */
	size_t n_shells;
	struct name *names;
};

/* ---- fields of a record ---- */

struct field {
	const char *name;
	int (*read)(
	    void *dst, const json_t *v, const char *name, struct err *err);
	size_t offset;
	bool optional; /* a missing one is as null */
};

static int
want(struct err *err, const char *name, const char *what)
{
	return err_set(err, ERR_INVALID, 0, "`%s` must be %s", name, what);
}

static int
read_text(void *dst, const json_t *v, const char *name, struct err *err)
{
	if (!json_is_string(v))
		return want(err, name, "a string");
	*(char **)dst = xstrdup(json_string_value(v));
	return 0;
}

static int
read_word(void *dst, const json_t *v, const char *name, struct err *err)
{
	const char *s = json_string_value(v);

	if (!s || s[0] == '\0' || s[0] == '.' || strpbrk(s, " /:\n\t"))
		return want(err, name, "a word without spaces or slashes");
	return read_text(dst, v, name, err);
}

static int
read_optional_word(
    void *dst, const json_t *v, const char *name, struct err *err)
{
	return json_is_null(v) ? 0 : read_word(dst, v, name, err);
}

static int
read_optional_text(
    void *dst, const json_t *v, const char *name, struct err *err)
{
	return json_is_null(v) ? 0 : read_text(dst, v, name, err);
}

static int
read_list(void *dst, const json_t *v, const char *name, struct err *err)
{
	struct lang_list *list = dst;
	size_t n = json_array_size(v);

	if (!json_is_array(v))
		return want(err, name, "an array of strings");
	list->items = xcalloc(n + 1, sizeof(char *));
	for (size_t i = 0; i < n; i++) {
		const char *s = json_string_value(json_array_get(v, i));

		if (!s)
			return want(err, name, "an array of strings");
		list->items[list->n++] = xstrdup(s);
	}
	return 0;
}

/* Files of the working directory. */
static int
read_names(void *dst, const json_t *v, const char *name, struct err *err)
{
	if (json_is_null(v))
		return 0;
	if (json_array_size(v) > LANG_AHEAD_MAX)
		return want(err, name, "an array of few file names");
	for (size_t i = 0; i < json_array_size(v); i++) {
		const char *s = json_string_value(json_array_get(v, i));

		if (!s || !*s || strchr(s, '/') || strlen(s) > NAME_MAX)
			return want(err, name, "an array of file names");
	}
	return read_list(dst, v, name, err);
}

static int
read_optional_list(
    void *dst, const json_t *v, const char *name, struct err *err)
{
	return json_is_null(v) ? 0 : read_list(dst, v, name, err);
}

static int
read_argv(void *dst, const json_t *v, const char *name, struct err *err)
{
	if (json_array_size(v) == 0)
		return want(err, name, "a command: an array, not empty");
	return read_list(dst, v, name, err);
}

static int
read_requires(void *dst, const json_t *v, const char *name, struct err *err)
{
	static const char *const known[] = { "proc", "dev", "shm", "tmp",
		"home" };
	const struct lang_list *list = dst;

	if (read_list(dst, v, name, err) < 0)
		return -1;
	for (size_t i = 0; i < list->n; i++) {
		size_t k = 0;

		while (k < ARRAY_LEN(known) &&
		       /* NOLINTNEXTLINE(*NonNull*): read_list() filled it */
		       strcmp(known[k], list->items[i]) != 0)
			k++;
		if (k == ARRAY_LEN(known))
			return want(err, name, "of proc, dev, shm, tmp, home");
	}
	return 0;
}

static int
read_pairs(void *dst, const json_t *v, const char *name, struct err *err)
{
	struct lang_pairs *pairs = dst;
	const char *key;
	json_t *value;

	if (!json_is_object(v))
		return want(err, name, "an object of strings");
	pairs->items = xcalloc(json_object_size(v), sizeof(*pairs->items));
	json_object_foreach ((json_t *)(uintptr_t)v, key, value) {
		struct lang_pair *p = &pairs->items[pairs->n];

		if (!json_is_string(value))
			return want(err, name, "an object of strings");
		p->name = xstrdup(key);
		p->value = xstrdup(json_string_value(value));
		pairs->n++;
	}
	return 0;
}

static int
read_fields(void *dst, const json_t *obj, const struct field *fields, size_t n,
    struct err *err)
{
	const char *key;
	json_t *value;

	if (!json_is_object(obj))
		return err_set(err, ERR_INVALID, 0, "not an object");
	json_object_foreach ((json_t *)(uintptr_t)obj, key, value) {
		size_t i = 0;

		while (i < n && strcmp(fields[i].name, key) != 0)
			i++;
		if (i == n)
			return err_set(
			    err, ERR_INVALID, 0, "unknown field `%s`", key);
	}
	for (size_t i = 0; i < n; i++) {
		const struct field *f = &fields[i];
		const json_t *v = json_object_get(obj, f->name);

		if (!v && f->optional)
			continue;
		if (!v)
			return err_set(err, ERR_INVALID, 0,
			    "field `%s` is missing", f->name);
		if (f->read((char *)dst + f->offset, v, f->name, err) < 0)
			return -1;
	}
	return 0;
}

static int
read_positive(void *dst, const json_t *v, const char *name, struct err *err)
{
	if (!json_is_integer(v) || json_integer_value(v) < 1 ||
	    json_integer_value(v) > 100000)
		return want(err, name, "a whole number, 1 to 100000");
	*(long *)dst = (long)json_integer_value(v);
	return 0;
}

static int
read_bool(void *dst, const json_t *v, const char *name, struct err *err)
{
	if (!json_is_boolean(v))
		return want(err, name, "true or false");
	*(bool *)dst = json_is_true(v);
	return 0;
}

static int
read_limits(void *dst, const json_t *v, const char *name, struct err *err)
{
	static const struct field fields[] = {
		{ "pids", read_positive, offsetof(struct lang, pids), false },
		{ "min_memory_mb", read_positive,
		    offsetof(struct lang, min_memory_mb), false },
		{ "compile_seconds", read_positive,
		    offsetof(struct lang, compile_seconds), false },
		{ "limit_address_space", read_bool,
		    offsetof(struct lang, limit_address_space), false },
	};

	if (read_fields(dst, v, fields, ARRAY_LEN(fields), err) < 0)
		return err_wrap(err, "`%s`", name);
	return 0;
}

static int
read_lang_packages(
    void *dst, const json_t *v, const char *name, struct err *err)
{
	static const struct field fields[] = {
		{ "apt", read_list, offsetof(struct lang, apt), false },
		{ "npm", read_list, offsetof(struct lang, npm), false },
	};

	if (read_fields(dst, v, fields, ARRAY_LEN(fields), err) < 0)
		return err_wrap(err, "`%s`", name);
	return 0;
}

static int
read_shell_packages(
    void *dst, const json_t *v, const char *name, struct err *err)
{
	static const struct field fields[] = {
		{ "apt", read_list, offsetof(struct shell, apt), false },
		{ "npm", read_list, offsetof(struct shell, npm), false },
	};

	if (read_fields(dst, v, fields, ARRAY_LEN(fields), err) < 0)
		return err_wrap(err, "`%s`", name);
	return 0;
}

#define LANG_FIELD(field, fn)                                                  \
	{                                                                      \
#field, fn, offsetof(struct lang, field), false                \
	}
static const struct field lang_fields[] = {
	LANG_FIELD(name, read_word),
	LANG_FIELD(title, read_text),
	LANG_FIELD(aliases, read_list),
	LANG_FIELD(extensions, read_list),
	LANG_FIELD(shebangs, read_list),
	LANG_FIELD(tier, read_word),
	{ "packages", read_lang_packages, 0, false },
	LANG_FIELD(source, read_word),
	LANG_FIELD(compile, read_optional_list),
	LANG_FIELD(run, read_argv),
	LANG_FIELD(artifact, read_optional_word),
	LANG_FIELD(env, read_pairs),
	LANG_FIELD(locale, read_word),
	LANG_FIELD(caches, read_pairs),
	{ "limits", read_limits, 0, false },
	LANG_FIELD(requires, read_requires),
	LANG_FIELD(notes, read_text),
	LANG_FIELD(hello, read_text),
	LANG_FIELD(hello_output, read_text),
	{ "fork", read_optional_text, offsetof(struct lang, fork), true },
	{ "ahead", read_names, offsetof(struct lang, ahead), true },
};

#define SHELL_FIELD(field, fn)                                                 \
	{                                                                      \
#field, fn, offsetof(struct shell, field), false               \
	}
static const struct field shell_fields[] = {
	SHELL_FIELD(name, read_word),
	SHELL_FIELD(title, read_text),
	SHELL_FIELD(category, read_word),
	SHELL_FIELD(aliases, read_list),
	{ "packages", read_shell_packages, 0, false },
	SHELL_FIELD(argv, read_argv),
};

/* ---- freeing ---- */

static void
list_done(struct lang_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->items[i]);
	free(list->items);
}

static void
pairs_done(struct lang_pairs *pairs)
{
	for (size_t i = 0; i < pairs->n; i++) {
		free(pairs->items[i].name);
		free(pairs->items[i].value);
	}
	free(pairs->items);
}

static void
lang_record_free(struct lang *l)
{
	char *texts[] = { l->name, l->title, l->tier, l->source, l->artifact,
		l->locale, l->hello, l->hello_output, l->notes, l->fork };
	struct lang_list *lists[] = { &l->aliases, &l->extensions, &l->shebangs,
		&l->apt, &l->npm, &l->compile, &l->run, &l->requires,
		&l->ahead };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		free(texts[i]);
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		list_done(lists[i]);
	pairs_done(&l->env);
	pairs_done(&l->caches);
	free(l);
}

static void
shell_free(struct shell *s)
{
	free(s->name);
	free(s->title);
	free(s->category);
	list_done(&s->aliases);
	list_done(&s->apt);
	list_done(&s->npm);
	list_done(&s->argv);
	free(s);
}

void
lang_free(struct lang_registry *reg)
{
	struct name *n, *next;

	if (!reg)
		return;
	HASH_ITER (hh, reg->names, n, next) {
		HASH_DEL(reg->names, n);
		free(n);
	}
	for (size_t i = 0; i < reg->n_langs; i++)
		lang_record_free(reg->langs[i]);
	for (size_t i = 0; i < reg->n_shells; i++)
		shell_free(reg->shells[i]);
	free(reg->langs);
	free(reg->shells);
	free(reg);
}
DEFINE_CLEANUP(lang_registry, lang_free)

/* ---- names ---- */

static const struct lang *
name_find(const struct lang_registry *reg, const char *text)
{
	struct name *n;

	HASH_FIND_STR(reg->names, text, n);
	return n ? n->lang : NULL;
}

/* What lang_find() and a shebang line can hold; others would never be found. */
static bool
findable(const char *word)
{
	size_t n = strlen(word);

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)word[i] <= ' ' || word[i] == '/')
			return false;
	return n > 0 && n < WORD_MAX - 1;
}

static int
name_add(struct lang_registry *reg, const struct lang *l, const char *prefix,
    const char *word, struct err *err)
{
	/* NOLINTNEXTLINE(*NonNull*): names of a record are never NULL */
	size_t len = strlen(prefix) + strlen(word) + 1;
	struct name *n = xcalloc(1, sizeof(*n) + len);
	const struct lang *other;

	if (!findable(word)) {
		free(n);
		return err_set(err, ERR_INVALID, 0,
		    "`%.80s` is empty, longer than %d bytes, or holds a blank "
		    "or a slash",
		    word, WORD_MAX - 2);
	}
	(void)stpcpy(stpcpy(n->text, prefix), word);
	if (*prefix == ' ')
		for (char *p = n->text; *p; p++)
			*p = (char)tolower((unsigned char)*p);
	n->lang = l;
	other = name_find(reg, n->text);
	if (other && other != l) {
		(void)err_set(err, ERR_INVALID, 0,
		    "`%s` belongs to both %s and %s",
		    n->text + strspn(n->text, " "), other->name, l->name);
		free(n);
		return -1;
	}
	if (other)
		free(n);
	else
		HASH_ADD_STR(reg->names, text, n);
	return 0;
}

static int
names_add(struct lang_registry *reg, const struct lang *l, struct err *err)
{
	const struct {
		const char *prefix;
		const struct lang_list *list;
	} all[] = {
		{ " ", &l->aliases },
		{ ".", &l->extensions },
		{ "#!", &l->shebangs },
	};

	if (name_add(reg, l, " ", l->name, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		for (size_t k = 0; k < all[i].list->n; k++)
			if (name_add(reg, l, all[i].prefix,
				all[i].list->items[k], err) < 0)
				return -1;
	return 0;
}

/* ---- loading ---- */

static int
is_record(const struct dirent *d)
{
	const char *dot = strrchr(d->d_name, '.');

	return d->d_name[0] != '.' && dot && strcmp(dot, ".json") == 0;
}

/* Caches are made with the job's files, which is too late for `ahead`. */
static int
check_ahead(const struct lang *l, struct err *err)
{
	if (l->ahead.n == 0)
		return 0;
	if (l->fork || l->caches.n > 0)
		return err_set(err, ERR_INVALID, 0,
		    "`ahead` goes neither with `fork` nor with `caches`");
	return 0;
}

static struct lang *
load_record(const char *path, struct err *err)
{
	json_auto_t *obj = json_parse_file(path, RECORD_MAX, err);
	struct lang *l;

	if (!obj)
		return NULL;
	l = xcalloc(1, sizeof(*l));
	if (read_fields(l, obj, lang_fields, ARRAY_LEN(lang_fields), err) < 0 ||
	    check_ahead(l, err) < 0) {
		(void)err_wrap(err, "%s", path);
		lang_record_free(l);
		return NULL;
	}
	return l;
}

static int
load_langs(struct lang_registry *reg, const char *dir, struct err *err)
{
	struct dirent **files;
	int n = scandir(dir, &files, is_record, alphasort), r = 0;

	if (n < 0)
		return err_errno(err, "read languages in `%s`", dir);
	reg->langs = xcalloc((size_t)n, sizeof(*reg->langs));
	for (int i = 0; i < n; i++) {
		char path[2 * PATH_MAX];
		struct lang *l = NULL;

		(void)snprintf(
		    path, sizeof(path), "%s/%s", dir, files[i]->d_name);
		if (r == 0 && !(l = load_record(path, err)))
			r = -1;
		if (l) {
			reg->langs[reg->n_langs++] = l;
			if (names_add(reg, l, err) < 0)
				r = err_wrap(err, "%s", path);
		}
		free(files[i]);
	}
	free(files);
	return r;
}

static bool
shell_called(const struct shell *s, const char *name)
{
	for (size_t i = 0; i < s->aliases.n; i++)
		/* NOLINTNEXTLINE(*NonNull*): all fields were read */
		if (strcmp(s->aliases.items[i], name) == 0)
			return true;
	return strcmp(s->name, name) == 0; /* NOLINT(*NonNull*): the same */
}

/* Every name leads to one shell; s is the last that was read. */
static int
shell_check_names(
    const struct lang_registry *reg, const struct shell *s, struct err *err)
{
	for (size_t i = 0; i + 1 < reg->n_shells; i++) {
		const struct shell *other = reg->shells[i];
		bool twice = shell_called(other, s->name);

		for (size_t k = 0; k < s->aliases.n; k++)
			twice |= shell_called(other, s->aliases.items[k]);
		if (twice)
			return err_set(err, ERR_INVALID, 0,
			    "%s and %s share a name", other->name, s->name);
	}
	return 0;
}

static int
load_shells(struct lang_registry *reg, const char *path, struct err *err)
{
	json_auto_t *all = json_parse_file(path, RECORD_MAX, err);
	size_t n = json_array_size(all);

	if (!all)
		return -1;
	if (!json_is_array(all))
		return err_set(err, ERR_INVALID, 0, "%s: not an array", path);
	reg->shells = xcalloc(n, sizeof(*reg->shells));
	for (size_t i = 0; i < n; i++) {
		struct shell *s = xcalloc(1, sizeof(*s));

		reg->shells[reg->n_shells++] = s;
		if (read_fields(s, json_array_get(all, i), shell_fields,
			ARRAY_LEN(shell_fields), err) < 0 ||
		    shell_check_names(reg, s, err) < 0)
			return err_wrap(err, "%s: record %zu", path, i);
	}
	return 0;
}

struct lang_registry *
lang_load(const char *share_dir, struct err *err)
{
	auto_ref(lang_registry) reg = xcalloc(1, sizeof(*reg));
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/languages.d", share_dir);
	if (load_langs(reg, path, err) < 0)
		return NULL;
	(void)snprintf(path, sizeof(path), "%s/shells.json", share_dir);
	if (load_shells(reg, path, err) < 0)
		return NULL;
	return steal_ptr(&reg);
}

size_t
lang_count(const struct lang_registry *reg)
{
	return reg->n_langs;
}

const struct lang *
lang_at(const struct lang_registry *reg, size_t i)
{
	return reg->langs[i];
}

size_t
shell_count(const struct lang_registry *reg)
{
	return reg->n_shells;
}

const struct shell *
shell_at(const struct lang_registry *reg, size_t i)
{
	return reg->shells[i];
}

/* ---- finding ---- */

const struct lang *
lang_find(const struct lang_registry *reg, const char *name)
{
	char lower[1 + WORD_MAX] = " ";
	size_t n = strlen(name);

	if (n >= WORD_MAX)
		return NULL;
	for (size_t i = 0; i <= n; i++)
		lower[1 + i] = (char)tolower((unsigned char)name[i]);
	return name_find(reg, lower);
}

/* The next word of a shebang line; false at its end. */
static bool
next_word(const char **p, const char *end, char ret_word[WORD_MAX])
{
	size_t n = 0;

	while (*p < end && (**p == ' ' || **p == '\t'))
		(*p)++;
	while (*p < end && !isspace((unsigned char)**p)) {
		if (n < WORD_MAX - 1)
			ret_word[n++] = **p;
		(*p)++;
	}
	ret_word[n] = '\0';
	return n > 0;
}

/* "python3.11" is claimed as itself, or as python3 or python. */
static const struct lang *
find_interpreter(const struct lang_registry *reg, const char *word)
{
	char name[WORD_MAX + 2];
	size_t n;

	(void)snprintf(name, sizeof(name), "#!%s", word);
	for (n = strlen(name); n > 2; n--) {
		const struct lang *l;

		name[n] = '\0';
		l = name_find(reg, name);
		if (l)
			return l;
		if (!strchr("0123456789.-", name[n - 1]))
			break;
	}
	return NULL;
}

const struct lang *
lang_from_shebang(const struct lang_registry *reg, const char *code, size_t len)
{
	const char *p, *end;
	char word[WORD_MAX];
	const char *base;

	if (len < 3 || code[0] != '#' || code[1] != '!')
		return NULL;
	p = code + 2;
	end = memchr(code, '\n', len);
	if (!end)
		end = code + len;
	if (!next_word(&p, end, word))
		return NULL;
	base = strrchr(word, '/') ? strrchr(word, '/') + 1 : word;
	if (strcmp(base, "env") != 0)
		return find_interpreter(reg, base);
	/* env: skip its options and assignments. */
	while (next_word(&p, end, word))
		if (word[0] != '-' && !strchr(word, '='))
			return find_interpreter(reg,
			    strrchr(word, '/') ? strrchr(word, '/') + 1 : word);
	return NULL;
}

const struct lang *
lang_guess(const struct lang_registry *reg, const char *code, size_t len)
{
	static const struct {
		const char *text; /* at the start of the code or of a line */
		const char *lang;
	} signs[] = {
		{ "<?php", "php" },
		{ "package main", "go" },
		{ "#include", "c" },
		{ "fn main(", "rust" },
		{ "public class ", "java" },
		{ "defmodule ", "elixir" },
		{ "module Main", "haskell" },
		{ "main :: IO", "haskell" },
		{ "import java.", "java" },
		{ "using System", "csharp" },
		{ "program ", "pascal" },
		{ "def ", "python" },
		{ "import ", "python" },
		{ "print(", "python" },
		{ "console.log", "javascript" },
		{ "const ", "javascript" },
		{ "let ", "javascript" },
		{ "function ", "javascript" },
		{ "puts ", "ruby" },
		{ "echo ", "bash" },
	};
	const struct lang *l = lang_from_shebang(reg, code, len);

	if (l)
		return l;
	for (size_t i = 0; i < ARRAY_LEN(signs); i++) {
		size_t n = strlen(signs[i].text);
		const char *p = code, *end = code + len;

		while ((p = memmem(p, (size_t)(end - p), signs[i].text, n))) {
			if (p == code || p[-1] == '\n')
				return lang_find(reg, signs[i].lang);
			p++;
		}
	}
	return NULL;
}

/* ---- what is installed ---- */

static bool
program_exists(const char *program)
{
	char path[PATH_MAX];
	const char *dir = LANG_PATH;

	if (strchr(program, '/'))
		return program[0] != '/' || access(program, X_OK) == 0;
	while (*dir) {
		size_t n = strcspn(dir, ":");

		if (n + 1 + strlen(program) < sizeof(path)) {
			*(char *)mempcpy(path, dir, n) = '/';
			(void)stpcpy(path + n + 1, program);
			if (access(path, X_OK) == 0)
				return true;
		}
		dir += n + (dir[n] == ':');
	}
	return false;
}

bool
lang_installed(const struct lang *l, const char **ret_missing)
{
	const struct lang_list *steps[] = { &l->compile, &l->run };

	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		if (steps[i]->n == 0 || program_exists(steps[i]->items[0]))
			continue;
		if (ret_missing)
			*ret_missing = steps[i]->items[0];
		return false;
	}
	return true;
}

bool
shell_installed(const struct shell *s)
{
	return program_exists(s->argv.items[0]);
}
