#pragma once
/*
 * sandbox.h - the whole public face of the isolation library.
 *
 * Two kinds of process use it.  The privileged one (worker master, sessiond)
 * opens the host once and launches sandboxes: each is a tree of processes below
 * its own init, in its own user, mount, pid, ipc, uts, cgroup and network
 * namespaces, on its own root file system, in its own cgroup, under a seccomp
 * filter.  It then hands the descriptors of a ready sandbox to an unprivileged
 * process, which puts files in, runs programs and collects files through the
 * sandbox's init (a box).  Neither ever follows a path inside the sandbox:
 * only init, which is inside and has nothing to lose, does.
 *
 * What is asked for is applied, or launching fails with the step and the
 * reason; nothing is left out silently.  The library knows nothing of Redis,
 * HTTP or jobs, and logs nothing above debug.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "err.h"

/* ---- the host: opened once by the privileged process ---- */

struct sandbox_config {
	const char *cgroup; /* name of our group below each hierarchy's root */
	const char *paths;  /* file that lists what is seen (sandbox.paths) */
	const char *skeleton; /* directory of ours, for the made-up /etc and
				 the devices */
	const char *libexec;  /* folder of sandbox-init and sandbox-hold.so */
	uint32_t uid_base;    /* first host uid of the ranges */
	unsigned ranges;      /* most sandboxes alive at once, 1 to 4096 */
	long disk_mb;
	long inodes;
	long files;   /* RLIMIT_NOFILE inside */
	long file_mb; /* RLIMIT_FSIZE inside */
	bool keeps;   /* what an earlier process left may be alive: it stays */
};

struct sandbox_host;

/*
 * Reads the path list, builds the skeleton, makes the devices, compiles the
 * seccomp filter, finds the cgroup hierarchies, makes our group in them and
 * removes what an earlier, killed process left there.  Strings of cfg are
 * borrowed for the call only.
 */
struct sandbox_host *
sandbox_host_open(const struct sandbox_config *cfg, struct err *err);
/* Now and then: removes cgroups of nests that could not go when these did. */
void sandbox_host_tidy(struct sandbox_host *host);
/* Removes our cgroups; sandboxes must be gone. */
void sandbox_host_close(struct sandbox_host *host);
/*
 * Reads the path list and the host's files again, for sandboxes launched from
 * now on: after software was installed.  On failure all stays as it was.
 */
int sandbox_host_reload(struct sandbox_host *host, struct err *err);
/* "user,mount,pid,ipc,uts,cgroup,net,seccomp,..." as applied to each. */
const char *sandbox_host_layers(const struct sandbox_host *host);
/* The set-up of a sandbox, one operation a line, as it would be executed. */
void sandbox_host_print_plan(const struct sandbox_host *host, FILE *out);

/*
 * From here on this process, and every sandbox it makes, can make the calls
 * that programs in a sandbox may, those that making one takes, and no others:
 * a second wall behind the sandbox's own filter.  Needs no_new_privs.
 */
int sandbox_lock_down(struct err *err);

/* Makes one sandbox and runs `true` in it; -1 with the step that failed. */
int sandbox_host_try(struct sandbox_host *host, struct err *err);

/* One thing that isolation needs of this host (`unfarm doctor`). */
struct sandbox_check {
	const char *name;
	const char *without; /* what is not promised without it */
	bool ok;
	char found[160];  /* what there is, or what failed */
	char advice[200]; /* how to get it; "" when ok */
};
/* How to get what this failure says is missing; NULL when it says so itself. */
const char *sandbox_advice(const struct err *err);
/* Tries everything; returns how many were written to ret_checks. */
size_t sandbox_host_check(const struct sandbox_config *cfg,
    struct sandbox_check *ret_checks, size_t max);
/* For people: a line, and two more when it is not ok. */
void sandbox_check_print(const struct sandbox_check *c, FILE *out);
/*
 * Prints those that fail, in the same words, and returns their number:
 * a worker does not start unless it is 0.  A whole sandbox is not among them:
 * sandbox_host_try() is for the worker's own.
 */
size_t sandbox_host_refuse(const struct sandbox_config *cfg, FILE *out);

/*
 * For a process whose forks make one sandbox each and outlive it.  It takes a
 * range of ids before each fork; the fork limits its host to that one, makes
 * its sandbox, and forgets the host: descriptors closed, nothing removed.
 */
int sandbox_host_take_range(struct sandbox_host *host); /* -1: none is free */
void sandbox_host_give_range(struct sandbox_host *host, int range);
void sandbox_host_limit_to(struct sandbox_host *host, int range);
void sandbox_host_forget(struct sandbox_host *host);
/*
 * The sandboxes that an earlier process left, by the serials of their nests: at
 * most max are written to ret_serials, and their ranges are taken.
 */
size_t sandbox_host_adopt(struct sandbox_host *host, unsigned *ret_serials,
    int *ret_ranges, size_t max);
/*
 * Kills all that is in the nest of this serial, frozen or not, and removes its
 * control group; false while that is not empty yet: again, later.
 */
bool sandbox_host_clear(struct sandbox_host *host, unsigned serial);

