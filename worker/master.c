/*
 * master.c - keeps the worker processes alive and makes their sandboxes.
 *
 * Per worker: a socket pair (wire.h), a pidfd, and the name ("instance") under
 * which it holds leases.  When a worker dies, its sandboxes are killed, and the
 * next one is told the dead name so that it gives the jobs back at once.  The
 * names are also kept in run_dir/worker.instances: a master that was killed
 * itself leaves its successor what it needs.
 * The sandboxes themselves are the pool's (pool.h).
 */
#include "master.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "buf.h"
#include "cleanup.h"
#include "clock.h"
#include "fault.h"
#include "id.h"
#include "io.h"
#include "log.h"
#include "mem.h"
#include "msg.h"
#include "pool.h"
#include "proc.h"
#include "sandbox.h"
#include "wire.h"

enum {
	RESPAWN_MS = 500, /* a worker that dies at once is not spun: */
	RESPAWN_MAX_MS = 4000,
	SETTLED_MS = 10000, /* one that lived this long is started at once */
	INSTANCE_MAX = 64,
	DEAD_MAX = 4096, /* bytes of names of dead workers */
	RANGES_SPARE = 64,
	DRAIN_SLACK_MS = 5000,
};

struct master;

struct child {
	struct master *master;
	unsigned index;
	pid_t pid; /* 0: none runs */
	int wire;  /* -1: none */
	uv_poll_t wire_poll, pid_poll;
	unsigned closing; /* handles on their way out */
	uv_timer_t respawn;
	int64_t pause_ms; /* before the next start */
	int64_t started_ms;
	char instance[INSTANCE_MAX];
};

struct master {
	uv_loop_t loop;
	const struct settings *settings;
	const char *conf_path;
	char node[64];
	struct sandbox_host *host;
	struct child *children;
	unsigned n_children;
	struct pool *pool;
	struct buf can;  /* languages that work, as the first worker said */
	struct buf dead; /* instances whose jobs must be given back */
	uv_signal_t term, intr, hup;
	uv_timer_t drain;
	bool stopping;
};

/* ---- sandboxes ---- */

static void
tell_no_slot(void *owner, const char *kind, const char *why)
{
	const struct child *c = owner;
	unsigned char body[512];
	struct msg_out o = { .data = body };
	struct err err;

	msg_put_str(&o, kind);
	msg_put_str(&o, why);
	/* A full socket: the worker's heartbeat asks again for what it lacks. */
	if (c->wire >= 0 &&
	    msg_send(c->wire, WIRE_NO_SLOT, &o, NULL, 0, &err) < 0)
		log_warn(NULL, "%s", err.msg);
}

static int
give_slot(void *owner, const char *kind, const struct sandbox_grant *g)
{
	struct child *c = owner;
	unsigned char body[256];
	struct msg_out o = { .data = body };
	struct err err;

	msg_put_u32(&o, g->serial);
	msg_put_u32(&o, g->mask);
	msg_put_u32(&o, g->others);
	msg_put_str(&o, kind);
	if (c->wire < 0)
		return -1;
	if (msg_send(c->wire, WIRE_SLOT, &o, g->fds, g->n_fds, &err) == 0)
		return 0;
	tell_no_slot(c, kind, err.msg);
	return -1;
}

/* ---- what a worker says ---- */

static void
forget_dead(struct master *m, const char *instance)
{
	size_t n = strlen(instance);
	char *hit = n && m->dead.data ? strstr(m->dead.data, instance) : NULL;

	if (!hit || hit[n] != ' ')
		return;
	memmove(hit, hit + n + 1, strlen(hit + n + 1) + 1);
	m->dead.len -= n + 1;
}

static void
on_can(struct master *m, const struct child *from, const char *names)
{
	auto_free unsigned char *body = xmalloc(MSG_MAX);
	struct msg_out o = { .data = body };
	struct err err;

	buf_clear(&m->can);
	if (buf_adds(&m->can, names) < 0)
		return;
	msg_put_str(&o, names);
	for (unsigned i = 0; i < m->n_children; i++)
		if (&m->children[i] != from && m->children[i].wire >= 0)
			(void)msg_send(
			    m->children[i].wire, WIRE_CAN, &o, NULL, 0, &err);
}

