#include "signature.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "id.h"
#include "secret.h"

enum { TIMESTAMP_DIGITS = 12 };

static int
bad_key(struct err *err, const char *why)
{
	return err_set(err, ERR_KEY, 0, "%s", why);
}

static int
parse_public_key(const char *auth, struct claim *c, struct err *err)
{
	size_t n;

	if (strncasecmp(auth, "Bearer", 6) != 0 || auth[6] != ' ')
		return bad_key(err, "the Authorization header must be "
				    "`Bearer <public key>`");
	auth += 6;
	auth += strspn(auth, " ");
	n = strcspn(auth, " \t");
	if (strncmp(auth, "unsb-sk-", 8) == 0)
		return bad_key(err, "never send the secret key: sign the "
				    "request and send the public key");
	if (auth[n] != '\0' || n >= sizeof(c->public_key) ||
	    !id_is_public_key(auth))
		return bad_key(err, "the Authorization header does not hold a "
				    "public key (unsb-pk-...)");
	memcpy(c->public_key, auth, n + 1);
	return 0;
}

static int
parse_timestamp(const char *text, struct claim *c, struct err *err)
{
	size_t n = strspn(text, "0123456789");

	if (n == 0 || n > TIMESTAMP_DIGITS || text[n] != '\0')
		return bad_key(err, "the X-Timestamp header must be Unix "
				    "seconds in plain digits");
	memcpy(c->timestamp, text, n + 1);
	c->seconds = strtoll(text, NULL, 10);
	return 0;
}

static int
parse_signature(const char *text, struct claim *c, struct err *err)
{
	if (strlen(text) != SECRET_SIG_LEN ||
	    strspn(text, "0123456789abcdef") != SECRET_SIG_LEN)
		return bad_key(err, "the X-Signature header must be 64 "
				    "lower-case hex digits");
	memcpy(c->signature, text, SECRET_SIG_LEN + 1);
	return 0;
}

int
claim_parse(const char *authorization, const char *timestamp,
    const char *signature, struct claim *ret_claim, struct err *err)
{
	struct claim c = { .seconds = 0 };

	if (!authorization || !timestamp || !signature)
		return bad_key(err,
		    "this call must be signed: send the headers Authorization "
		    "(Bearer and the public key), X-Timestamp and X-Signature");
	if (parse_public_key(authorization, &c, err) < 0 ||
	    parse_timestamp(timestamp, &c, err) < 0 ||
	    parse_signature(signature, &c, err) < 0)
		return -1;
	*ret_claim = c;
	return 0;
}

int
claim_check_clock(
    const struct claim *c, int64_t now_s, long skew_s, struct err *err)
{
	int64_t off = c->seconds - now_s;

	if (off >= -skew_s && off <= skew_s)
		return 0;
	return err_set(err, ERR_CLOCK, 0,
	    "the request timestamp is %" PRId64 " seconds %s this server's "
	    "clock (%ld are allowed): set your clock",
	    off < 0 ? -off : off, off < 0 ? "behind" : "ahead of", skew_s);
}

bool
body_says_nothing(const char *body, size_t n)
{
	while (n > 0 && isspace((unsigned char)body[0])) {
		body++;
		n--;
	}
	while (n > 0 && isspace((unsigned char)body[n - 1]))
		n--;
	return n == 0 || (n == 2 && (memcmp(body, "{}", 2) == 0 ||
					memcmp(body, "[]", 2) == 0));
}

static bool
candidate_fits(const char *secret, const struct claim *c,
    const struct signed_text *t, size_t target_len, size_t body_len)
{
	const struct secret_part parts[] = {
		{ c->timestamp, strlen(c->timestamp) },
		{ ":", 1 },
		{ t->method, strlen(t->method) },
		{ ":", 1 },
		{ t->target, target_len },
		{ ":", 1 },
		{ t->body, body_len },
	};
	char sig[SECRET_SIG_LEN + 1];

	secret_sign(secret, parts, sizeof(parts) / sizeof(parts[0]), sig);
	return secret_sig_equal(sig, c->signature);
}

bool
signature_fits(
    const char *secret, const struct claim *c, const struct signed_text *t)
{
	const size_t targets[] = { t->target_len, t->path_len };
	const size_t bodies[] = { t->body_len, 0 };
	size_t n_targets = t->target_len == t->path_len ? 1 : 2;
	size_t n_bodies = t->body_len > 0 &&
				  body_says_nothing(t->body, t->body_len)
			      ? 2
			      : 1;
	bool fits = false;

	for (size_t i = 0; i < n_targets; i++)
		for (size_t k = 0; k < n_bodies; k++)
			fits |= candidate_fits(
			    secret, c, t, targets[i], bodies[k]);
	return fits;
}
