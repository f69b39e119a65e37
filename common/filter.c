#include "filter.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>

#include "cleanup.h"

enum { NAME_LEN = 32 };

static const struct {
	const char *name;
	const char *calls;
} sets[] = {
#define CALL_SET(name, calls) { #name, calls },
#include "call_sets.def"
#undef CALL_SET
};

enum { HOW_TO_OPEN = O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC };

/* A word that allows a call for some arguments: (arg & mask) == value. */
static const struct {
	const char *word, *call;
	unsigned arg;
	uint64_t mask, value;
} narrowed[] = {
	{ "clone", "clone", 0, CLONE_THREAD, CLONE_THREAD },
	{ "openat", "openat", 2, HOW_TO_OPEN & ~O_EXCL, O_RDONLY },
	{ "create", "openat", 2, HOW_TO_OPEN, O_WRONLY | O_CREAT | O_EXCL },
	{ "prctl", "prctl", 0, UINT32_MAX, PR_SET_NAME },
	{ "any_prctl", "prctl", 0, 0, 0 },
	{ "fork_only", "clone", 0, UINT64_MAX,
	    CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | SIGCHLD },
};

static int
allow(scmp_filter_ctx ctx, const char *name)
{
	int nr;

	for (size_t i = 0; i < ARRAY_LEN(narrowed); i++)
		if (strcmp(narrowed[i].word, name) == 0)
			return seccomp_rule_add(ctx, SCMP_ACT_ALLOW,
			    seccomp_syscall_resolve_name(narrowed[i].call), 1,
			    (struct scmp_arg_cmp){ narrowed[i].arg,
				SCMP_CMP_MASKED_EQ, narrowed[i].mask,
				narrowed[i].value });
	nr = seccomp_syscall_resolve_name(name);
	if (nr == __NR_SCMP_ERROR)
		return -EINVAL;
	/* One that this machine never had is below zero, and is skipped. */
	return nr < 0 ? 0 : seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0);
}

/* The next name of a space separated list, or false at its end. */
static bool
next_name(const char **list, char ret_name[NAME_LEN])
{
	size_t n;

	*list += strspn(*list, " ");
	n = strcspn(*list, " ");
	if (n == 0 || n >= NAME_LEN)
		return false;
	memcpy(ret_name, *list, n);
	ret_name[n] = '\0';
	*list += n;
	return true;
}

static int
allow_set(scmp_filter_ctx ctx, const char *set)
{
	char name[NAME_LEN];

	for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
		const char *calls = sets[i].calls;
		int r = 0;

		if (strcmp(sets[i].name, set) != 0)
			continue;
		while (r == 0 && next_name(&calls, name))
			r = allow(ctx, name);
		return r;
	}
	return -EINVAL;
}

int
filter_load(const char *names, struct err *err)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	char name[NAME_LEN] = "";
	int r = ctx ? 0 : -ENOMEM;

	if (r == 0)
		r = seccomp_attr_set(
		    ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
	while (r == 0 && next_name(&names, name))
		r = allow_set(ctx, name);
#ifndef UNFARM_INSTRUMENTED
	if (r == 0)
		r = seccomp_load(ctx);
#endif
	seccomp_release(ctx);
	if (r < 0)
		return err_set(
		    err, ERR_SYS, -r, "load the list of system calls");
	return 0;
}
