#pragma once
/*
 * confine.h - where a process may change files: in one directory, if any.
 *
 * A list of system calls (filter.h) says how; it cannot see where a path leads.
 * This can, for this thread and those it makes from now on, and for ever.
 */
#include "err.h"

/*
 * From here on regular files can be made, written and removed in dirfd and
 * below, and nothing else of any file system can be changed by its name.  Files
 * that are open already, or have no name, are not concerned.  Needs Landlock
 * (Linux 5.13, CONFIG_SECURITY_LANDLOCK) and no_new_privs.
 */
int confine_writes(int dirfd, struct err *err);
