/*
 * master.c - starts shims and buries them.
 *
 * One loop over poll(): signals, the wire to the server, and a pipe for each
 * shim that is not ready.  A shim is a fork of this process, which therefore
 * has no loop, no connection and no memory of a client that it could hand on.
 *
 * A shim of an earlier master is not our child: the server, which is connected
 * to it, tells us when it is gone (WIRE_KILL), and then its group is cleared.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "io.h"
#include "log.h"
#include "mem.h"
#include "msg.h"
#include "proc.h"
#include "sandbox.h"
#include "sessiond.h"
#include "shim.h"
#include "wire.h"

enum {
	RESPAWN_MS = 500,
	TICK_MS = 50, /* while something is left to be cleared */
	RANGES_SPARE = 64,
	/* Serials are the numbers of host names: five digits. */
	SERIAL_MIN = 10000,
	SERIALS = 90000,
	WARMING_MAX = 64,
	SHIMS_MAX = 4096,
};

struct kept {
	TAILQ_ENTRY(kept) link;
	unsigned serial;
	int range; /* -1: not known */
	pid_t pid; /* 0: of an earlier master, or dead */
	int ready; /* pipe: says that it is ready, or why not; -1: it did */
	bool dead; /* its group is to be cleared, and it forgotten */
	bool over; /* its group is to be cleared */
	int status;
};

struct master {
	const struct settings *settings;
	const char *conf_path;
	struct sandbox_host *host;
	TAILQ_HEAD(kept_list, kept) shims;
	int signals;
	pid_t server; /* 0: none */
	int wire;     /* -1: none */
	int64_t server_due_ms;
	bool stopping, ending;
};

/* ---- the server ---- */

static _Noreturn void
exec_server(const struct master *m, int wire)
{
	const char *argv[] = { "unfarm-sessiond", "-c", m->conf_path, "--child",
		NULL };
	sigset_t none;
	struct err err;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(wire, SHIM_CHILD_FD) < 0 ||
	    fcntl(SHIM_CHILD_FD, F_SETFD, 0) < 0 ||
	    proc_only_std_fds(SHIM_CHILD_FD, &err) < 0)
		_exit(70);
	(void)execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
	_exit(71);
}

static void
start_server(struct master *m)
{
	int sv[2];

	m->server_due_ms = clock_mono_ms() + RESPAWN_MS;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		0, sv) < 0)
		return;
	m->server = fork();
	if (m->server == 0)
		exec_server(m, sv[1]);
	(void)close(sv[1]);
	m->wire = sv[0];
	if (m->server < 0) {
		m->server = 0;
		cleanup_closep(&m->wire);
		m->wire = -1;
	}
}

static void
tell(const struct master *m, enum wire_type type, const struct msg_out *o)
{
	struct err err;

	if (m->wire >= 0 && msg_send(m->wire, type, o, NULL, 0, &err) < 0)
		log_warn(NULL, "tell the server: %s", err.msg);
}

static void
tell_serial(
    const struct master *m, enum wire_type type, unsigned serial, int status)
{
	unsigned char body[16];
	struct msg_out o = { .data = body };

	msg_put_u32(&o, serial);
	if (type == WIRE_DEAD)
		msg_put_u32(&o, (uint32_t)status);
	tell(m, type, &o);
}

/* ---- shims ---- */

static struct kept *
find(struct master *m, unsigned serial)
{
	struct kept *k;

	TAILQ_FOREACH (k, &m->shims, link)
		if (k->serial == serial)
			return k;
	return NULL;
}

static unsigned
new_serial(struct master *m)
{
	uint32_t r;

	do {
		if (getrandom(&r, sizeof(r), 0) != (ssize_t)sizeof(r))
			abort();
		r = SERIAL_MIN + r % SERIALS;
	} while (find(m, r));
	return r;
}

static struct kept *
keep(struct master *m, unsigned serial, int range)
{
	struct kept *k = xcalloc(1, sizeof(*k));

	k->serial = serial;
	k->range = range;
	k->ready = -1;
	TAILQ_INSERT_TAIL(&m->shims, k, link);
	return k;
}

