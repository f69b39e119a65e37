/*
 * unfarm-worker - takes jobs and runs them in sandboxes.
 *
 * Theory of operation.  One master (master.c) and a few worker processes, one a
 * core by default; the master starts them and starts them again.
 *
 *   master   root with the capabilities of procs.def.  Makes sandboxes, hands
 *            their descriptors to the workers, destroys them.  Never talks to
 *            Redis and never sees a byte of a client.
 *   worker   an ordinary account, no capability.  An event loop over many jobs:
 *            takes them from Redis under a lease (fetch.c), puts each through a
 *            sandbox (task.c), reports.  Talks to the sandbox's init over a
 *            socket, and reads the program's pipes; touches no file of it.
 *   init     in the sandbox, see sandbox/init.c.
 *
 * A worker's descriptors: 0-2, 3 the wire to the master, three connections to
 * Redis, and for each sandbox its control socket and the files of its cgroup.
 *
 * SIGTERM to the master: the workers take no more, finish or give back what
 * they have, and end.  SIGHUP: languages and host files are read again.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache.h"
#include "cleanup.h"
#include "clock.h"
#include "confine.h"
#include "log.h"
#include "master.h"
#include "mem.h"
#include "proc.h"
#include "task.h"
#include "toolchain.h"
#include "worker.h"

#define DEFAULT_CONF "/etc/unfarm/unfarm.conf"

/* ---- small things that several files need ---- */

struct registry *
registry_ref(struct registry *r)
{
	r->refs++;
	return r;
}

void
registry_unref(struct registry *r)
{
	if (--r->refs > 0)
		return;
	lang_free(r->langs);
	free(r);
}

static struct registry *
registry_load(const struct worker *w, struct err *err)
{
	struct lang_registry *langs = lang_load(
	    w->settings.farm_share_dir, err);
	struct registry *r;

	if (!langs)
		return NULL;
	r = xcalloc(1, sizeof(*r));
	r->langs = langs;
	r->refs = 1;
	return r;
}

/* Walks trees: it may take long.  Any thread. */
static void
registry_survey(struct registry *r, const struct worker *w)
{
	const struct settings *s = &w->settings;
	char paths[SETTINGS_STR_MAX + 16];

	if (!w->cache)
		return;
	(void)snprintf(paths, sizeof(paths), "%s%s",
	    *s->sandbox_paths ? s->sandbox_paths : s->farm_share_dir,
	    *s->sandbox_paths ? "" : "/sandbox.paths");
	toolchain_survey(paths, r->host);
}

void
worker_set_can(struct worker *w, const char *names)
{
	auto_free char *copy = xstrdup(names);
	char *save, *name;

	for (size_t i = 0; i < w->n_can; i++)
		free(w->can[i]);
	w->n_can = 0;
	for (name = strtok_r(copy, " ", &save); name;
	     name = strtok_r(NULL, " ", &save)) {
		w->can = reallocarray(w->can, w->n_can + 1, sizeof(char *));
		if (!w->can || !(w->can[w->n_can] = strdup(name)))
			abort();
		w->n_can++;
	}
	if (!w->store)
		return;
	fetch_beat_now(w);
	fetch_look(w);
}

void
worker_check_drained(struct worker *w)
{
	if (w->draining && w->n_tasks == 0 && w->n_reports == 0 &&
	    !w->take_in_flight)
		uv_stop(&w->loop);
}

/* ---- signals of a worker process ---- */

static void
on_drain_over(uv_timer_t *timer)
{
	struct worker *w = timer->data;
	struct task *t;

	LIST_FOREACH (t, &w->tasks, link)
		if (*t->id && t->phase != TASK_DONE) {
			t->given_back = true;
			task_kill(t, REASON_cancelled);
		}
}

static void
on_term(uv_signal_t *s, int sig)
{
	struct worker *w = s->data;

	(void)sig;
	if (w->draining)
		return;
	w->draining = true;
	log_info(NULL, "draining|jobs=%zu", w->n_tasks);
	fetch_beat_now(w); /* no languages: nothing is sent here any more */
	fetch_look(w);     /* and nobody waits to be sent something */
	(void)uv_timer_start(&w->drain, on_drain_over,
	    (uint64_t)w->settings.worker_drain_seconds * 1000, 0);
	worker_check_drained(w);
}

/* ---- reload: the host is looked at by a thread, while jobs go on ---- */

struct reload {
	uv_work_t work;
	struct worker *worker;
	struct registry *registry; /* owned */
};

static void
survey(uv_work_t *work)
{
	struct reload *l = work->data;

	registry_survey(l->registry, l->worker);
}

static void reload_start(struct worker *w);

static void
on_surveyed(uv_work_t *work, int status)
{
	struct reload *l = work->data;
	struct worker *w = l->worker;

	(void)status;
	registry_unref(w->registry);
	w->registry = l->registry;
	w->reload = NULL;
	free(l);
	log_info(NULL, "reloaded");
	slots_renew(w);
	if (w->first)
		canary_start(w);
	if (w->reload_again)
		reload_start(w);
}

