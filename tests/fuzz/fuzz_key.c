/* A key's record as Redis gives it: HGETALL. */
#include <hiredis/hiredis.h>
#include <string.h>

#include "fuzz.h"
#include "key.h"
#include "secret.h"
#include "utf8.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* A seed's secret is sealed under this one. */
	static const struct secret_master master = { .key = { 1, 2, 3 } };
	struct feed f = { data, size };
	redisReply *r = fuzz_reply(&f, 0);
	struct key k;
	struct err err;

	if (key_from_reply(&k, KEY_DEV_PUBLIC, r, NULL, &err) == 0) {
		must(!k.secret && strcmp(k.public_key, KEY_DEV_PUBLIC) == 0);
		key_done(&k);
	}
	/* Nothing opens but what was sealed for this very key. */
	if (key_from_reply(&k, KEY_DEV_PUBLIC, r, &master, &err) == 0) {
		must(strcmp(k.secret, KEY_DEV_SECRET) == 0);
		key_done(&k);
	}
	must(key_from_reply(&k, "unsb-pk-other", r, &master, &err) < 0);
	freeReplyObject(r);
	return 0;
}
