#pragma once
/*
 * job.h - what a job is, between gateway, Redis and worker.
 *
 * A spec says what to run: the gateway validates a request into one, the worker
 * reads it back.  A result says how it went: the worker writes it, the gateway
 * shows it.  Both travel as one line of JSON.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct buf;

enum job_state {
#define STATE(name, final, doc) JOB_##name,
#include "job_states.def"
#undef STATE
	JOB__COUNT
};

enum job_reason {
#define REASON(name, state, doc) REASON_##name,
#include "job_reasons.def"
#undef REASON
	REASON__COUNT
};

const char *job_state_name(enum job_state s);
/* -1 for a word that is no state. */
int job_state_from_name(const char *name);
bool job_state_final(enum job_state s);
const char *job_reason_name(enum job_reason r);
enum job_state job_reason_state(enum job_reason r);

/* Bytes with a length, NUL-terminated behind it; owned by what holds them. */
struct job_bytes {
	char *data;
	size_t len;
};

struct job_file {
	char *name; /* relative, no "..", owned */
	struct job_bytes content;
};

struct job_env {
	char *name;
	char *value;
};

enum { JOB_MEMORY_PER_VCPU_MB = 2048 };

struct job_spec {
	char *language; /* canonical name; owned like all below */
	char *network_mode;
	struct job_bytes code;
	struct job_bytes input; /* standard input; data NULL: none */
	char **args;
	size_t n_args;
	struct job_env *env;
	size_t n_env;
	struct job_file *files;
	size_t n_files;
	int ttl;       /* wall seconds of the run step, 1 to 900 */
	int cpu_limit; /* CPU seconds of the run step; 0: none */
	int vcpu;      /* 1 to 8 */
	int memory_mb; /* 0: JOB_MEMORY_PER_VCPU_MB for each vcpu */
	bool return_artifact;
};

struct job_spec *job_spec_new(void);
void job_spec_free(struct job_spec *s);
/* Copies. */
void job_bytes_set(struct job_bytes *b, const void *p, size_t n);
/* The buffer's bytes become b's, without a copy. */
void job_bytes_take(struct job_bytes *b, struct buf *from);
void job_spec_add_arg(struct job_spec *s, const char *arg);
void job_spec_add_env(struct job_spec *s, const char *name, const char *value);
/* Takes what is in content. */
void
job_spec_add_file(struct job_spec *s, const char *name, struct buf *content);
/* What the sandbox has by now is needed here no more. */
void job_spec_drop_files(struct job_spec *s);
/* Caller frees the text. */
char *job_spec_encode(const struct job_spec *s);
/* ERR_INVALID for anything job_spec_encode() would not have written. */
struct job_spec *job_spec_decode(const char *text, size_t n, struct err *err);

/*
 * A name for an input file: relative, leading slashes and "./" gone, no "..",
 * no empty or over-long (255 bytes) part, no NUL or control bytes, 256 bytes at
 * most.  Caller frees.  NULL with err says what is wrong with it.
 */
char *job_file_name(const char *name, size_t len, struct err *err);

/* One program that ran: the compiler, or the job itself. */
struct job_step {
	bool ran;
	bool cached; /* it ran for an earlier job */
	enum job_reason reason;
	int exit_code; /* 124 timeout, 128 + signal, -1 cancelled */
	int signal;    /* 0: none */
	int64_t wall_us;
	int64_t cpu_us;
	int64_t memory_peak; /* bytes */
};

struct job_result {
	struct job_step compile;
	struct job_step run;
	/* owned: what a compiler that succeeded had to say */
	struct job_bytes compile_text;
	struct job_bytes out, err;     /* owned; what was kept */
	uint64_t out_total, err_total; /* bytes the program wrote */
	struct job_file *artifacts;    /* owned */
	size_t n_artifacts;
	bool artifacts_truncated; /* some were left out at a limit */
	int64_t total_us;         /* taken to finished */
	char *message;            /* for people, or NULL; owned */
	const char *layers;       /* isolation that was applied; borrowed */
};

void job_result_done(struct job_result *r);
/* Takes what is in content. */
void job_result_add_artifact(
    struct job_result *r, const char *name, struct buf *content);
/* The step that decided the job: compile when it failed, else run. */
const struct job_step *job_result_last(const struct job_result *r);
/* Caller frees the text. */
char *job_result_encode(const struct job_result *r);
