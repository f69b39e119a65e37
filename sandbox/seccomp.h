#pragma once
/*
 * seccomp.h - the system calls that no program in a sandbox needs.
 *
 * Refused calls fail with an error; the program goes on.  The table is in
 * seccomp_denied.def; tests/security tries each row from inside.
 */
#include "err.h"

/*
 * Compiles the filter into a sealed memory file (an array of struct
 * sock_filter).  The caller closes it.
 */
int seccomp_compile(struct err *err);
