#pragma once
/*
 * out.h - JSON written straight into a buffer.
 *
 * Jobs are read far more often than anything else, and a tree of values that is
 * built only to be printed cost more than all else in that call; of a job that
 * prints megabytes it cost most of its time.  Text comes
 * out as clients that search instead of parsing want it: compact, raw UTF-8
 * (U+FFFD for bytes that are not), control characters other than \n \r \t as
 * \u00xx, and a backslash at the end of a string as \u005c.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

struct out {
	struct buf text;
	bool comma; /* a value stands before the next one */
};

void out_init(struct out *o);
void out_done(struct out *o);
/* Caller frees. */
char *out_steal(struct out *o, size_t *ret_len);

/* name NULL: an element of a list, or the outermost value. */
void out_open(struct out *o, const char *name, char bracket);
void out_close(struct out *o, char bracket);
void out_text(struct out *o, const char *name, const char *s, size_t n);
void out_str(struct out *o, const char *name, const char *s);
void out_int(struct out *o, const char *name, long long v);
void out_bool(struct out *o, const char *name, bool v);
void out_base64(struct out *o, const char *name, const void *p, size_t n);
void out_value(struct out *o, const char *name, const json_t *v);
/* Two texts as one string. */
void out_joined(struct out *o, const char *name, const char *a, size_t n_a,
    const char *b, size_t n_b);
