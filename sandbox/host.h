#pragma once
/* host.h - the opened host, between the files of this folder. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cgroup.h"
#include "plan.h"
#include "seccomp.h"

enum { HOST_TREES_MAX = 10, HOST_LINKS_MAX = 8 };

/* What sandboxes see of the host; read again by sandbox_host_reload(). */
struct host_view {
	char *tree_src[HOST_TREES_MAX]; /* owned: path on the host */
	struct plan_tree trees[HOST_TREES_MAX];
	int tree_fd[HOST_TREES_MAX]; /* O_PATH of the source */
	size_t n_trees;
	struct plan_link links[HOST_LINKS_MAX];
	char *link_text[HOST_LINKS_MAX]; /* owned: what links point to */
	size_t n_links;
};

struct sandbox_host {
	struct cg_layout cgroups;
	int init_fd; /* the sandbox-init program, a sealed copy in memory */
	int hold_fd; /* sandbox-hold.so, the same */
	int filter_fd[SECCOMP__COUNT];
	int devices; /* what devices_make() gave */
	struct host_view view;
	char *paths;         /* owned: the list's file */
	char *skeleton;      /* owned: where the made-up /etc is built */
	unsigned generation; /* of the skeleton */
	long disk_mb, inodes, files, file_mb;
	uint32_t uid_base;
	unsigned n_ranges;
	uint64_t *range_used; /* bitmap, owned */
	int only_range;       /* -1: any that is free */
	bool idmap; /* trees can be shown with the sandbox's own owners */
	char layers[160];
};

enum { RANGE_SIZE = 65536 };

/* A free range of host uids; -1 when all are in use. */
int host_take_range(struct sandbox_host *h);
void host_give_range(struct sandbox_host *h, int range);

void host_plan(
    const struct sandbox_host *h, const char *hostname, struct plan *ret_plan);
void host_plan_nest(
    const struct sandbox_host *h, const char *file, struct plan *ret_plan);
/*
 * Detached, read-only clones of the trees, id-mapped into userns_fd where the
 * file system can; the caller closes them.
 */
int host_clone_trees(const struct sandbox_host *h, int userns_fd,
    int ret_fds[HOST_TREES_MAX], struct err *err);

/*
 * devices.c.  Makes a folder of devices at path, for which it needs CAP_MKNOD,
 * and opens it: the caller closes it.  -1: err says which device.
 */
int devices_make(const char *path, struct err *err);
/*
 * A detached mount of the devices in such a folder, each an inode that no other
 * mount has; the caller closes it.
 */
int devices_mount(int dir, struct err *err);

/* skeleton.c: the made-up /etc; names are the allow-listed ones. */
int skeleton_build(
    const char *dir, char *const *names, size_t n_names, struct err *err);
/* Removes those below dir that are not of this generation; not `.NAME`. */
void skeleton_remove(const char *dir, unsigned keep);
