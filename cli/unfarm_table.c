#include "unfarm_table.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "mem.h"

enum { GAP = 2 };

struct table {
	char **cells; /* owned, each too; the headings are the first row */
	size_t n;
	size_t columns;
	bool *right; /* owned, like width */
	size_t *width;
};

/* Characters, not bytes: continuation bytes of UTF-8 take no column. */
static size_t
columns_of(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

/* Takes cell. */
static void
add_cell(struct table *t, char *cell)
{
	size_t column = t->n % t->columns, width;

	for (char *p = cell; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	width = columns_of(cell);
	if (width > t->width[column])
		t->width[column] = width;
	t->cells = xreallocarray(t->cells, t->n + 1, sizeof(*t->cells));
	t->cells[t->n++] = cell;
}

struct table *
table_new(const char *const *headings, size_t n)
{
	struct table *t = xcalloc(1, sizeof(*t));

	t->columns = n;
	t->right = xcalloc(n, sizeof(*t->right));
	t->width = xcalloc(n, sizeof(*t->width));
	for (size_t i = 0; i < n; i++) {
		const char *h = headings[i];

		t->right[i] = *h == '>';
		table_add(t, "%s", h + t->right[i]);
	}
	return t;
}

void
table_free(struct table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t->right);
	free(t->width);
	free(t);
}

void
table_add(struct table *t, const char *fmt, ...)
{
	char *cell;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&cell, fmt, ap) < 0)
		abort();
	va_end(ap);
	add_cell(t, cell);
}

static void
print_row(const struct table *t, char *const *row)
{
	size_t behind = 0; /* spaces owed before the next cell */

	for (size_t i = 0; i < t->columns; i++) {
		size_t pad = t->width[i] - columns_of(row[i]);

		behind += t->right[i] ? pad : 0;
		if (*row[i]) {
			(void)printf("%*s%s", (int)behind, "", row[i]);
			behind = 0;
		}
		behind += (t->right[i] ? 0 : pad) + GAP;
	}
	(void)putchar('\n');
}

void
table_print(const struct table *t)
{
	for (size_t i = 0; i + t->columns <= t->n; i += t->columns)
		print_row(t, t->cells + i);
}
