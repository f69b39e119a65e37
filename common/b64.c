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

char *
b64_encode(const void *p, size_t n)
{
	/* EVP_EncodeBlock counts in int: feed it whole triples below that. */
	enum { STEP = 3 << 20 };
	const unsigned char *in = p;
	char *text, *out;

	text = out = malloc(b64_encoded_len(n) + 1);
	if (!text)
		abort();
	*out = '\0';
	while (n > 0) {
		size_t take = n < STEP ? n : STEP;

		out += EVP_EncodeBlock((unsigned char *)out, in, (int)take);
		in += take;
		n -= take;
	}
	return text;
}

static int
digit_value(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
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
		unsigned char c = (unsigned char)s[i];
		int v;

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
		if (used == OUT_STEP) {
			if (buf_add(ret_data, out, used) < 0)
				goto too_big;
			used = 0;
		}
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
