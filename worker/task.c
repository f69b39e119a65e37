#include "task.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "fault.h"
#include "lang.h"
#include "log.h"
#include "mem.h"
#include "sandbox.h"
#include "worker.h"

enum {
	LOOK_MS = 1000,         /* then compiling is faster than this disk */
	HUNGRY_MS = 30000,      /* without a sandbox this long: give it back */
	EVENTS_A_TURN = 64,     /* of one sandbox; then others get their turn */
	EXIT_TIMEOUT = 124,     /* as timeout(1) */
	EXIT_SIGNAL_BASE = 128, /* as every shell */
	GRACE_MS = 2000,        /* for init to be dead, or to hand files over */
	COMPILE_TEXT_MAX = 64 << 10,
	COLLECT_MEMORY = 64 << 20, /* room for init itself at the limit */
};

static void begin_step(struct task *t, enum task_phase phase);
static void get_slot(struct task *t);
static void end_step(struct task *t);
static void on_deadline(uv_timer_t *timer);
static void finish(struct task *t);

/* ---- a task's handles ---- */

static void
release(struct task *t)
{
	if (--t->handles > 0)
		return;
	LIST_REMOVE(t, link);
	reuse_free(t);
	registry_unref(t->registry);
	job_spec_free(t->spec);
	job_result_done(&t->result);
	buf_done(&t->out.kept);
	buf_done(&t->err.kept);
	free(t);
}

static void
on_timer_closed(uv_handle_t *h)
{
	release(h->data);
}

static void
init_timer(struct task *t, uv_timer_t *timer)
{
	(void)uv_timer_init(&t->worker->loop, timer);
	timer->data = t;
	t->handles++;
}

/* ---- the end ---- */

static void
on_finish(uv_timer_t *timer)
{
	struct task *t = timer->data;

	t->on_done(t, t->ctx);
	uv_close((uv_handle_t *)&t->deadline, on_timer_closed);
	uv_close((uv_handle_t *)&t->cpu_check, on_timer_closed);
	uv_close((uv_handle_t *)&t->goes_on, on_timer_closed);
}

/* The callback comes from the loop: whoever called us may use the task. */
static void
finish(struct task *t)
{
	if (t->phase == TASK_DONE)
		return;
	assert(capture_over(t));
	t->phase = TASK_DONE;
	t->result.total_us = clock_mono_us() - t->started_us;
	if (t->slot)
		slots_put(t->worker, t->slot);
	t->slot = NULL;
	(void)uv_timer_stop(&t->cpu_check);
	(void)uv_timer_start(&t->deadline, on_finish, 0, 0);
}

static struct job_step *
current_step(struct task *t)
{
	return t->phase == TASK_COMPILE ? &t->result.compile : &t->result.run;
}

static void
set_message(struct task *t, const char *text)
{
	free(t->result.message);
	t->result.message = xstrdup(text);
}

/* It could not be run at all; why is for the owner and for the log. */
static void
fail(struct task *t, enum job_reason reason, const char *why)
{
	struct job_step *s = current_step(t);

	s->ran = true;
	s->reason = reason;
	s->exit_code = reason == REASON_cancelled ? -1 : 127;
	set_message(t, why);
	t->phase = TASK_COLLECT; /* nothing more is read of the streams */
	capture_close(t);
	if (capture_over(t))
		finish(t);
}

/*
 * Not the job's fault, unless what it asks for is too much: then it is tried
 * again, as often as attempts are allowed.
 */
static void
cannot_start(struct task *t, const struct err *err)
{
	t->lost = err->code != ERR_TOO_BIG && err->code != ERR_INVALID;
	fail(t, REASON_unstartable, err->msg);
}

/* ---- a step's verdict ---- */

static enum job_reason
judge(const struct task *t, const struct box_usage *u)
{
	bool failed = t->gone || !WIFEXITED(t->status) ||
		      WEXITSTATUS(t->status) != 0;

	if (t->killed)
		return t->kill_reason;
	if (failed && u->oom_kills > t->oom_before)
		return REASON_memory;
	if (t->gone)
		return REASON_unstartable;
	if (WIFSIGNALED(t->status))
		return WTERMSIG(t->status) == SIGXCPU ? REASON_cpu
						      : REASON_signaled;
	if (failed && u->pids_refused > t->pids_before)
		return REASON_processes;
	return REASON_exited;
}

