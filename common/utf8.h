#pragma once
/* utf8.h - output of programs is bytes; JSON wants valid UTF-8. */
#include <stdbool.h>
#include <stddef.h>

struct buf;

/* How many bytes at s are valid sequences of characters beyond ASCII, of which
 * the last may begin before `most` and end behind it. */
size_t utf8_wide_run(const char *s, size_t n, size_t most);

/* No surrogates, no overlong forms, nothing above U+10FFFF. */
bool utf8_valid(const char *s, size_t n);
/* How many bytes are there without a character that the end cuts. */
size_t utf8_whole(const char *s, size_t n);
/* Copies, with U+FFFD for each byte that is not part of a valid sequence. */
int utf8_sanitize(const char *s, size_t n, struct buf *ret_text);
