#pragma once
/*
 * un_execute.h - the options of `un FILE`, and the request they make.
 */
#include <jansson.h>
#include <stdbool.h>

#include "err.h"
#include "un_options.h"

struct un_source;

struct un_execute {
	const char *language;
	struct un_list env;   /* NAME=VALUE */
	struct un_list files; /* letter f: by base name, F: as typed */
	const char *output;   /* directory for artifacts */
	const char *network;
	int vcpu; /* 0: not given */
	int ttl;  /* seconds; 0: not given */
	bool artifacts;
	bool yes; /* do not ask about large files */
	bool wasm;
	bool async;
	bool stdin_wanted;
};

enum { UN_ENV_MAX = 256, UN_FILES_MAX = 1000 };

/*
 * The request body, its fields in the documented order.  Reads the input files
 * and, when asked to, standard input.  NULL on failure; else the caller's.
 */
json_t *
un_execute_body(const struct un_execute *x, const struct un_source *source,
    char *const *args, int n_args, struct err *err);
