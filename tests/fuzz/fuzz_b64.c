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
	struct err err;

	if (b64_decode(text, n, &data, &err) < 0) {
		must(err.code == ERR_INVALID || err.code == ERR_TOO_BIG);
		must(data.len <= data.cap);
		return;
	}
	must(data.len <= n * 3 / 4);
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
	auto_free char *text = fuzz_text(data, size);

	check_decode(text, size);
	check_encode(text, size);
	return 0;
}
