#include "cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libcgroup.h>
#include <linux/magic.h>
#include <mntent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "io.h"
#include "mem.h"

enum {
	VALUE_MAX = 4096,
	ROOT_MAX = 512,
	CPU_PERIOD_US = 100000,
	EMPTY_TRIES = 200
};

static const char *const tree_names[CG__COUNT] = {
	[CG_MEMORY] = "memory",
	[CG_PIDS] = "pids",
	[CG_CPU] = "cpu",
	[CG_CPUACCT] = "cpuacct",
	[CG_FREEZER] = "freezer",
	[CG_UNIFIED] = "unified",
};

/* Which file of which tree is what, for either version; NULL: not there. */
static const struct {
	enum cg_tree_kind tree;
	const char *v1;
	const char *v2;
	int flags;
	enum { MAY_MISS, NEEDED, LATER } when;
} file_table[CG_FILE__COUNT] = {
	[CG_FILE_MEMORY_LIMIT] = { CG_MEMORY, "memory.limit_in_bytes",
	    "memory.max", O_WRONLY, NEEDED },
	[CG_FILE_SWAP_LIMIT] = { CG_MEMORY, "memory.memsw.limit_in_bytes",
	    "memory.swap.max", O_WRONLY, MAY_MISS },
	[CG_FILE_SOCKET_LIMIT] = { CG_MEMORY, "memory.kmem.tcp.limit_in_bytes",
	    NULL, O_WRONLY, MAY_MISS },
	[CG_FILE_MEMORY_PEAK] = { CG_MEMORY, "memory.max_usage_in_bytes",
	    "memory.peak", O_RDWR, MAY_MISS },
	[CG_FILE_MEMORY_EVENTS] = { CG_MEMORY, "memory.oom_control",
	    "memory.events", O_RDONLY, NEEDED },
	[CG_FILE_PIDS_LIMIT] = { CG_PIDS, "pids.max", "pids.max", O_WRONLY,
	    NEEDED },
	[CG_FILE_PIDS_EVENTS] = { CG_PIDS, "pids.events", "pids.events",
	    O_RDONLY, MAY_MISS },
	[CG_FILE_CPU_LIMIT] = { CG_CPU, "cpu.cfs_quota_us", "cpu.max", O_WRONLY,
	    NEEDED },
	[CG_FILE_CPU_USAGE] = { CG_CPUACCT, "cpuacct.usage", "cpu.stat",
	    O_RDONLY, NEEDED },
	[CG_FILE_SOCKET_USAGE] = { CG_MEMORY, "memory.kmem.tcp.usage_in_bytes",
	    NULL, O_RDONLY, MAY_MISS },
	[CG_FILE_MEMORY_USAGE] = { CG_MEMORY, "memory.usage_in_bytes",
	    "memory.current", O_RDONLY, NEEDED },
	[CG_FILE_FREEZE] = { CG_FREEZER, "freezer.state", "cgroup.freeze",
	    O_WRONLY, LATER },
	[CG_FILE_FREEZE_STATE] = { CG_FREEZER, "freezer.state", "cgroup.events",
	    O_RDONLY, LATER },
};

/* ---- finding the trees ---- */

/* The controllerless v2 tree is no controller: libcgroup does not name it. */
static int
find_unified(char ret_path[ROOT_MAX])
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	const struct mntent *m;
	int found = -1;

	if (!f)
		return -1;
	while (found < 0 && (m = getmntent(f)) != NULL)
		if (strcmp(m->mnt_type, "cgroup2") == 0) {
			(void)snprintf(ret_path, ROOT_MAX, "%s", m->mnt_dir);
			found = 0;
		}
	(void)endmntent(f);
	return found;
}

static int
find_controller(const char *name, char ret_path[ROOT_MAX], int *ret_version)
{
	char *mount = NULL;
	struct statfs fs;

	if (cgroup_get_subsys_mount_point(name, &mount) != 0 || !mount)
		return -1;
	(void)snprintf(ret_path, ROOT_MAX, "%s", mount);
	free(mount);
	if (statfs(ret_path, &fs) < 0)
		return -1;
	*ret_version = fs.f_type == CGROUP2_SUPER_MAGIC ? 2 : 1;
	return 0;
}

