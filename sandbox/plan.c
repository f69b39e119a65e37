/*
 * The order matters.  In a sandbox a size-limited tmpfs is the only writable
 * storage; it is mounted at STAGE (a directory every host has, hidden in this
 * namespace only). Its subdirectory root becomes /, the others hold the
 * writable layers of the overlays, one for each host tree, and cannot be
 * reached by a path afterwards: the mount they are seen through goes away with
 * the old root.
 */
#include "plan.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "mem.h"
#include "msg.h"

#define STAGE "/tmp"
#define ROOT  STAGE "/root"
#define LOWER "/lower" /* of the nest, gone with its root */
#define EMPTY LOWER "/empty"
#define NODES LOWER "/dev"

static const char *const op_names[] = {
#define OP(name, doc) [OP_##name] = #name,
#include "plan_ops.def"
#undef OP
};

static char *printf_like(1, 2) text(const char *fmt, ...)
{
	va_list ap;
	char *s;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n < 0)
		abort();
	return s;
}

static struct plan_op *
add(struct plan *p, enum plan_op_kind kind, const char *src, const char *dst,
    const char *data)
{
	struct plan_op *op;

	p->ops = xreallocarray(p->ops, p->n + 1, sizeof(*p->ops));
	op = &p->ops[p->n++];
	*op = (struct plan_op){ .kind = kind,
		.src = text("%s", src),
		.dst = text("%s", dst),
		.data = text("%s", data) };
	return op;
}

/* dst is a path inside the sandbox. */
static struct plan_op *
add_inside(struct plan *p, enum plan_op_kind kind, const char *src,
    const char *dst, const char *data)
{
	struct plan_op *op = add(p, kind, src, "", data);

	free(op->dst);
	op->dst = text(ROOT "%s", dst);
	return op;
}

static void
add_stage(struct plan *p, const char *opts)
{
	(void)add(p, OP_PRIVATE, "", "/", "");
	(void)add(p, OP_TMPFS, "", STAGE, opts);
	add(p, OP_MKDIR, "", ROOT, "")->mode = 0755;
	(void)add(p, OP_BIND, ROOT, ROOT, "");
}

static void
add_storage(struct plan *p, const struct plan_input *in)
{
	char *opts = text(
	    "size=%ldm,nr_inodes=%ld,mode=0700", in->disk_mb, in->inodes);

	add_stage(p, opts);
	free(opts);
}

/* A tree of the nest, seen through an overlay whose upper layer is in STAGE. */
static void
add_overlay(struct plan *p, const char *dst, unsigned n)
{
	char *upper = text(STAGE "/upper%u", n), *work, *opts;

	work = text(STAGE "/work%u", n);
	opts = text("lowerdir=" LOWER "/%u,upperdir=%s,workdir=%s,userxattr", n,
	    upper, work);
	add(p, OP_MKDIR, "", upper, "")->mode = 0755;
	add(p, OP_MKDIR, "", work, "")->mode = 0755;
	add_inside(p, OP_MKDIR, "", dst, "")->mode = 0755;
	(void)add_inside(p, OP_OVERLAY, "", dst, opts);
	free(upper);
	free(work);
	free(opts);
}

/* A passed tree, attached in the nest for its sandboxes and for what it holds. */
static void
add_tree(struct plan *p, const char *dst, unsigned n)
{
	char *lower = text(LOWER "/%u", n);
	struct plan_op *op;

	add_inside(p, OP_MKDIR, "", lower, "")->mode = 0755;
	add_inside(p, OP_MKDIR, "", dst, "")->mode = 0755;
	op = add_inside(p, OP_TREE, "", lower, "");
	op->fd = n;
	free(lower);
	(void)add_inside(p, OP_BIND, op->dst, dst, "");
}

static void
add_links(struct plan *p, const struct plan_input *in)
{
	for (size_t i = 0; i < in->n_links; i++)
		(void)add_inside(
		    p, OP_SYMLINK, "", in->links[i].dst, in->links[i].target);
}

