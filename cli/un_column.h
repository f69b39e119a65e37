#pragma once
/*
 * un_column.h - whether text stands before the cursor on its line.
 *
 * Told from what a program wrote, so that what we say next begins a line, and
 * no empty one stands before it.  Moves of the cursor are not followed: who
 * paints a screen may get a line more than needed.
 */
#include <stdbool.h>
#include <stddef.h>

struct un_column {
	enum {
		UN_COLUMN_TEXT,
		UN_COLUMN_ESCAPE,
		UN_COLUMN_CONTROL, /* ESC [ */
		UN_COLUMN_STRING,  /* ESC ] and its like */
	} state;
	bool inside; /* the line has begun */
};

/* Goes on where the call before ended. */
void un_column_take(struct un_column *c, const char *p, size_t n);
