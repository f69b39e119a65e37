/*
 * check.c - what this host can isolate, found by trying it.
 *
 * Each row tries one ability by itself, so that the advice fits; the last one
 * makes a whole sandbox and runs a program in it.
 */
#include "sandbox.h"

#include <errno.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup.h"
#include "cleanup.h"
#include "syscalls.h"

enum { TRIAL_MS = 5000 };

struct trial {
	const struct sandbox_config *cfg;
	const char *suffix;          /* of the name of our control group */
	struct sandbox_check *check; /* being filled in */
};

static bool
    printf_like(3, 4) found(struct trial *t, bool ok, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(t->check->found, sizeof(t->check->found), fmt, ap);
	va_end(ap);
	return ok;
}

/* A child that is born in new namespaces, as a sandbox is.  0, or errno. */
static int
try_clone(uint64_t flags)
{
	struct clone_args args = { .flags = flags, .exit_signal = SIGCHLD };
	pid_t pid = sys_clone3(&args);

	if (pid == 0)
		_exit(0);
	if (pid < 0)
		return errno;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

static bool
try_root(struct trial *t)
{
	return found(t, geteuid() == 0, "uid %d", (int)geteuid());
}

static bool
try_kernel(struct trial *t)
{
	struct utsname u;
	long major, minor;
	char *dot;

	(void)uname(&u);
	major = strtol(u.release, &dot, 10);
	minor = *dot == '.' ? strtol(dot + 1, NULL, 10) : 0;
	return found(
	    t, major > 5 || (major == 5 && minor >= 19), "Linux %s", u.release);
}

static bool
try_userns(struct trial *t)
{
	int why = try_clone(CLONE_NEWUSER);

	return found(t, why == 0, "%s", why ? strerror(why) : "works");
}

static bool
try_namespaces(struct trial *t)
{
	static const struct {
		uint64_t flag;
		const char *name;
	} all[] = {
		{ CLONE_NEWNS, "mount" },
		{ CLONE_NEWPID, "pid" },
		{ CLONE_NEWIPC, "ipc" },
		{ CLONE_NEWUTS, "uts" },
		{ CLONE_NEWCGROUP, "cgroup" },
		{ CLONE_NEWNET, "net" },
	};

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		int why = try_clone(CLONE_NEWUSER | all[i].flag);

		if (why != 0)
			return found(
			    t, false, "%s: %s", all[i].name, strerror(why));
	}
	return found(t, true, "mount, pid, ipc, uts, cgroup, net");
}

static bool
try_seccomp(struct trial *t)
{
	unsigned action = SECCOMP_RET_ERRNO;
	bool ok = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) ==
		  0;

	return found(t, ok, "%s", ok ? "filters with errno" : strerror(errno));
}

/* Our groups under another name, so that a farm that runs is left alone. */
static int
open_layout(struct trial *t, struct cg_layout *ret_layout, struct err *err)
{
	char name[80];

	(void)snprintf(name, sizeof(name), "%s-%s", t->cfg->cgroup, t->suffix);
	return cg_layout_open(ret_layout, name, false, err);
}

static bool
try_cgroups(struct trial *t)
{
	struct cg_layout l;
	struct err err;

	if (open_layout(t, &l, &err) < 0)
		return found(t, false, "%.150s", err.msg);
	(void)found(t, true, "memory v%d, pids v%d, cpu v%d",
	    l.version[CG_MEMORY], l.version[CG_PIDS], l.version[CG_CPU]);
	cg_layout_close(&l);
	return true;
}

static bool
try_swap(struct trial *t)
{
	struct cg_layout l;
	struct err err;
	bool ok;

	if (open_layout(t, &l, &err) < 0)
		return found(t, false, "no control groups");
	ok = l.has_swap;
	cg_layout_close(&l);
	return found(t, ok, "%s",
	    ok ? "limited, or none" : "is on and cannot be limited");
}

/* ---- advice ---- */

#define ADVICE_USERNS                                                          \
	"sysctl user.max_user_namespaces=10000; in a container: allow clone3"
#define ADVICE_CGROUPS                                                         \
	"boot with cgroup_enable=memory; in a container: mount the tree "      \
	"writable and delegate memory, pids and cpu"

