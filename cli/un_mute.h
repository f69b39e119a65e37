#pragma once
/*
 * un_mute.h - what a program asked its terminal, when that is shown again.
 *
 * A terminal answers some sequences (what are you? where is the cursor?) as if
 * it were typed.  In what was printed long ago nobody waits for the answer: it
 * would be typed into the shell.  Such sequences are cut short, by CAN in place
 * of the byte that makes them questions, so that lengths and offsets stay.
 */
#include <stddef.h>

struct un_mute {
	enum {
		UN_MUTE_TEXT,
		UN_MUTE_ESCAPE,
		UN_MUTE_CONTROL, /* ESC [ */
		UN_MUTE_STRING,  /* ESC ] and ESC P */
		UN_MUTE_SWALLOW, /* the rest of a string */
	} state;
	char kind;     /* of a string: ] or P */
	char text[16]; /* of the sequence so far */
	size_t n;
};

/* In place; goes on where the call before ended. */
void un_mute(struct un_mute *m, char *p, size_t n);