static int
find_tree(enum cg_tree_kind k, char ret_path[ROOT_MAX], int *ret_version)
{
	*ret_version = 2;
	if (k == CG_UNIFIED)
		return find_unified(ret_path);
	if (k == CG_FREEZER && find_unified(ret_path) == 0)
		return -1;
	/* On v2 there is no cpuacct: cpu.stat is cpu's. */
	if (k == CG_CPUACCT &&
	    find_controller("cpu", ret_path, ret_version) == 0 &&
	    *ret_version == 2)
		return 0;
	return find_controller(tree_names[k], ret_path, ret_version);
}

/* Our parent group in every tree with a controller, by libcgroup. */
static int
make_parent(const char *name, const bool have[CG__COUNT], struct err *err)
{
	struct cgroup *cg = cgroup_new_cgroup(name);
	int r = 0;

	if (!cg)
		return err_set(err, ERR_SANDBOX, 0, "cgroup: out of memory");
	for (int k = 0; k < CG_UNIFIED; k++)
		if (have[k] && k != CG_CPUACCT &&
		    !cgroup_add_controller(cg, tree_names[k]))
			r = -1;
	/* cpuacct exists on v1 only. */
	if (have[CG_CPUACCT])
		(void)cgroup_add_controller(cg, tree_names[CG_CPUACCT]);
	if (r == 0)
		r = cgroup_create_cgroup(cg, 0);
	if (r != 0)
		(void)err_set(err, ERR_SANDBOX, 0,
		    "make control group `%s`: %s", name,
		    r == ECGOTHER ? strerror(cgroup_get_last_errno())
				  : cgroup_strerror(r));
	cgroup_free(&cg);
	return r == 0 ? 0 : -1;
}

/* v2 gives a group's controllers to its children only when told to. */
static void
enable_controllers(int dirfd)
{
	static const char *const all[] = { "+memory", "+pids", "+cpu" };
	auto_close int fd = openat(
	    dirfd, "cgroup.subtree_control", O_WRONLY | O_CLOEXEC);

	for (size_t i = 0; fd >= 0 && i < ARRAY_LEN(all); i++)
		(void)!write(fd, all[i], strlen(all[i]));
}