/* Removes a skeleton directory with all below it. */
void sandbox_skeleton_remove(const char *dir);

/* ---- a nest: where sandboxes of one range of ids are born ---- */

struct sandbox_nest;

/*
 * A program that is started before anybody needs it, and stopped just before it
 * reads what it is to run: an interpreter.  In a nest, its sandboxes begin
 * there, as forks of it; it must have one thread then.  code is run in it once,
 * before the first fork: text for Python; "" for none.  In a sandbox, it waits
 * for the one command that it will be.
 */
struct sandbox_program {
	const char *const *argv; /* ended by NULL; found by PATH of env */
	const char *const *env;  /* "NAME=value", ended by NULL */
	/* The first time it opens one of these, below /tmp.  Ended by NULL. */
	const char *const *stops;
	const char *code;
};

/*
 * Returns at once; sandbox_nest_fd() becomes readable when it has something to
 * say.  program lives as long as the nest; NULL: it holds none.
 */
struct sandbox_nest *sandbox_nest_open(struct sandbox_host *host,
    unsigned serial, const struct sandbox_program *program, struct err *err);
/* Another one after each sandbox_nest_poll_ready().  Borrowed. */
int sandbox_nest_fd(const struct sandbox_nest *n);
/* Readable when it is dead, with all its sandboxes.  Borrowed. */
int sandbox_nest_pidfd(const struct sandbox_nest *n);
/* 1 = sandboxes can be launched, 0 = not yet, -1 = failed (err says why). */
int sandbox_nest_poll_ready(struct sandbox_nest *n, struct err *err);
/*
 * After its sandbox is dead: is nothing worth mention charged to its cgroup,
 * which the next one is to have?
 */
bool sandbox_nest_is_clean(const struct sandbox_nest *n);
/* SIGKILL to it and to its sandboxes; returns before they are gone. */
void sandbox_nest_kill(struct sandbox_nest *n);
/* Kills and waits; its sandboxes must have been freed. */
void sandbox_nest_close(struct sandbox_nest *n);

/* ---- a sandbox, as its launcher sees it ---- */

struct sandbox;

/*
 * cold -> warming.  Returns at once; sandbox_fd() becomes readable when it has
 * something to say.  serial gives the host name unsb-vm-NNNNN.  One at a time
 * in a nest: the next one may be launched when the last one is dead.
 */
struct sandbox *
sandbox_launch(struct sandbox_nest *nest, unsigned serial, struct err *err);
/*
 * The same, and ready when program waits in it for its command (box_run()).
 * program lives as long as the sandbox.
 */
struct sandbox *sandbox_launch_ahead(struct sandbox_nest *nest, unsigned serial,
    const struct sandbox_program *program, struct err *err);
/* Borrowed; -1 once its descriptors were handed over. */
int sandbox_fd(const struct sandbox *sb);
/*
 * Readable when init, and with it every process inside, is dead.  Borrowed.  -1
 * before sandbox_poll_ready() has seen its birth.
 */
int sandbox_pidfd(const struct sandbox *sb);
/* 1 = ready, 0 = not yet, -1 = set-up failed (err names the step). */
int sandbox_poll_ready(struct sandbox *sb, struct err *err);

enum { SANDBOX_FDS_MAX = 14 };
/* What box_adopt() needs: descriptors and which of them they are. */
struct sandbox_grant {
	int fds[SANDBOX_FDS_MAX]; /* borrowed from the sandbox */
	size_t n_fds;
	uint32_t mask;   /* bit k: box descriptor k is among them, in order */
	uint32_t others; /* processes in its cgroup that are not the job's */
	unsigned serial;
};
void sandbox_grant(struct sandbox *sb, struct sandbox_grant *ret_grant);
/* The launcher's copies of the granted descriptors are closed. */
void sandbox_granted(struct sandbox *sb);
/*
 * Instead of a grant, for a launcher that uses its sandbox itself: the box,
 * which can be frozen.  It outlives the launcher's privileges.  NULL: failed.
 */
struct box *sandbox_use(struct sandbox *sb, struct err *err);

/* SIGKILL to every process inside; returns before they are gone. */
void sandbox_kill(struct sandbox *sb);
/*
 * Frees it.  Its processes must be dead (sandbox_pidfd() readable), or they are
 * killed and waited for here.
 */
void sandbox_free(struct sandbox *sb);

/* ---- a box: the same sandbox, as the process that uses it sees it ---- */

struct box;

/* Takes the descriptors, also when it fails. */
struct box *box_adopt(const struct sandbox_grant *grant, struct err *err);
/* Closes everything: init then ends itself and all that is inside. */
void box_free(struct box *b);
/* Control socket; readable when box_receive() has something.  Borrowed. */
int box_fd(const struct box *b);

struct box_limits {
	uint64_t memory_bytes; /* swap included */
	long pids;             /* processes and threads */
	long vcpu;             /* CPU time a second of wall time */
};
int
box_set_limits(struct box *b, const struct box_limits *limits, struct err *err);

/*
 * Queue a file or directory for inside; relative paths are below the working
 * directory /tmp.  Parents are made.  A failure inside is told by the next
 * box_run(), which then does not run anything.
 */