/* By words of the messages that launch.c, cgroup.c and init_setup.c make. */
static const struct {
	const char *word;
	const char *advice;
} steps[] = {
	{ "make control group", ADVICE_CGROUPS },
	{ "enter control group", ADVICE_CGROUPS },
	{ "of a control group", ADVICE_CGROUPS },
	{ "clone3", ADVICE_USERNS },
	{ "show tree", "the trees of sandbox.paths must lie on a file system "
		       "that can be id-mapped: ext4, xfs or btrfs" },
	{ "OVERLAY", "an overlay in a user namespace: in a container, allow "
		     "mount (seccomp, AppArmor) and keep the trees of "
		     "sandbox.paths on ext4, xfs or btrfs" },
	{ "make device", "in a container, allow mknod (CAP_MKNOD) until the "
			 "worker has started" },
	{ "PROC", "a new /proc: in a container, leave the one that it has "
		  "unmasked" },
	{ "set-up step", "a mount or a namespace was refused: in a container, "
			 "allow mount, unshare and setns (seccomp, AppArmor)" },
};

const char *
sandbox_advice(const struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(steps); i++)
		if (strstr(err->msg, steps[i].word))
			return steps[i].advice;
	return NULL;
}

/* ---- a whole sandbox ---- */

static bool
wait_nest(struct sandbox_nest *n, struct err *err)
{
	struct pollfd p = { .fd = sandbox_nest_fd(n), .events = POLLIN };

	if (poll(&p, 1, TRIAL_MS) > 0)
		return sandbox_nest_poll_ready(n, err) == 1;
	(void)err_set(err, ERR_SANDBOX, 0, "set-up takes too long");
	return false;
}

static bool
wait_ready(struct sandbox *sb, struct err *err)
{
	struct pollfd p = { .fd = sandbox_fd(sb), .events = POLLIN };
	int r = 0;

	while (r == 0) {
		if (poll(&p, 1, TRIAL_MS) <= 0) {
			(void)err_set(
			    err, ERR_SANDBOX, 0, "set-up takes too long");
			return false;
		}
		r = sandbox_poll_ready(sb, err);
	}
	return r == 1;
}

static struct box *
adopt_copy(struct sandbox *sb, struct err *err)
{
	struct sandbox_grant g;

	sandbox_grant(sb, &g);
	for (size_t i = 0; i < g.n_fds; i++)
		g.fds[i] = dup(g.fds[i]);
	return box_adopt(&g, err);
}

static bool
run_true(struct box *b, struct err *err)
{
	const char *const argv[] = { "true", NULL };
	const char *const env[] = { "PATH=/usr/bin:/bin", NULL };
	const struct box_limits limits = {
		.memory_bytes = 64 << 20, .pids = 16, .vcpu = 1
	};
	const struct box_command cmd = {
		.argv = argv, .env = env, .fds = { 0, 1, 2 }
	};
	struct pollfd p = { .fd = box_fd(b), .events = POLLIN };
	struct box_event e = { .kind = BOX_NOTHING };

	if (box_set_limits(b, &limits, err) < 0 || box_run(b, &cmd, err) < 0)
		return false;
	while (e.kind == BOX_NOTHING && poll(&p, 1, TRIAL_MS) > 0)
		box_receive(b, &e);
	if (e.kind == BOX_EXITED && e.status == 0)
		return true;
	if (e.kind == BOX_FAILED)
		*err = e.failure;
	else
		(void)err_set(err, ERR_SANDBOX, 0, "`true` did not end well");
	return false;
}

static bool
try_nest(struct sandbox_nest *n, struct err *err)
{
	struct sandbox *sb = sandbox_launch(n, 0, err);
	struct box *b = NULL;
	bool ok;

	if (!sb)
		return false;
	ok = wait_ready(sb, err) && (b = adopt_copy(sb, err)) != NULL &&
	     run_true(b, err);
	box_free(b);
	sandbox_free(sb);
	return ok;
}

int
sandbox_host_try(struct sandbox_host *h, struct err *err)
{
	struct sandbox_nest *n = sandbox_nest_open(h, 0, NULL, err);
	bool ok;

	if (!n)
		return -1;
	ok = wait_nest(n, err) && try_nest(n, err);
	sandbox_nest_close(n);
	return ok ? 0 : -1;
}

