#pragma once
/* session_view.h - a session as clients read it (contract 10.1). */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct out;
struct request;

/*
 * Opens an object, which the caller closes.
 * record: what its shim said, at `counted_at`; state: what Redis says, which is
 * "lost" when its node is dead.  success: also say "success":true.
 */
void session_view(struct out *o, const json_t *record, const char *state,
    int64_t now_ms, bool success);
/* Answers with it as it is now; state NULL: that of the record. */
void session_respond(
    struct request *req, const json_t *record, const char *state, bool success);
