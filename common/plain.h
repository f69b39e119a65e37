#pragma once
/*
 * plain.h - how far text goes on that needs no look at each byte.
 *
 * Most of what programs read and print is such text, megabytes of it, so this
 * is done sixteen bytes at a time where the processor can; the loops behind
 * are the whole of it where it cannot.
 */
#include <stdbool.h>
#include <stddef.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* ASCII from blank on, but for the quote and the backslash: what a string of
 * JSON holds as it is. */
static inline bool
is_plain(char c)
{
	return (signed char)c >= ' ' && c != '"' && c != '\\';
}

/* How many bytes at s are below 0x80. */
static inline size_t
ascii_run(const char *s, size_t n)
{
	size_t i = 0;

#ifdef __SSE2__
	for (; n - i >= 16; i += 16) {
		const __m128i v = _mm_loadu_si128((const void *)(s + i));
		unsigned high = (unsigned)_mm_movemask_epi8(v);

		if (high)
			return i + (size_t)__builtin_ctz(high);
	}
#endif
	while (i < n && (signed char)s[i] >= 0)
		i++;
	return i;
}

#ifdef __SSE2__
/* A bit for each of sixteen bytes that is not plain.  As a signed number each
 * byte from 0x80 on is less than a blank. */
static inline unsigned
plain_odd(__m128i v)
{
	const __m128i low = _mm_cmplt_epi8(v, _mm_set1_epi8(' '));
	const __m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
	const __m128i backslash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));

	return (unsigned)_mm_movemask_epi8(
	    _mm_or_si128(low, _mm_or_si128(quote, backslash)));
}
#endif

/* How many bytes at s are plain. */
static inline size_t
plain_run(const char *s, size_t n)
{
	size_t i = 0;

#ifdef __SSE2__
	for (; n - i >= 16; i += 16) {
		unsigned odd = plain_odd(
		    _mm_loadu_si128((const void *)(s + i)));

		if (odd)
			return i + (size_t)__builtin_ctz(odd);
	}
#endif
	while (i < n && is_plain(s[i]))
		i++;
	return i;
}

/* The same, and they are copied.  `to` has room for n bytes; those behind the
 * copied ones may change. */
static inline size_t
plain_copy(char *to, const char *s, size_t n)
{
	size_t i = 0;

#ifdef __SSE2__
	for (; n - i >= 16; i += 16) {
		const __m128i v = _mm_loadu_si128((const void *)(s + i));
		unsigned odd = plain_odd(v);

		_mm_storeu_si128((void *)(to + i), v);
		if (odd)
			return i + (size_t)__builtin_ctz(odd);
	}
#endif
	for (; i < n && is_plain(s[i]); i++)
		to[i] = s[i];
	return i;
}