static void
set_exit(const struct task *t, struct job_step *s)
{
	if (s->reason == REASON_cancelled)
		s->exit_code = -1;
	else if (s->reason == REASON_timeout)
		s->exit_code = EXIT_TIMEOUT;
	else if (t->killed || t->gone)
		s->signal = SIGKILL;
	else if (WIFSIGNALED(t->status))
		s->signal = WTERMSIG(t->status);
	else
		s->exit_code = WEXITSTATUS(t->status);
	if (s->signal)
		s->exit_code = EXIT_SIGNAL_BASE + s->signal;
}

static void
record_step(struct task *t)
{
	struct job_step *s = current_step(t);
	struct box_usage u;

	box_usage(t->slot->box, &u);
	s->ran = true;
	s->wall_us = clock_mono_us() - t->step_started_us;
	s->cpu_us = u.cpu_us - t->cpu_before_us;
	s->memory_peak = u.memory_peak;
	s->reason = judge(t, &u);
	set_exit(t, s);
	if (s->reason == REASON_unstartable) {
		set_message(t, "the sandbox died");
		t->lost = true;
	}
}

/* What the program wrote becomes the result's. */
static void
take_output(struct task *t)
{
	job_bytes_take(&t->result.out, &t->out.kept);
	job_bytes_take(&t->result.err, &t->err.kept);
	t->result.out_total = t->out.total;
	t->result.err_total = t->err.total;
}

/*
 * A compiler's words, wherever it wrote them, are the job's errors when it
 * refused the program, and a side note when it did not.
 */
static void
take_compiler_output(struct task *t, bool failed)
{
	(void)buf_add_some(&t->err.kept, t->out.kept.data, t->out.kept.len);
	if (failed) {
		t->result.err_total = t->err.total + t->out.total;
		job_bytes_take(&t->result.err, &t->err.kept);
		return;
	}
	job_bytes_set(&t->result.compile_text, t->err.kept.data,
	    t->err.kept.len < COMPILE_TEXT_MAX ? t->err.kept.len
					       : COMPILE_TEXT_MAX);
}

static void
begin_collect(struct task *t)
{
	struct box_limits roomy = {
		.memory_bytes = ((uint64_t)t->spec->memory_mb << 20) +
				COLLECT_MEMORY,
		.pids = t->lang->pids,
		.vcpu = t->spec->vcpu
	};
	struct err err;

	t->phase = TASK_COLLECT;
	if (!t->gone && t->spec->return_artifact)
		(void)box_set_limits(t->slot->box, &roomy, &err);
	if (!collect_next(t))
		finish(t);
}

/* ---- between the steps: what was compiled is copied ---- */

static void
begin_keep(struct task *t)
{
	t->phase = TASK_KEEP;
	t->step_over = false; /* it can be killed again */
}

/* All that the compiler made is copied: the program may begin. */
static void
end_keep(struct task *t, bool whole)
{
	reuse_store(t, whole);
	begin_step(t, TASK_RUN);
}

/* Between the steps: it ends as if the program had begun. */
static void
die_in_keep(struct task *t)
{
	struct box_usage u;

	reuse_store(t, false);
	buf_clear(&t->out.kept); /* of the compiler */
	buf_clear(&t->err.kept);
	t->out.total = t->err.total = 0;
	box_usage(t->slot->box, &u);
	t->cpu_before_us = u.cpu_us;
	t->step_started_us = clock_mono_us();
	t->gone = t->step_over = true;
	t->phase = TASK_RUN;
	end_step(t);
}

/* ---- the end of a step ---- */

static void
end_step(struct task *t)
{
	const struct job_step *s = current_step(t);
	bool compiled;

	(void)uv_timer_stop(&t->cpu_check);
	(void)uv_timer_start(&t->deadline, on_deadline, GRACE_MS, 0);
	record_step(t);
	if (t->phase == TASK_RUN) {
		FAULT(worker_ended);
		take_output(t);
		begin_collect(t);
		return;
	}
	FAULT(worker_compiled);
	compiled = s->reason == REASON_exited && s->exit_code == 0;
	take_compiler_output(t, !compiled);
	if (!compiled)
		finish(t);
	else if (reuse_collect(t))
		begin_keep(t);
	else
		begin_step(t, TASK_RUN);
}

/* ---- limits in time ---- */

