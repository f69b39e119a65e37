/*
 * devices.c - the devices that sandboxes see.
 *
 * Locks and watches belong to an inode.  On the host's own they would be shared
 * with the host and all other sandboxes, so each nest has inodes of its own: an
 * overlay over a folder of devices that was made at the start, when we could.
 * It is read-only, which does not keep anybody from writing to a device, but
 * from changing its times.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cleanup.h"
#include "host.h"
#include "syscalls.h"

enum { ALL_MAY_USE_IT = 0666 };

static const struct {
	const char *name;
	unsigned major, minor;
} devices[] = {
#define DEVICE(name, major, minor) { name, major, minor },
#include "devices.def"
#undef DEVICE
};

/* An overlay that nobody writes to has two layers; the other one is empty. */
static int
make_folder(int dir, const char *name, struct err *err)
{
	if (mkdirat(dir, name, 0755) < 0 && errno != EEXIST)
		return err_errno(err, "make device folder `%s`", name);
	return 0;
}

/* It may be there from our last start. */
static int
make_device(int dir, size_t i, struct err *err)
{
	dev_t number = makedev(devices[i].major, devices[i].minor);
	struct stat st;

	if (mknodat(dir, devices[i].name, S_IFCHR, number) < 0 &&
	    errno != EEXIST)
		return err_errno(err, "make device `%s`", devices[i].name);
	if (fchmodat(dir, devices[i].name, ALL_MAY_USE_IT, 0) < 0 ||
	    fstatat(dir, devices[i].name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(err, "make device `%s`", devices[i].name);
	if (!S_ISCHR(st.st_mode) || st.st_rdev != number)
		return err_set(err, ERR_SANDBOX, 0,
		    "make device `%s`: something else is there",
		    devices[i].name);
	return 0;
}

int
devices_make(const char *path, struct err *err)
{
	auto_close int dir = -1, nodes = -1;

	if (make_folder(AT_FDCWD, path, err) < 0)
		return -1;
	dir = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return err_errno(err, "open `%s`", path);
	if (make_folder(dir, "nodes", err) < 0 ||
	    make_folder(dir, "none", err) < 0)
		return -1;
	nodes = openat(
	    dir, "nodes", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (nodes < 0)
		return err_errno(err, "open `%s/nodes`", path);
	for (size_t i = 0; i < ARRAY_LEN(devices); i++)
		if (make_device(nodes, i, err) < 0)
			return -1;
	return steal_fd(&dir);
}

int
devices_mount(int dir, struct err *err)
{
	auto_close int fs = sys_fsopen("overlay");
	char layers[96];
	int fd;

	/* Whatever the path has in it. */
	(void)snprintf(layers, sizeof(layers),
	    "/proc/self/fd/%d/nodes:/proc/self/fd/%d/none", dir, dir);
	if (fs < 0 || sys_fsconfig_set(fs, "lowerdir", layers) < 0 ||
	    sys_fsconfig_create(fs) < 0)
		return err_errno(err, "devices of a nest");
	fd = sys_fsmount(
	    fs, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
	return fd >= 0 ? fd : err_errno(err, "mount devices of a nest");
}
