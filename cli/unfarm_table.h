#pragma once
/*
 * unfarm_table.h - aligned columns on a terminal.
 *
 * Cells are copied; control characters in them are shown as "?".  A column
 * whose heading begins with '>' is aligned to the right.
 */
#include <stddef.h>

#include "attr.h"

struct table;

struct table *table_new(const char *const *headings, size_t n);
void table_free(struct table *t);
/* The next cell, row by row. */
void table_add(struct table *t, const char *fmt, ...) printf_like(2, 3);
/* Complete rows, two spaces between columns, no space at the end of a line. */
void table_print(const struct table *t);
