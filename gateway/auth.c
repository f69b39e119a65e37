#include "auth.h"

#include <string.h>
#include <time.h>

#include "clock.h"
#include "gateway.h"
#include "keyring.h"
#include "request.h"
#include "signature.h"

enum { MS = 1000 };

static int
read_claim(const struct request *req, struct claim *ret_claim, struct err *err)
{
	const struct header *h = req->headers;

	for (int i = HEADER_AUTHORIZATION; i <= HEADER_SIGNATURE; i++)
		if (h[i].count > 1)
			return err_set(err, ERR_KEY, 0,
			    "an authentication header was sent twice");
	return claim_parse(h[HEADER_AUTHORIZATION].value,
	    h[HEADER_TIMESTAMP].value, h[HEADER_SIGNATURE].value, ret_claim,
	    err);
}

static bool
signed_by(const struct request *req, const struct key *k)
{
	const struct signed_text text = {
		.method = req->method,
		.target = req->target,
		.target_len = req->target_len,
		.path_len = req->path_len,
		.body = req->body.data ? req->body.data : "",
		.body_len = req->body.len,
	};
	struct claim c;
	struct err ignored;

	/* It was read once already; it is not worth keeping meanwhile. */
	return read_claim(req, &c, &ignored) == 0 &&
	       signature_fits(k->secret, &c, &text);
}

/* The same words whichever it is: nobody shall learn which keys there are. */
static int
no_match(struct err *err)
{
	return err_set(err, ERR_KEY, 0,
	    "there is no such key, or the signature does not fit: it is "
	    "HMAC-SHA256 of time:METHOD:path:body with the secret key");
}

/* Only who holds the secret learns that the key is expired or suspended. */
static int
check_key(const struct request *req, const struct key *k, struct err *err)
{
	if (!signed_by(req, k))
		return no_match(err);
	if (k->suspended)
		return err_set(err, ERR_KEY_SUSPENDED, 0,
		    "the key has been suspended: ask the operator");
	if (key_expired(k, clock_wall_ms()))
		return err_set(err, ERR_KEY_EXPIRED, 0,
		    "the key has expired: ask the operator for a new one");
	return 0;
}

static void
refuse(struct request *req, const struct err *err)
{
	if (err_http_status(err->code) < 500)
		req->gw->metrics->counters[METRIC_auth_refused]++;
	request_authorized(req, err);
}

static void
on_key(void *ctx, struct key_entry *entry, const struct err *err)
{
	struct request *req = ctx;
	struct err why;

	if (!entry) {
		why = *err;
		if (err->code == ERR_KEY)
			(void)no_match(&why);
		refuse(req, &why);
		return;
	}
	req->key = entry;
	if (check_key(req, &entry->key, &why) < 0)
		refuse(req, &why);
	else
		request_authorized(req, NULL);
}

void
auth_check(struct request *req)
{
	struct gateway *gw = req->gw;
	struct claim c;
	struct err err;

	if (read_claim(req, &c, &err) < 0 ||
	    claim_check_clock(&c, clock_wall_ms() / MS,
		gw->set.gateway_clock_skew_seconds, &err) < 0) {
		refuse(req, &err);
		return;
	}
	if (!gw->set.farm_dev_key &&
	    strcmp(c.public_key, KEY_DEV_PUBLIC) == 0) {
		(void)no_match(&err);
		refuse(req, &err);
		return;
	}
	keyring_get(gw->keyring, c.public_key, on_key, req);
}