static void
add_folders(struct plan *p)
{
	static const struct {
		const char *path;
		uint32_t mode;
	} folders[] = {
		{ "/tmp", 01777 },
		{ "/tmp/input", 0777 },
		{ "/tmp/artifacts", 0777 },
		{ "/root", 0700 },
		{ "/home", 0755 },
		{ "/opt", 0755 },
		{ "/mnt", 0755 },
		{ "/srv", 0755 },
		{ "/sys", 0555 },
		{ "/run", 0755 },
		{ "/run/lock", 01777 },
		{ "/var", 0755 },
		{ "/var/tmp", 01777 },
		{ "/var/lib", 0755 },
		{ "/var/log", 0755 },
		{ "/var/cache", 0755 },
		{ "/proc", 0555 },
		{ "/dev", 0755 },
		{ "/dev/shm", 01777 },
		{ "/dev/pts", 0755 },
	};

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		add_inside(p, OP_MKDIR, "", folders[i].path, "")
		    ->mode = folders[i].mode;
	(void)add_inside(p, OP_SYMLINK, "", "/var/run", "/run");
}

/* Those in the folder from. */
static void
add_nodes(struct plan *p, const char *from)
{
	static const char *const nodes[] = {
#define DEVICE(name, major, minor) "/" name,
#include "devices.def"
#undef DEVICE
	};

	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
		char *src = text("%s%s", from, nodes[i]);
		char *dst = text("/dev%s", nodes[i]);

		add_inside(p, OP_FILE, "", dst, "")->mode = 0666;
		(void)add_inside(p, OP_BIND, src, dst, "");
		free(src);
		free(dst);
	}
}

/* The passed devices, attached in the nest for its sandboxes and itself. */
static void
add_own_nodes(struct plan *p, unsigned fd)
{
	add_inside(p, OP_MKDIR, "", NODES, "")->mode = 0755;
	add_inside(p, OP_TREE, "", NODES, "")->fd = fd;
	add_inside(p, OP_MKDIR, "", "/dev", "")->mode = 0755;
	add_nodes(p, ROOT NODES);
}

static void
add_devices(struct plan *p)
{
	static const struct plan_link links[] = {
		{ "/dev/fd", "/proc/self/fd" },
		{ "/dev/stdin", "/proc/self/fd/0" },
		{ "/dev/stdout", "/proc/self/fd/1" },
		{ "/dev/stderr", "/proc/self/fd/2" },
		{ "/dev/ptmx", "pts/ptmx" },
	};

	add_nodes(p, "/dev");
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		(void)add_inside(
		    p, OP_SYMLINK, "", links[i].dst, links[i].target);
	(void)add_inside(p, OP_DEVPTS, "", "/dev/pts",
	    "newinstance,ptmxmode=0666,mode=0620,max=64");
}

/* The lists follow what container runtimes hide and protect (OCI defaults). */
static void
add_proc(struct plan *p)
{
	static const char *const masked[] = { "/proc/acpi", "/proc/asound",
		"/proc/cmdline", "/proc/interrupts", "/proc/kallsyms",
		"/proc/kcore", "/proc/key-users", "/proc/keys", "/proc/kmsg",
		"/proc/kpagecgroup", "/proc/kpagecount", "/proc/kpageflags",
		"/proc/latency_stats", "/proc/modules", "/proc/partitions",
		"/proc/sched_debug", "/proc/schedstat", "/proc/scsi",
		"/proc/slabinfo", "/proc/sysrq-trigger", "/proc/timer_list",
		"/proc/timer_stats", "/proc/vmallocinfo", "/proc/config.gz",
		"/proc/driver", "/proc/dynamic_debug" };
	static const char *const readonly[] = { "/proc/bus", "/proc/fs",
		"/proc/irq", "/proc/sys" };

	(void)add_inside(p, OP_PROC, "", "/proc", "");
	for (size_t i = 0; i < sizeof(masked) / sizeof(masked[0]); i++)
		add_inside(p, OP_MASK, EMPTY, masked[i], "")
		    ->flags = PLAN_OPTIONAL;
	for (size_t i = 0; i < sizeof(readonly) / sizeof(readonly[0]); i++)
		add_inside(p, OP_READONLY, "", readonly[i], "")
		    ->flags = PLAN_OPTIONAL;
}

static void
add_limit(struct plan *p, uint32_t resource, const char *name, uint64_t value)
{
	struct plan_op *op = add(p, OP_LIMIT, "", name, "");

	op->mode = resource;
	op->value = value;
}

