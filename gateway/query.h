#pragma once
/* query.h - the part of a request's target behind the question mark. */
#include <stddef.h>

#include "err.h"

struct query {
	const char *text; /* borrowed: as received, still encoded */
	size_t len;
};

/*
 * Value of the first parameter of that name, decoded; caller frees.  NULL when
 * it is missing.  ERR_INVALID (and NULL) for a broken %-sequence or a NUL.
 */
char *query_get(const struct query *q, const char *name, struct err *err);

/*
 * A whole number: 1 = found, 0 = missing, -1 = not digits.  One above max is
 * taken as max.
 */
int query_get_int(const struct query *q, const char *name, long max,
    long *ret_value, struct err *err);
