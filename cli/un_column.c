#include "un_column.h"

#include <string.h>

#define BEL '\7'
#define ESC '\33'

static void
in_escape(struct un_column *c, unsigned char u)
{
	if (u >= ' ' && u < '0')
		return; /* ESC ( B */
	c->state = u == '['                  ? UN_COLUMN_CONTROL
		   : u && strchr("]PX^_", u) ? UN_COLUMN_STRING
					     : UN_COLUMN_TEXT;
}

static void
next(struct un_column *c, unsigned char u)
{
	if (u == ESC) { /* ends a string, too, with the \ behind it */
		c->state = UN_COLUMN_ESCAPE;
		return;
	}
	switch (c->state) {
	case UN_COLUMN_ESCAPE:
		in_escape(c, u);
		return;
	case UN_COLUMN_CONTROL:
		if (u >= '@')
			c->state = UN_COLUMN_TEXT;
		return;
	case UN_COLUMN_STRING:
		if (u == BEL)
			c->state = UN_COLUMN_TEXT;
		return;
	case UN_COLUMN_TEXT:
		break;
	}
	if (u >= ' ' && u != '\177')
		c->inside = true;
}

/* No sequence holds a newline: what stands before the last one is the past. */
void
un_column_take(struct un_column *c, const char *p, size_t n)
{
	const char *newline = memrchr(p, '\n', n);
	size_t past = newline ? (size_t)(newline - p) + 1 : 0;

	if (newline)
		*c = (struct un_column){ .inside = false };
	for (size_t i = past; i < n; i++)
		next(c, (unsigned char)p[i]);
}
