#pragma once
/*
 * proc.h - a daemon's start: its account, what it may keep, its descriptors.
 *
 * The order is always: open what needs root, proc_drop_user(), then
 * proc_lock_down().  All of it is checked; a step that fails stops the start.
 */
#include <stdbool.h>
#include <sys/types.h>

#include "err.h"

enum proc_kind {
#define PROC(name, caps, calls, doc) PROC_##name,
#include "procs.def"
#undef PROC
	PROC__COUNT
};

/*
 * Groups, gid, uid, in that order, of a named account.  Not root: only fine
 * when already that user.  Afterwards there is no way back.
 */
int proc_drop_user(const char *user, struct err *err);
int proc_find_user(
    const char *user, uid_t *ret_uid, gid_t *ret_gid, struct err *err);

/*
 * No core files, and nobody but root looks into our memory: before the first
 * secret is read.
 */
int proc_hide_memory(struct err *err);

/*
 * no_new_privs, the capabilities of procs.def and no others (bounding set
 * too), memory hidden, open files up to the hard limit, large blocks of
 * memory go back to the system when they are freed, and of the system calls
 * only those of procs.def.
 */
int proc_lock_down(enum proc_kind kind, struct err *err);

/* Of these, the system calls alone: for the child of a locked-down process. */
int proc_restrict_calls(enum proc_kind kind, struct err *err);

/* Descriptors 0, 1, 2 exist (as /dev/null if need be); 3 and up are closed,
 * but for keep (-1: none). */
int proc_only_std_fds(int keep, struct err *err);

/* Processors that are online, at least 1. */
long proc_cores(void);

/* Ready for whoever started us: writes our pid to path, 0644. */
int proc_write_pid(const char *path, struct err *err);
