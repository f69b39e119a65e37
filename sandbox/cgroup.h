#pragma once
/*
 * cgroup.h - one group for each sandbox, on cgroup v1, v2 and hybrid hosts.
 *
 * A host's controllers may hang in one v2 tree, in a v1 tree each, or be mixed;
 * and a v2 tree without controllers can still freeze and kill.  So each ability
 * is looked for by itself, and a group is a directory in every tree that has
 * one of them.  libcgroup finds the trees and makes and removes our parent
 * group; the groups of single sandboxes are made below kept descriptors
 * (docs/decisions/0003-cgroups.md has the figures).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "err.h"

enum cg_tree_kind {
	CG_MEMORY,
	CG_PIDS,
	CG_CPU,
	CG_CPUACCT,
	CG_FREEZER, /* v1 only, and where there is no v2 tree, which freezes */
	CG_UNIFIED, /* a v2 tree; may be the same directory as the others */
	CG__COUNT
};

/* Where our parent group is in each tree, and how that tree speaks. */
struct cg_layout {
	int dirfd[CG__COUNT];   /* owned; -1: the ability is not there */
	int version[CG__COUNT]; /* 1 or 2 */
	bool has_swap;          /* swap can be limited, or there is none */
	bool keeps;             /* leftovers are not removed */
	char name[64];
	SLIST_HEAD(cg_leaving_list, cg_leaving)
	leaving; /* owned: cg_group_remove_soon() */
};

/*
 * True when the file, as /proc/swaps, lists one.  A kernel without swap has no
 * such file; one that cannot be read is taken for the worse.
 */
bool cg_swap_is_on(const char *swaps);

/*
 * Finds the trees of this host and makes the group name in each.  What an
 * earlier process left below it is killed and removed, unless keeps is set.
 * ERR_SANDBOX names the first controller that is missing: memory, pids and cpu
 * are needed.
 */
int cg_layout_open(struct cg_layout *ret_layout, const char *name, bool keeps,
    struct err *err);
/* Closes, and removes nothing. */
void cg_layout_forget(struct cg_layout *l);
/* The same over given directories: for tests with a made-up tree. */
int cg_layout_open_dirs(struct cg_layout *ret_layout,
    const char *const dirs[CG__COUNT], const int versions[CG__COUNT],
    struct err *err);
/*
 * Removes the groups that are to go and the parent group, if empty, and closes.
 * May take a moment: directories linger until the last task is accounted.
 */
void cg_layout_close(struct cg_layout *l);

/* Files of a group that are kept open; the order is part of the grant. */
enum cg_file {
	CG_FILE_MEMORY_LIMIT,
	CG_FILE_SWAP_LIMIT,
	CG_FILE_SOCKET_LIMIT, /* v1 only: v2 counts buffers as memory */
	CG_FILE_MEMORY_PEAK,
	CG_FILE_MEMORY_EVENTS,
	CG_FILE_PIDS_LIMIT,
	CG_FILE_PIDS_EVENTS,
	CG_FILE_CPU_LIMIT,
	CG_FILE_CPU_USAGE,
	CG_FILE__GRANTED, /* those above are for who uses the sandbox */
	CG_FILE_MEMORY_USAGE = CG_FILE__GRANTED,
	CG_FILE_SOCKET_USAGE, /* v1 only */
	CG_FILE_FREEZE,       /* only after cg_group_open_freezer() */
	CG_FILE_FREEZE_STATE, /* the same */
	CG_FILE__COUNT
};

struct cg_files {
	int fd[CG_FILE__COUNT]; /* -1: not on this host */
	uint32_t v2;            /* bit k: file k speaks v2 */
};

struct cg_group {
	char name[32];
	struct cg_files files; /* owned */
};

int cg_group_make(const struct cg_layout *l, const char *name,
    struct cg_group *ret_group, struct err *err);
/* Of groups that are to be frozen.  ERR_SANDBOX: this host cannot. */
int cg_group_open_freezer(
    const struct cg_layout *l, struct cg_group *g, struct err *err);
/* The same files, opened once more; the caller closes them. */
int cg_files_copy(
    const struct cg_files *f, struct cg_files *ret_copy, struct err *err);
/* A v2 directory for CLONE_INTO_CGROUP; -1 when there is none.  Caller closes. */
int cg_group_open_dir(const struct cg_layout *l, const struct cg_group *g);
/* Into every v1 tree, and the v2 one unless clone put it there. */
int cg_group_add_pid(const struct cg_layout *l, const struct cg_group *g,
    pid_t pid, bool in_unified, struct err *err);
/* True when every tree let go of it; false: try again later. */
bool cg_group_remove(const struct cg_layout *l, struct cg_group *g);
/* Now, or by a later cg_remove_leaving(); its name must not be used again. */
void cg_group_remove_soon(struct cg_layout *l, struct cg_group *g);
/* True when none is left. */
bool cg_remove_leaving(struct cg_layout *l);
void cg_files_close(struct cg_files *f);

/* Of groups that other processes made, named prefix and a number. */
size_t cg_list_groups(const struct cg_layout *l, const char *prefix,
    unsigned *ret_numbers, size_t max);
/* The uid of a process in it; -1: there is none. */
long
cg_owner_of(const struct cg_layout *l, const char *prefix, unsigned number);
/* Thaws it, kills all that is in it, removes it; false: again, later. */
bool cg_clear(const struct cg_layout *l, const char *name);

/* ---- on kept descriptors; no path, no privilege ---- */

int cg_set_memory(const struct cg_files *f, uint64_t bytes, struct err *err);
int cg_set_pids(const struct cg_files *f, long n, struct err *err);
int cg_set_cpu(const struct cg_files *f, long vcpu, struct err *err);
/* See box_cpu_earliest_us(). */
int64_t cg_cpu_earliest_us(long vcpu, long cores, int64_t cpu_us);
/* No limit of memory and processor; also gives the present period anew. */
int cg_unlimit_cpu(const struct cg_files *f, struct err *err);
int cg_unlimit(const struct cg_files *f, struct err *err);
int64_t cg_cpu_us(const struct cg_files *f);
int64_t cg_memory_peak(const struct cg_files *f);
/* False where the kernel cannot: v2 before Linux 6.12. */
bool cg_reset_peak(const struct cg_files *f);
int64_t cg_memory_usage(const struct cg_files *f);
/* What buffers of sockets hold where that is counted apart, else 0. */
int64_t cg_socket_usage(const struct cg_files *f);
/* See box_freeze(). */
int cg_freeze(const struct cg_files *f, unsigned wait_ms, struct err *err);
int cg_thaw(const struct cg_files *f, struct err *err);
uint64_t cg_oom_kills(const struct cg_files *f);
uint64_t cg_pids_refused(const struct cg_files *f);
