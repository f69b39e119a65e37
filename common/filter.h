#pragma once
/*
 * filter.h - an allow-list of system calls for a process and what it starts.
 */
#include "err.h"

/*
 * From here on, and for ever, this process can make the calls of the named
 * sets (call_sets.def, space separated) and no others, in the native ABI only.
 * Needs no_new_privs.  A build with UNFARM_INSTRUMENTED (sanitizers and
 * valgrind make calls of their own) checks the names and loads nothing.
 */
int filter_load(const char *sets, struct err *err);
