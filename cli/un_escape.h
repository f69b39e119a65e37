#pragma once
/*
 * un_escape.h - "~." at the begin of a typed line: leave, as in ssh(1).
 *
 * The tilde waits for the key that follows it.  "~~" is one tilde.
 */
#include <stdbool.h>
#include <stddef.h>

struct un_escape {
	bool inside; /* of a line: something was typed in it */
	bool tilde;  /* one waits */
};

/*
 * What of n typed bytes is for the session, to room for n + 1; its length.
 * *ret_leave: "~." came, and the rest is dropped.
 */
size_t un_escape_take(struct un_escape *e, const char *p, size_t n,
    char *ret_typed, bool *ret_leave);