static void
add_lockdown(struct plan *p, const struct plan_input *in)
{
	add_limit(p, RLIMIT_CORE, "core", 0);
	add_limit(p, RLIMIT_NOFILE, "nofile", (uint64_t)in->files);
	add_limit(p, RLIMIT_FSIZE, "fsize", (uint64_t)in->file_mb << 20);
	add_limit(p, RLIMIT_MEMLOCK, "memlock", 8 << 20);
	(void)add(p, OP_NONEWPRIVS, "", "", "");
	(void)add(p, OP_CAPS, "", "", "");
	(void)add(p, OP_FILTER, "", "", ""); /* descriptor 0 */
}

/* Some interpreters look whether there is a program before they open it. */
static void
add_placeholder(struct plan *p, const char *file)
{
	char *path = text(STAGE "/%s", file);

	add_inside(p, OP_FILE, "", path, "")->mode = 0644;
	free(path);
}

/*
 * /proc stays as it is: the kernel lets a sandbox mount its own only where a
 * whole one can be seen.
 */
void
plan_build_nest(struct plan *ret_plan, const struct plan_input *in)
{
	struct plan *p = ret_plan;

	*p = (struct plan){ .n = 0 };
	add_stage(p, "size=1m,nr_inodes=256,mode=0755");
	for (size_t i = 0; i < in->n_trees; i++)
		add_tree(p, in->trees[i].dst, (unsigned)i);
	add_inside(p, OP_MKDIR, "", EMPTY, "")->mode = 0755;
	(void)add_inside(p, OP_EMPTY, "", EMPTY, "");
	add_links(p, in);
	add_inside(p, OP_MKDIR, "", STAGE, "")->mode = 01777;
	if (in->file)
		add_placeholder(p, in->file);
	add_inside(p, OP_MKDIR, "", "/root", "")->mode = 0700;
	add_own_nodes(p, (unsigned)in->n_trees);
	add_inside(p, OP_MKDIR, "", "/proc", "")->mode = 0555;
	(void)add_inside(p, OP_PROC, "", "/proc", "");
	(void)add(p, OP_PIVOT, "", ROOT, "");
	(void)add(p, OP_NET, "", "", "");
	(void)add(p, OP_NONEWPRIVS, "", "", "");
	add(p, OP_FILTER, "", "", "")->fd = (unsigned)in->n_trees + 1;
}

void
plan_build(struct plan *ret_plan, const struct plan_input *in)
{
	struct plan *p = ret_plan;

	*p = (struct plan){ .n = 0 };
	add_storage(p, in);
	add_folders(p);
	for (size_t i = 0; i < in->n_trees; i++)
		add_overlay(p, in->trees[i].dst, (unsigned)i);
	add_links(p, in);
	add_devices(p);
	add_proc(p);
	(void)add(p, OP_PIVOT, "", ROOT, "");
	(void)add(p, OP_CGROUPNS, "", "", "");
	(void)add(p, OP_HOSTNAME, "", "", in->hostname);
	add_lockdown(p, in);
}

void
plan_done(struct plan *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free(p->ops[i].src);
		free(p->ops[i].dst);
		free(p->ops[i].data);
	}
	free(p->ops);
	*p = (struct plan){ .n = 0 };
}

void
plan_print(const struct plan *p, FILE *out)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct plan_op *op = &p->ops[i];

		(void)fprintf(out, "%3zu %-10s", i, op_names[op->kind]);
		if (*op->src)
			(void)fprintf(out, " %s ->", op->src);
		if (*op->dst)
			(void)fprintf(out, " %s", op->dst);
		if (*op->data)
			(void)fprintf(out, " (%s)", op->data);
		if (op->kind == OP_MKDIR || op->kind == OP_FILE)
			(void)fprintf(out, " mode=%04o", op->mode);
		if (op->kind == OP_LIMIT)
			(void)fprintf(
			    out, " = %llu", (unsigned long long)op->value);
		if (op->flags & PLAN_OPTIONAL)
			(void)fputs(" if there", out);
		(void)fputc('\n', out);
	}
}

void
plan_encode(const struct plan *p, struct msg_out *o)
{
	msg_put_u32(o, (uint32_t)p->n);
	for (size_t i = 0; i < p->n; i++) {
		const struct plan_op *op = &p->ops[i];

		msg_put_u32(o, (uint32_t)op->kind);
		msg_put_str(o, op->src);
		msg_put_str(o, op->dst);
		msg_put_str(o, op->data);
		msg_put_u32(o, op->mode);
		msg_put_u32(o, op->flags);
		msg_put_u32(o, op->fd);
		msg_put_u64(o, op->value);
	}
}