static void
on_message(struct child *c, const struct msg *msg)
{
	struct master *m = c->master;
	struct wire said;

	if (!wire_read(msg, &said)) {
		log_err(NULL, "a worker says nothing we know|worker=%s",
		    c->instance);
		return;
	}
	if (said.type == WIRE_WANT) {
		pool_want(m->pool, c, said.kind, said.number);
	} else if (said.type == WIRE_DONE) {
		pool_done(m->pool, c, said.number);
	} else if (said.type == WIRE_KILL) {
		pool_kill(m->pool, c, said.number);
	} else if (said.type == WIRE_CAN) {
		on_can(m, c, said.text);
	} else if (said.type == WIRE_ABANDONED) {
		forget_dead(m, said.text);
	}
}

static void
on_wire(uv_poll_t *p, int status, int events)
{
	static struct msg msg; /* large, and for one after the other */
	struct child *c = p->data;
	struct err err;
	int r;

	(void)status;
	(void)events;
	while ((r = msg_recv(c->wire, &msg, &err)) > 0) {
		on_message(c, &msg);
		msg_close_fds(&msg);
	}
	if (r == 0 || err.sys != EAGAIN)
		(void)uv_poll_stop(p); /* its death is told by the pidfd */
}

/* ---- worker processes ---- */

static void
write_instances(const struct master *m)
{
	auto_buf struct buf text = { .cap = (size_t)DEAD_MAX * 2 };
	char path[PATH_MAX];
	struct err err;

	if (m->dead.len > 0)
		(void)buf_add_some(&text, m->dead.data, m->dead.len);
	for (unsigned i = 0; i < m->n_children; i++)
		if (m->children[i].pid > 0)
			(void)!buf_addf(&text, "%s ", m->children[i].instance);
	(void)snprintf(path, sizeof(path), "%s/worker.instances",
	    m->settings->farm_run_dir);
	if (io_write_file(AT_FDCWD, path, text.data ? text.data : "", text.len,
		0600, &err) < 0)
		log_warn(NULL, "%s, ignoring", err.msg);
}

static void
read_instances(struct master *m)
{
	char path[PATH_MAX];
	struct err err;

	(void)snprintf(path, sizeof(path), "%s/worker.instances",
	    m->settings->farm_run_dir);
	if (access(path, F_OK) == 0 &&
	    io_read_file(AT_FDCWD, path, &m->dead, &err) < 0)
		log_warn(NULL, "%s, ignoring", err.msg);
}

static void
exec_worker(const struct master *m, const struct child *c, int wire)
{
	static const int ours[] = { SIGTERM, SIGINT, SIGHUP };
	char index[16];
	const char *argv[] = { "unfarm-worker", "-c", m->conf_path, "--child",
		index, c->instance, m->node,
		m->dead.len > 0 ? m->dead.data : "",
		m->can.len > 0 ? m->can.data : "", sandbox_host_layers(m->host),
		NULL };
	struct err err;

	(void)snprintf(index, sizeof(index), "%u", c->index);
	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		(void)signal(ours[i], SIG_DFL);
	if (dup2(wire, WIRE_FD) < 0 || fcntl(WIRE_FD, F_SETFD, 0) < 0 ||
	    proc_only_std_fds(WIRE_FD, &err) < 0)
		_exit(70);
	(void)execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
	_exit(71);
}

static void on_child_dead(uv_poll_t *p, int status, int events);

static void on_respawn(uv_timer_t *t);

/* Now if it had lived for a while, else after a growing pause. */
static void
spawn_later(struct child *c)
{
	bool settled = clock_mono_ms() - c->started_ms > SETTLED_MS;

	if (c->wire >= 0)
		(void)close(steal_fd(&c->wire));
	c->pause_ms = settled || c->pause_ms == 0 ? RESPAWN_MS
						  : c->pause_ms * 2;
	if (c->pause_ms > RESPAWN_MAX_MS)
		c->pause_ms = RESPAWN_MAX_MS;
	(void)uv_timer_start(&c->respawn, on_respawn, (uint64_t)c->pause_ms, 0);
}