static void
refused(struct trial *t, const struct err *err)
{
	const char *advice = sandbox_advice(err);

	(void)found(t, false, "%.150s", err->msg);
	(void)snprintf(t->check->advice, sizeof(t->check->advice), "%s",
	    advice ? advice
		   : "see docs/operations.md, `A sandbox cannot be made`");
}

static bool
try_sandbox(struct trial *t)
{
	struct sandbox_config cfg = *t->cfg;
	struct sandbox_host *h;
	struct err err;
	char name[80], skeleton[] = "/tmp/unfarm-check-XXXXXX";
	bool ok;

	(void)snprintf(name, sizeof(name), "%s-%s", cfg.cgroup, t->suffix);
	cfg.cgroup = name;
	if (!mkdtemp(skeleton)) {
		(void)err_errno(&err, "make a folder in /tmp");
		refused(t, &err);
		return false;
	}
	cfg.skeleton = skeleton;
	h = sandbox_host_open(&cfg, &err);
	ok = h && sandbox_host_try(h, &err) == 0;
	if (ok)
		(void)found(t, true, "%s", sandbox_host_layers(h));
	else
		refused(t, &err);
	sandbox_host_close(h);
	sandbox_skeleton_remove(skeleton);
	return ok;
}

static const struct {
	const char *name;
	bool (*try)(struct trial *t);
	const char *without;
	const char *advice; /* NULL: the row gives its own */
} rows[] = {
	{ "root", try_root, "no sandbox can be made",
	    "run it as root, or with sudo" },
	{ "kernel", try_kernel,
	    "the host's files cannot be shown without their owners",
	    "Linux 5.19 or later: overlays over id-mapped trees" },
	{ "user namespaces", try_userns,
	    "a program would have a user of the host", ADVICE_USERNS },
	{ "other namespaces", try_namespaces,
	    "a program would see processes, mounts or networks of others",
	    "raise user.max_*_namespaces; in a container: allow clone3" },
	{ "seccomp", try_seccomp,
	    "a program could make every call of the kernel",
	    "a kernel with CONFIG_SECCOMP_FILTER" },
	{ "control groups", try_cgroups,
	    "nothing would limit memory, processes and processors",
	    ADVICE_CGROUPS },
	{ "swap limit", try_swap, "a job could use swap beyond its memory",
	    "boot with swapaccount=1, or turn swap off" },
	{ "a whole sandbox", try_sandbox, "one of its layers would be missing",
	    NULL },
};

static bool
try_row(const struct sandbox_config *cfg, const char *suffix, size_t i,
    struct sandbox_check *ret_check)
{
	struct trial t = { .cfg = cfg, .suffix = suffix, .check = ret_check };

	*ret_check = (struct sandbox_check){ .name = rows[i].name,
		.without = rows[i].without };
	ret_check->ok = rows[i].try(&t);
	if (!ret_check->ok && rows[i].advice)
		(void)snprintf(ret_check->advice, sizeof(ret_check->advice),
		    "%s", rows[i].advice);
	return ret_check->ok;
}

size_t
sandbox_host_check(const struct sandbox_config *cfg,
    struct sandbox_check *ret_checks, size_t max)
{
	size_t n = 0;

	for (; n < ARRAY_LEN(rows) && n < max; n++)
		(void)try_row(cfg, "check", n, &ret_checks[n]);
	return n;
}

void
sandbox_check_print(const struct sandbox_check *c, FILE *out)
{
	(void)fprintf(out, "%-8s %-16s %s\n", c->ok ? "ok" : "MISSING", c->name,
	    c->found);
	if (!c->ok)
		(void)fprintf(out, "         without it: %s\n         %s\n",
		    c->without, c->advice);
}

size_t
sandbox_host_refuse(const struct sandbox_config *cfg, FILE *out)
{
	size_t refused = 0;

	/* The last, a whole sandbox, the caller makes with its own rights. */
	for (size_t i = 0; i + 1 < ARRAY_LEN(rows); i++) {
		struct sandbox_check c;

		if (try_row(cfg, "start", i, &c))
			continue;
		sandbox_check_print(&c, out);
		refused++;
	}
	return refused;
}
