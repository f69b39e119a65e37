#pragma once
/* unfarm_expiry.h - "30d", "2027-01-31T00:00:00Z" or "never" as wall ms. */
#include <stdint.h>

#include "err.h"

/* 0 in ret_ms means never.  ERR_INVALID for the past and for other text. */
int expiry_parse(
    const char *text, int64_t now_ms, int64_t *ret_ms, struct err *err);