static void
reload_start(struct worker *w)
{
	struct err err;
	struct registry *r = registry_load(w, &err);

	w->reload_again = false;
	if (!r) {
		log_err(NULL, "reload: %s, keeping what was", err.msg);
		return;
	}
	w->reload = xcalloc(1, sizeof(*w->reload));
	w->reload->work.data = w->reload;
	w->reload->worker = w;
	w->reload->registry = r;
	(void)uv_queue_work(&w->loop, &w->reload->work, survey, on_surveyed);
}

/* What the survey under way has seen already may have changed since. */
static void
on_hup(uv_signal_t *s, int sig)
{
	struct worker *w = s->data;

	(void)sig;
	if (w->reload)
		w->reload_again = true;
	else
		reload_start(w);
}

static void
watch(struct worker *w, uv_signal_t *s, int sig, uv_signal_cb cb)
{
	(void)uv_signal_init(&w->loop, s);
	s->data = w;
	(void)uv_signal_start(s, cb, sig);
}

/* ---- a worker process ---- */

static long
share_of(long total, long parts, long index)
{
	long n = total / parts + (index < total % parts ? 1 : 0);

	return n > 0 ? n : 1;
}

/* argv: index, instance, node, dead instances, languages that work, layers */
static void
worker_init(struct worker *w, char **argv)
{
	const struct settings *s = &w->settings;
	long index = strtol(argv[0], NULL, 10);

	w->first = index == 0;
	(void)snprintf(w->instance, sizeof(w->instance), "%s", argv[1]);
	(void)snprintf(w->node, sizeof(w->node), "%s", argv[2]);
	w->abandoned = argv[3];
	w->layers = argv[5];
	w->slots = share_of(node_slots(s), node_processes(s), index);
	w->warm = share_of(node_warm(s), node_processes(s), index);
	w->cores = proc_cores();
	w->max_vcpu = node_max_vcpu(s);
	LIST_INIT(&w->tasks);
	worker_set_can(w, argv[4]);
}

/*
 * With a cache it may write, but in that folder only; where the kernel cannot
 * promise that, it has neither.
 */
static void
open_cache(struct worker *w)
{
	uint64_t limit = (uint64_t)w->settings.worker_cache_mb << 20;
	char path[SETTINGS_STR_MAX + 16];
	struct err err;

	if (limit == 0)
		return;
	node_cache_dir(&w->settings, path, sizeof(path));
	w->cache = cache_open(path, limit, &err);
	if (w->cache && confine_writes(cache_fd(w->cache), &err) == 0)
		return;
	log_warn(NULL, "compiled programs are not kept: %s", err.msg);
	cache_close(w->cache);
	w->cache = NULL;
}

static int
worker_main(const struct settings *s, char **argv)
{
	static struct worker w;
	uv_signal_t term, intr, hup;
	sigset_t none;
	struct err err;

	w.settings = *s;
	worker_init(&w, argv);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)uv_loop_init(&w.loop);
	if (proc_drop_user(s->worker_user, &err) < 0)
		die("unfarm-worker", &err);
	open_cache(&w);
	if (proc_lock_down(w.cache ? PROC_caching_worker : PROC_worker, &err) <
		0 ||
	    !(w.registry = registry_load(&w, &err)))
		die("unfarm-worker", &err);
	registry_survey(w.registry, &w);
	if (fetch_start(&w, &err) < 0)
		die("unfarm-worker", &err);
	(void)uv_timer_init(&w.loop, &w.drain);
	w.drain.data = &w;
	watch(&w, &term, SIGTERM, on_term);
	watch(&w, &intr, SIGINT, on_term);
	watch(&w, &hup, SIGHUP, on_hup);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL); /* held over exec */
	slots_start(&w);
	if (w.first) /* what we were told may be only a part */
		canary_start(&w);
	(void)uv_run(&w.loop, UV_RUN_DEFAULT);
	log_info(NULL, "worker ended");
	if (w.reload) /* exit() would wait for its thread */
		_exit(0);
	return 0;
}

/* ---- command line ---- */

static const char usage[] =
    "Usage: unfarm-worker [-c FILE]\n"
    "Take jobs from the farm's queue and run them in sandboxes.\n\n"
    "  -c, --config FILE  settings (default " DEFAULT_CONF ")\n"
    "      --version      print the version\n"
    "  -h, --help         print this\n";

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "child", no_argument, NULL, 'C' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *conf = DEFAULT_CONF;
	bool child = false;
	struct settings s;
	struct err err;
	int o;

	while ((o = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		if (o == 'c') {
			conf = optarg;
		} else if (o == 'C') {
			child = true;
		} else if (o == 'V') {
			(void)puts("unfarm-worker " UNFARM_VERSION);
			return 0;
		} else {
			(void)fputs(usage, o == 'h' ? stdout : stderr);
			return o == 'h' ? 0 : 64;
		}
	}
	if (proc_hide_memory(&err) < 0 || settings_load(&s, conf, &err) < 0)
		die("unfarm-worker", &err);
	log_init(child ? "worker" : "worker-master",
	    log_level_from_name(s.farm_log_level) < 0
		? LOG_INFO
		: log_level_from_name(s.farm_log_level));
	if (child && argc - optind == 6)
		return worker_main(&s, argv + optind);
	if (geteuid() != 0) {
		(void)fputs("unfarm-worker: must be started as root: it makes "
			    "namespaces and control groups\n",
		    stderr);
		return 77;
	}
	return master_main(&s, conf);
}
