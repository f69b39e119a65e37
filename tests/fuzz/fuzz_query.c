/* Parameters of a request's target: GET /jobs?limit=5, POST /run?env=... */
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "cleanup.h"
#include "fuzz.h"
#include "query.h"

/* What a client that encodes every byte would send. */
static void
check_round_trip(const char *text, size_t n)
{
	auto_buf struct buf sent = { .cap = SIZE_MAX / 4 };
	auto_free char *back = NULL;
	struct query q;
	struct err err;

	must(buf_adds(&sent, "a=1&value=") == 0);
	for (size_t i = 0; i < n; i++)
		must(buf_addf(&sent, "%%%02x", (unsigned char)text[i]) == 0);
	must(buf_adds(&sent, "&value=second") == 0);
	q = (struct query){ sent.data, sent.len };
	back = query_get(&q, "value", &err);
	if (memchr(text, '\0', n))
		must(!back && err.code == ERR_INVALID);
	else
		must(back && strlen(back) == n && memcmp(back, text, n) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "env", "limit", "wait", "", "=" };
	const char *text = (const char *)data; /* no NUL behind it */
	const struct query q = { text, size };
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		auto_free char *value = query_get(&q, names[i], &err);
		long v = -1;
		int r;

		must(!value || (err.code == ERR_OK && strlen(value) <= size));
		r = query_get_int(&q, names[i], 100, &v, &err);
		must(r == 1 ? v >= 0 && v <= 100 : v == -1);
		must(r == 1 ? value != NULL : r < 0 || !value);
	}
	check_round_trip(text, size);
	return 0;
}
