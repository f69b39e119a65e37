#pragma once
/*
 * mem.h - allocations of fixed, small size.  They abort when memory is out: the
 * gateway holds no state and is started again.  What a client sizes goes
 * through struct buf instead.
 */
#include <stdlib.h>
#include <string.h>

static inline void *
xcalloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);

	if (!p)
		abort();
	return p;
}

static inline char *
xstrdup(const char *s)
{
	char *p = strdup(s);

	if (!p)
		abort();
	return p;
}

static inline char *
xstrndup(const char *s, size_t n)
{
	char *p = strndup(s, n);

	if (!p)
		abort();
	return p;
}
