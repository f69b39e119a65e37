/*
 * unfarm-scheduler - what must happen when nobody calls.
 *
 * Theory of operation.  One process, one libuv loop, one connection to Redis,
 * no listener and no state of its own: everything it knows is in Redis, so it
 * can be killed at any moment.  Several may run; one leads.
 *
 *   lead     every third of scheduler.lock_ms: take or keep the lock {P}leader
 *            (lead.c decides what an answer, or none, means)
 *   repair   while leading, every scheduler.tick_ms: leases that ran out go
 *            back to the queue or fail, delays end, jobs that nobody takes
 *            fail; when somebody set the clock of Redis (wall.c), all that
 *            counts time begins anew
 *   sweep    while leading, a page of keys a second: books that drifted
 *            (chores.c decides which of the two is due)
 *
 * One call of repair or sweep is under way at a time, and both scripts look at
 * the lock themselves: a scheduler that was stopped for a minute and wakes up
 * believing that it leads changes nothing.
 *
 * Redis away: it leads no more, and asks again when the connection is back
 * (store.c sees to that).  SIGTERM or SIGINT: it gives up the lock if it is its
 * own, so that the other one gets it with its next question, and leaves; it
 * waits for Redis STOP_MS at most.
 *
 * Nothing here is in the path of a job that nothing is wrong with.
 *
 * Started as root it writes its pid file and becomes scheduler.user; the file
 * stays when it ends.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "chores.h"
#include "clock.h"
#include "fault.h"
#include "id.h"
#include "io.h"
#include "lead.h"
#include "log.h"
#include "proc.h"
#include "settings.h"
#include "store.h"
#include "wall.h"

#define PROG         "unfarm-scheduler"
#define DEFAULT_CONF "/etc/unfarm/unfarm.conf"

enum {
	STOP_MS = 1000,           /* for giving up the lock */
	REDIS_DEADLINE_MS = 5000, /* a script that repairs 500 jobs takes 20 */
	NODE_SILENT_MS = 5000,    /* after its beat has expired */
	BACKOFF_MS = 1000,        /* before a second start; then doubled */
	NODE_MAX = 64,
	NUMBER_MAX = 24,
	WHO_MAX = 128,
};

struct scheduler {
	struct settings settings;
	uv_loop_t loop;
	uv_timer_t lead_timer;
	uv_timer_t chore_timer;
	uv_timer_t stop_timer;
	uv_signal_t signals[2];
	struct store *store;
	struct lead lead;
	struct chores chores;
	struct wall wall;
	char who[WHO_MAX]; /* this process in the lock: node/pid/random */
	bool stopping;
};

/* ---- chores ---- */

static void run_chores(struct scheduler *s);
static void on_lead_change(struct scheduler *s, enum lead_change change);

static void
on_chore_timer(uv_timer_t *t)
{
	run_chores(t->data);
}

static void
log_chore(const struct chore_result *r)
{
	if (r->set_by_ms != 0)
		log_warn(NULL,
		    "the clock of redis was set: leases, retries and waits "
		    "begin anew|by_ms=%lld",
		    r->set_by_ms);
	if (!r->repaired)
		return;
	if (r->sessions_lost > 0)
		log_warn(NULL, "sessions of a dead node are lost|sessions=%lld",
		    r->sessions_lost);
	if (r->slots_freed > 0)
		log_warn(NULL, "freed slots that no lease backed|slots=%lld",
		    r->slots_freed);
	else
		log_info(NULL,
		    "repaired|expired=%lld promoted=%lld given_up=%lld",
		    r->expired, r->promoted, r->given_up);
}

static void
on_chore(void *ctx, const redisReply *reply, const struct err *err)
{
	struct scheduler *s = ctx;
	struct chore_result r;

	if (err) {
		chores_failed(&s->chores, clock_mono_ms());
		if (!s->stopping && err->code != ERR_UNAVAILABLE)
			log_err(NULL, "a repair failed: %s", err->msg);
	} else {
		FAULT(scheduler_repaired);
		r = chores_done(&s->chores, reply, clock_mono_ms());
		log_chore(&r);
		if (r.redis_ms > 0)
			wall_learn(&s->wall, r.redis_ms, clock_mono_ms());
		if (!r.leads)
			on_lead_change(s, lead_step_down(&s->lead));
	}
	run_chores(s);
}

