/* base64, both ways: contents of files, output that is no text. */
#include <stdlib.h>
#include <string.h>

#include "b64.h"
#include "buf.h"
#include "cleanup.h"
#include "fuzz.h"

static void
check_decode(const char *text, size_t n)
{
	auto_buf struct buf data = { .cap = 2048 };
	auto_buf struct buf again = { .cap = 2048 };
	auto_free char *canon = NULL;
	size_t digits = 0;
	struct err err;

	for (size_t i = 0; i < n; i++)
		digits += !memchr("= \t\r\n", text[i], 5);
	if (b64_decode(text, n, &data, &err) < 0) {
		must(err.code == ERR_INVALID || err.code == ERR_TOO_BIG);
		must(data.len <= data.cap);
		return;
	}
	must(digits % 4 != 1 && data.len == digits * 3 / 4);
	canon = b64_encode(data.data, data.len);
	must(b64_decode(canon, strlen(canon), &again, &err) == 0);
	must(again.len == data.len &&
	     (data.len == 0 || memcmp(again.data, data.data, data.len) == 0));
}

/* A limit of exactly what comes is enough, and one byte less is not. */
static void
check_encode(const char *bytes, size_t n)
{
	auto_free char *text = b64_encode(bytes, n);
	auto_buf struct buf data = { .cap = n };
	auto_buf struct buf small = { .cap = n ? n - 1 : 0 };
	struct err err;

	must(strlen(text) == b64_encoded_len(n));
	must(b64_decode(text, strlen(text), &data, &err) == 0);
	must(data.len == n && (n == 0 || memcmp(data.data, bytes, n) == 0));
	must(n == 0 || (b64_decode(text, strlen(text), &small, &err) < 0 &&
			   err.code == ERR_TOO_BIG));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* No NUL behind it. */
	check_decode((const char *)data, size);
	check_encode((const char *)data, size);
	return 0;
}