/* In the fork: nothing of ours but the host goes with it. */
static _Noreturn void
become_shim(struct master *m, const struct kept *k, int ready)
{
	struct kept *other;
	sigset_t none;

	(void)setsid();
	(void)close(m->signals);
	cleanup_closep(&m->wire);
	TAILQ_FOREACH (other, &m->shims, link)
		cleanup_closep(&other->ready);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	log_init("session", log_level_from_name(m->settings->farm_log_level));
	sandbox_host_limit_to(m->host, k->range);
	shim_main(m->settings, m->host, k->serial, ready);
}

static void
start_shim(struct master *m)
{
	int range = sandbox_host_take_range(m->host), p[2];
	struct kept *k;

	if (range < 0 || pipe2(p, O_CLOEXEC) < 0) {
		if (range >= 0)
			sandbox_host_give_range(m->host, range);
		log_warn(NULL, "no room for another session");
		return;
	}
	k = keep(m, new_serial(m), range);
	k->pid = fork();
	if (k->pid == 0) {
		(void)close(p[0]);
		become_shim(m, k, p[1]);
	}
	(void)close(p[1]);
	k->ready = p[0];
	if (k->pid < 0) {
		log_err(NULL, "start a shim: %s", strerror(errno));
		k->pid = 0;
		k->dead = true;
	}
}

static void
hear_ready(struct master *m, struct kept *k)
{
	unsigned char body[512];
	struct msg_out o = { .data = body };
	char why[300];
	ssize_t n = read(k->ready, why, sizeof(why) - 1);

	cleanup_closep(&k->ready);
	k->ready = -1;
	if (n == 1 && why[0] == '\0') {
		tell_serial(m, WIRE_READY, k->serial, 0);
		return;
	}
	why[n > 0 ? n : 0] = '\0';
	msg_put_str(&o, n > 0 ? why : "a shim died while it began");
	tell(m, WIRE_FAILED, &o);
}

static void
remove_name(const struct master *m, unsigned serial)
{
	char path[128];

	if (shim_socket_path(m->settings, serial, path, sizeof(path)) == 0)
		(void)unlink(path);
}

/* True when nothing is left of it. */
static bool
clear(struct master *m, struct kept *k)
{
	if (!sandbox_host_clear(m->host, k->serial))
		return false;
	remove_name(m, k->serial);
	if (k->range >= 0)
		sandbox_host_give_range(m->host, k->range);
	tell_serial(m, WIRE_DEAD, k->serial, k->status);
	TAILQ_REMOVE(&m->shims, k, link);
	cleanup_closep(&k->ready);
	free(k);
	return true;
}

/* Whether some are left to be cleared. */
static bool
clear_dead(struct master *m)
{
	struct kept *k, *next;
	bool left = false;

	for (k = TAILQ_FIRST(&m->shims); k; k = next) {
		next = TAILQ_NEXT(k, link);
		if (k->over && !k->dead)
			k->over = !sandbox_host_clear(m->host, k->serial);
		left |= k->dead ? !clear(m, k) : k->over;
	}
	return left;
}

static void
bury(struct master *m)
{
	struct kept *k;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == m->server) {
			if (!m->stopping)
				log_err(
				    NULL, "the server died|status=%d", status);
			m->server = 0;
			cleanup_closep(&m->wire);
			m->wire = -1;
		}
		TAILQ_FOREACH (k, &m->shims, link)
			if (k->pid == pid) {
				k->pid = 0;
				k->dead = true;
				k->status = status;
			}
	}
}

static bool
has_name(const struct master *m, unsigned serial)
{
	char path[128];

	return shim_socket_path(m->settings, serial, path, sizeof(path)) == 0 &&
	       access(path, F_OK) == 0;
}

