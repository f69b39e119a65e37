#pragma once
/* un_session.h - sessions as the farm describes them, and as `un` shows them.*/
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum { UN_SESSION_NAME = 128, UN_SESSION_TTL = 32 };

/* What a name may be made of: it becomes part of paths and of files' names. */
bool un_session_name_valid(const char *name);

/* "" when the server gave none that is usable. */
const char *un_session_id(const json_t *session);
const char *un_session_container(const json_t *session);

/* It goes on when nobody is attached. */
bool un_session_is_kept(const json_t *session);

/* "1h2m", "45m30s", "12s" */
void un_session_ttl(long long seconds, char ret_text[UN_SESSION_TTL]);

/* On standard output: all of an answer to GET /sessions, or one. */
void un_session_show_list(const json_t *answer);
void un_session_show(const json_t *session);

/* In words why it ended; NULL when it did so itself. */
const char *un_session_reason(const char *reason);