static void
start_repair(struct scheduler *s)
{
	const struct settings *set = &s->settings;
	char batch[NUMBER_MAX], attempts[NUMBER_MAX], ttl[NUMBER_MAX];
	char backoff[NUMBER_MAX], longest[NUMBER_MAX], lease[NUMBER_MAX];
	char expected[NUMBER_MAX] = "";
	int64_t expect_ms = wall_expect(&s->wall, clock_mono_ms());

	(void)snprintf(batch, sizeof(batch), "%ld", set->scheduler_batch);
	(void)snprintf(
	    attempts, sizeof(attempts), "%ld", set->job_max_attempts);
	(void)snprintf(ttl, sizeof(ttl), "%ld", set->job_result_seconds * 1000);
	(void)snprintf(backoff, sizeof(backoff), "%d", BACKOFF_MS);
	(void)snprintf(
	    longest, sizeof(longest), "%ld", set->job_wait_seconds * 1000);
	(void)snprintf(
	    lease, sizeof(lease), "%ld", set->job_lease_seconds * 1000);
	if (expect_ms >= 0)
		(void)snprintf(
		    expected, sizeof(expected), "%" PRId64, expect_ms);
	FAULT(scheduler_repairing);
	store_eval_str(s->store, STORE_repair, on_chore, s, s->who, batch,
	    attempts, ttl, backoff, longest, lease, expected, (char *)NULL);
}

static void
start_sweep(struct scheduler *s)
{
	FAULT(scheduler_sweeping);
	store_eval_str(s->store, STORE_sweep, on_chore, s, s->who,
	    s->chores.cursor, (char *)NULL);
}

static void
start_sessions(struct scheduler *s)
{
	char silent[24], batch[24];

	(void)snprintf(silent, sizeof(silent), "%d", NODE_SILENT_MS);
	(void)snprintf(batch, sizeof(batch), "%ld", s->chores.batch);
	store_eval_str(s->store, STORE_session_sweep, on_chore, s, s->who,
	    silent, batch, (char *)NULL);
}

/* Starts what is due, and sets the timer for what will be. */
static void
run_chores(struct scheduler *s)
{
	int64_t now = clock_mono_ms();

	on_lead_change(s, lead_check(&s->lead, now));
	if (!s->lead.leading || s->stopping) {
		(void)uv_timer_stop(&s->chore_timer);
		return;
	}
	switch (chores_next(&s->chores, now)) {
	case CHORE_REPAIR:
		start_repair(s);
		break;
	case CHORE_SWEEP:
		start_sweep(s);
		break;
	case CHORE_SESSIONS:
		start_sessions(s);
		break;
	case CHORE_NONE:
		if (s->chores.under_way == CHORE_NONE)
			(void)uv_timer_start(&s->chore_timer, on_chore_timer,
			    (uint64_t)chores_pause_ms(&s->chores, now), 0);
		break;
	}
}

/* ---- the lock ---- */

static void
on_lead_change(struct scheduler *s, enum lead_change change)
{
	switch (change) {
	case LEAD_GAINED:
		FAULT(scheduler_leading);
		log_info(NULL, "leading|who=%s", s->who);
		chores_restart(&s->chores, clock_mono_ms());
		run_chores(s);
		break;
	case LEAD_LOST:
		log_info(NULL, "leads no more|who=%s", s->who);
		(void)uv_timer_stop(&s->chore_timer);
		break;
	case LEAD_SAME:
		break;
	}
}

