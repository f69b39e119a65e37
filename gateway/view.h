#pragma once
/*
 * view.h - a job as clients see it.
 *
 * Some clients search the text for the first `"name":` instead of parsing it,
 * so order is part of the format: the contract's flat fields first, ours after
 * them, nested objects last.
 */
#include <hiredis/hiredis.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "job.h"

/* The hash of a job; texts are borrowed from what it came in, "" when missing.
 */
struct job_record {
	const char *id;
	enum job_state state;
	const char *owner; /* public key */
	const char *language, *network_mode, *detected, *reason, *message;
	const char *node;
	int64_t created_ms, started_ms, finished_ms; /* 0: not yet */
	int64_t attempts;
	bool large;     /* the result is to be asked for */
	json_t *result; /* owned; NULL: none was stored, or large */
};

/*
 * From the answer of the `read` script.  ERR_NOT_FOUND for nil, ERR_SYS for
 * what no script of ours has written.
 */
int job_record_from_reply(struct job_record *ret_rec, const char *id,
    const redisReply *r, struct err *err);
/*
 * From the news of its end (`notify` in conf/redis/_prelude.lua): n bytes with
 * a NUL behind them.  False when the job is not in it, or no sense.
 */
bool job_record_from_message(
    struct job_record *ret_rec, const char *message, size_t n);
/* A result that was asked for; NULL when it is none. */
json_t *job_result_from_reply(const redisReply *r);
void job_record_done(struct job_record *rec);

struct out;

enum view_shape {
	VIEW_FLAT, /* answer of /execute and /run */
	VIEW_JOB,  /* GET /jobs/{id}: times, and `result` again as an object */
	VIEW_CANCEL,   /* DELETE /jobs/{id}: as VIEW_JOB, with a message */
	VIEW_ACCEPTED, /* answer of the async calls */
};

/* One value, the object, is added to o. */
void
view_job(struct out *o, const struct job_record *rec, enum view_shape shape);
/* A row of GET /jobs, from an element of the `list` script's answer. */
void view_job_row(struct out *o, const redisReply *r);
