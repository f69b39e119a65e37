#include "b64.h"

#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "cleanup.h"

size_t
b64_encoded_len(size_t n)
{
	return (n + 2) / 3 * 4;
}

void
b64_encode_to(char *to, const void *p, size_t n)
{
	/* EVP_EncodeBlock counts in int: feed it whole triples below that. */
	enum { STEP = 3 << 20 };
	const unsigned char *in = p;

	*to = '\0';
	while (n > 0) {
		size_t take = n < STEP ? n : STEP;

		to += EVP_EncodeBlock((unsigned char *)to, in, (int)take);
		in += take;
		n -= take;
	}
}

char *
b64_encode(const void *p, size_t n)
{
	char *text = malloc(b64_encoded_len(n) + 1);

	if (!text)
		abort();
	b64_encode_to(text, p, n);
	return text;
}

/* Values of the digits, one more each; 0: no digit. */
static const unsigned char digits_plus_1[256] = {
	['A'] = 1,
	['B'] = 2,
	['C'] = 3,
	['D'] = 4,
	['E'] = 5,
	['F'] = 6,
	['G'] = 7,
	['H'] = 8,
	['I'] = 9,
	['J'] = 10,
	['K'] = 11,
	['L'] = 12,
	['M'] = 13,
	['N'] = 14,
	['O'] = 15,
	['P'] = 16,
	['Q'] = 17,
	['R'] = 18,
	['S'] = 19,
	['T'] = 20,
	['U'] = 21,
	['V'] = 22,
	['W'] = 23,
	['X'] = 24,
	['Y'] = 25,
	['Z'] = 26,
	['a'] = 27,
	['b'] = 28,
	['c'] = 29,
	['d'] = 30,
	['e'] = 31,
	['f'] = 32,
	['g'] = 33,
	['h'] = 34,
	['i'] = 35,
	['j'] = 36,
	['k'] = 37,
	['l'] = 38,
	['m'] = 39,
	['n'] = 40,
	['o'] = 41,
	['p'] = 42,
	['q'] = 43,
	['r'] = 44,
	['s'] = 45,
	['t'] = 46,
	['u'] = 47,
	['v'] = 48,
	['w'] = 49,
	['x'] = 50,
	['y'] = 51,
	['z'] = 52,
	['0'] = 53,
	['1'] = 54,
	['2'] = 55,
	['3'] = 56,
	['4'] = 57,
	['5'] = 58,
	['6'] = 59,
	['7'] = 60,
	['8'] = 61,
	['9'] = 62,
	['+'] = 63,
	['/'] = 64,
};

/* -1: no digit. */
static int
digit_value(unsigned char c)
{
	return digits_plus_1[c] - 1;
}

/* Four digits after four digits, into room bytes; how many digits were used. */
static size_t
decode_fours(const char *s, size_t n, unsigned char *out, size_t room)
{
	const unsigned char *in = (const unsigned char *)s;
	size_t i = 0;

	for (; n - i >= 4 && room >= 3; i += 4, room -= 3) {
		int a = digit_value(in[i]), b = digit_value(in[i + 1]);
		int c = digit_value(in[i + 2]), d = digit_value(in[i + 3]);

		if ((a | b | c | d) < 0)
			break;
		*out++ = (unsigned char)(a << 2 | b >> 4);
		*out++ = (unsigned char)(b << 4 | c >> 2);
		*out++ = (unsigned char)(c << 6 | d);
	}
	return i;
}

/*
 * Our own decoder: EVP_DecodeBlock neither skips white space inside the text
 * nor says how much padding there was.
 */
int
b64_decode(const char *s, size_t n, struct buf *ret_data, struct err *err)
{
	enum { OUT_STEP = 3072 };
	size_t digits = 0, pads = 0, used = 0;
	unsigned char out[OUT_STEP + 2];
	uint32_t acc = 0;

	for (size_t i = 0; i < n; i++) {
		unsigned char c;
		int v;

		if (digits % 4 == 0 && pads == 0) {
			size_t fours = decode_fours(
			    s + i, n - i, out + used, OUT_STEP - used);

			i += fours;
			digits += fours;
			used += fours / 4 * 3;
			if (i == n)
				break;
		}
		if (used == OUT_STEP) {
			if (buf_add(ret_data, out, used) < 0)
				goto too_big;
			used = 0;
		}
		c = (unsigned char)s[i];
		if (c == ' ' || c == '\n' || c == '\r' || c == '\t')
			continue;
		if (c == '=') {
			pads++;
			continue;
		}
		v = digit_value(c);
		if (v < 0 || pads > 0)
			return err_set(
			    err, ERR_INVALID, 0, "not base64 at byte %zu", i);
		acc = acc << 6 | (uint32_t)v;
		if (++digits % 4 != 0)
			continue;
		out[used++] = (unsigned char)(acc >> 16);
		out[used++] = (unsigned char)(acc >> 8);
		out[used++] = (unsigned char)acc;
	}
	if (digits % 4 == 1 || pads > 2 ||
	    (pads > 0 && (digits + pads) % 4 != 0))
		return err_set(err, ERR_INVALID, 0, "base64 ends too early");
	if (digits % 4 == 2)
		out[used++] = (unsigned char)(acc >> 4);
	if (digits % 4 == 3) {
		out[used++] = (unsigned char)(acc >> 10);
		out[used++] = (unsigned char)(acc >> 2);
	}
	if (buf_add(ret_data, out, used) < 0)
		goto too_big;
	return 0;

too_big:
	return err_set(err, ERR_TOO_BIG, 0, "decoded data is over %zu bytes",
	    ret_data->cap);
}
