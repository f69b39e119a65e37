/*
 * What a sandbox may not call is refused by two filters, its nest's and its own
 * (seccomp.h).  The nest's has two parts.  The first is six instructions by
 * hand: only the native ABI, and no call with a number past LAST_CALL, so that
 * a call which a future kernel adds is refused until somebody looked at it;
 * libseccomp has no rule for ranges.  What passes goes on into the second,
 * libseccomp's, from the table.  Constant answers are cached by the kernel
 * (5.11 and later), so an allowed call pays nothing.
 */
#include "seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "sandbox.h"

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#else
#error "add this machine's AUDIT_ARCH_ here"
#endif

/* set_mempolicy_home_node, Linux 5.17: the last one that was looked at. */
enum { LAST_CALL = 450 };

static const struct {
	const char *call;
	int error;
} denied[] = {
#define DENY(call, error, why) { #call, error },
#include "seccomp_denied.def"
#undef DENY
};

#define NEW_NAMESPACES                                                         \
	(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC |           \
	    CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP)
#define NEW_TIME 0x80 /* for clone() a part of the exit signal */

/* libseccomp's own macros leave a field out, which clang minds. */
static struct scmp_arg_cmp
arg(unsigned n, enum scmp_compare op, uint64_t a, uint64_t b)
{
	return (struct scmp_arg_cmp){ n, op, a, b };
}

static const struct sock_filter numbers[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 1, 0),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, LAST_CALL, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
};

/* Of what programs are refused, what making a sandbox takes. */
static const char *const making[] = { "clone3", "mount", "mount_setattr",
	"move_mount", "open_tree", "pivot_root", "umount2" };

/* And what the launcher does for it. */
static const char *const launching[] = { "fsconfig", "fsmount", "fsopen" };

static bool
is_in(const char *const *list, size_t n, const char *call)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i], call) == 0)
			return true;
	return false;
}

static bool
is_making(const char *call)
{
	return is_in(making, ARRAY_LEN(making), call);
}

static int
add_denied(scmp_filter_ctx ctx, enum seccomp_part part)
{
	for (size_t i = 0; i < ARRAY_LEN(denied); i++) {
		int nr = seccomp_syscall_resolve_name(denied[i].call);
		int r;

		/* A call this machine never had cannot be made. */
		if (nr < 0 ||
		    is_making(denied[i].call) != (part == SECCOMP_SANDBOX))
			continue;
		r = seccomp_rule_add(
		    ctx, SCMP_ACT_ERRNO((unsigned)denied[i].error), nr, 0);
		if (r < 0)
			return r;
	}
	return 0;
}

/* New namespaces: each flag for itself. */
static int
add_namespaces(scmp_filter_ctx ctx, int call, unsigned flags)
{
	for (unsigned bit = 1; bit != 0; bit <<= 1) {
		int r;

		if (!(bit & flags))
			continue;
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), call, 1,
		    arg(0, SCMP_CMP_MASKED_EQ, bit, bit));
		if (r < 0)
			return r;
	}
	return 0;
}

/* Unix and internet sockets only, and none of them raw. */
static int
add_sockets(scmp_filter_ctx ctx)
{
	static const int calls[] = { SCMP_SYS(socket), SCMP_SYS(socketpair) };
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(calls); i++) {
		for (unsigned family = 0; r == 0 && family <= AF_INET6;
		     family++)
			if (family != AF_UNIX && family != AF_INET &&
			    family != AF_INET6)
				r = seccomp_rule_add(ctx,
				    SCMP_ACT_ERRNO(EAFNOSUPPORT), calls[i], 1,
				    arg(0, SCMP_CMP_EQ, family, 0));
		if (r == 0)
			r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT),
			    calls[i], 1, arg(0, SCMP_CMP_GT, AF_INET6, 0));
		if (r == 0)
			r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM),
			    calls[i], 1,
			    arg(1, SCMP_CMP_MASKED_EQ, 0xf, SOCK_RAW));
	}
	return r;
}

/*
 * Of the internet's protocols TCP and UDP: asking for another one may load a
 * module that nobody on this host uses.
 */
static int
add_protocols(scmp_filter_ctx ctx)
{
	static const unsigned families[] = { AF_INET, AF_INET6 };
	const uint32_t no = SCMP_ACT_ERRNO(EPROTONOSUPPORT);
	int r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket),
	    1, arg(1, SCMP_CMP_MASKED_EQ, 0xf, SOCK_PACKET));

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(families); i++) {
		for (unsigned n = 1; r == 0 && n < IPPROTO_UDP; n++)
			if (n != IPPROTO_TCP)
				r = seccomp_rule_add(ctx, no, SCMP_SYS(socket),
				    2, arg(0, SCMP_CMP_EQ, families[i], 0),
				    arg(2, SCMP_CMP_EQ, n, 0));
		if (r == 0)
			r = seccomp_rule_add(ctx, no, SCMP_SYS(socket), 2,
			    arg(0, SCMP_CMP_EQ, families[i], 0),
			    arg(2, SCMP_CMP_GT, IPPROTO_UDP, 0));
	}
	return r;
}

/*
 * init has the job's uid, so the kernel would let the job limit and starve it.
 * Its number is 1, and PRIO_USER means it too.
 */
