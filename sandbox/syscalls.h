#pragma once
/* syscalls.h - system calls that glibc 2.36 has no function for. */
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static inline pid_t
sys_clone3(struct clone_args *args)
{
	return (pid_t)syscall(SYS_clone3, args, sizeof(*args));
}

static inline int
sys_open_tree(int dirfd, const char *path, unsigned flags)
{
	return (int)syscall(SYS_open_tree, dirfd, path, flags);
}

static inline int
sys_mount_setattr(
    int fd, const char *path, unsigned flags, struct mount_attr *attr)
{
	return (int)syscall(
	    SYS_mount_setattr, fd, path, flags, attr, sizeof(*attr));
}

static inline int
sys_fsopen(const char *type)
{
	return (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
}

static inline int
sys_fsconfig_set(int fs, const char *key, const char *value)
{
	return (int)syscall(
	    SYS_fsconfig, fs, FSCONFIG_SET_STRING, key, value, 0);
}

static inline int
sys_fsconfig_create(int fs)
{
	return (int)syscall(
	    SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
}

/* attr: MOUNT_ATTR_... */
static inline int
sys_fsmount(int fs, unsigned attr)
{
	return (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attr);
}

static inline int
sys_pidfd_send_signal(int pidfd, int sig)
{
	return (int)syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0);
}
