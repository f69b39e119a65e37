#include "mem.h"
#include "sandbox.h"

#include <assert.h>
#include <errno.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include "box.h"
#include "cgroup.h"
#include "cleanup.h"
#include "io.h"
#include "msg.h"
#include "proto.h"

enum {
	SEND_WAIT_MS = 2000,
	TTYAUX_MAJOR = 5,
	PTMX = 2, /* Documentation/admin-guide/devices.txt: char 5, 2 */
};

struct box {
	int control;
	struct cg_files cg;
	unsigned others; /* processes in its cgroup that are not the job's */
};

static_assert(1 + CG_FILE__GRANTED <= SANDBOX_FDS_MAX, "grant has no room");

/* Descriptors in the order of the mask's bits; false when they do not match. */
static bool
sort_out(struct box *b, const struct sandbox_grant *g)
{
	size_t next = 1;

	if (g->n_fds == 0 || g->n_fds > SANDBOX_FDS_MAX || !(g->mask & 1))
		return false;
	b->control = g->fds[0];
	b->cg.v2 = g->mask >> 16;
	for (int k = 0; k < CG_FILE__GRANTED; k++)
		if (g->mask & 2U << k) {
			if (next == g->n_fds)
				return false;
			b->cg.fd[k] = g->fds[next++];
		}
	return next == g->n_fds;
}

struct box *
box_adopt(const struct sandbox_grant *g, struct err *err)
{
	struct box *b = xcalloc(1, sizeof(*b));

	b->control = -1;
	for (int k = 0; k < CG_FILE__COUNT; k++)
		b->cg.fd[k] = -1;
	b->others = g->others;
	if (sort_out(b, g))
		return b;
	for (size_t i = 0; i < g->n_fds; i++)
		(void)close(g->fds[i]);
	free(b);
	(void)err_set(err, ERR_SANDBOX, 0, "descriptors of a sandbox are off");
	return NULL;
}

struct box *
box_new(int control, const struct cg_files *files, unsigned others)
{
	struct box *b = xcalloc(1, sizeof(*b));

	*b = (struct box){ control, *files, others };
	return b;
}

void
box_free(struct box *b)
{
	if (!b)
		return;
	cleanup_closep(&b->control);
	cg_files_close(&b->cg);
	free(b);
}

int
box_fd(const struct box *b)
{
	return b->control;
}

int
box_set_limits(struct box *b, const struct box_limits *limits, struct err *err)
{
	if (cg_set_memory(&b->cg, limits->memory_bytes, err) < 0 ||
	    cg_set_pids(&b->cg, limits->pids + (long)b->others, err) < 0 ||
	    cg_set_cpu(&b->cg, limits->vcpu, err) < 0)
		return err_wrap(err, "limit a sandbox");
	return 0;
}

/* The socket does not block; init reads fast, or is being starved. */
static int
tell(struct box *b, uint16_t type, const struct msg_out *o, const int *fds,
    size_t n_fds, struct err *err)
{
	struct pollfd p = { .fd = b->control, .events = POLLOUT };

	while (msg_send(b->control, type, o, fds, n_fds, err) < 0) {
		if (err->sys != EAGAIN)
			return -1;
		if (poll(&p, 1, SEND_WAIT_MS) <= 0)
			return err_set(
			    err, ERR_SANDBOX, 0, "sandbox-init does not read");
	}
	return 0;
}

/* Room for the message that is being written; pages are used again and again. */
static unsigned char *
message_body(void)
{
	static unsigned char body[MSG_MAX];

	return body;
}

static int
put(struct box *b, const char *path, mode_t mode, enum proto_put_kind kind,
    const char *target, const void *data, size_t n, struct err *err)
{
	struct msg_out o = { .data = message_body() };
	auto_close int fd = -1;

	if (n > PROTO_INLINE_MAX) {
		fd = io_memfd_sealed("input", data, n, err);
		if (fd < 0)
			return -1;
		n = 0;
	}
	msg_put_str(&o, path);
	msg_put_u32(&o, mode);
	msg_put_u32(&o, (uint32_t)kind);
	msg_put_str(&o, target);
	msg_put_bytes(&o, data, n);
	return tell(b, PROTO_PUT, &o, &fd, fd >= 0, err);
}

int
box_put_file(struct box *b, const char *path, mode_t mode, const void *data,
    size_t n, struct err *err)
{
	return put(b, path, mode, PUT_FILE, "", data, n, err);
}

