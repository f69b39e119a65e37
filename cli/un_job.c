#include "un_job.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "un_api.h"
#include "un_interrupt.h"
#include "un_output.h"

enum {
	ID_MAX = 128,
	WAIT_SECONDS = 20, /* asked of the server; it may ignore it */
	CALL_SECONDS = WAIT_SECONDS + 10,
	CANCEL_SECONDS = 10,
	MISSING_MAX = 5,  /* answers 404 in a row: a record on its way */
	BROKEN_MAX = 30,  /* failures in a row: a server that restarts */
	BROKEN_MS = 2000, /* pause after each */
};

/* A server that answers at once is asked no more often than this. */
static const int poll_ms[] = { 300, 450, 700, 900, 650, 1600, 2000 };

bool
un_job_id_valid(const char *id)
{
	size_t n = strlen(id);

	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)id[i]) && !strchr("-_.", id[i]))
			return false;
	return n > 0 && n <= ID_MAX && id[0] != '.';
}

const char *
un_job_id(const json_t *job)
{
	const char *id = un_api_text(job, "job_id");

	return *id ? id : un_api_text(job, "id");
}

bool
un_job_ended(const json_t *job)
{
	const char *status = un_api_text(job, "status");

	return strcmp(status, "pending") != 0 && strcmp(status, "running") != 0;
}

/* What went wrong since the last good answer. */
struct trouble {
	int missing;
	int broken;
	int tries; /* answers so far, good ones too */
};

/* The server, or something before it, is out of order: worth another try. */
static bool
is_broken(const struct un_reply *r)
{
	return r->status >= 500 || r->status == 429 ||
	       (r->status == 200 && !r->json);
}

/* Pause before the next try in ms, or -1 when there is none left. */
static int
pause_broken(struct trouble *t, struct err *err)
{
	if (++t->broken <= BROKEN_MAX)
		return BROKEN_MS;
	return err_wrap(err, "gave up waiting after %d tries", BROKEN_MAX);
}

static int
pause_missing(struct trouble *t, const char *id, struct err *err)
{
	if (t->broken > 0)
		return err_set(err, ERR_NOT_FOUND, 0,
		    "API restarted - job result lost (job %s)", id);
	if (++t->missing <= MISSING_MAX)
		return poll_ms[0];
	return err_set(err, ERR_NOT_FOUND, 0, "HTTP 404: no job %s", id);
}

/* Judges one answer: 0 = ended, else as above. */
static int
judge(struct trouble *t, const char *id, const struct un_reply *r,
    int64_t took_ms, struct err *err)
{
	int delay;

	if (r->status == 404)
		return pause_missing(t, id, err);
	if (is_broken(r)) {
		(void)err_set(err, ERR_UNAVAILABLE, 0, "HTTP %ld", r->status);
		return pause_broken(t, err);
	}
	if (!un_reply_ok(r))
		return err_set(err, ERR_INVALID, 0, "HTTP %ld: %s", r->status,
		    un_api_text(r->json, "error"));
	t->broken = t->missing = 0;
	if (un_job_ended(r->json))
		return 0;
	delay = poll_ms[t->tries < (int)ARRAY_LEN(poll_ms)
			    ? t->tries
			    : (int)ARRAY_LEN(poll_ms) - 1];
	t->tries++;
	return took_ms >= delay ? 1 : delay - (int)took_ms;
}

int
un_job_wait(struct un_api *api, const char *id, bool said, json_t **ret_job,
    struct err *err)
{
	struct trouble trouble = { .missing = 0 };
	char path[ID_MAX + 32];
	const struct un_request rq = {
		.method = "GET", .path = path, .timeout_seconds = CALL_SECONDS
	};

	(void)snprintf(
	    path, sizeof(path), "/jobs/%s?wait=%d", id, WAIT_SECONDS);
	for (;;) {
		int64_t start_ms = clock_mono_ms();
		auto_reply struct un_reply reply;
		int delay;

		if (un_api_call(api, &rq, &reply, err) < 0)
			delay = un_interrupt_pending()
				    ? -1
				    : pause_broken(&trouble, err);
		else
			delay = judge(&trouble, id, &reply,
			    clock_mono_ms() - start_ms, err);
		if (delay == 0)
			*ret_job = json_incref(reply.json);
		if (delay <= 0)
			return delay;
		if (!said)
			un_output_line(stderr, UN_PLAIN, "job %s", id);
		said = true;
		un_interrupt_sleep(delay);
		if (un_interrupt_pending())
			return err_set(err, ERR_TIMEOUT, 0, "interrupted");
	}
}

int
un_job_cancel(
    struct un_api *api, const char *id, json_t **ret_job, struct err *err)
{
	auto_reply struct un_reply reply;
	char path[ID_MAX + 32];
	const struct un_request rq = { .method = "DELETE",
		.path = path,
		.timeout_seconds = CANCEL_SECONDS };

	(void)snprintf(path, sizeof(path), "/jobs/%s", id);
	if (un_api_call(api, &rq, &reply, err) < 0)
		return -1;
	if (!un_reply_ok(&reply))
		return err_set(err, ERR_INVALID, 0, "HTTP %ld: %s",
		    reply.status, un_api_text(reply.json, "error"));
	*ret_job = json_incref(reply.json);
	return 0;
}
