/*
 * init_files.c - files in and out.
 *
 * Runs inside the sandbox with the sandbox's own rights: a link that a program
 * planted leads at most to another file of the same sandbox.  Links are not
 * followed all the same, and only regular files are given out.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cleanup.h"
#include "init.h"
#include "msg.h"
#include "proto.h"

enum {
	PATH_ROOM = 1024,
	DEPTH_MAX = 8,       /* folders below the collected one */
	ENTRIES_MAX = 20000, /* looked at before giving up */
	FOLDERS_MADE = 2     /* of plan.c, below the working directory */
};

/* What a language declares as its caches: nothing of a result is there. */
#define CACHES ".cache"

/* Relative names are below the working directory. */
static int
full_path(const char *path, char ret_path[PATH_ROOM])
{
	int n = snprintf(
	    ret_path, PATH_ROOM, "%s%s", path[0] == '/' ? "" : "/tmp/", path);

	if (n < 0 || n >= PATH_ROOM) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return 0;
}

static int
make_parents(char *path)
{
	for (char *p = path + 1; *p; p++) {
		int r;

		if (*p != '/')
			continue;
		*p = '\0';
		r = mkdir(path, 0755);
		*p = '/';
		if (r < 0 && errno != EEXIST)
			return -1;
	}
	return 0;
}

static int
write_content(int fd, const char *data, size_t n)
{
	while (n > 0) {
		ssize_t w = write(fd, data, n);

		if (w <= 0)
			return -1;
		data += w;
		n -= (size_t)w;
	}
	return 0;
}

static int
copy_content(int fd, int from)
{
	ssize_t n;

	while ((n = sendfile(fd, from, NULL, 1 << 20)) > 0)
		;
	return n < 0 ? -1 : 0;
}

static int
put_file(const char *path, uint32_t mode, const char *data, size_t n, int from)
{
	auto_close int fd = -1;

	(void)unlink(path);
	fd = open(
	    path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return -1;
	return from >= 0 ? copy_content(fd, from) : write_content(fd, data, n);
}

static int
put(const struct msg *m)
{
	char path[PATH_ROOM], target[PATH_ROOM];
	struct init_put p;

	if (!init_read_put(m, &p)) {
		errno = EPROTO;
		return -1;
	}
	if (full_path(p.path, path) < 0 || make_parents(path) < 0)
		return -1;
	if (p.kind == PUT_DIR)
		return mkdir(path, p.mode) < 0 && errno != EEXIST ? -1 : 0;
	if (p.kind == PUT_FILE)
		return put_file(
		    path, p.mode, p.data, p.len, m->n_fds ? m->fds[0] : -1);
	if (full_path(p.target, target) < 0)
		return -1;
	(void)unlink(path);
	return link(target, path);
}

void
init_put(struct init *in, const struct msg *m)
{
	if (put(m) < 0 && in->failure.code == ERR_OK)
		(void)err_errno(&in->failure, "put a file into the sandbox");
}

/* ---- collecting ---- */

struct collect {
	const struct init *in;
	uint32_t files_left;
	uint64_t bytes_left;
	unsigned entries_left;
	bool truncated;
	bool all;       /* what cannot be told whole is a reason to stop */
	bool silent;    /* below CACHES: counted only */
	uint64_t found; /* names */
};

static void
refuse(struct collect *c)
{
	c->truncated |= c->all && !c->silent;
}

/* More than mode and bytes would have to be told to make it again. */
static bool
is_odd(const struct stat *st, int fd)
{
	return st->st_uid != 0 || st->st_gid != 0 ||
	       (st->st_mode & (S_ISUID | S_ISGID | S_ISVTX)) != 0 ||
	       flistxattr(fd, NULL, 0) > 0;
}

/* name is relative to what was asked for. */
static void
give(struct collect *c, int fd, const char *name)
{
	unsigned char body[PATH_ROOM + 64];
	struct msg_out o = { .data = body };
	struct stat st;
	struct err err;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    (c->all && is_odd(&st, fd))) {
		refuse(c);
		return;
	}
	if (c->files_left == 0 || (uint64_t)st.st_size > c->bytes_left) {
		c->truncated = true;
		return;
	}
	c->files_left--;
	c->bytes_left -= (uint64_t)st.st_size;
	msg_put_str(&o, name);
	msg_put_u64(&o, (uint64_t)st.st_size);
	if (msg_send(c->in->control, PROTO_FILE, &o, &fd, 1, &err) < 0)
		_exit(1);
}

