#pragma once
/*
 * err.h - the error object.
 *
 * Every function that can fail for more than one reason takes a `struct err *`
 * last and returns 0 (or a count, or a pointer) on success and -1 (or NULL) on
 * failure.  The caller owns the object; it is a plain value with no heap, so it
 * can live on the stack, be copied, and be written down a pipe by a child that
 * is about to _exit().
 *
 * errors.def gives each code its HTTP status, exit status and wire name.
 */
#include "attr.h"

enum err_code {
#define ERR(name, http, exit_, wire, text) ERR_##name,
#include "errors.def"
#undef ERR
	ERR__COUNT
};

struct err {
	enum err_code code; /* ERR_OK until something fails */
	int sys;            /* errno at the failure, or 0 */
	char msg[248];      /* "doing what: with what: why" */
};

/* Both return -1 so that `return err_set(...)` reads as one step. */
int err_set(struct err *e, enum err_code code, int sys, const char *fmt, ...)
    printf_like(4, 5) cold;
/* Puts more context before the message: "outer: inner". */
int err_wrap(struct err *e, const char *fmt, ...) printf_like(2, 3) cold;

#define err_errno(e, ...) err_set((e), ERR_SYS, errno, __VA_ARGS__)

int err_http_status(enum err_code code);
int err_exit_status(enum err_code code);
const char *err_wire_code(enum err_code code);
const char *err_text(enum err_code code);

/* For start-up code of processes that own nothing shared: print and exit. */
void die(const char *prog, const struct err *e) __attribute__((noreturn)) cold;
