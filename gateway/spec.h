#pragma once
/*
 * spec.h - from what a client sent to a job that can be run.
 *
 * Lenient in form (numbers as text, "[]" for "{}", unknown fields ignored) and
 * strict in substance: each limit is a setting, and each refusal names the
 * field, what it must be, and so what to change.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "err.h"

struct settings;
struct lang;
struct lang_registry;
struct job_spec;
struct query;

struct spec_rules {
	const struct settings *set;
	const struct lang_registry *langs;
	long max_vcpu; /* the most a live node offers; 0: none is known */
	/* Can a live worker run it?  NULL: none is known, so nobody can say. */
	bool (*runs)(void *ctx, const struct lang *l);
	void *ctx;
	bool trying; /* what does not run now may do so in a moment */
};

/* POST /execute: a JSON object.  NULL with err; else the caller frees. */
struct job_spec *spec_from_json(const struct spec_rules *rules,
    const char *text, size_t len, bool *ret_async, struct err *err);

/* An object; "", "{}" and "[]" are one without fields.  Caller owns. */
json_t *spec_object(const char *text, size_t len, struct err *err);
/* Of an object, `input_files` alone; caller frees. */
struct job_spec *
spec_files(const struct settings *set, const json_t *obj, struct err *err);

/*
 * POST /run: the program's text, or (json) an object with `code`; its language
 * is found in it, and the query holds what else there is to say.
 */
struct job_spec *spec_from_run(const struct spec_rules *rules, const char *text,
    size_t len, bool json, const struct query *q, struct err *err);
