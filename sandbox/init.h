#pragma once
/*
 * init.h - pid 1 of a nest or a sandbox, between its own files.
 *
 * The same code serves in two programs.  sandbox-init is static and is executed
 * in a new nest; a sandbox's init is a fork of it.  sandbox-hold.so is loaded
 * into an interpreter that a nest holds (hold.c); there a sandbox's init is a
 * fork of that interpreter.  Either holds no memory of the launcher, no
 * descriptor but its control socket, and after set-up no more rights than the
 * programs it starts, but for being pid 1, which they cannot signal or trace.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/time.h>
#include <sys/types.h>

#include "err.h"

struct msg;
struct msg_in;
struct plan_op;

enum { INIT_KEPT_MAX = 64 };

/* A process that runs beside others (init_proc.c). */
struct init_kept {
	pid_t keeper; /* 0: none */
	uint32_t id;  /* what the user of the sandbox calls it */
};

struct init {
	int control;     /* to whoever uses the sandbox, or to the launcher */
	int signals;     /* signalfd: SIGCHLD */
	pid_t job;       /* 0: none runs */
	bool holds;      /* job is the program of a nest: we end with it */
	uint64_t inodes; /* that were free when it was set up */
	struct err failure; /* first failure of a put; told by the next run */
	/* Makes a child of ours the held program; does not return.  Or NULL. */
	void (*resume)(void);
	pid_t ahead;     /* what was started before its job came; 0: nothing */
	int held;        /* to it; -1: there is none */
	bool lives_long; /* it runs processes beside each other */
	struct init_kept kept[INIT_KEPT_MAX];
};

enum { INIT_WORDS_MAX = 8192 };

/* What the messages of proto.h ask for; texts are borrowed from them. */
struct init_put {
	const char *path;
	uint32_t mode;
	uint32_t kind;      /* enum proto_put_kind */
	const char *target; /* of a link */
	const char *data;
	size_t len;
};

struct init_command {
	const char *argv[INIT_WORDS_MAX + 1]; /* ended by NULL */
	const char *env[INIT_WORDS_MAX + 1];
	uint64_t address_space;
};

struct init_process {
	uint32_t id;
	struct init_command command;
	const char *dir; /* "": the working directory /tmp */
	bool terminal;
	uint32_t cols, rows; /* of it */
};

struct init_collect {
	const char *path;
	uint32_t max_files;
	uint64_t max_bytes;
};

/* init_read.c: false when it is not that, to the last byte. */
bool init_read_op(struct msg_in *in, struct plan_op *ret_op);
bool init_read_put(const struct msg *m, struct init_put *ret_put);
/* No argv: what is held goes on. */
bool init_read_run(const struct msg *m, struct init_command *ret_command);
bool init_read_hold(const struct msg *m, struct init_command *ret_command);
bool init_read_start(const struct msg *m, struct init_process *ret_process);
bool init_read_collect(const struct msg *m, struct init_collect *ret_collect);

/* Executes the SETUP that comes, then serves in->control until it is closed. */
_Noreturn void init_begin(struct init *in);

/* init_setup.c: executes the plan of a SETUP message. */
int init_setup(const struct msg *m, struct err *err);

/* init_run.c */
void init_run(struct init *in, const struct msg *m);
/*
 * The program that a nest or a sandbox holds: as a run, with more descriptors.
 * m is used up.
 */
void init_hold(struct init *in, struct msg *m);
/* After SIGCHLD: reaps; tells the end of the job when it is the one. */
void init_reap(struct init *in);

/*
 * Puts the sandbox's own /dev/null in the place of the host's, which is what
 * a device is that was sent: its inode is not only ours.
 */
int init_own_null(int fd);
int64_t init_micros(const struct timeval *t);

/* init_proc.c: processes beside each other. */
void init_start(struct init *in, const struct msg *m);
void init_stop(struct init *in, const struct msg *m);
/* True when pid was a keeper of ours. */
bool init_keeper_ended(struct init *in, pid_t pid, int status);

/*
 * init_fork.c: a sandbox's first process.  There it begins anew, as the init of
 * the sandbox; in the nest it returns.
 */
void init_fork(const struct init *nest, const struct msg *m);

/* init_ahead.c: takes held; it is to be GO's way to in->job. */
void init_ahead_wait(struct init *in, int held, struct msg *packet);
/* The command is it: it gets its streams and goes on. */
void
init_ahead_go(struct init *in, uint64_t address_space, const struct msg *m);
/* The job is over; when it never was, so is the sandbox. */
void init_ahead_over(struct init *in);
/* All other processes here but the one that waits. */
void init_ahead_kill_others(const struct init *in);

/*
 * init_net.c: of the network namespace that we are in.  up: its loopback
 * interface, and every port for everyone.
 */
int init_net_up(void);
/* Before a sandbox is forked: afterwards we are in one that none has used. */
int init_net_clean(struct err *err);
/* In the sandbox: closes what init_net_clean() keeps open. */
void init_net_leave(void);

/* init_files.c */
void init_put(struct init *in, const struct msg *m);
void init_collect(const struct init *in, const struct msg *m);
/* That are free in what is writable here. */
uint64_t init_inodes(void);

/* init.c */
void init_tell_failure(const struct init *in, const struct err *err);
