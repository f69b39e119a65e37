#include "settings.h"

#include <errno.h>
#include <ini.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

enum setting_type { SETTING_UNSET, SETTING_STR, SETTING_INT, SETTING_BOOL };

static const struct setting {
	enum setting_type type;
	const char *section;
	const char *name;
	size_t offset;
	const char *def_str;
	long def, min, max;
	const char *doc;
} table[] = {
#define STR(section, name, def, doc)                                           \
	{ SETTING_STR, #section, #name,                                        \
		offsetof(struct settings, section##_##name), def, 0, 0, 0,     \
		doc },
#define INT(section, name, def, min, max, doc)                                 \
	{ SETTING_INT, #section, #name,                                        \
		offsetof(struct settings, section##_##name), NULL, def, min,   \
		max, doc },
#define BOOL(section, name, def, doc)                                          \
	{ SETTING_BOOL, #section, #name,                                       \
		offsetof(struct settings, section##_##name), NULL, def, 0, 1,  \
		doc },
#include "settings.def"
#undef STR
#undef INT
#undef BOOL
};

static void *
field(struct settings *s, const struct setting *t)
{
	return (char *)s + t->offset;
}

static const void *
const_field(const struct settings *s, const struct setting *t)
{
	return (const char *)s + t->offset;
}

void
settings_default(struct settings *s)
{
	memset(s, 0, sizeof(*s));
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		const struct setting *t = &table[i];

		if (t->type == SETTING_STR)
			(void)snprintf(
			    field(s, t), SETTINGS_STR_MAX, "%s", t->def_str);
		else if (t->type == SETTING_INT)
			*(long *)field(s, t) = t->def;
		else
			*(bool *)field(s, t) = t->def != 0;
	}
}

static int
set_str(void *p, const struct setting *t, const char *value, struct err *err)
{
	if (strlen(value) >= SETTINGS_STR_MAX)
		return err_set(err, ERR_INVALID, 0,
		    "%s.%s: longer than %d bytes", t->section, t->name,
		    SETTINGS_STR_MAX - 1);
	(void)snprintf(p, SETTINGS_STR_MAX, "%s", value);
	return 0;
}

static int
set_int(void *p, const struct setting *t, const char *value, struct err *err)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(value, &end, 10);
	if (errno != 0 || end == value || *end != '\0')
		return err_set(err, ERR_INVALID, 0,
		    "%s.%s: `%s` is not a whole number", t->section, t->name,
		    value);
	if (v < t->min || v > t->max)
		return err_set(err, ERR_INVALID, 0,
		    "%s.%s: %ld is outside %ld to %ld", t->section, t->name, v,
		    t->min, t->max);
	*(long *)p = v;
	return 0;
}

static int
set_bool(void *p, const struct setting *t, const char *value, struct err *err)
{
	bool yes = strcmp(value, "yes") == 0 || strcmp(value, "true") == 0;

	if (!yes && strcmp(value, "no") != 0 && strcmp(value, "false") != 0)
		return err_set(err, ERR_INVALID, 0,
		    "%s.%s: `%s` is neither yes nor no", t->section, t->name,
		    value);
	*(bool *)p = yes;
	return 0;
}

int
settings_set(struct settings *s, const char *section, const char *name,
    const char *value, struct err *err)
{
	bool section_known = false;

	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		const struct setting *t = &table[i];

		if (strcmp(t->section, section) != 0)
			continue;
		section_known = true;
		if (strcmp(t->name, name) != 0)
			continue;
		if (t->type == SETTING_STR)
			return set_str(field(s, t), t, value, err);
		if (t->type == SETTING_INT)
			return set_int(field(s, t), t, value, err);
		return set_bool(field(s, t), t, value, err);
	}
	if (!section_known)
		return err_set(
		    err, ERR_INVALID, 0, "unknown section [%s]", section);
	return err_set(
	    err, ERR_INVALID, 0, "unknown setting `%s` in [%s]", name, section);
}

struct load {
	struct settings *s;
	struct err *err; /* holds the first failure, which is on this line */
	FILE *file;
	int line;
};

/*
 * inih cuts lines at 200 bytes and would take the tail of a long comment for a
 * setting; so lines are read here, and counted.
 */
static char *
next_line(char *text, int size, void *stream)
{
	struct load *l = stream;
	bool cut = false, nul = false;
	int n = 0, c = ' ';
	char first;

	if (l->err->code != ERR_OK)
		return NULL;
	l->line++;
	while (c != '\n' && (c = getc(l->file)) != EOF) {
		nul |= c == '\0';
		cut |= n == size - 1;
		if (!cut)
			text[n++] = (char)c;
	}
	text[n] = '\0';
	first = text[strspn(text, " \t")];
	if (nul)
		(void)err_set(l->err, ERR_INVALID, 0, "line holds a NUL byte");
	else if (cut && first != '#' && first != ';')
		(void)err_set(l->err, ERR_INVALID, 0,
		    "line is longer than %d bytes", size - 2);
	return n > 0 && l->err->code == ERR_OK ? text : NULL;
}

static int
on_row(void *user, const char *section, const char *name, const char *value)
{
	struct load *l = user;

	if (l->err->code != ERR_OK)
		return 1;
	return settings_set(l->s, section, name, value, l->err) == 0;
}

int
settings_load(struct settings *s, const char *path, struct err *err)
{
	auto_fclose FILE *file = fopen(path, "re");
	struct load l = { .s = s, .err = err, .file = file };
	bool failed;
	int line;

	if (!file)
		return err_set(err, ERR_INVALID, errno, "read `%s`", path);
	settings_default(s);
	err->code = ERR_OK;
	/* Its answer is the number of the first line that is no row at all. */
	line = ini_parse_stream(next_line, &l, on_row, &l);
	failed = l.err->code != ERR_OK;
	if (line != 0 && (!failed || line < l.line))
		return err_set(err, ERR_INVALID, 0,
		    "%s:%d: neither [section] nor name = value", path, line);
	return failed ? err_wrap(err, "%s:%d", path, l.line) : 0;
}

static void
print_sample_row(const struct setting *t, FILE *out)
{
	switch (t->type) {
	case SETTING_STR:
		(void)fprintf(
		    out, "# %s\n#%s = %s\n\n", t->doc, t->name, t->def_str);
		break;
	case SETTING_INT:
		(void)fprintf(out, "# %s (%ld to %ld)\n#%s = %ld\n\n", t->doc,
		    t->min, t->max, t->name, t->def);
		break;
	case SETTING_BOOL:
		(void)fprintf(out, "# %s (yes or no)\n#%s = %s\n\n", t->doc,
		    t->name, t->def ? "yes" : "no");
		break;
	case SETTING_UNSET:
		break;
	}
}

void
settings_print_sample(FILE *out)
{
	const char *section = "";

	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		if (strcmp(section, table[i].section) != 0) {
			section = table[i].section;
			(void)fprintf(out, "[%s]\n\n", section);
		}
		print_sample_row(&table[i], out);
	}
}

void
settings_print(const struct settings *s, FILE *out)
{
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		const struct setting *t = &table[i];
		const void *p = const_field(s, t);

		(void)fprintf(out, "%s.%s = ", t->section, t->name);
		if (t->type == SETTING_STR)
			(void)fprintf(out, "%s\n", (const char *)p);
		else if (t->type == SETTING_INT)
			(void)fprintf(out, "%ld\n", *(const long *)p);
		else
			(void)fprintf(
			    out, "%s\n", *(const bool *)p ? "yes" : "no");
	}
}
