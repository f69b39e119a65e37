#pragma once
/*
 * seccomp.h - the system calls that no program in a sandbox needs.
 *
 * Refused calls fail with an error; the program goes on.  The table is in
 * seccomp_denied.def; tests/security tries each row from inside.
 */
#include "err.h"

/*
 * A nest loads all but what makes a sandbox (mounts, new namespaces), once; its
 * sandboxes inherit that, and add the rest.  Loading takes time, inheriting
 * does not.
 */
enum seccomp_part { SECCOMP_NEST, SECCOMP_SANDBOX, SECCOMP__COUNT };

/*
 * Compiles a part of the filter into a sealed memory file (an array of struct
 * sock_filter).  The caller closes it.
 */
int seccomp_compile(enum seccomp_part part, struct err *err);
