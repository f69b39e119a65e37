#pragma once
/*
 * client.h - many keep-alive connections in one thread, each with one
 * operation at a time.
 *
 * An operation is one request, or (MODE_ASYNC) a job from its submission to
 * its final answer, asked for in long polls or every few milliseconds.
 * Closed loop: a connection begins its next operation when one has ended.
 * Open loop (rate > 0): operations are due at fixed times whether or not a
 * connection is free, and their time counts from when they were due, so an
 * answer that is late makes those behind it late too.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "hist.h"

enum mode { MODE_HELLO, MODE_GET, MODE_SYNC, MODE_ASYNC, MODE__COUNT };

struct plan {
	enum mode mode;
	int port;           /* on 127.0.0.1 */
	const char *target; /* first request's path */
	const char *public_key, *secret;
	const char *body; /* of a POST; "" for none */
	size_t body_len;
	const char *expect; /* must be in the last answer; NULL: anything */
	int connections;
	uint64_t operations; /* stop after these; 0: no limit */
	int64_t duration_ns; /* stop starting after this; 0: no limit */
	double rate;         /* operations a second, 0: closed loop */
	int wait_s;          /* of a long poll; 0: plain polls */
	int64_t pause_ns;    /* between plain polls */
	int64_t every_ns;    /* calls on_interval this often; 0: never */
	void (*on_interval)(
	    const struct plan *p, double at_s, const struct hist *h);
};

enum { STATUS_MAX = 600 };

struct outcome {
	struct hist hist;              /* of operations that went well */
	uint64_t errors;               /* all others */
	uint64_t requests;             /* answers read */
	uint64_t statuses[STATUS_MAX]; /* answers by HTTP status */
	double seconds;                /* first start to last end */
	char first_error[200];
};

/* 0 when the measuring took place; errors of operations are in the outcome. */
int
client_run(const struct plan *p, struct outcome *ret_outcome, struct err *err);
