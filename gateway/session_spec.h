#pragma once
/*
 * session_spec.h - from what a client sent to a session that a node can begin.
 *
 * As lenient in form as spec.h.  The words of all clients are understood:
 * `shell` or `language`, `multiplexer`, `persistence`, `tmux` or `screen`.
 */
#include <jansson.h>
#include <stdbool.h>

#include "err.h"
#include "id.h"

struct settings;
struct lang_registry;
struct query;

enum { SESSION_ID_MAX = 40 };

struct session_spec {
	char id[SESSION_ID_MAX];
	long vcpu;
	json_t *body; /* owned: what a shim takes as its session */
};

int session_spec_read(struct session_spec *ret_spec, const struct settings *set,
    const struct lang_registry *langs, const char *text, size_t len,
    const struct query *q, struct err *err);
void session_spec_done(struct session_spec *s);

/* True for what names a session: an id, or the name of its container. */
bool session_is_name(const char *s, size_t n);
