#include "confine.h"

#include <linux/landlock.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"

#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif

enum { ABI_REFER = 2, ABI_TRUNCATE = 3 };

/* All that changes something; a kernel refuses a bit that it does not know. */
static uint64_t
changes(long abi)
{
	uint64_t all = LANDLOCK_ACCESS_FS_WRITE_FILE |
		       LANDLOCK_ACCESS_FS_REMOVE_DIR |
		       LANDLOCK_ACCESS_FS_REMOVE_FILE |
		       LANDLOCK_ACCESS_FS_MAKE_CHAR |
		       LANDLOCK_ACCESS_FS_MAKE_DIR |
		       LANDLOCK_ACCESS_FS_MAKE_REG |
		       LANDLOCK_ACCESS_FS_MAKE_SOCK |
		       LANDLOCK_ACCESS_FS_MAKE_FIFO |
		       LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		       LANDLOCK_ACCESS_FS_MAKE_SYM;

	if (abi >= ABI_REFER)
		all |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= ABI_TRUNCATE)
		all |= LANDLOCK_ACCESS_FS_TRUNCATE;
	return all;
}

int
confine_writes(int dirfd, struct err *err)
{
	const struct landlock_path_beneath_attr here = {
		.allowed_access = LANDLOCK_ACCESS_FS_WRITE_FILE |
				  LANDLOCK_ACCESS_FS_MAKE_REG |
				  LANDLOCK_ACCESS_FS_REMOVE_FILE,
		.parent_fd = dirfd,
	};
	struct landlock_ruleset_attr attr = { .handled_access_fs = 0 };
	auto_close int rules = -1;
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION);

#ifdef UNFARM_INSTRUMENTED
	if (abi < 0)
		return 0; /* as for the list of calls: valgrind knows it not */
#endif
	if (abi < 0)
		return err_errno(err, "this kernel has no Landlock");
	attr.handled_access_fs = changes(abi);
	rules = (int)syscall(
	    SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (rules < 0 ||
	    syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH,
		&here, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    syscall(SYS_landlock_restrict_self, rules, 0) < 0)
		return err_errno(err, "confine writes to one directory");
	return 0;
}