static void
on_deadline(uv_timer_t *timer)
{
	struct task *t = timer->data;
	enum task_phase phase = t->phase;

	if (phase == TASK_LOOK) {
		reuse_stop_waiting(t);
		get_slot(t);
		return;
	}
	if (phase == TASK_HUNGRY) {
		t->given_back = true;
		task_kill(t, REASON_cancelled);
		return;
	}
	if (phase == TASK_KEEP) {
		if (t->killed)
			die_in_keep(t);
		else
			end_keep(t, false); /* init does not hand over */
		return;
	}
	if (phase == TASK_COLLECT) {
		t->result.artifacts_truncated = true;
		if (capture_over(t))
			finish(t); /* init does not hand over: it goes too */
		return;
	}
	if (!t->killed && !t->step_over) {
		/* We may be late: what was said in time counts. */
		task_on_box(t);
		if (t->phase == phase && !t->step_over)
			task_kill(t, REASON_timeout);
		return;
	}
	/* Killed, and still not gone: the master will see to it. */
	t->gone = t->step_over = true;
	capture_close(t);
	if (capture_over(t))
		end_step(t);
}

/* Nothing polls: look again when the rest could be used up at the earliest. */
static void
on_cpu_check(uv_timer_t *timer)
{
	struct task *t = timer->data;
	int64_t limit_us = (int64_t)t->spec->cpu_limit * 1000000, left_us;
	struct box_usage u;
	uint64_t in_us;

	if (!t->slot)
		return;
	box_usage(t->slot->box, &u);
	left_us = limit_us - (u.cpu_us - t->cpu_before_us);
	in_us = (uint64_t)box_cpu_earliest_us(
	    t->spec->vcpu, t->worker->cores, left_us);
	if (left_us <= 0)
		task_kill(t, REASON_cpu);
	else
		(void)uv_timer_start(timer, on_cpu_check, in_us / 1000 + 1, 0);
}

void
task_kill(struct task *t, enum job_reason reason)
{
	if (t->phase <= TASK_HUNGRY) {
		if (t->phase == TASK_HUNGRY)
			slots_forget(t);
		fail(t, reason, "cancelled before it started");
		return;
	}
	if (t->killed || t->step_over || t->phase >= TASK_COLLECT)
		return;
	t->killed = true;
	t->kill_reason = reason;
	slot_kill(t->slot);
	(void)uv_timer_start(&t->deadline, on_deadline, GRACE_MS, 0);
}

/* ---- steps ---- */

static int
start_command(struct task *t, struct err *err)
{
	bool compile = t->phase == TASK_COMPILE;
	const struct lang_list *argv = compile ? &t->lang->compile
					       : &t->lang->run;
	int ends[2], r;

	if (capture_open(t, ends, err) < 0)
		return -1;
	r = stage_run(t, argv, !compile, ends[0], ends[1], err);
	(void)close(ends[0]);
	(void)close(ends[1]);
	return r;
}

static void
begin_step(struct task *t, enum task_phase phase)
{
	int64_t seconds = phase == TASK_COMPILE ? t->lang->compile_seconds
						: t->spec->ttl;
	struct box_usage u;
	struct err err;

	t->phase = phase;
	t->step_over = false;
	box_reset_peak(t->slot->box);
	box_usage(t->slot->box, &u);
	t->cpu_before_us = u.cpu_us;
	t->oom_before = u.oom_kills;
	t->pids_before = u.pids_refused;
	t->step_started_us = clock_mono_us();
	if (start_command(t, &err) < 0) {
		cannot_start(t, &err);
		return;
	}
	if (phase == TASK_COMPILE)
		FAULT(worker_compiling);
	if (phase == TASK_RUN)
		FAULT(worker_running);
	/*
	 * The loop's clock stood still while we worked; limits are exact.  It
	 * counts whole milliseconds: one more, and none is early.
	 */
	uv_update_time(&t->worker->loop);
	(void)uv_timer_start(
	    &t->deadline, on_deadline, (uint64_t)seconds * 1000 + 1, 0);
	if (phase == TASK_RUN && t->spec->cpu_limit > 0)
		on_cpu_check(&t->cpu_check);
}

void
task_feed(struct task *t, struct slot *s)
{
	const struct box_limits limits = {
		.memory_bytes = (uint64_t)t->spec->memory_mb << 20,
		.pids = t->lang->pids,
		.vcpu = t->spec->vcpu,
	};
	struct err err;
	int r;

	t->slot = s;
	s->task = t;
	if (box_set_limits(s->box, &limits, &err) < 0 ||
	    stage_files(t, &err) < 0 || (r = reuse_put(t, &err)) < 0) {
		cannot_start(t, &err);
		return;
	}
	/* A thread may read them, and what is kept is compared with them. */
	if (!t->reuse)
		job_spec_drop_files(t->spec);
	FAULT(worker_staged);
	begin_step(
	    t, t->lang->compile.n > 0 && r == 0 ? TASK_COMPILE : TASK_RUN);
}

