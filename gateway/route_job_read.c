/* GET /jobs/{id}, at once or as a long poll; GET /jobs/{id}/wait. */
#include "routes.h"

#include "gateway.h"
#include "job_call.h"
#include "request.h"

enum { MS = 1000 };

static int
read_job(struct request *req, long hold_seconds, struct err *err)
{
	char id[ID_MAX];

	if (job_call_path_id(req, id, err) < 0)
		return -1;
	job_call_start(
	    job_call_new(req, id, VIEW_JOB, (int64_t)hold_seconds * MS));
	return 0;
}

static int
handle_read(struct request *req, struct err *err)
{
	long hold = 0;

	if (query_get_int(&req->query, "wait",
		req->gw->set.gateway_hold_seconds, &hold, err) < 0)
		return -1;
	return read_job(req, hold, err);
}

static int
handle_wait(struct request *req, struct err *err)
{
	return read_job(req, req->gw->set.gateway_hold_seconds, err);
}

const struct route route_job_read = {
	.method = "GET",
	.path = "/jobs/{id}",
	.scope = AUTH_SIGNED,
	.max_body = ROUTE_BODY_SMALL,
	.summary = "Read a job; ?wait=SECONDS waits for its end",
	.handle = handle_read,
};

const struct route route_job_wait = {
	.method = "GET",
	.path = "/jobs/{id}/wait",
	.scope = AUTH_SIGNED,
	.max_body = ROUTE_BODY_SMALL,
	.summary = "Wait for a job's end and read it",
	.handle = handle_wait,
};
