/* POST /keys/validate: the signature was right; say what the key may do. */
#include "routes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "gateway.h"
#include "json.h"
#include "keyring.h"
#include "request.h"
#include "respond.h"

enum { MS = 1000, MINUTE = 60, HOUR = 3600, DAY = 86400 };

/* Keys that never expire show a day far away: clients want a date. */
#define FAR_AWAY "2099-12-31T23:59:59Z"

static void
time_left(int64_t ms, char *ret_text, size_t n)
{
	static const struct {
		int64_t seconds;
		const char *unit;
	} units[] = { { DAY, "day" }, { HOUR, "hour" }, { MINUTE, "minute" },
		{ 1, "second" } };
	int64_t s = ms > 0 ? ms / MS : 0;
	size_t i = 0;

	while (i < 3 && s < units[i].seconds)
		i++;
	s /= units[i].seconds;
	(void)snprintf(ret_text, n, "%lld %s%s", (long long)s, units[i].unit,
	    s == 1 ? "" : "s");
}

static void
set_expiry(json_t *o, const struct key *k)
{
	char iso[CLOCK_ISO_LEN] = FAR_AWAY, people[CLOCK_ISO_LEN + 8], left[48];
	int64_t until = k->expires_ms > 0 ? k->expires_ms
					  : clock_from_iso8601(FAR_AWAY);

	clock_iso8601(until, iso);
	(void)snprintf(people, sizeof(people), "%.10s %.8s UTC", iso, iso + 11);
	time_left(until - clock_wall_ms(), left, sizeof(left));
	json_set_str(o, "expires_at", iso);
	json_set_str(o, "valid_through_datetime", people);
	json_set_str(o, "valid_for_human", left);
	json_set_str(o, "time_remaining", left);
	json_set_bool(o, "expired", false);
}

static int
handle(struct request *req, struct err *err)
{
	const struct key *k = &req->key->key;
	json_auto_t *o = json_object();

	(void)err;
	json_set_bool(o, "valid", true);
	json_set_str(o, "status", "valid");
	json_set_str(o, "public_key", k->public_key);
	json_set_str(o, "tier", k->tier);
	json_set_int(o, "rate_per_minute", k->rate);
	/* One client wants a number with a point. */
	if (json_object_set_new(o, "rate_limit", json_real((double)k->rate)))
		abort();
	json_set_int(o, "burst", k->burst);
	json_set_int(o, "concurrency", k->concurrency);
	json_set_int(o, "concurrency_limit", k->concurrency);
	set_expiry(o, k);
	json_set_str(o, "account_id", k->public_key);
	json_set_str(o, "email", "");
	json_set_str(o, "plan", k->tier);
	json_set_int(o, "credits", 0);
	respond_json(req, 200, o);
	return 0;
}

const struct route route_key_validate = {
	.method = "POST",
	.path = "/keys/validate",
	.scope = AUTH_KEY_CHECK,
	.max_body = ROUTE_BODY_SMALL,
	.summary = "Say whether a key pair is good, and what it may do",
	.handle = handle,
};
