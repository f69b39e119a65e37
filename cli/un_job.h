#pragma once
/*
 * un_job.h - a job on the farm: waiting for its end, and ending it early.
 */
#include <jansson.h>
#include <stdbool.h>

#include "err.h"

struct un_api;

/* Letters, digits, '-', '_' and '.': what may stand in a path. */
bool un_job_id_valid(const char *id);
/* Its id, by either spelling; "" when there is none. */
const char *un_job_id(const json_t *job);
/* It has reached a final state; so has an answer that names no state. */
bool un_job_ended(const json_t *job);

/*
 * Returns once the job has ended, over pauses of the network and restarts of
 * the server.  said tells whether `job ID` has been printed yet; it is once the
 * wait turns out to take longer than one answer.
 */
int un_job_wait(struct un_api *api, const char *id, bool said, json_t **ret_job,
    struct err *err);

/* Ends it; ret_job is what it had done so far, or NULL. */
int un_job_cancel(
    struct un_api *api, const char *id, json_t **ret_job, struct err *err);
