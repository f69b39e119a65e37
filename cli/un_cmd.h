#pragma once
/*
 * un_cmd.h - what every subcommand of `un` is and shares.
 *
 * A command is one const record: its options as a table, and a function that
 * runs once they are parsed and returns the exit status.  Functions here have
 * told the user what went wrong before they return a failure.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "un_options.h"
#include "un_status.h"

struct un_global {
	const char *public_key; /* borrowed from argv */
	char *secret_key;       /* owned */
	const char *api_base;   /* borrowed from argv */
	int account;            /* UN_ACCOUNT_ANY, or a row */
	bool help;
	bool version;
};

struct un_cmd;

struct un_call {
	const struct un_cmd *cmd;
	struct un_global global;
	struct un_words words;
	void *options; /* cmd->options_size bytes, zero where not given */
};

struct un_cmd {
	const char *name;
	const char *usage; /* lines after "usage: " */
	const char *summary;
	const struct un_opt *opts;
	size_t n_opts;
	size_t options_size;
	int (*run)(const struct un_call *call); /* NULL: not in this version */
};

extern const struct un_cmd un_cmd_execute;
extern const struct un_cmd un_cmd_jobs;
extern const struct un_cmd un_cmd_languages;
extern const struct un_cmd un_cmd_key;
extern const struct un_cmd un_cmd_session;

struct un_api;
struct un_reply;
struct un_request;

/* The server's address: the option, the environment, or this machine. */
const char *un_cmd_base(const struct un_global *g);

/* UN_OK, or the status to leave with.  Without keys when they may be missing.*/
int un_cmd_connect(
    const struct un_global *g, bool keys_needed, struct un_api **ret_api);

/* 0 for an answer 2xx; else -1, and the user knows why. */
int un_cmd_call(struct un_api *api, const struct un_request *rq,
    struct un_reply *ret_reply);

/* UN_USAGE, naming the first word, when there is any. */
int un_cmd_no_words(const struct un_call *call);
