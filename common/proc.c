#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <malloc.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cleanup.h"
#include "filter.h"
#include "io.h"

enum {
	CAPS_MAX = 16,
	CAP_NAME_MAX = 32,
	LARGE_BLOCK = 128 << 10, /* glibc's own first threshold */
};

static const struct {
	const char *name;
	const char *caps;
	const char *calls;
} procs[] = {
#define PROC(name, caps, calls, doc) [PROC_##name] = { #name, caps, calls },
#include "procs.def"
#undef PROC
};

int
proc_find_user(
    const char *user, uid_t *ret_uid, gid_t *ret_gid, struct err *err)
{
	const struct passwd *pw;

	errno = 0;
	pw = getpwnam(user);
	if (!pw)
		return err_set(err, ERR_INVALID, errno,
		    "no account `%s`: make it with `useradd --system %s`", user,
		    user);
	*ret_uid = pw->pw_uid;
	*ret_gid = pw->pw_gid;
	return 0;
}

static int drop_bounding(const cap_value_t *keep, int n, struct err *err);

/* While we may: later only root could. */
static int
forget_capabilities(struct err *err)
{
	cap_t caps = cap_get_proc();
	cap_flag_value_t may = CAP_CLEAR;

	if (caps)
		(void)cap_get_flag(caps, CAP_SETPCAP, CAP_EFFECTIVE, &may);
	(void)cap_free(caps);
	return may == CAP_SET ? drop_bounding(NULL, 0, err) : 0;
}

int
proc_drop_user(const char *user, struct err *err)
{
	uid_t uid = 0;
	gid_t gid = 0;

	if (proc_find_user(user, &uid, &gid, err) < 0)
		return -1;
	if (geteuid() == uid && getuid() == uid)
		return 0;
	if (forget_capabilities(err) < 0)
		return -1;
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
	    setresuid(uid, uid, uid) < 0)
		return err_errno(err, "become `%s`", user);
	if (uid != 0 && setuid(0) == 0)
		return err_set(
		    err, ERR_SYS, 0, "become `%s`: root came back", user);
	return 0;
}

static int
parse_caps(const char *names, cap_value_t *ret_caps, struct err *err)
{
	int n = 0;

	while (*names) {
		size_t len = strcspn(names, " ");
		char name[CAP_NAME_MAX] = "cap_";

		if (len + 4 < sizeof(name))
			memcpy(name + 4, names, len);
		if (n == CAPS_MAX || cap_from_name(name, &ret_caps[n++]) < 0)
			return err_set(
			    err, ERR_SYS, 0, "unknown capability `%s`", name);
		names += len + strspn(names + len, " ");
	}
	return n;
}

static bool
listed(cap_value_t cap, const cap_value_t *caps, int n)
{
	for (int i = 0; i < n; i++)
		if (caps[i] == cap)
			return true;
	return false;
}

static int
drop_bounding(const cap_value_t *keep, int n, struct err *err)
{
	for (cap_value_t c = 0; cap_get_bound(c) >= 0; c++)
		if (!listed(c, keep, n) && cap_get_bound(c) == 1 &&
		    cap_drop_bound(c) < 0)
			return err_errno(err, "drop capability %d", c);
	return 0;
}

static int
set_caps(const char *names, struct err *err)
{
	cap_value_t keep[CAPS_MAX];
	int n = parse_caps(names, keep, err), r;
	cap_t caps;

	if (n < 0)
		return -1;
	if (geteuid() == 0 && drop_bounding(keep, n, err) < 0)
		return -1;
	caps = cap_init();
	if (!caps)
		return err_errno(err, "capabilities");
	r = 0;
	if (n > 0)
		r = cap_set_flag(caps, CAP_PERMITTED, n, keep, CAP_SET) |
		    cap_set_flag(caps, CAP_EFFECTIVE, n, keep, CAP_SET);
	if (r == 0 && cap_set_proc(caps) < 0)
		r = err_errno(err, "keep only `%s`", names);
	(void)cap_free(caps);
	return r;
}

/*
 * The limit alone does not do: a core_pattern with a pipe ignores it, and it
 * keeps no other process of our account from reading our memory.
 */
int
proc_hide_memory(struct err *err)
{
	const struct rlimit no_core = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &no_core) < 0)
		return err_errno(err, "forbid core files");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_errno(err, "forbid looking into our memory");
	return 0;
}

int
proc_lock_down(enum proc_kind kind, struct err *err)
{
	struct rlimit files;

	/*
	 * Said once, the threshold stays: else glibc raises it with each large
	 * block that is freed, and a daemon keeps the memory of its largest
	 * requests for ever.
	 */
	(void)mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_errno(err, "set no_new_privs");
	if (proc_hide_memory(err) < 0)
		return -1;
	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return err_errno(err, "read the limit of open files");
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		return err_errno(err, "raise the limit of open files");
	if (set_caps(procs[kind].caps, err) < 0)
		return err_wrap(err, "lock down %s", procs[kind].name);
	return *procs[kind].calls ? proc_restrict_calls(kind, err) : 0;
}

int
proc_restrict_calls(enum proc_kind kind, struct err *err)
{
	if (filter_load(procs[kind].calls, err) < 0)
		return err_wrap(err, "lock down %s", procs[kind].name);
	return 0;
}

long
proc_cores(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n > 0 ? n : 1;
}

int
proc_only_std_fds(int keep, struct err *err)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 &&
		    open("/dev/null", fd ? O_WRONLY : O_RDONLY) != fd)
			return err_errno(err, "open /dev/null");
	if (keep > 3 && close_range(3, (unsigned)keep - 1, 0) < 0)
		return err_errno(err, "close inherited descriptors");
	if (close_range(keep >= 3 ? (unsigned)keep + 1 : 3, ~0U, 0) < 0)
		return err_errno(err, "close inherited descriptors");
	return 0;
}

int
proc_write_pid(const char *path, struct err *err)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	return io_write_file(AT_FDCWD, path, text, (size_t)n, 0644, err);
}
