#pragma once
/*
 * mem.h - allocations of fixed, small size.  They abort when memory is out: a
 * process that is started again loses nothing that Redis does not know.  What a
 * client sizes goes through struct buf, or is limited before.
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

static inline void *
xmalloc(size_t size)
{
	void *p = malloc(size);

	if (!p)
		abort();
	return p;
}

/* Room for n items; the old ones are kept. */
static inline void *
xreallocarray(void *items, size_t n, size_t size)
{
	void *p = reallocarray(items, n, size);

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
