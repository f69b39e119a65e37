#pragma once
/*
 * settings.h - the configuration of all programs; rows live in settings.def.
 *
 * One file, unfarm.conf, serves every daemon of a node.  An unknown section or
 * name and a bad value are errors with file and line, never warnings.
 */
#include <stdbool.h>
#include <stdio.h>

#include "err.h"

enum { SETTINGS_STR_MAX = 512 };

struct settings {
#define STR(section, name, def, doc)           char section##_##name[SETTINGS_STR_MAX];
#define INT(section, name, def, min, max, doc) long section##_##name;
#define BOOL(section, name, def, doc)          bool section##_##name;
#include "settings.def"
#undef STR
#undef INT
#undef BOOL
};

void settings_default(struct settings *s);
/* Value of one row; err names the section, the name and what is allowed. */
int settings_set(struct settings *s, const char *section, const char *name,
    const char *value, struct err *err);
/* Defaults, then the file.  err says "file:line: why". */
int settings_load(struct settings *s, const char *path, struct err *err);
/* A commented file with every row, its range and default. */
void settings_print_sample(FILE *out);
/* What is in force, one "section.name = value" a line. */
void settings_print(const struct settings *s, FILE *out);
