#pragma once
/* worker.h - one worker process, between its own files. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "digest.h"
#include "lang.h"
#include "settings.h"
#include "store.h"

struct task;
struct slot;
struct reload;

/* The languages of one load; tasks keep the one they started with. */
struct registry {
	struct lang_registry *langs; /* owned */
	/* What compilers depend on, as it was then (toolchain.h). */
	unsigned char host[DIGEST_SIZE];
	unsigned refs;
};
struct registry *registry_ref(struct registry *r);
void registry_unref(struct registry *r);

struct worker {
	uv_loop_t loop;
	struct settings settings;
	char instance[64]; /* unique to this process; holds the leases */
	char node[64];
	const char *abandoned; /* dead instances whose jobs we give back */
	bool first;            /* runs the canaries for all workers here */
	long slots;            /* jobs at the same time */
	long warm;             /* sandboxes kept ready */
	long cores;
	long max_vcpu;
	struct registry *registry;
	struct reload *reload; /* owned; NULL when none is under way */
	char **can;            /* owned: languages that work here, by name */
	size_t n_can;
	const char *layers; /* isolation of the sandboxes, for results */
	bool draining;
	bool reload_again; /* asked for while one was under way */

	/* fetch.c */
	struct store *store;    /* calls */
	struct store *blocking; /* BLPOP, nothing else */
	struct store *control;  /* subscription: cancelled jobs */
	long long blocking_id; /* Redis's name of that connection; 0: unknown */
	bool take_in_flight;
	bool waiting;    /* it follows a BLPOP */
	bool maybe_more; /* the queue may hold something for us */
	long asked;      /* jobs, by the take under way */
	int64_t pause_until_ms;
	int64_t renew_sent_ms; /* the renewal under way, or the last one */
	int64_t renewed_ms;    /* the last one that was answered */
	uv_timer_t beat, renew, drain, age;

	/* slots.c */
	uv_poll_t wire;
	LIST_HEAD(shelf_list, shelf) shelves; /* the plain one is the last */
	struct shelf *plain;

	/* task.c */
	LIST_HEAD(task_list, task) tasks;
	size_t n_tasks;   /* jobs in our places; canaries have none */
	size_t n_reports; /* results that Redis has not confirmed */

	/* reuse.c */
	struct cache *cache; /* owned; NULL: nothing is kept */
	bool cache_trouble;  /* was told */
	unsigned storing;
	unsigned late_looks; /* that threads are still busy with */
	long long compiles_reused;

	/* canary.c */
	struct canary *canary; /* NULL when none runs */
};

/* main.c */
void worker_check_drained(struct worker *w);
bool worker_can(const struct worker *w, const char *lang);
/* Takes the list: names joined by spaces; copies. */
void worker_set_can(struct worker *w, const char *names);

/* fetch.c: jobs in */
int fetch_start(struct worker *w, struct err *err);
/* Ask for jobs if there is room and reason; safe to call at any time. */
void fetch_more(struct worker *w);
/* There is reason: look now, also when we lie waiting. */
void fetch_look(struct worker *w);
void fetch_beat_now(struct worker *w);
/* This node cannot make sandboxes right now: rest before taking again. */
void fetch_pause(struct worker *w, int64_t ms);

/* slots.c: sandboxes in */
void slots_start(struct worker *w);
/* For those that are missing; also when an answer of the master was lost. */
void slots_ask(struct worker *w);
/* A ready sandbox for the task now, or task_feed() later. */
void slots_get(struct worker *w, struct task *t);
void slots_forget(struct task *t);
/* Jobs that wait for a sandbox are better off elsewhere. */
void slots_give_up(struct worker *w);
/* Now and then: as many are kept ready as were needed of late. */
void slots_look(struct worker *w);
struct slot_counts {
	size_t ready;  /* sandboxes */
	size_t asked;  /* for, and not here yet */
	size_t hungry; /* tasks that wait for one */
};
struct slot_counts slots_count(const struct worker *w);
/* Back to the master, to be destroyed. */
void slots_put(struct worker *w, struct slot *s);
/* After a reload: those that are ready show the old files. */
void slots_renew(struct worker *w);
void slots_tell_can(struct worker *w, const char *names);
void slots_tell_abandoned(struct worker *w, const char *instance);

struct box;
struct slot {
	TAILQ_ENTRY(slot) link; /* while ready */
	struct worker *worker;
	struct task *task; /* NULL while ready */
	struct box *box;   /* owned; NULL once put back */
	struct shelf *shelf;
	struct shelf *busy; /* where it counts, once it has a task */
	bool held; /* a job of its language goes on in its interpreter */
	uv_poll_t poll;
	unsigned serial;
};
void slot_kill(struct slot *s);
/* init is dead and says no more; what it leaves may take long to die. */
void slot_mute(struct slot *s);

/* canary.c: which languages work */
void canary_start(struct worker *w);
