#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"

int
io_write_all(int fd, const void *p, size_t n)
{
	const char *s = p;

	while (n > 0) {
		ssize_t w = write(fd, s, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -1;
		s += w;
		n -= (size_t)w;
	}
	return 0;
}

int
io_read_file(int dirfd, const char *path, struct buf *ret_data, struct err *err)
{
	auto_close int fd = -1;
	char chunk[8192];
	ssize_t n;

	fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "open `%s`", path);
	while ((n = read(fd, chunk, sizeof(chunk))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "read `%s`", path);
		if (buf_add(ret_data, chunk, (size_t)n) < 0)
			return err_set(err, ERR_TOO_BIG, 0,
			    "read `%s`: larger than %zu bytes", path,
			    ret_data->cap);
	}
	return 0;
}

int
io_write_file(int dirfd, const char *path, const void *data, size_t n,
    mode_t mode, struct err *err)
{
	char tmp[PATH_MAX];
	auto_close int fd = -1;

	if (snprintf(tmp, sizeof(tmp), "%s.%d.new", path, (int)getpid()) >=
	    (int)sizeof(tmp))
		return err_set(err, ERR_INVALID, 0, "path is too long");
	fd = openat(dirfd, tmp,
	    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return err_errno(err, "open `%s` for writing", tmp);
	if (io_write_all(fd, data, n) < 0 || fchmod(fd, mode) < 0 ||
	    fsync(fd) < 0 || renameat(dirfd, tmp, dirfd, path) < 0) {
		(void)err_errno(err, "write `%s`", path);
		(void)unlinkat(dirfd, tmp, 0);
		return -1;
	}
	return 0;
}

int
io_mkdir_all(const char *path, mode_t mode, struct err *err)
{
	char part[PATH_MAX];
	size_t len = strlen(path);

	if (len >= sizeof(part))
		return err_set(err, ERR_INVALID, 0, "path is too long");
	for (size_t i = 1; i <= len; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, mode) < 0 && errno != EEXIST)
			return err_errno(err, "make directory `%s`", part);
	}
	return 0;
}

int
io_memfd_sealed(const char *name, const void *data, size_t n, struct err *err)
{
	const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW |
			  F_SEAL_WRITE;
	auto_close int fd = -1;

	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return err_errno(err, "make memory file");
	if (io_write_all(fd, data, n) < 0)
		return err_errno(err, "fill memory file");
	if (fcntl(fd, F_ADD_SEALS, seals) < 0)
		return err_errno(err, "seal memory file");
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_errno(err, "rewind memory file");
	return steal_fd(&fd);
}

bool
io_name_is_inside(const char *name)
{
	size_t n;

	do {
		n = strcspn(name, "/");
		if (n == 0 || (n == 1 && name[0] == '.') ||
		    (n == 2 && memcmp(name, "..", 2) == 0))
			return false;
		name += n;
	} while (*name++ == '/');
	return true;
}