/* What an earlier master left: alive or not, it is known from here on. */
static void
adopt(struct master *m)
{
	auto_free unsigned *serials = xcalloc(SHIMS_MAX, sizeof(*serials));
	auto_free int *ranges = xcalloc(SHIMS_MAX, sizeof(*ranges));
	size_t n = sandbox_host_adopt(m->host, serials, ranges, SHIMS_MAX);

	for (size_t i = 0; i < n; i++) {
		struct kept *k = keep(m, serials[i], ranges[i]);

		k->dead = !has_name(m, serials[i]);
	}
	if (n > 0)
		log_info(NULL, "found sandboxes of an earlier master|n=%zu", n);
}

/* ---- what the server says ---- */

static void
on_kill(struct master *m, unsigned serial)
{
	struct kept *k = find(m, serial);

	if (!k) {
		remove_name(m, serial);
		return;
	}
	if (k->pid > 0)
		(void)kill(k->pid, SIGKILL);
	else
		k->dead = true;
}

static void
on_over(struct master *m, unsigned serial)
{
	struct kept *k = find(m, serial);

	if (k)
		k->over = true;
}

static void
hear_server(struct master *m)
{
	static struct msg packet; /* for one after the other */
	struct msg_in in;
	struct err err;
	uint32_t n;

	if (msg_recv(m->wire, &packet, &err) <= 0)
		return; /* its death is told by SIGCHLD */
	msg_in_init(&in, &packet);
	n = msg_get_u32(&in);
	/* It sees others die at our end, and asks for more. */
	if (msg_in_done(&in) && packet.hdr.type == WIRE_WARM)
		for (uint32_t i = 0; i < n && i < WARMING_MAX && !m->stopping;
		     i++)
			start_shim(m);
	else if (msg_in_done(&in) && packet.hdr.type == WIRE_KILL)
		on_kill(m, n);
	else if (msg_in_done(&in) && packet.hdr.type == WIRE_OVER)
		on_over(m, n);
	msg_close_fds(&packet);
}

/* ---- the loop ---- */

static void
hear_signal(struct master *m)
{
	struct signalfd_siginfo si;
	struct kept *k;

	if (read(m->signals, &si, sizeof(si)) != (ssize_t)sizeof(si))
		return;
	if (si.ssi_signo == SIGCHLD) {
		bury(m);
		return;
	}
	if (si.ssi_signo == SIGHUP) {
		struct err err;

		if (sandbox_host_reload(m->host, &err) < 0)
			log_err(NULL, "reload: %s, keeping what was", err.msg);
		else
			log_info(NULL, "reloaded");
		if (m->server > 0)
			(void)kill(m->server, SIGHUP);
		return;
	}
	log_info(NULL, "stopping|signal=%u", si.ssi_signo);
	m->stopping = true;
	m->ending = m->ending || si.ssi_signo == SIGQUIT;
	if (m->server > 0)
		(void)kill(m->server, m->ending ? SIGQUIT : SIGTERM);
	if (m->ending)
		TAILQ_FOREACH (k, &m->shims, link)
			on_kill(m, k->serial);
}

static bool
is_over(const struct master *m)
{
	return m->stopping && m->server == 0 &&
	       (!m->ending || TAILQ_EMPTY(&m->shims));
}

/* Descriptors to look at: signals, wire, and those that are not ready. */
static size_t
gather(struct master *m, struct pollfd *p, struct kept **owners)
{
	struct kept *k;
	size_t n = 0;

	p[n++] = (struct pollfd){ .fd = m->signals, .events = POLLIN };
	p[n++] = (struct pollfd){ .fd = m->wire, .events = POLLIN };
	TAILQ_FOREACH (k, &m->shims, link)
		if (k->ready >= 0 && n < WARMING_MAX) {
			owners[n] = k;
			p[n++] = (struct pollfd){ .fd = k->ready,
				.events = POLLIN };
		}
	return n;
}