/*
 * Signals are held from before the fork until the worker has its own handlers:
 * none is lost, and none reaches the handlers that it inherited from us.
 */
static pid_t
fork_worker(struct master *m, const struct child *c, int wire)
{
	sigset_t all, before;
	pid_t pid;

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		exec_worker(m, c, wire);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

static void
spawn(struct child *c)
{
	struct master *m = c->master;
	auto_close int theirs = -1;
	char hex[17];
	int sv[2], pidfd;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		0, sv) < 0) {
		log_err(NULL, "make a socket pair: %s", strerror(errno));
		spawn_later(c);
		return;
	}
	c->started_ms = clock_mono_ms();
	c->wire = sv[0];
	theirs = sv[1];
	id_random_hex(hex, 8);
	(void)snprintf(
	    c->instance, sizeof(c->instance), "%.40s-%s", m->node, hex);
	c->pid = fork_worker(m, c, theirs);
	FAULT(master_respawning);
	pidfd = c->pid > 0 ? (int)syscall(SYS_pidfd_open, c->pid, 0) : -1;
	if (pidfd < 0) {
		log_err(NULL, "start a worker: %s", strerror(errno));
		if (c->pid > 0) {
			(void)kill(c->pid, SIGKILL);
			(void)waitpid(c->pid, NULL, 0);
		}
		c->pid = 0;
		spawn_later(c);
		return;
	}
	(void)uv_poll_init(&m->loop, &c->pid_poll, pidfd);
	(void)uv_poll_init(&m->loop, &c->wire_poll, c->wire);
	c->pid_poll.data = c->wire_poll.data = c;
	(void)uv_poll_start(&c->pid_poll, UV_READABLE, on_child_dead);
	(void)uv_poll_start(&c->wire_poll, UV_READABLE, on_wire);
	write_instances(m);
	log_info(NULL, "worker started|worker=%s child=%d", c->instance,
	    (int)c->pid);
}

static void
on_respawn(uv_timer_t *t)
{
	struct child *c = t->data;

	if (!c->master->stopping)
		spawn(c);
}

static void
check_stopped(struct master *m)
{
	if (!m->stopping)
		return;
	for (unsigned i = 0; i < m->n_children; i++)
		if (m->children[i].pid > 0)
			return;
	uv_stop(&m->loop);
}

static void
on_child_closed(uv_handle_t *h)
{
	struct child *c = h->data;

	if (--c->closing > 0)
		return;
	if (c->master->stopping)
		check_stopped(c->master);
	else
		spawn_later(c);
}

/* Its sandboxes die first: a job must not run here and elsewhere. */
static void
bury(struct child *c)
{
	pool_forget_owner(c->master->pool, c);
	(void)!buf_addf(&c->master->dead, "%s ", c->instance);
}

static void
close_poll(struct child *c, uv_poll_t *p)
{
	uv_os_fd_t fd = -1;

	(void)uv_fileno((uv_handle_t *)p, &fd);
	(void)uv_poll_stop(p);
	c->closing++;
	uv_close((uv_handle_t *)p, on_child_closed);
	if (fd >= 0)
		(void)close(fd);
}

static void
on_child_dead(uv_poll_t *p, int status, int events)
{
	struct child *c = p->data;
	int how = 0;

	(void)status;
	(void)events;
	if (waitpid(c->pid, &how, WNOHANG) != c->pid)
		return;
	if (!c->master->stopping || how != 0)
		log_err(
		    NULL, "worker died|worker=%s status=%d", c->instance, how);
	c->pid = 0;
	FAULT(master_noticing);
	bury(c);
	c->wire = -1;
	write_instances(c->master);
	close_poll(c, &c->wire_poll);
	close_poll(c, &c->pid_poll);
}

