#pragma once
/*
 * plan.h - the set-up of a sandbox as data: a list of operations that is built,
 * can be printed and tested, travels to init, and is executed there by
 * init_setup.c.  Paths are those of the new mount namespace before pivot_root.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "err.h"

struct msg_out;
struct msg_in;

enum plan_op_kind {
#define OP(name, doc) OP_##name,
#include "plan_ops.def"
#undef OP
	OP__COUNT
};

enum plan_flag {
	PLAN_OPTIONAL = 1, /* a missing path is no failure */
	PLAN_READONLY = 2,
	PLAN_NOEXEC = 4,
};

struct plan_op {
	enum plan_op_kind kind;
	char *src;      /* owned; "" when the kind has none */
	char *dst;      /* owned */
	char *data;     /* mount options, file content, link target; owned */
	uint32_t mode;  /* permissions, or a resource for LIMIT */
	uint32_t flags; /* enum plan_flag */
	uint32_t fd;    /* index of a descriptor sent along, for TREE, FILTER */
	uint64_t value; /* of LIMIT */
};

struct plan {
	struct plan_op *ops; /* owned */
	size_t n;
};

/* What a plan is made from. */
struct plan_tree {
	const char *dst; /* absolute path inside, "/usr" */
};

struct plan_link {
	const char *dst;    /* "/bin" */
	const char *target; /* "usr/bin" */
};

struct plan_input {
	/* fd k belongs to tree k of a nest; then the devices, the filter */
	const struct plan_tree *trees;
	size_t n_trees;
	const struct plan_link *links;
	size_t n_links;
	long disk_mb;
	long inodes;
	long files;
	long file_mb;
	const char *hostname;
	const char *file; /* what a held program looks for in /tmp, or NULL */
};

/*
 * The nest: the trees, read-only and with the owners of its range, at /lower/K
 * and where programs look for them; nothing to write to.
 */
void plan_build_nest(struct plan *ret_plan, const struct plan_input *in);
/* A sandbox that is forked in a nest. */
void plan_build(struct plan *ret_plan, const struct plan_input *in);
void plan_done(struct plan *p);
void plan_print(const struct plan *p, FILE *out);
void plan_encode(const struct plan *p, struct msg_out *o);
