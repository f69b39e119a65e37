/* What a program wrote, as text for JSON; jansson is the second opinion. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "cleanup.h"
#include "fuzz.h"
#include "utf8.h"

static bool
jansson_takes(const char *text, size_t n)
{
	json_t *v = json_stringn(text, n);
	bool ok = v != NULL;

	json_decref(v);
	return ok;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data; /* no NUL behind it */
	auto_buf struct buf clean = { .cap = SIZE_MAX / 4 };
	auto_buf struct buf small = { .cap = size / 2 };
	bool valid = utf8_valid(text, size);

	must(valid == jansson_takes(text, size));
	must(utf8_sanitize(text, size, &clean) == 0);
	must(utf8_valid(clean.data ? clean.data : "", clean.len));
	must(clean.len >= size && clean.len <= 3 * size);
	must(!valid || (clean.len == size &&
			   (size == 0 || memcmp(clean.data, text, size) == 0)));
	(void)!utf8_sanitize(text, size, &small);
	must(small.len <= small.cap);
	return 0;
}
