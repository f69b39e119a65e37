#pragma once
/* route.h - the HTTP surface is one table; see gateway/route_table.c. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct request;
struct err;

/* Zero is not a permission: a record that forgets .scope must not be public. */
enum auth_scope {
	AUTH_UNSET,
	AUTH_PUBLIC,    /* no key; one that is sent anyway is not looked at */
	AUTH_SIGNED,    /* a key's signature */
	AUTH_MAYBE,     /* signed, or the handler finds out who it is */
	AUTH_KEY_CHECK, /* as AUTH_SIGNED; refusals say what the key's state is */
};

/* Bodies of calls that have none worth reading; clients send "{}" anyway. */
#define ROUTE_BODY_SMALL ((size_t)64 << 10)
/* As large as gateway.max_body_kb says. */
#define ROUTE_BODY_JOB SIZE_MAX

struct route {
	const char *method;
	const char *path; /* "{id}" matches one segment */
	enum auth_scope scope;
	size_t max_body;     /* bytes; never 0 */
	const char *summary; /* printed by --routes and docs/api.md */
	/* 0: it has answered, or will; -1: err says what to answer. */
	int (*handle)(struct request *req, struct err *err);
};

extern const struct route *const route_table[];
extern const size_t route_table_len;

/* NULL when every record is complete, else the first bad one; run at start. */
const struct route *route_table_check(void);

struct route_hit {
	const struct route *route;
	const char *id; /* what "{id}" stood for, in path; NULL: no such */
	size_t id_len;
};

enum route_verdict { ROUTE_FOUND, ROUTE_NO_PATH, ROUTE_NO_METHOD };

/*
 * path is what the client sent, without the query; trailing slashes do not
 * matter.  HEAD finds the GET route.
 */
enum route_verdict route_find(const char *method, const char *path, size_t len,
    struct route_hit *ret_hit);

enum { ROUTE_ALLOW_MAX = 64 };
/* The value of the Allow header: "GET, HEAD, DELETE". */
void route_allow(const char *path, size_t len, char ret_allow[ROUTE_ALLOW_MAX]);

/* Position in the table, for counters. */
size_t route_index(const struct route *r);
