/* init_setup.c - executes the plan, one function an operation. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "init.h"
#include "msg.h"
#include "plan.h"

/* <sys/mount.h> and <linux/mount.h> cannot both be included on glibc 2.36. */
int mount(const char *source, const char *target, const char *type,
    unsigned long flags, const void *data);
int umount2(const char *target, int flags);
enum { UMOUNT_DETACH = 2 };

enum { FILTER_MAX = 4096 /* BPF_MAXINSNS */, PATH_ROOM = 512 };

static const char *const op_names[] = {
#define OP(name, doc) [OP_##name] = #name,
#include "plan_ops.def"
#undef OP
};

static int
do_private(const struct plan_op *op)
{
	return mount(NULL, op->dst, NULL, MS_REC | MS_PRIVATE, NULL);
}

static int
do_tmpfs(const struct plan_op *op)
{
	return mount("tmpfs", op->dst, "tmpfs", MS_NOSUID | MS_NODEV, op->data);
}

static int
do_mkdir(const struct plan_op *op)
{
	char part[PATH_ROOM];
	size_t len = strlen(op->dst);

	/* Most have their parents. */
	if (mkdir(op->dst, op->mode) == 0 || errno == EEXIST)
		return 0;
	if (len >= sizeof(part)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	for (size_t i = 1; i <= len; i++) {
		bool last = op->dst[i] == '\0';

		if (op->dst[i] != '/' && !last)
			continue;
		memcpy(part, op->dst, i);
		part[i] = '\0';
		if (mkdir(part, last ? op->mode : 0755) < 0 && errno != EEXIST)
			return -1;
	}
	return 0;
}

static int
do_symlink(const struct plan_op *op)
{
	return symlink(op->data, op->dst);
}

static int
do_file(const struct plan_op *op)
{
	auto_close int fd = open(
	    op->dst, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, op->mode);
	size_t n = strlen(op->data);

	if (fd < 0)
		return -1;
	return write(fd, op->data, n) == (ssize_t)n ? 0 : -1;
}

static int
do_overlay(const struct plan_op *op)
{
	return mount(
	    "overlay", op->dst, "overlay", MS_NOSUID | MS_NODEV, op->data);
}

static int
do_bind(const struct plan_op *op)
{
	return mount(op->src, op->dst, NULL, MS_BIND, NULL);
}

static int
do_proc(const struct plan_op *op)
{
	return mount(
	    "proc", op->dst, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

static int
do_devpts(const struct plan_op *op)
{
	return mount(
	    "devpts", op->dst, "devpts", MS_NOSUID | MS_NOEXEC, op->data);
}

/* Nobody can put anything into it, nor make it writable from a sandbox. */
static int
do_empty(const struct plan_op *op)
{
	return mount("tmpfs", op->dst, "tmpfs",
	    MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
	    "size=4k,nr_inodes=1,mode=0755");
}

static int
do_mask(const struct plan_op *op)
{
	const char *with = op->src;
	struct stat st;

	if (lstat(op->dst, &st) < 0)
		return -1;
	if (!S_ISDIR(st.st_mode))
		with = "/dev/null";
	return mount(with, op->dst, NULL, MS_BIND, NULL);
}

static int
do_readonly(const struct plan_op *op)
{
	if (mount(op->dst, op->dst, NULL, MS_BIND | MS_REC, NULL) < 0)
		return -1;
	return mount(NULL, op->dst, NULL,
	    MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
	    NULL);
}

/* The old root is stacked on the new one and detached: no path leads back. */
static int
do_pivot(const struct plan_op *op)
{
	if (chdir(op->dst) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", UMOUNT_DETACH) < 0)
		return -1;
	return chdir("/");
}

static int
do_cgroupns(const struct plan_op *op)
{
	(void)op;
	return unshare(CLONE_NEWCGROUP);
}

static int
do_hostname(const struct plan_op *op)
{
	return sethostname(op->data, strlen(op->data));
}

static int
do_net(const struct plan_op *op)
{
	(void)op;
	return init_net_up();
}

static int
do_limit(const struct plan_op *op)
{
	const struct rlimit lim = { op->value, op->value };

	return setrlimit((__rlimit_resource_t)op->mode, &lim);
}

static int
do_nonewprivs(const struct plan_op *op)
{
	(void)op;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static int
drop_bounds(uint64_t keep)
{
	for (unsigned long c = 0; c < 64; c++)
		if (!(keep >> c & 1) && prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0)
			return errno == EINVAL ? 0 : -1; /* no such one */
	return 0;
}

/*
 * What root inside keeps: to own files, to become another user of the
 * namespace, to signal its own processes, to listen on low ports.  Nothing that
 * configures a namespace.
 */
static int
do_caps(const struct plan_op *op)
{
	static const unsigned keep[] = { CAP_CHOWN, CAP_DAC_OVERRIDE,
		CAP_FOWNER, CAP_FSETID, CAP_KILL, CAP_SETGID, CAP_SETUID,
		CAP_NET_BIND_SERVICE };
	struct __user_cap_header_struct hdr = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct data[2] = { { 0 } };
	uint32_t mask = 0;

	(void)op;
	for (size_t i = 0; i < ARRAY_LEN(keep); i++)
		mask |= 1U << keep[i];
	if (drop_bounds(mask) < 0)
		return -1;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -1;
	data[0].effective = data[0].permitted = mask;
	return (int)syscall(SYS_capset, &hdr, data);
}

static int
load_filter(int fd)
{
	static struct sock_filter code[FILTER_MAX];
	ssize_t n = pread(fd, code, sizeof(code), 0);
	struct sock_fprog prog = { .filter = code };

	if (n <= 0 || (size_t)n % sizeof(code[0]) != 0) {
		errno = EINVAL;
		return -1;
	}
	prog.len = (unsigned short)((size_t)n / sizeof(code[0]));
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog);
}

static int (*const actions[OP__COUNT])(const struct plan_op *) = {
	[OP_PRIVATE] = do_private,
	[OP_TMPFS] = do_tmpfs,
	[OP_MKDIR] = do_mkdir,
	[OP_SYMLINK] = do_symlink,
	[OP_FILE] = do_file,
	[OP_OVERLAY] = do_overlay,
	[OP_BIND] = do_bind,
	[OP_PROC] = do_proc,
	[OP_DEVPTS] = do_devpts,
	[OP_EMPTY] = do_empty,
	[OP_MASK] = do_mask,
	[OP_READONLY] = do_readonly,
	[OP_PIVOT] = do_pivot,
	[OP_CGROUPNS] = do_cgroupns,
	[OP_HOSTNAME] = do_hostname,
	[OP_NET] = do_net,
	[OP_LIMIT] = do_limit,
	[OP_NONEWPRIVS] = do_nonewprivs,
	[OP_CAPS] = do_caps,
};

static int
attach_tree(const struct plan_op *op, int fd)
{
	return (int)syscall(
	    SYS_move_mount, fd, "", AT_FDCWD, op->dst, MOVE_MOUNT_F_EMPTY_PATH);
}

/* The two operations that need a descriptor, and all others. */
static int
act(const struct plan_op *op, const struct msg *m)
{
	bool uses_fd = op->kind == OP_TREE || op->kind == OP_FILTER;

	if (uses_fd && op->fd >= m->n_fds) {
		errno = EBADF;
		return -1;
	}
	if (op->kind == OP_TREE)
		return attach_tree(op, m->fds[op->fd]);
	if (op->kind == OP_FILTER)
		return load_filter(m->fds[op->fd]);
	return actions[op->kind](op);
}

int
init_setup(const struct msg *m, struct err *err)
{
	struct msg_in in;
	uint32_t n;

	msg_in_init(&in, m);
	n = msg_get_u32(&in);
	for (uint32_t i = 0; i < n; i++) {
		struct plan_op op;

		if (!init_read_op(&in, &op))
			return err_set(err, ERR_SANDBOX, 0,
			    "set-up: operation %u is malformed", i);
		if (act(&op, m) < 0 &&
		    !(errno == ENOENT && (op.flags & PLAN_OPTIONAL)))
			return err_set(err, ERR_SANDBOX, errno,
			    "set-up step %u, %s %s %s", i, op_names[op.kind],
			    op.dst, op.data);
	}
	if (!msg_in_done(&in))
		return err_set(err, ERR_SANDBOX, 0, "set-up: extra bytes");
	return 0;
}
