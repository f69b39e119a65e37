/*
 * skeleton.c - the /etc that sandboxes see: a few files of our own and copies
 * of the allow-listed ones.  Only what every user of the host may read is
 * copied, links stay links, and nothing else of the host's /etc can be in it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "host.h"
#include "io.h"
#include "sandbox.h"

enum { FILE_MAX = 16 << 20, DEPTH_MAX = 12, LINK_MAX = 4096 };

static const struct {
	const char *name;
	const char *text;
} made_up[] = {
	{ "passwd",
	    "root:x:0:0:root:/root:/bin/bash\n"
	    "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
	    "user:x:1000:1000:user:/home:/bin/bash\n"
	    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n" },
	{ "group",
	    "root:x:0:\ndaemon:x:1:\ntty:x:5:\nusers:x:100:\nuser:x:1000:\n"
	    "nogroup:x:65534:\n" },
	{ "hosts", "127.0.0.1 localhost\n::1 localhost\n" },
	{ "resolv.conf", "# no network\n" },
	{ "nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"
			   "services: files\nprotocols: files\n" },
	{ "host.conf", "multi on\n" },
	{ "shells", "/bin/sh\n/bin/bash\n" },
};

static int
copy_entry(int from, int to, const char *name, int depth, struct err *err);

static int
copy_link(int from, int to, const char *name, struct err *err)
{
	char target[LINK_MAX];
	ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);

	if (n < 0)
		return err_errno(err, "read link `%s`", name);
	target[n] = '\0';
	if (symlinkat(target, to, name) < 0 && errno != EEXIST)
		return err_errno(err, "make link `%s`", name);
	return 0;
}

static int
copy_file(int from, int to, const char *name, mode_t mode, struct err *err)
{
	auto_buf struct buf data = { .cap = FILE_MAX };
	auto_close int fd = -1;

	if (io_read_file(from, name, &data, err) < 0)
		return -1;
	fd = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0 || io_write_all(fd, data.data, data.len) < 0)
		return err_errno(err, "copy `%s`", name);
	return 0;
}

static int
copy_folder(int from, int to, const char *name, int depth, struct err *err)
{
	auto_close int src = openat(
	    from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	auto_close int dst = -1;
	const struct dirent *d;
	DIR *dir;
	int r = 0;

	if (src < 0)
		return err_errno(err, "open `%s`", name);
	if (mkdirat(to, name, 0755) < 0 && errno != EEXIST)
		return err_errno(err, "make `%s`", name);
	dst = openat(to, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = dst >= 0 ? fdopendir(src) : NULL;
	if (!dir)
		return err_errno(err, "read `%s`", name);
	while (r == 0 && (d = readdir(dir)) != NULL)
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
			r = copy_entry(
			    dirfd(dir), dst, d->d_name, depth + 1, err);
	(void)steal_fd(&src);
	(void)closedir(dir);
	return r;
}

/* What others may not read, and what is no file, folder or link, stays out. */
static int
copy_entry(int from, int to, const char *name, int depth, struct err *err)
{
	struct stat st;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (S_ISLNK(st.st_mode))
		return copy_link(from, to, name, err);
	if (!(st.st_mode & S_IROTH) || depth > DEPTH_MAX)
		return 0;
	if (S_ISDIR(st.st_mode))
		return copy_folder(from, to, name, depth, err);
	if (S_ISREG(st.st_mode) && st.st_size <= FILE_MAX)
		return copy_file(from, to, name, st.st_mode & 0755, err);
	return 0;
}

/* "ssl/certs": the parents are made, the last part is copied. */
static int
copy_path(int from, int to, const char *path, struct err *err)
{
	const char *slash = strchr(path, '/');
	auto_close int src = -1, dst = -1;
	char part[256];
	size_t n;

	if (!slash)
		return copy_entry(from, to, path, 0, err);
	n = (size_t)(slash - path);
	if (n == 0 || n >= sizeof(part))
		return err_set(err, ERR_INVALID, 0, "bad name `%s`", path);
	memcpy(part, path, n);
	part[n] = '\0';
	src = openat(
	    from, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (src < 0)
		return 0;
	if (mkdirat(to, part, 0755) < 0 && errno != EEXIST)
		return err_errno(err, "make `%s`", part);
	dst = openat(to, part, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dst < 0)
		return err_errno(err, "open `%s`", part);
	return copy_path(src, dst, slash + 1, err);
}

static void
remove_tree(int dirfd, const char *name)
{
	int fd = openat(
	    dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *d;

	while (dir && (d = readdir(dir)) != NULL) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (unlinkat(fd, d->d_name, 0) < 0)
			remove_tree(fd, d->d_name);
	}
	if (dir)
		(void)closedir(dir);
	(void)unlinkat(dirfd, name, AT_REMOVEDIR);
}

int
skeleton_build(
    const char *dir, char *const *names, size_t n_names, struct err *err)
{
	auto_close int to = -1, from = -1;

	remove_tree(AT_FDCWD, dir);
	if (io_mkdir_all(dir, 0755, err) < 0)
		return -1;
	to = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	from = open("/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (to < 0 || from < 0)
		return err_errno(err, "open `%s`", dir);
	for (size_t i = 0; i < n_names; i++)
		if (copy_path(from, to, names[i], err) < 0)
			return err_wrap(err, "copy /etc/%s", names[i]);
	for (size_t i = 0; i < ARRAY_LEN(made_up); i++)
		if (io_write_file(to, made_up[i].name, made_up[i].text,
			strlen(made_up[i].text), 0644, err) < 0)
			return -1;
	if (symlinkat("../usr/lib/os-release", to, "os-release") < 0 ||
	    symlinkat("/proc/self/mounts", to, "mtab") < 0)
		return err_errno(err, "make links in `%s`", dir);
	return 0;
}

void
skeleton_remove(const char *dir, unsigned keep)
{
	DIR *d = opendir(dir);
	const struct dirent *e;
	char kept[16];

	(void)snprintf(kept, sizeof(kept), "%u", keep);
	while (d && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.' && strcmp(e->d_name, kept) != 0)
			remove_tree(dirfd(d), e->d_name);
	if (d)
		(void)closedir(d);
}

void
sandbox_skeleton_remove(const char *dir)
{
	remove_tree(AT_FDCWD, dir);
}