static void
on_event(struct task *t, struct box_event *e)
{
	switch (e->kind) {
	case BOX_EXITED:
		if (t->phase == TASK_KEEP)
			break; /* nothing runs */
		t->status = e->status;
		t->step_over = true;
		capture_rest(t);
		/* Its pipes follow at once; nobody holds them any more. */
		if (!t->killed && t->phase < TASK_COLLECT)
			(void)uv_timer_start(
			    &t->deadline, on_deadline, GRACE_MS, 0);
		break;
	case BOX_GONE:
		t->gone = t->step_over = true;
		slot_mute(t->slot);
		capture_rest(t);
		break;
	case BOX_FAILED:
		if (t->phase != TASK_COLLECT)
			fail(t, REASON_unstartable, e->failure.msg);
		break;
	case BOX_FILE:
		if (t->phase == TASK_COLLECT)
			collect_file(t, e);
		else if (t->phase == TASK_KEEP)
			reuse_file(t, e);
		else
			cleanup_closep(&e->fd);
		break;
	case BOX_STARTED:
	case BOX_REFUSED:
	case BOX_ENDED: /* nothing was started beside the job */
		cleanup_closep(&e->fd);
		break;
	case BOX_FOLDER:
		if (t->phase == TASK_KEEP)
			reuse_folder(t, e);
		break;
	case BOX_COLLECTED:
		if (t->phase == TASK_KEEP && !t->killed) {
			end_keep(t, !e->truncated);
			break;
		}
		if (t->phase != TASK_COLLECT || !capture_over(t))
			break; /* nobody asked */
		t->result.artifacts_truncated |= e->truncated;
		if (!collect_next(t))
			finish(t);
		break;
	case BOX_NOTHING:
		break;
	}
}

void
task_on_box(struct task *t)
{
	struct box_event e = { .kind = BOX_GONE };

	for (int i = 0;
	     i < EVENTS_A_TURN && t->phase != TASK_DONE && t->slot && !t->gone;
	     i++) {
		box_receive(t->slot->box, &e);
		if (e.kind == BOX_NOTHING)
			break;
		on_event(t, &e);
	}
	if (t->phase == TASK_DONE)
		return;
	if (t->phase == TASK_COLLECT) {
		/* A step that failed waits for its streams; init may be dead. */
		if (capture_over(t) &&
		    (t->gone || !t->spec->return_artifact || t->result.message))
			finish(t);
		return;
	}
	if (t->phase == TASK_KEEP && t->gone)
		die_in_keep(t);
	else if (t->phase != TASK_KEEP && t->step_over && capture_over(t))
		end_step(t);
}

static void
get_slot(struct task *t)
{
	t->phase = TASK_HUNGRY;
	(void)uv_timer_start(&t->deadline, on_deadline, HUNGRY_MS, 0);
	slots_get(t->worker, t);
}

void
task_looked(struct task *t)
{
	if (t->phase == TASK_LOOK)
		get_slot(t);
	release(t);
}

struct task *
task_start(struct worker *w, struct job_spec *spec, const struct lang *lang,
    const char *id, const char *lease, const char *owner, task_done_cb *on_done,
    void *ctx)
{
	struct task *t = xcalloc(1, sizeof(*t));

	t->worker = w;
	t->registry = registry_ref(w->registry);
	t->lang = lang;
	t->spec = spec;
	if (spec->memory_mb == 0)
		spec->memory_mb = spec->vcpu * JOB_MEMORY_PER_VCPU_MB;
	(void)snprintf(t->id, sizeof(t->id), "%s", id);
	(void)snprintf(t->lease, sizeof(t->lease), "%s", lease);
	(void)snprintf(t->owner, sizeof(t->owner), "%s", owner);
	(void)snprintf(t->log_id, sizeof(t->log_id), "job=%s", *id ? id : "-");
	t->started_us = clock_mono_us();
	t->on_done = on_done;
	t->ctx = ctx;
	t->out.fd = t->err.fd = -1;
	t->out.task = t->err.task = t;
	init_timer(t, &t->deadline);
	init_timer(t, &t->cpu_check);
	init_timer(t, &t->goes_on);
	t->result.layers = w->layers;
	LIST_INSERT_HEAD(&w->tasks, t, link);
	if (reuse_look(t)) {
		t->handles++;
		(void)uv_timer_start(&t->deadline, on_deadline, LOOK_MS, 0);
	} else {
		get_slot(t);
	}
	return t;
}
