#include "host.h"
#include "mem.h"
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "io.h"
#include "syscalls.h"

enum { INIT_MAX = 8 << 20, ETC_MAX = 128 };

DEFINE_CLEANUP(sandbox_host, sandbox_host_close)

/* ---- the list of what is seen ---- */

struct path_list {
	char *trees[HOST_TREES_MAX];
	size_t n_trees;
	char *etc[ETC_MAX];
	size_t n_etc;
};

static void
path_list_done(struct path_list *l)
{
	for (size_t i = 0; i < l->n_trees; i++)
		free(l->trees[i]);
	for (size_t i = 0; i < l->n_etc; i++)
		free(l->etc[i]);
}

/* Never by accident: these hold the host's secrets, or are made up here. */
static bool
tree_forbidden(const char *path)
{
	static const char *const never[] = { "/", "/dev", "/etc", "/home",
		"/proc", "/root", "/run", "/sys", "/tmp", "/var" };

	for (size_t i = 0; i < ARRAY_LEN(never); i++)
		if (strcmp(path, never[i]) == 0)
			return true;
	return path[0] != '/' || strstr(path, "..") != NULL;
}

static int
add_line(
    struct path_list *l, const char *word, const char *value, struct err *err)
{
	if (strcmp(word, "tree") == 0) {
		if (tree_forbidden(value))
			return err_set(err, ERR_INVALID, 0,
			    "`%s` is never shown to a sandbox", value);
		/* One place is for the made-up /etc. */
		if (l->n_trees == HOST_TREES_MAX - 1)
			return err_set(err, ERR_INVALID, 0,
			    "more than %d trees", HOST_TREES_MAX - 1);
		if (access(value, R_OK) == 0)
			l->trees[l->n_trees++] = xstrdup(value);
		return 0;
	}
	if (strcmp(word, "etc") != 0)
		return err_set(
		    err, ERR_INVALID, 0, "neither `tree` nor `etc`: %s", word);
	if (value[0] == '/' || strstr(value, "..") || l->n_etc == ETC_MAX)
		return err_set(err, ERR_INVALID, 0,
		    "`%s` is no name below /etc, or there are too many", value);
	l->etc[l->n_etc++] = xstrdup(value);
	return 0;
}

static int
read_paths(struct path_list *l, const char *path, struct err *err)
{
	auto_fclose FILE *f = fopen(path, "re");
	char line[PATH_MAX];
	int n = 0;

	if (!f)
		return err_errno(err, "read `%s`", path);
	while (fgets(line, sizeof(line), f)) {
		char *save, *word, *value;

		n++;
		line[strcspn(line, "#\n")] = '\0';
		word = strtok_r(line, " \t", &save);
		if (!word)
			continue;
		value = strtok_r(NULL, " \t", &save);
		if (!value)
			(void)err_set(err, ERR_INVALID, 0, "a path is missing");
		if (!value || add_line(l, word, value, err) < 0)
			return err_wrap(err, "%s:%d", path, n);
	}
	return 0;
}

/* ---- the parts of a host ---- */