static int
add_init_guard(scmp_filter_ctx ctx)
{
	static const int by_pid[] = { SCMP_SYS(prlimit64),
		SCMP_SYS(sched_setaffinity), SCMP_SYS(sched_setscheduler),
		SCMP_SYS(sched_setparam), SCMP_SYS(sched_setattr) };
	const uint32_t no = SCMP_ACT_ERRNO(EPERM);
	int r = seccomp_rule_add(ctx, no, SCMP_SYS(setpriority), 1,
	    arg(0, SCMP_CMP_MASKED_EQ, 0xffffffff, PRIO_USER));

	if (r == 0)
		r = seccomp_rule_add(ctx, no, SCMP_SYS(setpriority), 2,
		    arg(0, SCMP_CMP_MASKED_EQ, 0xffffffff, PRIO_PROCESS),
		    arg(1, SCMP_CMP_MASKED_EQ, 0xffffffff, 1));
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(by_pid); i++)
		r = seccomp_rule_add(ctx, no, by_pid[i], 1,
		    arg(0, SCMP_CMP_MASKED_EQ, 0xffffffff, 1));
	return r;
}

/* Typing into a terminal that is not one's own, and old personalities. */
static int
add_odd_ones(scmp_filter_ctx ctx)
{
	int r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
	    arg(1, SCMP_CMP_MASKED_EQ, 0xffffffff, TIOCSTI));

	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM),
		    SCMP_SYS(ioctl), 1,
		    arg(1, SCMP_CMP_MASKED_EQ, 0xffffffff, TIOCLINUX));
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM),
		    SCMP_SYS(personality), 1,
		    arg(0, SCMP_CMP_NE, PER_LINUX, 0));
	return r;
}

/*
 * Huge pages that the host keeps in reserve are not counted as a job's memory.
 * It is told that there are none, which programs are ready for.
 */
static int
add_huge_pages(scmp_filter_ctx ctx)
{
	static const struct {
		int call;
		unsigned arg, flag;
	} asks[] = { { SCMP_SYS(mmap), 3, MAP_HUGETLB },
		{ SCMP_SYS(shmget), 2, SHM_HUGETLB },
		{ SCMP_SYS(memfd_create), 1, MFD_HUGETLB } };
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(asks); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOMEM), asks[i].call,
		    1,
		    arg(asks[i].arg, SCMP_CMP_MASKED_EQ, asks[i].flag,
			asks[i].flag));
	return r;
}

/* By arguments; all that no sandbox's making has. */
static int
add_rest(scmp_filter_ctx ctx)
{
	int r = add_namespaces(ctx, SCMP_SYS(clone), NEW_NAMESPACES);

	if (r == 0)
		r = add_sockets(ctx);
	if (r == 0)
		r = add_protocols(ctx);
	if (r == 0)
		r = add_init_guard(ctx);
	if (r == 0)
		r = add_odd_ones(ctx);
	if (r == 0)
		r = add_huge_pages(ctx);
	return r;
}

static int
write_numbers(int fd, enum seccomp_part part)
{
	if (part == SECCOMP_NEST &&
	    write(fd, numbers, sizeof(numbers)) != sizeof(numbers))
		return -errno;
	return 0;
}

int
seccomp_compile(enum seccomp_part part, struct err *err)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	auto_close int fd = -1;
	int r;

	if (!ctx)
		return err_set(err, ERR_SANDBOX, 0, "seccomp: out of memory");
	fd = memfd_create("seccomp", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	r = fd >= 0 ? write_numbers(fd, part) : -errno;
	if (r == 0)
		r = seccomp_attr_set(
		    ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
	/* A tree: the kernel tries the filter with each number as it loads it. */
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0)
		r = add_denied(ctx, part);
	if (r == 0)
		r = part == SECCOMP_NEST
			? add_rest(ctx)
			: add_namespaces(ctx, SCMP_SYS(unshare),
			      NEW_NAMESPACES | NEW_TIME);
	if (r == 0)
		r = seccomp_export_bpf(ctx, fd);
	seccomp_release(ctx);
	if (r == 0 &&
	    fcntl(fd, F_ADD_SEALS,
		F_SEAL_SEAL | F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) < 0)
		r = -errno;
	if (r < 0)
		return err_set(err, ERR_SANDBOX, -r, "compile seccomp filter");
	return steal_fd(&fd);
}

/* ---- the process that makes sandboxes ---- */

static bool
listed(const char *call)
{
	if (is_making(call) || is_in(launching, ARRAY_LEN(launching), call))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(denied); i++)
		if (strcmp(denied[i].call, call) == 0)
			return false;
	return true;
}

int
sandbox_lock_down(struct err *err)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int r = ctx ? 0 : -ENOMEM;

	if (r == 0)
		r = seccomp_attr_set(
		    ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
	/* Sorted into a tree: some 300 numbers. */
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (int nr = 0; r == 0 && nr <= LAST_CALL; nr++) {
		auto_free char *call = seccomp_syscall_resolve_num_arch(
		    SCMP_ARCH_NATIVE, nr);

		if (call && listed(call))
			r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0);
	}
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	if (r < 0)
		return err_set(err, ERR_SANDBOX, -r,
		    "load the launcher's list of system calls");
	return 0;
}
