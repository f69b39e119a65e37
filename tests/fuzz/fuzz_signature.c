/*
 * Who a request claims to come from.  Lines: Authorization, X-Timestamp,
 * X-Signature, target; then the body.
 */
#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "cleanup.h"
#include "fuzz.h"
#include "id.h"
#include "secret.h"
#include "signature.h"

#define SECRET "unsb-sk-test0-vault-unlck-12345"

/* As a client that signs all of it, or with its other habits. */
static void
sign(struct claim *c, const struct signed_text *t, bool query, bool body)
{
	const struct secret_part parts[] = {
		{ c->timestamp, strlen(c->timestamp) },
		{ ":POST:", 6 },
		{ t->target, query ? t->target_len : t->path_len },
		{ ":", 1 },
		{ t->body, body ? t->body_len : 0 },
	};

	secret_sign(SECRET, parts, ARRAY_LEN(parts), c->signature);
}

static void
check_fits(struct claim c, const struct signed_text *t)
{
	must(!signature_fits(SECRET, &c, t)); /* nobody can guess it */
	for (int query = 0; query < 2; query++) {
		sign(&c, t, query, true);
		must(signature_fits(SECRET, &c, t));
		must(!signature_fits(SECRET "6", &c, t));
		c.signature[63] = c.signature[63] == '0' ? '1' : '0';
		must(!signature_fits(SECRET, &c, t));
		sign(&c, t, query, false);
		must(signature_fits(SECRET, &c, t) ==
		     (t->body_len == 0 ||
			 body_says_nothing(t->body, t->body_len)));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, size };
	auto_free char *authorization = feed_line(&f);
	auto_free char *timestamp = feed_line(&f);
	auto_free char *signature = feed_line(&f);
	auto_free char *target = feed_line(&f);
	auto_free char *body = fuzz_text(f.p, f.left);
	const struct signed_text t = { .method = "POST",
		.target = target,
		.target_len = strlen(target),
		.path_len = strcspn(target, "?"),
		.body = body,
		.body_len = f.left };
	struct claim c;
	struct err err;

	(void)claim_parse(NULL, timestamp, signature, &c, &err);
	must(err.code == ERR_KEY);
	if (claim_parse(authorization, timestamp, signature, &c, &err) < 0) {
		must(err.code == ERR_KEY);
		return 0;
	}
	must(id_is_public_key(c.public_key));
	must(strcmp(c.timestamp, timestamp) == 0 && c.seconds >= 0);
	must(strcmp(c.signature, signature) == 0);
	must(strspn(signature, "0123456789abcdef") == 64);
	must(claim_check_clock(&c, c.seconds, 300, &err) == 0 &&
	     claim_check_clock(&c, c.seconds + 300, 300, &err) == 0 &&
	     claim_check_clock(&c, c.seconds - 301, 300, &err) < 0);
	check_fits(c, &t);
	return 0;
}
