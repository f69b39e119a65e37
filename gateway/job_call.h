#pragma once
/*
 * job_call.h - a request about one job: read it, wait for its end, show it.
 *
 * The call belongs to its request (request.call).  It answers only while no
 * reply of Redis is on its way to it, so a reply never finds it freed.
 */
#include <stdbool.h>
#include <stdint.h>

#include "id.h"
#include "view.h"

struct request;
struct waiter;

struct job_call {
	struct request *req;
	char id[ID_MAX];
	enum view_shape shape;
	int64_t hold_ms; /* how long it waits for the end; 0: not at all */
	bool owner;      /* it made the job: when its client leaves, the job is
			    cancelled */
	/* The rest is the module's own. */
	bool ended;   /* told so before it was armed, or while reading */
	bool reading; /* a reply is on its way */
	bool last;    /* the next reply is the answer, final or not */
	bool gone;    /* the client left while reading */
	bool armed;
	bool asked;            /* for a large result; it comes first */
	json_t *large;         /* owned; that */
	struct waiter *waiter; /* NULL: does not wait */
};

/*
 * Sets up a call and hangs it on the request, which frees it.  With hold_ms it
 * is registered as a waiter at once.
 */
struct job_call *job_call_new(struct request *req, const char *id,
    enum view_shape shape, int64_t hold_ms);
/* As above, inside a larger struct that the caller hangs on the request. */
void job_call_init(struct job_call *c, struct request *req, const char *id,
    enum view_shape shape, int64_t hold_ms);
void job_call_done(struct job_call *c);

/* Read it now, and answer or wait; Redis is asked to tell us of its end. */
void job_call_start(struct job_call *c);
/* Wait for the end of a job that Redis tells us of already. */
void job_call_wait(struct job_call *c);

/* The id of a request's path; ERR_NOT_FOUND for what cannot be one. */
int job_call_path_id(struct request *req, char ret_id[ID_MAX], struct err *err);
