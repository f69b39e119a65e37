#pragma once
/*
 * store.h - one connection to Redis on a libuv loop.
 *
 * The connection comes back by itself with growing pauses (50 ms to 2 s); while
 * it is away every call fails at once with ERR_UNAVAILABLE, so nobody waits on
 * a server that is not there.  A call whose answer takes longer than the
 * store's deadline ends the connection: its fate is unknown and it reports
 * ERR_UNAVAILABLE too.  Callbacks always run from the loop, exactly once, and
 * never inside the call that was made.
 *
 * Every change of more than one key is a script of conf/redis/, loaded when the
 * connection is made.
 */
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "err.h"

enum store_script_id {
#define SCRIPT(name) STORE_##name,
#include "scripts.def"
#undef SCRIPT
	STORE__COUNT
};
extern const char *const store_script_text[];

/* Where the server is: what farm.redis_url says. */
struct store_target {
	char host[108]; /* or the socket's path: sun_path's size */
	char password[128];
	int port; /* 0: Unix socket */
	int db;
};
int store_target_parse(
    const char *url, struct store_target *ret_target, struct err *err);

struct store;

/* reply is borrowed for the call and NULL exactly when err is not. */
typedef void
store_cb(void *ctx, const redisReply *reply, const struct err *err);

struct store_hooks {
	void *ctx;
	/* Connected and scripts loaded (up), or lost.  May be NULL. */
	void (*on_state)(void *ctx, bool up);
};

/*
 * url: "unix:/path" or "redis://[:password@]host[:port][/db]".  prefix becomes
 * the hash tag "{prefix}:".  deadline_ms 0: none, for blocking commands.
 * NULL with err for a malformed url; a server that is away is no error.
 */
struct store *store_new(uv_loop_t *loop, const char *url, const char *prefix,
    int deadline_ms, const struct store_hooks *hooks, struct err *err);
/* Pending calls report ERR_UNAVAILABLE before it returns. */
void store_free(struct store *s);

bool store_up(const struct store *s);
/* "{prefix}:" */
const char *store_prefix(const struct store *s);

/* Bytes of one argument. */
struct store_arg {
	const void *data;
	size_t len;
};
struct store_arg store_arg_str(const char *s);

/* cb may be NULL when the answer does not matter. */
void store_eval(struct store *s, enum store_script_id script,
    const struct store_arg *args, size_t n, store_cb *cb, void *ctx);
/* All arguments are strings; a list ended by NULL. */
void store_eval_str(struct store *s, enum store_script_id script, store_cb *cb,
    void *ctx, ...) __attribute__((sentinel));
/* A plain command, printf-like as in redisCommand(). */
void
store_command(struct store *s, store_cb *cb, void *ctx, const char *fmt, ...);

/* message: n bytes, and a NUL behind them. */
typedef void
store_message_cb(void *ctx, const char *channel, const char *message, size_t n);
/*
 * Turns the connection into a subscriber: only further store_subscribe() calls
 * are allowed on it.  Subscribed again after each reconnection; messages in
 * between are lost, so on_state(up) is the moment to look again.
 * channel is without the prefix and is copied.
 */
void store_subscribe(
    struct store *s, const char *channel, store_message_cb *cb, void *ctx);

/* ---- for command-line programs: blocking, one call at a time ---- */

struct redisContext *store_connect_sync(const char *url, struct err *err);
/* NULL with err when the call failed; else the caller frees the reply. */
redisReply *store_eval_sync(struct redisContext *c, const char *prefix,
    enum store_script_id script, struct err *err, ...)
    __attribute__((sentinel));
redisReply *store_command_sync(
    struct redisContext *c, struct err *err, const char *fmt, ...);

/* A string (or status) reply's text, or def for another type. */
const char *store_reply_str(const redisReply *r, const char *def);
/* An integer, or a string of digits; def for another type. */
long long store_reply_int(const redisReply *r, long long def);
/* The n-th element of an array reply; NULL when there is none. */
const redisReply *store_reply_at(const redisReply *r, size_t n);
/* Value of a field in a flat name, value, ... array; NULL when missing. */
const redisReply *store_reply_field(const redisReply *r, const char *name);