static void
kill_leftovers(int dirfd)
{
	auto_close int fd = openat(dirfd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	auto_fclose FILE *f = fd >= 0 ? fdopen(steal_fd(&fd), "re") : NULL;
	char line[32];

	while (f && fgets(line, sizeof(line), f)) {
		long pid = strtol(line, NULL, 10);

		if (pid > 1)
			(void)kill((pid_t)pid, SIGKILL);
	}
}

/* Groups of sandboxes that an earlier, killed process had. */
static void
remove_leftovers(int parent)
{
	auto_close int copy = openat(parent, ".", O_RDONLY | O_CLOEXEC);
	DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
	const struct dirent *d;

	if (!dir)
		return;
	(void)steal_fd(&copy);
	while ((d = readdir(dir)) != NULL) {
		auto_close int fd = -1;

		if (d->d_type != DT_DIR || d->d_name[0] == '.')
			continue;
		fd = openat(parent, d->d_name, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		kill_leftovers(fd);
		for (int i = 0; i < EMPTY_TRIES &&
				unlinkat(parent, d->d_name, AT_REMOVEDIR) < 0 &&
				errno == EBUSY;
		     i++)
			(void)usleep(5000);
	}
	(void)closedir(dir);
}

struct cg_leaving {
	SLIST_ENTRY(cg_leaving) link;
	char name[sizeof(((struct cg_group *)NULL)->name)];
};

static void
layout_init(struct cg_layout *l)
{
	*l = (struct cg_layout){ .has_swap = false };
	for (int k = 0; k < CG__COUNT; k++)
		l->dirfd[k] = -1;
}

/* What the found directories can do. */
static int
look(struct cg_layout *l, struct err *err)
{
	static const enum cg_tree_kind needed[] = { CG_MEMORY, CG_PIDS, CG_CPU,
		CG_CPUACCT };

	for (size_t i = 0; i < ARRAY_LEN(needed); i++)
		if (l->dirfd[needed[i]] < 0)
			return err_set(err, ERR_SANDBOX, 0,
			    "this host has no `%s` control group: boot with "
			    "cgroup_enable=%s, or delegate it to us",
			    tree_names[needed[i]], tree_names[needed[i]]);
	return 0;
}

bool
cg_swap_is_on(const char *swaps)
{
	FILE *f = fopen(swaps, "re");
	int c, lines = 0;

	if (!f)
		return errno != ENOENT;
	while ((c = getc(f)) != EOF)
		lines += c == '\n';
	(void)fclose(f);
	return lines != 1; /* the heading alone */
}

/* Files exist in a group below ours, not always in ours: ask a trial group. */
static int
try_group(struct cg_layout *l, struct err *err)
{
	struct cg_group g;

	if (cg_group_make(l, "try", &g, err) < 0)
		return -1;
	l->has_swap = g.files.fd[CG_FILE_SWAP_LIMIT] >= 0 ||
		      !cg_swap_is_on("/proc/swaps");
	(void)cg_group_remove(l, &g);
	return 0;
}

/* Our parent group in one tree, emptied of what an earlier process left. */
static int
open_tree(struct cg_layout *l, int k, const char *root, struct err *err)
{
	auto_close int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || (mkdirat(fd, l->name, 0755) < 0 && errno != EEXIST))
		return err_errno(
		    err, "make control group `%s` in %s", l->name, root);
	l->dirfd[k] = openat(fd, l->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (l->dirfd[k] < 0)
		return err_errno(
		    err, "open control group `%s` in %s", l->name, root);
	/* Held until we end, however that is: two farms would kill each other. */
	if (k == CG_MEMORY && flock(l->dirfd[k], LOCK_EX | LOCK_NB) < 0)
		return err_set(err, ERR_SANDBOX, 0,
		    "control group `%s` belongs to a farm that runs: stop it, "
		    "or set sandbox.cgroup to another name",
		    l->name);
	if (!l->keeps)
		remove_leftovers(l->dirfd[k]);
	if (l->version[k] == 2)
		enable_controllers(l->dirfd[k]);
	return 0;
}

static int
open_trees(struct cg_layout *l, char paths[CG__COUNT][ROOT_MAX],
    const bool have[CG__COUNT], struct err *err)
{
	for (int k = 0; k < CG__COUNT; k++)
		if (have[k] && open_tree(l, k, paths[k], err) < 0)
			return -1;
	return 0;
}

int
cg_layout_open(
    struct cg_layout *ret_layout, const char *name, bool keeps, struct err *err)
{
	char paths[CG__COUNT][ROOT_MAX];
	bool have[CG__COUNT];
	struct cg_layout l;
	int r;

	layout_init(&l);
	l.keeps = keeps;
	(void)snprintf(l.name, sizeof(l.name), "%s", name);
	r = cgroup_init();
	if (r != 0)
		return err_set(err, ERR_SANDBOX, 0, "control groups: %s",
		    cgroup_strerror(r));
	for (int k = 0; k < CG__COUNT; k++)
		have[k] = find_tree((enum cg_tree_kind)k, paths[k],
			      &l.version[k]) == 0;
	if (make_parent(name, have, err) < 0 ||
	    open_trees(&l, paths, have, err) < 0 || look(&l, err) < 0 ||
	    try_group(&l, err) < 0) {
		cg_layout_close(&l);
		return -1;
	}
	*ret_layout = l;
	return 0;
}

int
cg_layout_open_dirs(struct cg_layout *ret_layout,
    const char *const dirs[CG__COUNT], const int versions[CG__COUNT],
    struct err *err)
{
	struct cg_layout l;

	layout_init(&l);
	for (int k = 0; k < CG__COUNT; k++) {
		if (!dirs[k])
			continue;
		l.version[k] = versions[k];
		l.dirfd[k] = open(dirs[k], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (l.dirfd[k] < 0) {
			(void)err_errno(err, "open `%s`", dirs[k]);
			cg_layout_close(&l);
			return -1;
		}
	}
	if (look(&l, err) < 0) {
		cg_layout_close(&l);
		return -1;
	}
	*ret_layout = l;
	return 0;
}

/* What still does not go is left to who opens the layout next. */
static void
forget_leaving(struct cg_layout *l)
{
	enum { TRIES = 100, PAUSE_US = 500 };
	struct cg_leaving *v;

	for (int i = 0; i < TRIES && !cg_remove_leaving(l); i++)
		(void)usleep(PAUSE_US);
	while ((v = SLIST_FIRST(&l->leaving))) {
		SLIST_REMOVE_HEAD(&l->leaving, link);
		free(v);
	}
}

void
cg_layout_forget(struct cg_layout *l)
{
	forget_leaving(l);
	for (int k = 0; k < CG__COUNT; k++)
		cleanup_closep(&l->dirfd[k]);
}

void
cg_layout_close(struct cg_layout *l)
{
	forget_leaving(l);
	for (int k = 0; k < CG__COUNT; k++) {
		if (l->dirfd[k] < 0)
			continue;
		/* Only an empty group goes away; another farm's stays. */
		if (l->name[0]) {
			char up[80];

			(void)snprintf(up, sizeof(up), "../%s", l->name);
			(void)unlinkat(l->dirfd[k], up, AT_REMOVEDIR);
		}
		(void)close(l->dirfd[k]);
		l->dirfd[k] = -1;
	}
}

/* ---- one group ---- */

/* A v2 tree freezes, whatever controllers it has. */
static enum cg_tree_kind
tree_of(const struct cg_layout *l, enum cg_file f)
{
	enum cg_tree_kind tree = file_table[f].tree;

	return tree == CG_FREEZER && l->dirfd[CG_UNIFIED] >= 0 ? CG_UNIFIED
							       : tree;
}

static int
open_file(const struct cg_layout *l, const char *group, enum cg_file f)
{
	enum cg_tree_kind tree = tree_of(l, f);
	const char *name = l->version[tree] == 2 ? file_table[f].v2
						 : file_table[f].v1;
	char path[128];
	int fd;

	if (l->dirfd[tree] < 0 || !name)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/%s", group, name);
	fd = openat(l->dirfd[tree], path, file_table[f].flags | O_CLOEXEC);
	/* memory.peak can be reset, and so be written, since Linux 6.12. */
	if (fd < 0 && file_table[f].flags == O_RDWR)
		fd = openat(l->dirfd[tree], path, O_RDONLY | O_CLOEXEC);
	return fd;
}

static int
open_one(const struct cg_layout *l, struct cg_group *g, enum cg_file f)
{
	g->files.fd[f] = open_file(l, g->name, f);
	if (l->version[tree_of(l, f)] == 2)
		g->files.v2 |= 1U << f;
	return g->files.fd[f];
}

static int
open_files(const struct cg_layout *l, struct cg_group *g, struct err *err)
{
	for (int f = 0; f < CG_FILE__COUNT; f++)
		if (file_table[f].when != LATER &&
		    open_one(l, g, (enum cg_file)f) < 0 &&
		    file_table[f].when == NEEDED)
			return err_errno(err, "open `%s` of a control group",
			    file_table[f].v1);
	return 0;
}

int
cg_group_open_freezer(
    const struct cg_layout *l, struct cg_group *g, struct err *err)
{
	if (open_one(l, g, CG_FILE_FREEZE) < 0 ||
	    open_one(l, g, CG_FILE_FREEZE_STATE) < 0)
		return err_set(err, ERR_SANDBOX, errno,
		    "this host cannot freeze control groups: it has neither "
		    "cgroup v2 (Linux 5.2) nor the v1 freezer");
	return 0;
}

int
cg_files_copy(
    const struct cg_files *f, struct cg_files *ret_copy, struct err *err)
{
	struct cg_files copy = { .v2 = f->v2 };
	int r = 0;

	for (int k = 0; k < CG_FILE__COUNT; k++) {
		copy.fd[k] = f->fd[k] < 0 ? -1
					  : fcntl(f->fd[k], F_DUPFD_CLOEXEC, 0);
		if (copy.fd[k] < 0 && f->fd[k] >= 0)
			r = -1;
	}
	if (r < 0) {
		(void)err_errno(err, "keep files of a control group");
		cg_files_close(&copy);
		return -1;
	}
	*ret_copy = copy;
	return 0;
}

int
cg_group_make(const struct cg_layout *l, const char *name,
    struct cg_group *ret_group, struct err *err)
{
	struct cg_group g = { .files = { .v2 = 0 } };

	(void)snprintf(g.name, sizeof(g.name), "%s", name);
	for (int f = 0; f < CG_FILE__COUNT; f++)
		g.files.fd[f] = -1;
	for (int k = 0; k < CG__COUNT; k++)
		if (l->dirfd[k] >= 0 && mkdirat(l->dirfd[k], name, 0755) < 0 &&
		    errno != EEXIST) {
			(void)err_errno(err, "make control group `%s` of %s",
			    name, tree_names[k]);
			(void)cg_group_remove(l, &g);
			return -1;
		}
	if (open_files(l, &g, err) < 0) {
		(void)cg_group_remove(l, &g);
		return -1;
	}
	*ret_group = g;
	return 0;
}

int
cg_group_open_dir(const struct cg_layout *l, const struct cg_group *g)
{
	if (l->dirfd[CG_UNIFIED] < 0)
		return -1;
	return openat(
	    l->dirfd[CG_UNIFIED], g->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int
cg_group_add_pid(const struct cg_layout *l, const struct cg_group *g, pid_t pid,
    bool in_unified, struct err *err)
{
	char path[64], text[16];
	int n = snprintf(text, sizeof(text), "%d", (int)pid);

	(void)snprintf(path, sizeof(path), "%s/cgroup.procs", g->name);
	for (int k = 0; k < CG__COUNT; k++) {
		auto_close int fd = -1;

		if (l->dirfd[k] < 0 || (l->version[k] == 2 && in_unified))
			continue;
		fd = openat(l->dirfd[k], path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, text, (size_t)n) < 0)
			return err_errno(
			    err, "enter control group of %s", tree_names[k]);
	}
	return 0;
}

static bool
remove_dirs(const struct cg_layout *l, const char *name)
{
	bool gone = true;

	for (int k = 0; k < CG__COUNT; k++)
		if (l->dirfd[k] >= 0 &&
		    unlinkat(l->dirfd[k], name, AT_REMOVEDIR) < 0 &&
		    errno != ENOENT)
			gone = false;
	return gone;
}

bool
cg_group_remove(const struct cg_layout *l, struct cg_group *g)
{
	cg_files_close(&g->files);
	return remove_dirs(l, g->name);
}

void
cg_group_remove_soon(struct cg_layout *l, struct cg_group *g)
{
	struct cg_leaving *v;

	if (cg_group_remove(l, g))
		return;
	v = xcalloc(1, sizeof(*v));
	memcpy(v->name, g->name, sizeof(v->name));
	SLIST_INSERT_HEAD(&l->leaving, v, link);
}

bool
cg_remove_leaving(struct cg_layout *l)
{
	struct cg_leaving *v, *next;

	for (v = SLIST_FIRST(&l->leaving); v; v = next) {
		next = SLIST_NEXT(v, link);
		if (!remove_dirs(l, v->name))
			continue;
		SLIST_REMOVE(&l->leaving, v, cg_leaving, link);
		free(v);
	}
	return SLIST_EMPTY(&l->leaving);
}

void
cg_files_close(struct cg_files *f)
{
	for (int i = 0; i < CG_FILE__COUNT; i++) {
		if (f->fd[i] >= 0)
			(void)close(f->fd[i]);
		f->fd[i] = -1;
	}
}

/* ---- groups of processes that are not ours ---- */

size_t
cg_list_groups(const struct cg_layout *l, const char *prefix,
    unsigned *ret_numbers, size_t max)
{
	auto_close int copy = openat(
	    l->dirfd[CG_MEMORY], ".", O_RDONLY | O_CLOEXEC);
	DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
	size_t len = strlen(prefix), n = 0;
	const struct dirent *d;

	if (!dir)
		return 0;
	(void)steal_fd(&copy);
	while (n < max && (d = readdir(dir)) != NULL) {
		char *end;
		unsigned long number;

		if (d->d_type != DT_DIR || strncmp(d->d_name, prefix, len) != 0)
			continue;
		number = strtoul(d->d_name + len, &end, 10);
		if (d->d_name[len] && *end == '\0')
			ret_numbers[n++] = (unsigned)number;
	}
	(void)closedir(dir);
	return n;
}

static FILE *
open_procs(const struct cg_layout *l, enum cg_tree_kind k, const char *name)
{
	char path[64];
	auto_close int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/cgroup.procs", name);
	fd = openat(l->dirfd[k], path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 ? fdopen(steal_fd(&fd), "re") : NULL;
}

/* A process that hides its memory has files of root: its status does not lie. */
static long
uid_of(long pid)
{
	char path[64], line[256];
	auto_fclose FILE *f = NULL;
	long uid = -1;

	(void)snprintf(path, sizeof(path), "/proc/%ld/status", pid);
	f = fopen(path, "re");
	while (f && uid < 0 && fgets(line, sizeof(line), f))
		if (strncmp(line, "Uid:", 4) == 0)
			uid = strtol(line + 4, NULL, 10);
	return uid;
}

long
cg_owner_of(const struct cg_layout *l, const char *prefix, unsigned number)
{
	char name[32], line[32];
	auto_fclose FILE *f = NULL;

	(void)snprintf(name, sizeof(name), "%s%u", prefix, number);
	f = open_procs(l, CG_MEMORY, name);
	if (!f || !fgets(line, sizeof(line), f))
		return -1;
	return uid_of(strtol(line, NULL, 10));
}

/* A frozen process dies on v2, and on v1 when it goes on. */
static void
thaw_by_name(const struct cg_layout *l, const char *name)
{
	struct cg_group g = { .files = { .v2 = 0 } };
	struct err err;

	(void)snprintf(g.name, sizeof(g.name), "%s", name);
	for (int f = 0; f < CG_FILE__COUNT; f++)
		g.files.fd[f] = -1;
	if (cg_group_open_freezer(l, &g, &err) == 0)
		(void)cg_thaw(&g.files, &err);
	cg_files_close(&g.files);
}

bool
cg_clear(const struct cg_layout *l, const char *name)
{
	auto_fclose FILE *f = open_procs(l, CG_MEMORY, name);
	bool gone = true;
	char line[32];

	while (f && fgets(line, sizeof(line), f)) {
		long pid = strtol(line, NULL, 10);

		if (pid > 1)
			(void)kill((pid_t)pid, SIGKILL);
	}
	thaw_by_name(l, name);
	for (int k = 0; k < CG__COUNT; k++)
		if (l->dirfd[k] >= 0 &&
		    unlinkat(l->dirfd[k], name, AT_REMOVEDIR) < 0 &&
		    errno != ENOENT)
			gone = false;
	return gone;
}

/* ---- values ---- */

static int
put(int fd, const char *text, const char *what, struct err *err)
{
	if (pwrite(fd, text, strlen(text), 0) < 0)
		return err_errno(err, "set %s to %s", what, text);
	return 0;
}

static bool
speaks_v2(const struct cg_files *f, enum cg_file k)
{
	return f->v2 >> k & 1;
}

/*
 * v1 does not count what sockets hold until it is told a limit for that, and
 * then counts it apart from memory.
 */
static int
set_sockets(const struct cg_files *f, uint64_t memory_bytes, struct err *err)
{
	enum { SHARE = 4 };
	char text[32];

	if (f->fd[CG_FILE_SOCKET_LIMIT] < 0)
		return 0;
	(void)snprintf(text, sizeof(text), "%llu",
	    (unsigned long long)memory_bytes / SHARE);
	return put(f->fd[CG_FILE_SOCKET_LIMIT], text, "socket limit", err);
}

/*
 * v1 wants memory <= memory+swap at every moment, and we do not know which way
 * the limit moves: memory is tried first, and again after memory+swap.
 */
int
cg_set_memory(const struct cg_files *f, uint64_t bytes, struct err *err)
{
	bool swap = f->fd[CG_FILE_SWAP_LIMIT] >= 0;
	bool v2 = speaks_v2(f, CG_FILE_MEMORY_LIMIT);
	char text[32];

	if (set_sockets(f, bytes, err) < 0)
		return -1;
	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)bytes);
	if (v2 && swap &&
	    put(f->fd[CG_FILE_SWAP_LIMIT], "0", "swap limit", err) < 0)
		return -1;
	if (v2 || !swap)
		return put(
		    f->fd[CG_FILE_MEMORY_LIMIT], text, "memory limit", err);
	if (put(f->fd[CG_FILE_MEMORY_LIMIT], text, "memory limit", err) == 0)
		return put(f->fd[CG_FILE_SWAP_LIMIT], text, "swap limit", err);
	if (put(f->fd[CG_FILE_SWAP_LIMIT], text, "swap limit", err) < 0)
		return -1;
	return put(f->fd[CG_FILE_MEMORY_LIMIT], text, "memory limit", err);
}

int
cg_set_pids(const struct cg_files *f, long n, struct err *err)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%ld", n);
	return put(f->fd[CG_FILE_PIDS_LIMIT], text, "process limit", err);
}

int
cg_set_cpu(const struct cg_files *f, long vcpu, struct err *err)
{
	char text[64];

	if (speaks_v2(f, CG_FILE_CPU_LIMIT))
		(void)snprintf(text, sizeof(text), "%ld %d",
		    vcpu * CPU_PERIOD_US, CPU_PERIOD_US);
	else
		(void)snprintf(text, sizeof(text), "%ld", vcpu * CPU_PERIOD_US);
	return put(f->fd[CG_FILE_CPU_LIMIT], text, "processor limit", err);
}

int64_t
cg_cpu_earliest_us(long vcpu, long cores, int64_t cpu_us)
{
	/* k periods of time touch k + 1, and each has its share. */
	int64_t periods = cpu_us / (vcpu * CPU_PERIOD_US) - 1;
	int64_t by_share = periods * CPU_PERIOD_US;
	int64_t all_at_once = cpu_us / cores;

	return by_share > all_at_once ? by_share : all_at_once;
}

static int
take_limit_away(const struct cg_files *f, enum cg_file k, struct err *err)
{
	if (f->fd[k] < 0)
		return 0;
	return put(f->fd[k], speaks_v2(f, k) ? "max" : "-1", "limit", err);
}

int
cg_unlimit_cpu(const struct cg_files *f, struct err *err)
{
	return take_limit_away(f, CG_FILE_CPU_LIMIT, err);
}

int
cg_unlimit(const struct cg_files *f, struct err *err)
{
	/* memory+swap first: it must not be less than memory. */
	if (take_limit_away(f, CG_FILE_SWAP_LIMIT, err) < 0 ||
	    take_limit_away(f, CG_FILE_MEMORY_LIMIT, err) < 0)
		return -1;
	return cg_unlimit_cpu(f, err);
}

/* The number after "name " in a file of such lines; the first for "". */
static int64_t
get(int fd, const char *name)
{
	char text[VALUE_MAX];
	const char *p = text;
	size_t len = strlen(name);
	ssize_t n = fd >= 0 ? pread(fd, text, sizeof(text) - 1, 0) : -1;

	if (n <= 0)
		return 0;
	text[n] = '\0';
	while (p && strncmp(p, name, len) != 0) {
		p = strchr(p, '\n');
		p = p ? p + 1 : NULL;
	}
	return p ? strtoll(p + len, NULL, 10) : 0;
}

int64_t
cg_cpu_us(const struct cg_files *f)
{
	int fd = f->fd[CG_FILE_CPU_USAGE];

	if (speaks_v2(f, CG_FILE_CPU_USAGE))
		return get(fd, "usage_usec ");
	return get(fd, "") / 1000; /* v1 counts nanoseconds */
}

int64_t
cg_memory_peak(const struct cg_files *f)
{
	return get(f->fd[CG_FILE_MEMORY_PEAK], "");
}

bool
cg_reset_peak(const struct cg_files *f)
{
	return f->fd[CG_FILE_MEMORY_PEAK] >= 0 &&
	       pwrite(f->fd[CG_FILE_MEMORY_PEAK], "0", 1, 0) == 1;
}

uint64_t
cg_oom_kills(const struct cg_files *f)
{
	return (uint64_t)get(f->fd[CG_FILE_MEMORY_EVENTS], "oom_kill ");
}

uint64_t
cg_pids_refused(const struct cg_files *f)
{
	return (uint64_t)get(f->fd[CG_FILE_PIDS_EVENTS], "max ");
}

int64_t
cg_socket_usage(const struct cg_files *f)
{
	return get(f->fd[CG_FILE_SOCKET_USAGE], "");
}

int64_t
cg_memory_usage(const struct cg_files *f)
{
	return get(f->fd[CG_FILE_MEMORY_USAGE], "");
}

/* ---- freezing ---- */

static bool
is_frozen(const struct cg_files *f)
{
	char text[VALUE_MAX];
	ssize_t n;

	if (speaks_v2(f, CG_FILE_FREEZE_STATE))
		return get(f->fd[CG_FILE_FREEZE_STATE], "frozen ") == 1;
	n = pread(f->fd[CG_FILE_FREEZE_STATE], text, sizeof(text), 0);
	return n >= 6 && strncmp(text, "FROZEN", 6) == 0;
}

static int
set_frozen(const struct cg_files *f, bool on, struct err *err)
{
	static const char *const words[2][2] = { { "THAWED", "FROZEN" },
		{ "0", "1" } };

	if (f->fd[CG_FILE_FREEZE] < 0)
		return err_set(err, ERR_SANDBOX, 0, "it cannot be frozen");
	return put(f->fd[CG_FILE_FREEZE],
	    words[speaks_v2(f, CG_FILE_FREEZE)][on], "freezer", err);
}

/*
 * Sleeping processes stand still within 30 us or so.  The kernel tells changes
 * of cgroup.events at most each 10 ms (kernfs, CGROUP_FILE_NOTIFY_MIN_INTV), so
 * the file is read again and again instead, with growing pauses.
 */
int
cg_freeze(const struct cg_files *f, unsigned wait_ms, struct err *err)
{
	enum { PAUSE_US = 20, PAUSE_MAX_US = 2000 };
	int64_t until = clock_mono_us() + (int64_t)wait_ms * 1000;
	useconds_t pause = PAUSE_US;
	struct err ignored;

	if (set_frozen(f, true, err) < 0)
		return -1;
	while (!is_frozen(f)) {
		if (clock_mono_us() > until) {
			(void)set_frozen(f, false, &ignored);
			return err_set(err, ERR_SANDBOX, 0,
			    "a process of it does not stand still");
		}
		(void)usleep(pause);
		if (pause < PAUSE_MAX_US)
			pause += pause / 4;
	}
	return 0;
}

int
cg_thaw(const struct cg_files *f, struct err *err)
{
	return set_frozen(f, false, err);
}