static int
add_tree(struct host_view *v, const char *src, const char *dst, struct err *err)
{
	size_t i = v->n_trees;

	v->tree_src[i] = xstrdup(dst);
	v->trees[i].dst = v->tree_src[i];
	v->tree_fd[i] = open(src, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (v->tree_fd[i] < 0)
		return err_errno(err, "open `%s`", src);
	v->n_trees++;
	return 0;
}

/* /bin and its like are links into /usr on a merged system, trees otherwise. */
static int
add_top(struct host_view *v, const char *path, struct err *err)
{
	char target[64];
	struct stat st;
	ssize_t n;

	if (lstat(path, &st) < 0)
		return 0;
	if (!S_ISLNK(st.st_mode))
		return add_tree(v, path, path, err);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return err_errno(err, "read link `%s`", path);
	target[n] = '\0';
	v->link_text[v->n_links] = xstrdup(target);
	v->links[v->n_links] = (struct plan_link){ path,
		v->link_text[v->n_links] };
	v->n_links++;
	return 0;
}

static int
add_trees(struct host_view *v, const struct path_list *l, const char *skeleton,
    struct err *err)
{
	static const char *const tops[] = { "/bin", "/sbin", "/lib", "/lib32",
		"/lib64", "/libx32" };

	for (size_t i = 0; i < l->n_trees; i++)
		if (add_tree(v, l->trees[i], l->trees[i], err) < 0)
			return -1;
	if (add_tree(v, skeleton, "/etc", err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(tops); i++) {
		if (v->n_trees == HOST_TREES_MAX)
			return err_set(err, ERR_SANDBOX, 0, "too many trees");
		if (add_top(v, tops[i], err) < 0)
			return -1;
	}
	return 0;
}

static void
view_done(struct host_view *v)
{
	for (size_t i = 0; i < v->n_trees; i++) {
		free(v->tree_src[i]);
		(void)close(v->tree_fd[i]);
	}
	for (size_t i = 0; i < v->n_links; i++)
		free(v->link_text[i]);
	v->n_trees = v->n_links = 0;
}

/* Built beside the one in use, which is replaced only when all went well. */
static int
load_view(struct sandbox_host *h, struct err *err)
{
	struct path_list list = { .n_trees = 0 };
	struct host_view v = { .n_trees = 0 };
	char skeleton[PATH_MAX];
	int r;

	(void)snprintf(skeleton, sizeof(skeleton), "%s/%u", h->skeleton,
	    h->generation + 1);
	r = read_paths(&list, h->paths, err);
	if (r == 0)
		r = skeleton_build(skeleton, list.etc, list.n_etc, err);
	if (r == 0)
		r = add_trees(&v, &list, skeleton, err);
	path_list_done(&list);
	if (r < 0) {
		view_done(&v);
		return -1;
	}
	view_done(&h->view);
	h->view = v;
	h->generation++;
	/* The old one is held by the mounts that show it, not by its name. */
	skeleton_remove(h->skeleton, h->generation);
	return 0;
}

int
sandbox_host_reload(struct sandbox_host *h, struct err *err)
{
	return load_view(h, err);
}

/*
 * A copy in memory, sealed: nothing inside can reach the file on disk through
 * /proc/1/exe, and an upgrade does not change running sandboxes.
 */
static int
load_program(const char *libexec, const char *name, struct err *err)
{
	auto_buf struct buf code = { .cap = INIT_MAX };
	auto_close int fd = -1;
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", libexec, name);
	if (io_read_file(AT_FDCWD, path, &code, err) < 0)
		return err_wrap(err, "%s", name);
	fd = io_memfd_sealed(name, code.data, code.len, err);
	if (fd < 0)
		return -1;
	if (fchmod(fd, 0555) < 0)
		return err_errno(err, "make %s executable", name);
	return steal_fd(&fd);
}

static int
load_programs(
    struct sandbox_host *h, const struct sandbox_config *cfg, struct err *err)
{
	h->init_fd = load_program(cfg->libexec, "sandbox-init", err);
	if (h->init_fd < 0)
		return -1;
	h->hold_fd = load_program(cfg->libexec, "sandbox-hold.so", err);
	return h->hold_fd < 0 ? -1 : 0;
}

static int
compile_filters(struct sandbox_host *h, struct err *err)
{
	for (int part = 0; part < SECCOMP__COUNT; part++) {
		h->filter_fd[part] = seccomp_compile(
		    (enum seccomp_part)part, err);
		if (h->filter_fd[part] < 0)
			return -1;
	}
	return 0;
}

static struct sandbox_host *
host_new(const struct sandbox_config *cfg)
{
	struct sandbox_host *h = xcalloc(1, sizeof(*h));

	h->init_fd = h->hold_fd = h->devices = -1;
	for (int part = 0; part < SECCOMP__COUNT; part++)
		h->filter_fd[part] = -1;
	for (int k = 0; k < CG__COUNT; k++)
		h->cgroups.dirfd[k] = -1;
	h->paths = xstrdup(cfg->paths);
	h->skeleton = xstrdup(cfg->skeleton);
	h->disk_mb = cfg->disk_mb;
	h->inodes = cfg->inodes;
	h->files = cfg->files;
	h->file_mb = cfg->file_mb;
	h->uid_base = cfg->uid_base;
	h->only_range = -1;
	h->n_ranges = cfg->ranges;
	h->idmap = true;
	h->range_used = xcalloc((cfg->ranges + 63) / 64, sizeof(uint64_t));
	return h;
}

static void
name_layers(struct sandbox_host *h)
{
	(void)snprintf(h->layers, sizeof(h->layers),
	    "user,mount,pid,ipc,uts,cgroup,net,seccomp,nonewprivs,caps,"
	    "cgroup-v%d",
	    h->cgroups.version[CG_MEMORY]);
}

static int
load_devices(struct sandbox_host *h, struct err *err)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/.devices", h->skeleton);
	h->devices = devices_make(path, err);
	return h->devices < 0 ? -1 : 0;
}

struct sandbox_host *
sandbox_host_open(const struct sandbox_config *cfg, struct err *err)
{
	auto_ref(sandbox_host) h = host_new(cfg);

	if (load_view(h, err) < 0 || load_devices(h, err) < 0 ||
	    load_programs(h, cfg, err) < 0 || compile_filters(h, err) < 0 ||
	    cg_layout_open(&h->cgroups, cfg->cgroup, cfg->keeps, err) < 0)
		return NULL;
	if (!h->cgroups.has_swap) {
		(void)err_set(err, ERR_SANDBOX, 0,
		    "swap is on and cannot be limited: boot with "
		    "swapaccount=1, or turn swap off");
		return NULL;
	}
	name_layers(h);
	return steal_ptr(&h);
}

void
sandbox_host_close(struct sandbox_host *h)
{
	if (!h)
		return;
	cg_layout_close(&h->cgroups);
	view_done(&h->view);
	free(h->paths);
	free(h->skeleton);
	cleanup_closep(&h->init_fd);
	cleanup_closep(&h->hold_fd);
	cleanup_closep(&h->devices);
	for (int part = 0; part < SECCOMP__COUNT; part++)
		cleanup_closep(&h->filter_fd[part]);
	free(h->range_used);
	free(h);
}

void
sandbox_host_tidy(struct sandbox_host *h)
{
	(void)cg_remove_leaving(&h->cgroups);
}

const char *
sandbox_host_layers(const struct sandbox_host *h)
{
	return h->layers;
}

static struct plan_input
plan_input(const struct sandbox_host *h, const char *hostname)
{
	return (struct plan_input){
		.trees = h->view.trees,
		.n_trees = h->view.n_trees,
		.links = h->view.links,
		.n_links = h->view.n_links,
		.disk_mb = h->disk_mb,
		.inodes = h->inodes,
		.files = h->files,
		.file_mb = h->file_mb,
		.hostname = hostname,
	};
}

void
host_plan(
    const struct sandbox_host *h, const char *hostname, struct plan *ret_plan)
{
	const struct plan_input in = plan_input(h, hostname);

	plan_build(ret_plan, &in);
}

void
host_plan_nest(
    const struct sandbox_host *h, const char *file, struct plan *ret_plan)
{
	struct plan_input in = plan_input(h, "");

	in.file = file;
	plan_build_nest(ret_plan, &in);
}

void
sandbox_host_print_plan(const struct sandbox_host *h, FILE *out)
{
	struct plan p;

	(void)fputs("# once for a range of user ids: the nest\n", out);
	host_plan_nest(h, NULL, &p);
	plan_print(&p, out);
	plan_done(&p);
	(void)fputs("# for each sandbox in it\n", out);
	host_plan(h, "unsb-vm-00000", &p);
	plan_print(&p, out);
	plan_done(&p);
}

int
host_take_range(struct sandbox_host *h)
{
	if (h->only_range >= 0)
		return h->only_range;
	for (unsigned i = 0; i < h->n_ranges; i++)
		if (!(h->range_used[i / 64] >> (i % 64) & 1)) {
			h->range_used[i / 64] |= UINT64_C(1) << (i % 64);
			return (int)i;
		}
	return -1;
}

void
host_give_range(struct sandbox_host *h, int range)
{
	unsigned i = (unsigned)range;

	h->range_used[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

int
host_clone_trees(const struct sandbox_host *h, int userns_fd,
    int ret_fds[HOST_TREES_MAX], struct err *err)
{
	struct mount_attr attr = {
		.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
			    MOUNT_ATTR_NODEV |
			    (h->idmap ? MOUNT_ATTR_IDMAP : 0),
		.userns_fd = (uint64_t)userns_fd,
	};
	size_t n = 0;

	for (; n < h->view.n_trees; n++) {
		int fd = sys_open_tree(h->view.tree_fd[n], "",
		    OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);

		ret_fds[n] = fd;
		if (fd < 0)
			(void)err_errno(
			    err, "clone tree `%s`", h->view.trees[n].dst);
		else if (sys_mount_setattr(fd, "", AT_EMPTY_PATH, &attr) == 0)
			continue;
		else
			(void)err_errno(err,
			    "show tree `%s` with the sandbox's owners",
			    h->view.trees[n].dst);
		break;
	}
	if (n == h->view.n_trees)
		return 0;
	for (size_t i = 0; i <= n; i++)
		cleanup_closep(&ret_fds[i]);
	return -1;
}

/* ---- for processes that outlive us ---- */

int
sandbox_host_take_range(struct sandbox_host *h)
{
	return host_take_range(h);
}

void
sandbox_host_give_range(struct sandbox_host *h, int range)
{
	host_give_range(h, range);
}

void
sandbox_host_limit_to(struct sandbox_host *h, int range)
{
	h->only_range = range;
}

void
sandbox_host_forget(struct sandbox_host *h)
{
	cg_layout_forget(&h->cgroups);
	for (size_t i = 0; i < h->view.n_trees; i++)
		cleanup_closep(&h->view.tree_fd[i]);
	cleanup_closep(&h->init_fd);
	cleanup_closep(&h->hold_fd);
	cleanup_closep(&h->devices);
	for (int part = 0; part < SECCOMP__COUNT; part++)
		cleanup_closep(&h->filter_fd[part]);
}

size_t
sandbox_host_adopt(
    struct sandbox_host *h, unsigned *ret_serials, int *ret_ranges, size_t max)
{
	size_t n = cg_list_groups(&h->cgroups, "n", ret_serials, max);

	for (size_t i = 0; i < n; i++) {
		long uid = cg_owner_of(&h->cgroups, "n", ret_serials[i]);
		long range = (uid - (long)h->uid_base) / RANGE_SIZE;

		ret_ranges[i] = -1;
		if (uid < (long)h->uid_base || range >= (long)h->n_ranges)
			continue;
		ret_ranges[i] = (int)range;
		h->range_used[range / 64] |= UINT64_C(1) << (range % 64);
	}
	return n;
}

bool
sandbox_host_clear(struct sandbox_host *h, unsigned serial)
{
	char name[32];

	(void)snprintf(name, sizeof(name), "n%u", serial);
	return cg_clear(&h->cgroups, name);
}