static void
tell_folder(struct collect *c, int fd, const char *name)
{
	unsigned char body[PATH_ROOM + 64];
	struct msg_out o = { .data = body };
	struct stat st;
	struct err err;

	if (fstat(fd, &st) < 0 || is_odd(&st, fd) || c->files_left == 0) {
		refuse(c);
		return;
	}
	c->files_left--;
	msg_put_str(&o, name);
	msg_put_u32(&o, st.st_mode);
	if (msg_send(c->in->control, PROTO_FOLDER, &o, NULL, 0, &err) < 0)
		_exit(1);
}

static void walk(struct collect *c, int fd, const char *prefix, int depth);

static void
enter(struct collect *c, int fd, const char *path, int depth)
{
	bool before = c->silent;

	if (c->all && !c->silent) {
		tell_folder(c, fd, path);
		c->silent = strcmp(path, CACHES) == 0;
	}
	walk(c, fd, path, depth + 1);
	c->silent = before;
}

static void
visit(
    struct collect *c, int dirfd, const char *name, const char *path, int depth)
{
	auto_close int fd = -1;
	struct stat st;

	c->found++;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	/* Opening a FIFO or a device is never needed. */
	if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
		fd = openat(dirfd, name,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		refuse(c);
	else if (S_ISDIR(st.st_mode))
		enter(c, steal_fd(&fd), path, depth);
	else if (!c->silent)
		give(c, fd, path);
}

/* Takes fd. */
static void
walk(struct collect *c, int fd, const char *prefix, int depth)
{
	DIR *dir = fdopendir(fd);
	const struct dirent *d;

	if (!dir) {
		(void)close(fd);
		return;
	}
	if (depth > DEPTH_MAX)
		refuse(c);
	while (depth <= DEPTH_MAX && !(c->all && c->truncated) &&
	       (d = readdir(dir)) != NULL) {
		char path[512];

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (c->entries_left == 0 ||
		    snprintf(path, sizeof(path), "%s%s%s", prefix,
			*prefix ? "/" : "", d->d_name) >= (int)sizeof(path)) {
			c->truncated = true;
			break;
		}
		c->entries_left--;
		visit(c, dirfd(dir), d->d_name, path, depth);
	}
	(void)closedir(dir);
}

uint64_t
init_inodes(void)
{
	struct statfs fs;

	return statfs("/", &fs) == 0 ? fs.f_ffree : 0;
}

void
init_collect(const struct init *in, const struct msg *m)
{
	struct collect c = { .in = in,
		.entries_left = ENTRIES_MAX,
		.all = m->hdr.type == PROTO_COLLECT_ALL };
	auto_close int fd = -1;
	unsigned char body[16];
	struct msg_out o = { .data = body };
	char path[PATH_ROOM];
	struct init_collect req;
	struct stat st;
	struct err err;

	if (init_read_collect(m, &req) && full_path(req.path, path) == 0)
		fd = open(path,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd >= 0 && fstat(fd, &st) == 0) {
		c.files_left = req.max_files;
		c.bytes_left = req.max_bytes;
		if (S_ISDIR(st.st_mode))
			walk(&c, steal_fd(&fd), "", 0);
		else
			give(&c, fd,
			    strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
	}
	/* Each name takes an inode: there must be no other ones anywhere. */
	if (c.all && in->inodes - init_inodes() != c.found - FOLDERS_MADE)
		refuse(&c);
	msg_put_u32(&o, c.truncated);
	if (msg_send(in->control, PROTO_COLLECTED, &o, NULL, 0, &err) < 0)
		_exit(1);
}