/* ---- signals ---- */

static void
signal_children(struct master *m, int sig)
{
	for (unsigned i = 0; i < m->n_children; i++)
		if (m->children[i].pid > 0)
			(void)kill(m->children[i].pid, sig);
}

static void
on_drained_too_long(uv_timer_t *t)
{
	log_warn(NULL, "workers did not end in time, killing them");
	signal_children(t->data, SIGKILL);
}

static void
on_stop(uv_signal_t *s, int sig)
{
	struct master *m = s->data;
	uint64_t ms = (uint64_t)m->settings->worker_drain_seconds * 1000;

	if (m->stopping)
		return;
	m->stopping = true;
	log_info(NULL, "draining|signal=%d", sig);
	signal_children(m, SIGTERM);
	(void)uv_timer_start(
	    &m->drain, on_drained_too_long, ms + DRAIN_SLACK_MS, 0);
	check_stopped(m);
}

static void
on_reload(uv_signal_t *s, int sig)
{
	struct master *m = s->data;
	struct err err;

	(void)sig;
	if (pool_reload(m->pool, &err) < 0) {
		log_err(NULL, "reload: %s, keeping what was", err.msg);
		return;
	}
	log_info(NULL, "reloaded");
	signal_children(m, SIGHUP);
}

static void
watch_signals(struct master *m)
{
	(void)uv_signal_init(&m->loop, &m->term);
	(void)uv_signal_init(&m->loop, &m->intr);
	(void)uv_signal_init(&m->loop, &m->hup);
	(void)uv_timer_init(&m->loop, &m->drain);
	m->term.data = m->intr.data = m->hup.data = m->drain.data = m;
	(void)uv_signal_start(&m->term, on_stop, SIGTERM);
	(void)uv_signal_start(&m->intr, on_stop, SIGINT);
	(void)uv_signal_start(&m->hup, on_reload, SIGHUP);
}

/* ---- start and end ---- */

struct host_paths {
	char list[PATH_MAX + 32], skeleton[PATH_MAX];
};

static void
host_config(const struct settings *s, struct host_paths *p,
    struct sandbox_config *ret_cfg)
{
	long ranges = node_slots(s) + node_warm(s) + RANGES_SPARE;

	*ret_cfg = (struct sandbox_config){
		.cgroup = s->sandbox_cgroup,
		.paths = *s->sandbox_paths ? s->sandbox_paths : p->list,
		.skeleton = p->skeleton,
		.libexec = s->farm_libexec_dir,
		.uid_base = (uint32_t)s->sandbox_uid_base,
		.ranges = (unsigned)(ranges < 4096 ? ranges : 4096),
		.disk_mb = s->sandbox_disk_mb,
		.inodes = s->sandbox_inodes,
		.files = s->sandbox_files,
		.file_mb = s->sandbox_file_mb,
	};
	(void)snprintf(
	    p->list, sizeof(p->list), "%s/sandbox.paths", s->farm_share_dir);
	(void)snprintf(p->skeleton, sizeof(p->skeleton), "%s/sandbox-etc",
	    s->farm_data_dir);
}

static void
start_children(struct master *m)
{
	m->n_children = (unsigned)node_processes(m->settings);
	m->children = xcalloc(m->n_children, sizeof(*m->children));
	for (unsigned i = 0; i < m->n_children; i++) {
		struct child *c = &m->children[i];

		c->master = m;
		c->index = i;
		c->wire = -1;
		(void)uv_timer_init(&m->loop, &c->respawn);
		c->respawn.data = c;
		spawn(c);
	}
}

/*
 * A folder of the workers' account for what they compile.  One that is there
 * stays as it is: it may be somebody else's.  Without it all works, slower.
 */
