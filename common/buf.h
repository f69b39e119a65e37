#pragma once
/*
 * buf.h - a growable byte buffer that cannot grow past its cap.
 *
 * The cap is given at init, so "how big can this get?" is answered where the
 * buffer is born.  data is NUL-terminated at data[len] once anything is added.
 * Adders return 0, -ENOBUFS (cap reached, nothing added) or -ENOMEM.
 */
#include <stdbool.h>
#include <stddef.h>

#include "attr.h"

struct buf {
	char *data; /* owned; NULL while empty */
	size_t len;
	size_t alloc;
	size_t cap; /* len never exceeds this */
};

void buf_init(struct buf *b, size_t cap);
void buf_done(struct buf *b);
int buf_add(struct buf *b, const void *p, size_t n) must_check;
int buf_adds(struct buf *b, const char *s) must_check;
int buf_addf(struct buf *b, const char *fmt, ...) printf_like(2, 3) must_check;
/* Adds what fits; returns how many of the n bytes that was (all, or fewer). */
size_t buf_add_some(struct buf *b, const void *p, size_t n);
/* Room for n more bytes at data + len; who wrote some there says buf_grew(). */
int buf_reserve(struct buf *b, size_t n) must_check;
void buf_grew(struct buf *b, size_t n);
void buf_clear(struct buf *b);
void buf_consume(struct buf *b, size_t n);
/* The bytes become the caller's (free()); the buffer is empty again. */
char *buf_steal(struct buf *b, size_t *ret_len);

#define auto_buf __attribute__((cleanup(buf_done)))