static void
on_lead(void *ctx, const redisReply *reply, const struct err *err)
{
	struct scheduler *s = ctx;
	long long redis_ms = store_reply_int(store_reply_at(reply, 1), 0);
	bool granted;

	if (s->stopping)
		return;
	if (err) {
		lead_no_answer(&s->lead);
		if (err->code != ERR_UNAVAILABLE)
			log_err(
			    NULL, "asking for the lock failed: %s", err->msg);
		return;
	}
	granted = store_reply_int(store_reply_at(reply, 0), 0) == 1;
	/* Who leads learns from repairs: it must not overlook a set clock. */
	if (redis_ms > 0 && (!granted || !s->wall.known))
		wall_learn(&s->wall, redis_ms, clock_mono_ms());
	on_lead_change(s, lead_answer(&s->lead, granted));
}

static void
ask_to_lead(struct scheduler *s)
{
	char lock[NUMBER_MAX];

	on_lead_change(s, lead_check(&s->lead, clock_mono_ms()));
	if (!store_up(s->store) || !lead_ask(&s->lead, clock_mono_ms()))
		return;
	(void)snprintf(
	    lock, sizeof(lock), "%ld", s->settings.scheduler_lock_ms);
	store_eval_str(
	    s->store, STORE_lead, on_lead, s, s->who, lock, (char *)NULL);
}

static void
on_lead_timer(uv_timer_t *t)
{
	ask_to_lead(t->data);
}

static void
on_redis(void *ctx, bool up)
{
	struct scheduler *s = ctx;

	if (s->stopping)
		return;
	if (up) {
		log_info(NULL, "connected to redis");
		ask_to_lead(s);
	} else {
		on_lead_change(s, lead_step_down(&s->lead));
	}
}

/* ---- the end ---- */

static void
close_all(struct scheduler *s)
{
	uv_handle_t *all[] = { (uv_handle_t *)&s->lead_timer,
		(uv_handle_t *)&s->chore_timer, (uv_handle_t *)&s->stop_timer,
		(uv_handle_t *)&s->signals[0], (uv_handle_t *)&s->signals[1] };

	if (uv_is_closing(all[0]))
		return;
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		uv_close(all[i], NULL);
	store_free(s->store);
	s->store = NULL;
}

static void
on_lock_given_up(void *ctx, const redisReply *reply, const struct err *err)
{
	(void)reply;
	(void)err; /* then it runs out by itself */
	close_all(ctx);
}

static void
on_stop_timer(uv_timer_t *t)
{
	close_all(t->data);
}

static void
on_signal(uv_signal_t *sig, int number)
{
	struct scheduler *s = sig->data;

	if (s->stopping)
		return;
	log_info(NULL, "stopping|signal=%d", number);
	s->stopping = true;
	(void)uv_timer_start(&s->stop_timer, on_stop_timer, STOP_MS, 0);
	/* Even when it does not believe to lead: the answer may be under way. */
	store_eval_str(s->store, STORE_lead, on_lock_given_up, s, s->who, "0",
	    (char *)NULL);
}

/* ---- the start ---- */

static void
node_name(const struct settings *set, char ret_name[NODE_MAX])
{
	char host[HOST_NAME_MAX + 1] = "";

	(void)gethostname(host, sizeof(host) - 1);
	(void)snprintf(ret_name, NODE_MAX, "%.*s", NODE_MAX - 1,
	    set->farm_node[0] ? set->farm_node : host);
}

static int
set_up(struct scheduler *s, struct err *err)
{
	static const int numbers[] = { SIGTERM, SIGINT };
	const struct settings *set = &s->settings;
	const struct store_hooks hooks = { .ctx = s, .on_state = on_redis };
	char node[NODE_MAX], random[9];

	node_name(set, node);
	id_random_hex(random, sizeof(random) / 2);
	(void)snprintf(
	    s->who, sizeof(s->who), "%s/%d/%s", node, (int)getpid(), random);
	lead_init(&s->lead, set->scheduler_lock_ms);
	chores_init(&s->chores, set->scheduler_tick_ms, set->scheduler_batch);
	if (uv_loop_init(&s->loop) < 0)
		return err_set(err, ERR_SYS, 0, "cannot make an event loop");
	s->store = store_new(&s->loop, set->farm_redis_url, set->farm_prefix,
	    REDIS_DEADLINE_MS, &hooks, err);
	if (!s->store)
		return -1;
	(void)uv_timer_init(&s->loop, &s->lead_timer);
	(void)uv_timer_init(&s->loop, &s->chore_timer);
	(void)uv_timer_init(&s->loop, &s->stop_timer);
	s->lead_timer.data = s->chore_timer.data = s->stop_timer.data = s;
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		(void)uv_signal_init(&s->loop, &s->signals[i]);
		s->signals[i].data = s;
		if (uv_signal_start(&s->signals[i], on_signal, numbers[i]) < 0)
			return err_set(err, ERR_SYS, 0, "cannot take signals");
	}
	(void)uv_timer_start(&s->lead_timer, on_lead_timer,
	    (uint64_t)lead_period_ms(&s->lead),
	    (uint64_t)lead_period_ms(&s->lead));
	return 0;
}