static void
make_cache_dir(const struct settings *s)
{
	char path[PATH_MAX];
	struct err err;
	uid_t uid;
	gid_t gid;

	if (s->worker_cache_mb == 0)
		return;
	node_cache_dir(s, path, sizeof(path));
	if (proc_find_user(s->worker_user, &uid, &gid, &err) < 0) {
		log_warn(NULL, "no folder for compiled programs: %s", err.msg);
		return;
	}
	if (mkdir(path, 0700) == 0 ? chown(path, uid, gid) < 0
				   : errno != EEXIST)
		log_warn(NULL, "no folder for compiled programs: `%s`: %s",
		    path, strerror(errno));
}

/*
 * What cannot be isolated is refused now, not with the first job: by what
 * `unfarm doctor` tries, and then with our own groups and rights.
 */
static int
start(struct master *m, struct err *err)
{
	char pid_file[PATH_MAX];
	struct host_paths paths = { .list = "" };
	struct sandbox_config cfg;

	(void)snprintf(pid_file, sizeof(pid_file), "%s/worker.pid",
	    m->settings->farm_run_dir);
	host_config(m->settings, &paths, &cfg);
	if (sandbox_host_refuse(&cfg, stderr) > 0)
		return err_set(err, ERR_SANDBOX, 0,
		    "this host cannot keep what SECURITY.md promises; "
		    "nothing is weakened: `unfarm doctor` says the same");
	if (io_mkdir_all(m->settings->farm_data_dir, 0755, err) < 0 ||
	    io_mkdir_all(m->settings->farm_run_dir, 0755, err) < 0)
		return -1;
	make_cache_dir(m->settings);
	if (!(m->host = sandbox_host_open(&cfg, err)) ||
	    proc_write_pid(pid_file, err) < 0 ||
	    proc_lock_down(PROC_master, err) < 0 || sandbox_lock_down(err) < 0)
		return -1;
	return sandbox_host_try(m->host, err);
}

/* A host that cannot isolate: what, why, and how to get it. */
static void
refuse_host(const struct err *err)
{
	(void)fprintf(stderr,
	    "unfarm-worker: %s\n"
	    "unfarm-worker: how to get it: %s\n"
	    "unfarm-worker: `unfarm doctor` tries everything that a worker "
	    "needs\n",
	    err->msg, sandbox_advice(err));
	exit(err_exit_status(err->code));
}

static void
close_handle(uv_handle_t *h, void *arg)
{
	(void)arg;
	if (!uv_is_closing(h))
		uv_close(h, NULL);
}

int
master_main(const struct settings *s, const char *conf_path)
{
	static const struct pool_hooks hooks = { give_slot, tell_no_slot };
	struct master m = { .settings = s,
		.conf_path = conf_path,
		.can = { .cap = MSG_MAX / 2 },
		.dead = { .cap = DEAD_MAX } };
	sigset_t stops;
	struct err err;

	/* A stop while we start waits until we can clean up after ourselves. */
	(void)sigemptyset(&stops);
	(void)sigaddset(&stops, SIGTERM);
	(void)sigaddset(&stops, SIGINT);
	(void)sigaddset(&stops, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &stops, NULL);
	node_name(s, m.node, sizeof(m.node));
	(void)signal(SIGPIPE, SIG_IGN);
	(void)uv_loop_init(&m.loop);
	if (start(&m, &err) < 0 ||
	    !(m.pool = pool_new(&m.loop, m.host, s, &hooks, &err))) {
		sandbox_host_close(m.host);
		if (sandbox_advice(&err))
			refuse_host(&err);
		die("unfarm-worker", &err);
	}
	read_instances(&m);
	watch_signals(&m);
	(void)sigprocmask(SIG_UNBLOCK, &stops, NULL);
	log_info(NULL, "started|node=%s isolation=%s", m.node,
	    sandbox_host_layers(m.host));
	start_children(&m);
	(void)uv_run(&m.loop, UV_RUN_DEFAULT);
	pool_free(m.pool);
	uv_walk(&m.loop, close_handle, NULL);
	(void)uv_run(&m.loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&m.loop);
	write_instances(&m);
	sandbox_host_close(m.host);
	free(m.children);
	buf_done(&m.can);
	buf_done(&m.dead);
	log_info(NULL, "stopped");
	return 0;
}
