#pragma once
/*
 * task.h - one job (or canary) on its way through a sandbox.
 *
 *   look -> hungry -> compile -> keep -> run -> collect -> done
 *
 * look asks whether this was compiled before; hungry waits for a sandbox;
 * compile and keep are skipped when it was, as are look, compile and keep for
 * languages without a compile step.  Whatever ends it early goes to done with
 * the reason.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "buf.h"
#include "job.h"

struct worker;
struct registry;
struct lang;
struct lang_list;
struct slot;
struct shelf;
struct reuse;
struct task;

enum task_phase {
	TASK_LOOK,
	TASK_HUNGRY,
	TASK_COMPILE,
	TASK_KEEP,
	TASK_RUN,
	TASK_COLLECT,
	TASK_DONE,
};

/* One output stream of the running step. */
struct task_stream {
	uv_poll_t poll;
	struct task *task;
	struct buf kept;
	uint64_t total; /* bytes the program wrote */
	int fd;         /* -1: at its end */
	bool polling;   /* it is watched: the handle is open */
};

/* Called once, when the task is over; t->result is complete. */
typedef void task_done_cb(struct task *t, void *ctx);

struct task {
	LIST_ENTRY(task) link;
	TAILQ_ENTRY(task) hungry;
	struct worker *worker;
	struct registry *registry;
	const struct lang *lang; /* lives as long as registry */
	struct job_spec *spec;   /* owned */
	char id[64];
	char lease[96];
	char owner[96];  /* public key of whose job it is; "" for a canary */
	char log_id[80]; /* "job=..." */
	enum task_phase phase;
	struct slot *slot;   /* NULL before and after */
	struct shelf *shelf; /* where it waits while hungry */
	struct shelf *own;   /* of its language; NULL: it takes a plain one */
	struct reuse *reuse; /* owned by reuse.c; NULL: it compiles anyway */
	struct job_result result;
	struct task_stream out, err;
	uv_timer_t deadline;  /* wall limit of the step, or a grace */
	uv_timer_t cpu_check; /* next moment the CPU limit can be reached */
	uv_timer_t goes_on;   /* its output is worth watching */
	int64_t started_us;
	int64_t step_started_us;
	int64_t cpu_before_us;
	uint64_t oom_before, pids_before;
	unsigned collecting; /* which of the places to collect is next */
	bool killed;         /* on purpose, for this reason */
	enum job_reason kill_reason;
	bool step_over; /* init told the end, or is dead */
	bool gone;      /* init is dead */
	int status;
	bool given_back;  /* not ours any more: no result of it is told */
	bool lost;        /* its sandbox died, and not by its own doing */
	unsigned handles; /* open uv handles, a look; freed when none is left */
	task_done_cb *on_done;
	void *ctx;
};

/*
 * Takes spec.  id and owner are "" for a canary.  The callback comes from the
 * loop, never from here; the task frees itself after it.
 */
struct task *task_start(struct worker *w, struct job_spec *spec,
    const struct lang *lang, const char *id, const char *lease,
    const char *owner, task_done_cb *on_done, void *ctx);
/* slots.c gives it its sandbox. */
void task_feed(struct task *t, struct slot *s);
/* Its sandbox has something to say. */
void task_on_box(struct task *t);
/* Stop it, for a reason; the callback follows. */
void task_kill(struct task *t, enum job_reason reason);

/* ---- steps, in files of their own ---- */

/* stage.c: files in; argv, env and descriptors of a step. */
int stage_files(struct task *t, struct err *err);
/* An input file has a second name, in the working directory. */
bool stage_is_linked(const struct task *t, const struct job_file *f);
int stage_run(struct task *t, const struct lang_list *argv, bool with_input,
    int out, int err_fd, struct err *err);

/* capture.c: the two pipes of a step. */
int capture_open(struct task *t, int ret_ends[2], struct err *err);
/* The step is over: what its pipes hold is read. */
void capture_rest(struct task *t);
bool capture_over(const struct task *t);
/* At once, or task_on_box() follows. */
void capture_close(struct task *t);

/* collect.c: artifacts out; returns false when there is nothing to ask. */
bool collect_next(struct task *t);
struct box_event;
void collect_file(struct task *t, struct box_event *e);

/*
 * reuse.c: what was compiled before.  reuse_look() says whether it looks; then
 * task_looked() is called from the loop, and the task must live until it is.
 */
bool reuse_look(struct task *t);
void task_looked(struct task *t);
void reuse_stop_waiting(struct task *t);
void reuse_free(struct task *t);
/* 1: it was found and is in, the compile step is over; 0: it was not. */
int reuse_put(struct task *t, struct err *err);
/* Ask for all that was compiled; false when it is not to be kept. */
bool reuse_collect(struct task *t);
void reuse_file(struct task *t, struct box_event *e);
void reuse_folder(struct task *t, const struct box_event *e);
/* The answer is over; whole: nothing is missing. */
void reuse_store(struct task *t, bool whole);
