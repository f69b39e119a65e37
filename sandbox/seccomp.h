#pragma once
/*
 * seccomp.h - the system calls that no program in a sandbox needs.
 *
 * Refused calls fail with an error; the program goes on.  The table is in
 * seccomp_denied.def; tests/security tries each row from inside.
 */
#include "err.h"

enum { SECCOMP_FILTERS = 2 };

/*
 * Compiles the filters into sealed memory files (arrays of struct sock_filter)
 * to be loaded in order.  The caller closes them.
 */
int seccomp_compile(int ret_fds[SECCOMP_FILTERS], struct err *err);