int box_put_file(struct box *b, const char *path, mode_t mode, const void *data,
    size_t n, struct err *err);
int box_put_dir(struct box *b, const char *path, mode_t mode, struct err *err);
/* A second name for a file that was put. */
int box_put_link(
    struct box *b, const char *path, const char *target, struct err *err);

struct box_command {
	/* Ended by NULL; found by PATH of env.  None: what waits there. */
	const char *const *argv;
	const char *const *env; /* "NAME=value", ended by NULL */
	int fds[3];             /* borrowed: stdin, stdout, stderr */
	uint64_t address_space; /* RLIMIT_AS in bytes; 0: no limit */
};
/* One at a time.  The answer is BOX_EXITED or BOX_FAILED. */
int box_run(struct box *b, const struct box_command *cmd, struct err *err);

/*
 * For a sandbox that lives long: processes beside each other, each with an id
 * that the caller chooses and that no other one has; at most
 * BOX_PROCESSES_MAX.  The answer is BOX_STARTED or BOX_REFUSED; a failure of a
 * put is told by the next one, which then does not start.  In the end comes
 * BOX_ENDED; what it started and left behind lives on.  Not in a box that is
 * used for box_run().
 */
enum { BOX_PROCESSES_MAX = 64 };
struct box_process {
	const char *const *argv; /* ended by NULL; found by PATH of env */
	const char *const *env;  /* "NAME=value", ended by NULL */
	const char *dir;         /* NULL: the working directory /tmp */
	bool terminal;           /* a new one, of this size; else fds */
	unsigned cols, rows;
	int fds[3]; /* borrowed: stdin, stdout, stderr */
};
int box_start(
    struct box *b, uint32_t id, const struct box_process *p, struct err *err);
/* SIGKILL to it and all that it started; its BOX_ENDED comes after that. */
int box_stop(struct box *b, uint32_t id, struct err *err);

/*
 * Stops all processes inside, init too, or lets them go on.  Returns when they
 * stand still: far below a millisecond for processes that sleep.  ERR_SANDBOX
 * when they do not within wait_ms (they are let go on then), or when this host
 * cannot freeze.
 */
int box_freeze(struct box *b, unsigned wait_ms, struct err *err);
int box_thaw(struct box *b, struct err *err);

/*
 * Ask for regular files: path itself, or all below it when it is a directory.
 * Answers: any number of BOX_FILE, then BOX_COLLECTED.
 */
int box_collect(struct box *b, const char *path, unsigned max_files,
    uint64_t max_bytes, struct err *err);

/*
 * Ask for all that is below the working directory, to make it again in another
 * sandbox: BOX_FOLDER before what is in it, BOX_FILE, then BOX_COLLECTED, which
 * says truncated unless these are all that was made in this sandbox, of any
 * kind and anywhere, and its names, modes and bytes are all there is to it.
 * Left out is what is in .cache; so is what was put there.
 */
int box_collect_all(
    struct box *b, unsigned max_names, uint64_t max_bytes, struct err *err);

enum box_event_kind {
	BOX_NOTHING,   /* nothing to read yet */
	BOX_EXITED,    /* the command ended and all it left behind was killed */
	BOX_FAILED,    /* it could not be run: err_code, text */
	BOX_FILE,      /* name, fd, size */
	BOX_COLLECTED, /* no more files; truncated when limits cut it */
	BOX_GONE,      /* init is dead: killed, or out of memory */
	BOX_FOLDER,    /* name, mode */
	BOX_STARTED,   /* id, pid; fd: master of its terminal, or -1 */
	BOX_REFUSED,   /* id, failure */
	BOX_ENDED,     /* id, status, cpu_us, rss_max */
};

struct box_event {
	enum box_event_kind kind;
	int status;     /* as waitpid() gives it */
	int64_t cpu_us; /* rusage of the command since its start, and children */
	int64_t rss_max; /* bytes */
	struct err failure;
	char name[512]; /* of a collected file, relative to the asked path */
	int fd; /* the caller's to close; a regular file, or a terminal */
	uint32_t id;
	pid_t pid; /* as it is called inside */
	uint64_t size;
	mode_t mode;
	bool truncated;
};
/* Never blocks.  The caller owns ret_event->fd when it is not -1. */
void box_receive(struct box *b, struct box_event *ret_event);

struct box_usage {
	int64_t cpu_us;      /* since the sandbox was made */
	int64_t memory_peak; /* bytes, since box_reset_peak() */
	int64_t memory_now;  /* bytes */
	uint64_t oom_kills;
	uint64_t pids_refused;
};
/* Works also after the sandbox is dead. */
void box_usage(struct box *b, struct box_usage *ret_usage);
/*
 * The shortest time, in microseconds, in which a sandbox with that limit can
 * use that much of the processors: all cores at once, until it has had its
 * share of a period (kernel, Documentation/scheduler/sched-bwc.rst).
 */
int64_t box_cpu_earliest_us(long vcpu, long cores, int64_t cpu_us);
void box_reset_peak(struct box *b);
