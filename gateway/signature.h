#pragma once
/*
 * signature.h - the request signature of docs/api.md, without HTTP and Redis.
 *
 * Clients disagree on two details, so up to four texts are right: the target
 * with or without its query, and the body or, when it says nothing ("{}" or
 * "[]"), the empty string.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* What a client claims in its three headers. */
struct claim {
	char public_key[64];
	char timestamp[16]; /* digits */
	char signature[65]; /* lower-case hex */
	int64_t seconds;    /* timestamp as a number */
};

/* Any of the three may be NULL; ERR_KEY says what is wrong with them. */
int claim_parse(const char *authorization, const char *timestamp,
    const char *signature, struct claim *ret_claim, struct err *err);
/* ERR_CLOCK when it is more than skew seconds away from now. */
int claim_check_clock(
    const struct claim *c, int64_t now_s, long skew_s, struct err *err);

/* What was received, byte for byte. */
struct signed_text {
	const char *method;
	const char *target; /* with the query */
	size_t target_len;
	size_t path_len; /* of target, before the question mark */
	const char *body;
	size_t body_len;
};

/*
 * Every candidate is computed and compared, whichever fits: the time taken
 * depends on the request's shape alone.
 */
bool signature_fits(
    const char *secret, const struct claim *c, const struct signed_text *t);

/* "", "{}" or "[]" with white space around: no arguments, in some dialect. */
bool body_says_nothing(const char *body, size_t n);