/* Pid file, account, privileges: in this order. */
static int
settle(const struct settings *set, struct err *err)
{
	char path[SETTINGS_STR_MAX + 32];

	if (io_mkdir_all(set->farm_run_dir, 0755, err) < 0)
		return -1;
	(void)snprintf(
	    path, sizeof(path), "%s/scheduler.pid", set->farm_run_dir);
	if (proc_write_pid(path, err) < 0)
		return -1;
	if (geteuid() == 0 && proc_drop_user(set->scheduler_user, err) < 0)
		return -1;
	return proc_lock_down(PROC_scheduler, err);
}

static int
load(struct settings *set, const char *conf, struct err *err)
{
	int level;

	if (!conf && access(DEFAULT_CONF, F_OK) < 0 && errno == ENOENT)
		settings_default(set);
	else if (settings_load(set, conf ? conf : DEFAULT_CONF, err) < 0)
		return -1;
	level = log_level_from_name(set->farm_log_level);
	if (level < 0)
		return err_set(err, ERR_INVALID, 0,
		    "farm.log_level: `%s` is not error, warning, info or debug",
		    set->farm_log_level);
	log_init("scheduler", level);
	return 0;
}

static void
usage(FILE *out)
{
	(void)fprintf(out,
	    "Usage: " PROG " [-c FILE]\n"
	    "\n"
	    "The part of unfarm that repairs: expired leases, retries, jobs "
	    "that\n"
	    "nobody takes.  Run one or more; one of them leads.\n"
	    "\n"
	    "  -c, --config FILE  configuration (" DEFAULT_CONF ")\n"
	    "      --version      print the version\n"
	    "      --help         print this\n");
}

static const char *
parse_options(int argc, char **argv)
{
	enum { OPT_VERSION = 256, OPT_HELP };
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ "help", no_argument, NULL, OPT_HELP },
		{ NULL, 0, NULL, 0 },
	};
	const char *conf = NULL;
	int o;

	while ((o = getopt_long(argc, argv, "c:", options, NULL)) != -1) {
		switch (o) {
		case 'c':
			conf = optarg;
			break;
		case OPT_VERSION:
			(void)puts(PROG " " UNFARM_VERSION);
			exit(0);
		case OPT_HELP:
			usage(stdout);
			exit(0);
		default:
			usage(stderr);
			exit(err_exit_status(ERR_INVALID));
		}
	}
	if (optind < argc) {
		usage(stderr);
		exit(err_exit_status(ERR_INVALID));
	}
	return conf;
}

int
main(int argc, char **argv)
{
	const char *conf = parse_options(argc, argv);
	static struct scheduler s; /* one per process, built here */
	struct err err = { 0 };

	if (proc_only_std_fds(-1, &err) < 0 || proc_hide_memory(&err) < 0 ||
	    load(&s.settings, conf, &err) < 0 || settle(&s.settings, &err) < 0)
		die(PROG, &err);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN); /* nothing to read again */
	if (set_up(&s, &err) < 0)
		die(PROG, &err);
	log_info(NULL, "started|version=" UNFARM_VERSION " who=%s", s.who);
	(void)uv_run(&s.loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&s.loop);
	log_info(NULL, "stopped");
	return 0;
}
