#include "buf.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

enum { BUF_FIRST_ALLOC = 64 };

void
buf_init(struct buf *b, size_t cap)
{
	*b = (struct buf){ .cap = cap };
}

void
buf_done(struct buf *b)
{
	free(b->data);
	buf_init(b, b->cap);
}

int
buf_reserve(struct buf *b, size_t n)
{
	size_t want, alloc;
	char *p;

	if (n > b->cap - b->len)
		return -ENOBUFS;
	want = b->len + n + 1;
	if (want <= b->alloc)
		return 0;

	alloc = b->alloc ? b->alloc : BUF_FIRST_ALLOC;
	while (alloc < want)
		alloc *= 2;
	p = realloc(b->data, alloc);
	if (!p)
		return -ENOMEM;
	b->data = p;
	b->alloc = alloc;
	return 0;
}

void
buf_grew(struct buf *b, size_t n)
{
	assert(b->len + n < b->alloc);
	b->len += n;
	b->data[b->len] = '\0';
}

int
buf_add(struct buf *b, const void *p, size_t n)
{
	int r = buf_reserve(b, n);

	if (r < 0)
		return r;
	if (n > 0)
		memcpy(b->data + b->len, p, n);
	buf_grew(b, n);
	return 0;
}

int
buf_adds(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

int
buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n, r;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -EINVAL;

	r = buf_reserve(b, (size_t)n);
	if (r < 0)
		return r;
	va_start(ap, fmt);
	(void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
	return 0;
}

size_t
buf_add_some(struct buf *b, const void *p, size_t n)
{
	size_t room = b->cap - b->len;
	size_t take = n < room ? n : room;

	return buf_add(b, p, take) == 0 ? take : 0;
}

void
buf_clear(struct buf *b)
{
	b->len = 0;
	if (b->data)
		b->data[0] = '\0';
}

void
buf_consume(struct buf *b, size_t n)
{
	assert(n <= b->len);
	if (n == 0)
		return;
	memmove(b->data, b->data + n, b->len - n + 1);
	b->len -= n;
}

char *
buf_steal(struct buf *b, size_t *ret_len)
{
	char *p = steal_ptr(&b->data);

	if (ret_len)
		*ret_len = b->len;
	buf_init(b, b->cap);
	return p;
}
