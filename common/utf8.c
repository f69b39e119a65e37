#include "utf8.h"

#include <string.h>

#include "buf.h"
#include "plain.h"

/* Bytes of the valid sequence at s, or 0; ASCII is none here. */
static size_t
sequence_len(const unsigned char *s, size_t n)
{
	static const unsigned char lo3[16] = { [0] = 0xa0 };
	unsigned char c = s[0];
	size_t len;

	if (c < 0xc2 || c > 0xf4)
		return 0;
	len = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	if (len > n)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if (len == 3 && s[1] < lo3[c & 15])
		return 0; /* overlong */
	if (c == 0xed && s[1] > 0x9f)
		return 0; /* surrogate */
	if ((c == 0xf0 && s[1] < 0x90) || (c == 0xf4 && s[1] > 0x8f))
		return 0; /* overlong, or past U+10FFFF */
	return len;
}

size_t
utf8_wide_run(const char *s, size_t n, size_t most)
{
	size_t i = 0;

	while (i < most) {
		size_t len = sequence_len((const unsigned char *)s + i, n - i);

		if (len == 0)
			break;
		i += len;
	}
	return i;
}

/* Length of the valid run that s starts with. */
static size_t
valid_run(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n) {
		size_t len = ascii_run(s + i, n - i);

		if (len == 0)
			len = utf8_wide_run(s + i, n - i, n - i);
		if (len == 0)
			break;
		i += len;
	}
	return i;
}

bool
utf8_valid(const char *s, size_t n)
{
	return valid_run(s, n) == n;
}

size_t
utf8_whole(const char *s, size_t n)
{
	/* A lead byte among the last three whose sequence is longer than that. */
	for (size_t back = 1; back <= 3 && back <= n; back++) {
		unsigned char c = (unsigned char)s[n - back];
		size_t len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 1;

		if ((c & 0xc0) == 0x80)
			continue;
		return len > back ? n - back : n;
	}
	return n;
}

int
utf8_sanitize(const char *s, size_t n, struct buf *ret_text)
{
	while (n > 0) {
		size_t run = valid_run(s, n);
		int r = buf_add(ret_text, s, run);

		if (r == 0 && run < n) {
			r = buf_add(ret_text, "\xef\xbf\xbd", 3);
			run++;
		}
		if (r < 0)
			return r;
		s += run;
		n -= run;
	}
	return 0;
}
