#pragma once
/*
 * unfarm_op.h - what the operator's commands share.
 *
 * A command is one function and one row of the table in unfarm_main.c.  It
 * returns the exit status; an error is printed once, by op_fail(), with what to
 * do about it.
 */
#include <hiredis/hiredis.h>
#include <jansson.h>
#include <stdbool.h>

#include "err.h"
#include "settings.h"

struct op {
	const char *conf; /* -c FILE, or NULL: the default file if it is there */
	bool loaded;
	struct settings settings; /* valid after op_load() */
	redisContext *redis;      /* owned; NULL until op_redis() */
};

int cmd_key(struct op *op, int argc, char **argv);
int cmd_status(struct op *op, int argc, char **argv);
int cmd_config(struct op *op, int argc, char **argv);
int cmd_doctor(struct op *op, int argc, char **argv);

void op_done(struct op *op);
/* Reads the configuration, once. */
int op_load(struct op *op, struct err *err);
/* op_load(), then the connection.  Borrowed; NULL with err. */
redisContext *op_redis(struct op *op, struct err *err);
/* One command; NULL with err.  The caller frees the reply. */
#define op_command(op, err, ...)                                               \
	store_command_sync((op)->redis, err, __VA_ARGS__)

/*
 * "unfarm: message", then hint when it is not NULL, on stderr; the exit status
 * that errors.def gives.
 */
int op_fail(const struct err *err, const char *hint) cold;
/* What to do about an unreachable Redis, for op_fail(). */
extern const char op_hint_redis[];

/* Prints v as indented JSON and a newline. */
void op_print_json(const json_t *v);