static void
turn(struct master *m, bool hurry)
{
	struct pollfd p[WARMING_MAX];
	struct kept *owners[WARMING_MAX];
	size_t n = gather(m, p, owners);
	bool wait = m->server == 0 && !m->stopping;

	(void)poll(p, n, hurry || wait ? TICK_MS : -1);
	for (size_t i = 2; i < n; i++)
		if (p[i].revents)
			hear_ready(m, owners[i]);
	if (p[1].revents & POLLIN)
		hear_server(m);
	if (p[0].revents)
		hear_signal(m);
}

static void
run(struct master *m)
{
	bool hurry = false;

	while (!is_over(m)) {
		if (m->server == 0 && !m->stopping &&
		    clock_mono_ms() >= m->server_due_ms)
			start_server(m);
		turn(m, hurry);
		hurry = clear_dead(m);
	}
}

/* ---- begin ---- */

static int
watch_signals(struct master *m, struct err *err)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGQUIT);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	m->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return m->signals < 0 ? err_errno(err, "watch signals") : 0;
}

/* Folders that belong to the account of the shims. */
static int
make_folder(const struct settings *s, const char *parent, struct err *err)
{
	char path[SETTINGS_STR_MAX + 16];
	uid_t uid;
	gid_t gid;

	(void)snprintf(path, sizeof(path), "%s/sessions", parent);
	if (proc_find_user(s->sessiond_user, &uid, &gid, err) < 0 ||
	    io_mkdir_all(parent, 0755, err) < 0 ||
	    io_mkdir_all(path, 0700, err) < 0)
		return -1;
	if (chown(path, uid, gid) < 0 || chmod(path, 0700) < 0)
		return err_errno(
		    err, "give `%s` to `%s`", path, s->sessiond_user);
	return 0;
}

static int
start(struct master *m, struct err *err)
{
	const struct settings *s = m->settings;
	char skeleton[SETTINGS_STR_MAX + 32], paths[SETTINGS_STR_MAX + 16],
	    pid_file[SETTINGS_STR_MAX + 16];
	const struct sandbox_config cfg = {
		.cgroup = s->sessiond_cgroup,
		.paths = paths,
		.skeleton = skeleton,
		.libexec = s->farm_libexec_dir,
		.uid_base = (uint32_t)s->sessiond_uid_base,
		.ranges = (unsigned)(s->sessiond_sessions + s->sessiond_warm +
				     RANGES_SPARE),
		.disk_mb = s->sessiond_disk_mb,
		.inodes = s->sessiond_inodes,
		.files = s->sessiond_files,
		.file_mb = s->sessiond_disk_mb,
		.keeps = true,
	};

	(void)snprintf(paths, sizeof(paths), "%s%s",
	    *s->sandbox_paths ? s->sandbox_paths : s->farm_share_dir,
	    *s->sandbox_paths ? "" : "/sandbox.paths");
	(void)snprintf(
	    skeleton, sizeof(skeleton), "%s/session-skeleton", s->farm_run_dir);
	(void)snprintf(
	    pid_file, sizeof(pid_file), "%s/sessiond.pid", s->farm_run_dir);
	if (make_folder(s, s->farm_run_dir, err) < 0 ||
	    make_folder(s, s->farm_data_dir, err) < 0 ||
	    !(m->host = sandbox_host_open(&cfg, err)) ||
	    proc_write_pid(pid_file, err) < 0 ||
	    proc_lock_down(PROC_session_master, err) < 0 ||
	    sandbox_lock_down(err) < 0)
		return -1;
	return watch_signals(m, err);
}

int
master_main(const struct settings *s, const char *conf_path)
{
	struct master m = { .settings = s, .conf_path = conf_path, .wire = -1 };
	struct err err;

	TAILQ_INIT(&m.shims);
	(void)signal(SIGPIPE, SIG_IGN);
	if (start(&m, &err) < 0)
		die("unfarm-sessiond", &err);
	adopt(&m);
	log_info(NULL, "started|version=%s isolation=%s", UNFARM_VERSION,
	    sandbox_host_layers(m.host));
	run(&m);
	if (TAILQ_EMPTY(&m.shims))
		sandbox_host_close(m.host);
	log_info(NULL, "stopped");
	return 0;
}
