#pragma once
/* session_view.h - a session as clients read it (contract 10.1). */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * record: what its shim said, at `counted_at`; state: what Redis says, which is
 * "lost" when its node is dead.  success: also say "success":true.  Caller owns.
 */
json_t *session_view(
    const json_t *record, const char *state, int64_t now_ms, bool success);
