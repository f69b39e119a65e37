#pragma once
/*
 * init.h - pid 1 of a sandbox, between its own files.
 *
 * init is a static program of its own: it holds no memory of its launcher, no
 * descriptor but its control socket, and after set-up no more rights than the
 * programs it starts, but for being pid 1, which they cannot signal or trace.
 */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "err.h"

struct msg;
struct msg_in;

struct init {
	int control;        /* to whoever uses the sandbox */
	int signals;        /* signalfd: SIGCHLD */
	pid_t job;          /* 0: none runs */
	struct err failure; /* first failure of a put; told by the next run */
};

/* init_setup.c: executes the plan of a SETUP message. */
int init_setup(struct msg *m, struct err *err);

/* init_run.c */
void init_run(struct init *in, struct msg *m);
/* After SIGCHLD: reaps; tells the end of the job when it is the one. */
void init_reap(struct init *in);

/* init_files.c */
void init_put(struct init *in, struct msg *m);
void init_collect(struct init *in, struct msg *m);

/* init.c */
void init_tell_failure(const struct init *in, const struct err *err);