int
box_put_dir(struct box *b, const char *path, mode_t mode, struct err *err)
{
	return put(b, path, mode, PUT_DIR, "", "", 0, err);
}

int
box_put_link(
    struct box *b, const char *path, const char *target, struct err *err)
{
	return put(b, path, 0, PUT_LINK, target, "", 0, err);
}

int
box_run(struct box *b, const struct box_command *cmd, struct err *err)
{
	struct msg_out o = { .data = message_body() };

	msg_put_strs(&o, cmd->argv);
	msg_put_strs(&o, cmd->env);
	msg_put_u64(&o, cmd->address_space);
	return tell(b, PROTO_RUN, &o, cmd->fds, 3, err);
}

int
box_start(
    struct box *b, uint32_t id, const struct box_process *p, struct err *err)
{
	struct msg_out o = { .data = message_body() };

	msg_put_u32(&o, id);
	msg_put_strs(&o, p->argv);
	msg_put_strs(&o, p->env);
	msg_put_str(&o, p->dir ? p->dir : "");
	msg_put_u32(&o, p->terminal);
	msg_put_u32(&o, p->cols);
	msg_put_u32(&o, p->rows);
	return tell(b, PROTO_START, &o, p->fds, p->terminal ? 0 : 3, err);
}

int
box_stop(struct box *b, uint32_t id, struct err *err)
{
	unsigned char body[4];
	struct msg_out o = { .data = body };

	msg_put_u32(&o, id);
	return tell(b, PROTO_STOP, &o, NULL, 0, err);
}

int
box_freeze(struct box *b, unsigned wait_ms, struct err *err)
{
	return cg_freeze(&b->cg, wait_ms, err);
}

int
box_thaw(struct box *b, struct err *err)
{
	return cg_thaw(&b->cg, err);
}

static int
collect(struct box *b, uint16_t type, const char *path, unsigned max_files,
    uint64_t max_bytes, struct err *err)
{
	unsigned char body[1100];
	struct msg_out o = { .data = body };

	if (strlen(path) >= 1024)
		return err_set(err, ERR_INVALID, 0, "path is too long");
	msg_put_str(&o, path);
	msg_put_u32(&o, max_files);
	msg_put_u64(&o, max_bytes);
	return tell(b, type, &o, NULL, 0, err);
}

int
box_collect(struct box *b, const char *path, unsigned max_files,
    uint64_t max_bytes, struct err *err)
{
	return collect(b, PROTO_COLLECT, path, max_files, max_bytes, err);
}

int
box_collect_all(
    struct box *b, unsigned max_names, uint64_t max_bytes, struct err *err)
{
	return collect(b, PROTO_COLLECT_ALL, "/tmp", max_names, max_bytes, err);
}

/* ---- what init says; none of it is trusted ---- */

static void
read_exited(struct msg *m, struct msg_in *in, struct box_event *e)
{
	(void)m;
	e->kind = BOX_EXITED;
	e->status = (int)msg_get_u32(in);
	e->cpu_us = (int64_t)msg_get_u64(in);
	e->rss_max = (int64_t)msg_get_u64(in);
}

static void
read_failed(struct msg *m, struct msg_in *in, struct box_event *e)
{
	const char *text = msg_get_str(in);
	uint32_t code = msg_get_u32(in), sys = msg_get_u32(in);

	(void)m;
	e->kind = BOX_FAILED;
	(void)err_set(&e->failure,
	    code > ERR_OK && code < ERR__COUNT ? (enum err_code)code : ERR_SYS,
	    0, "%.200s", text);
	e->failure.sys = (int)sys;
}

/*
 * A FIFO or a device in disguise would block or act when read, and so may a
 * file of /proc: only what a sandbox can store is taken.
 */
static bool
is_stored(int fd)
{
	struct statfs fs;
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       fstatfs(fd, &fs) == 0 &&
	       (fs.f_type == TMPFS_MAGIC || fs.f_type == OVERLAYFS_SUPER_MAGIC);
}

static void
read_file(struct msg *m, struct msg_in *in, struct box_event *e)
{
	const char *name = msg_get_str(in);

	e->kind = BOX_FILE;
	e->size = msg_get_u64(in);
	if (m->n_fds != 1 || strlen(name) >= sizeof(e->name) ||
	    !io_name_is_inside(name) || !is_stored(m->fds[0])) {
		in->bad = true;
		return;
	}
	memcpy(e->name, name, strlen(name) + 1);
	e->fd = steal_fd(&m->fds[0]);
}

static void
read_folder(struct msg *m, struct msg_in *in, struct box_event *e)
{
	const char *name = msg_get_str(in);

	(void)m;
	e->kind = BOX_FOLDER;
	e->mode = msg_get_u32(in) & ACCESSPERMS;
	if (strlen(name) >= sizeof(e->name) || !io_name_is_inside(name)) {
		in->bad = true;
		return;
	}
	memcpy(e->name, name, strlen(name) + 1);
}

static void
read_collected(struct msg *m, struct msg_in *in, struct box_event *e)
{
	(void)m;
	e->kind = BOX_COLLECTED;
	e->truncated = msg_get_u32(in) != 0;
}

/* A terminal of the sandbox's own: nothing else is read or written as one. */
static bool
is_terminal(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) &&
	       major(st.st_rdev) == TTYAUX_MAJOR && minor(st.st_rdev) == PTMX;
}

static void
read_started(struct msg *m, struct msg_in *in, struct box_event *e)
{
	e->kind = BOX_STARTED;
	e->id = msg_get_u32(in);
	e->pid = (pid_t)msg_get_u32(in);
	if (m->n_fds > 1 || (m->n_fds == 1 && !is_terminal(m->fds[0])))
		in->bad = true;
	else if (m->n_fds == 1)
		e->fd = steal_fd(&m->fds[0]);
}

static void
read_refused(struct msg *m, struct msg_in *in, struct box_event *e)
{
	uint32_t id = msg_get_u32(in);

	read_failed(m, in, e);
	e->kind = BOX_REFUSED;
	e->id = id;
}

static void
read_ended(struct msg *m, struct msg_in *in, struct box_event *e)
{
	uint32_t id = msg_get_u32(in);

	read_exited(m, in, e);
	e->kind = BOX_ENDED;
	e->id = id;
}

static const struct {
	enum proto_type type;
	void (*read)(struct msg *m, struct msg_in *in, struct box_event *e);
} readers[] = {
	{ PROTO_EXITED, read_exited },
	{ PROTO_FAILED, read_failed },
	{ PROTO_FILE, read_file },
	{ PROTO_FOLDER, read_folder },
	{ PROTO_COLLECTED, read_collected },
	{ PROTO_STARTED, read_started },
	{ PROTO_REFUSED, read_refused },
	{ PROTO_ENDED, read_ended },
};

static void
read_event(struct msg *m, struct box_event *e)
{
	struct msg_in in;
	bool known = false;

	msg_in_init(&in, m);
	for (size_t i = 0; i < ARRAY_LEN(readers); i++)
		if (readers[i].type == m->hdr.type) {
			readers[i].read(m, &in, e);
			known = true;
		}
	if (!known || !msg_in_done(&in)) {
		cleanup_closep(&e->fd);
		*e = (struct box_event){ .kind = BOX_GONE, .fd = -1 };
	}
}

void
box_receive(struct box *b, struct box_event *ret_event)
{
	static struct msg packet; /* for one after the other */
	struct err err;
	int r;

	*ret_event = (struct box_event){ .kind = BOX_NOTHING, .fd = -1 };
	r = msg_recv(b->control, &packet, &err);
	if (r < 0 && err.sys == EAGAIN)
		return;
	if (r <= 0) {
		ret_event->kind = BOX_GONE;
		return;
	}
	read_event(&packet, ret_event);
	msg_close_fds(&packet);
}

void
box_usage(struct box *b, struct box_usage *ret_usage)
{
	*ret_usage = (struct box_usage){
		.cpu_us = cg_cpu_us(&b->cg),
		.memory_peak = cg_memory_peak(&b->cg),
		.memory_now = cg_memory_usage(&b->cg),
		.oom_kills = cg_oom_kills(&b->cg),
		.pids_refused = cg_pids_refused(&b->cg),
	};
}

int64_t
box_cpu_earliest_us(long vcpu, long cores, int64_t cpu_us)
{
	return cg_cpu_earliest_us(vcpu, cores, cpu_us);
}

void
box_reset_peak(struct box *b)
{
	(void)cg_reset_peak(&b->cg);
}
