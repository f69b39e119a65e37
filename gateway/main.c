/*
 * unfarm-gateway: HTTP in, Redis out.
 *
 * Theory of operation.  One process a core (prefork.c), each with one thread
 * and one libuv loop, and nothing shared between them but counters.
 * libmicrohttpd parses HTTP inside that loop (server.c); each request becomes a
 * struct request (request.c) that finds its route in a table (route_table.c),
 * is authenticated (auth.c, signature.c) against a cache of key records
 * (keyring.c), and is handled by the route's own file.  Whatever must be shared
 * is in Redis, behind the scripts of conf/redis/: the gateway holds nothing
 * that another gateway could not hold, and killing it loses only its open
 * connections.
 *
 * A request that waits for Redis has its connection suspended; the reply's
 * callback answers and resumes it.  A synchronous /execute is a queued job and
 * a waiter (waiters.c): the scripts publish the job's id on our own channel
 * when it ends, which a second connection to Redis hears.  Ten thousand of them
 * are ten thousand small structs.  When messages may have been lost, because a
 * connection to Redis came back, every job that is waited for is read again.
 *
 * Start: everything that needs root first (master key, development key, port,
 * pid file), then the account `gateway.user`, then no privileges at all, then
 * the processes; only then is the first byte of a client read.  Stop (SIGTERM,
 * SIGINT): stop listening, answer those who wait with their job's id and
 * status, let the others finish for drain_seconds, close.
 *
 * The files, in reading order: route.h, request.c, auth.c, spec.c,
 * route_job_create.c, job_call.c, view.c, respond.c.
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "farm.h"
#include "gateway.h"
#include "id.h"
#include "io.h"
#include "key.h"
#include "keyring.h"
#include "lang.h"
#include "log.h"
#include "mem.h"
#include "node_call.h"
#include "prefork.h"
#include "proc.h"
#include "relay.h"
#include "route.h"
#include "server.h"
#include "store.h"
#include "stream.h"
#include "waiters.h"

#define PROGRAM        "unfarm-gateway"
#define CONFIG_DEFAULT "/etc/unfarm/unfarm.conf"

enum {
	STORE_DEADLINE_MS = 5000,
	REDIS_WAIT_MS = 10000, /* it may be starting beside us */
	REDIS_PAUSE_US = 100000,
	DRAIN_LOOK_MS = 20,
	PATH_LEN = SETTINGS_STR_MAX + 32,
};

/* What is alive only while the loop runs. */
struct run {
	struct gateway *gw;
	uv_signal_t sigterm, sigint, sighup;
	uv_timer_t drain; /* looks whether the last request is answered */
	int64_t drain_until_ms;
};

/* ---- options ---- */

static void
print_routes(void)
{
	static const char *const scopes[] = {
		[AUTH_PUBLIC] = "public",
		[AUTH_SIGNED] = "signed",
		[AUTH_MAYBE] = "maybe",
		[AUTH_KEY_CHECK] = "signed",
	};

	for (size_t i = 0; i < route_table_len; i++) {
		const struct route *r = route_table[i];

		(void)printf("%-7s %-18s %-7s %s\n", r->method, r->path,
		    scopes[r->scope], r->summary);
	}
}

static void
print_help(void)
{
	(void)printf("usage: " PROGRAM " [-c FILE]\n"
		     "  -c FILE    configuration (default " CONFIG_DEFAULT ")\n"
		     "  --routes   print the table of HTTP routes\n"
		     "  --version  print the version\n"
		     "  --help     print this\n");
}

static void
print_version(void)
{
	(void)printf(PROGRAM " " UNFARM_VERSION "\n");
}

/* Returns the configuration's path, or NULL when the program is done. */
static const char *
parse_options(int argc, char **argv, int *ret_status)
{
	static const struct option options[] = {
		{ "routes", no_argument, NULL, 'r' },
		{ "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	static const struct {
		int option;
		void (*print)(void);
	} printers[] = { { 'r', print_routes }, { 'v', print_version },
		{ 'h', print_help } };
	const char *path = CONFIG_DEFAULT;
	int c;

	*ret_status = 0;
	while ((c = getopt_long(argc, argv, "c:", options, NULL)) != -1) {
		for (size_t i = 0; i < ARRAY_LEN(printers); i++)
			if (printers[i].option == c) {
				printers[i].print();
				return NULL;
			}
		if (c != 'c')
			*ret_status = err_exit_status(ERR_INVALID);
		else
			path = optarg;
	}
	if (optind < argc)
		*ret_status = err_exit_status(ERR_INVALID);
	return *ret_status == 0 ? path : NULL;
}

/* ---- start ---- */

/* Without -c, a machine without the file runs on the defaults. */
static int
load_settings(struct gateway *gw, const char *path, struct err *err)
{
	int level;

	if (strcmp(path, CONFIG_DEFAULT) == 0 && access(path, F_OK) < 0)
		settings_default(&gw->set);
	else if (settings_load(&gw->set, path, err) < 0)
		return -1;
	level = log_level_from_name(gw->set.farm_log_level);
	if (level < 0)
		return err_set(err, ERR_INVALID, 0,
		    "farm.log_level: `%s` is no level", gw->set.farm_log_level);
	log_init("gateway", level);
	return 0;
}

static bool
is_loopback(const char *host)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (strcasecmp(host, "localhost") == 0)
		return true;
	if (inet_pton(AF_INET, host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static int
check_settings(const struct settings *s, struct err *err)
{
	const struct route *bad = route_table_check();

	if (bad)
		return err_set(err, ERR_SYS, 0, "route `%s` is not complete",
		    bad->path ? bad->path : "?");
	if (s->farm_dev_key && !is_loopback(s->gateway_listen))
		return err_set(err, ERR_INVALID, 0,
		    "farm.dev_key is on and gateway.listen is `%s`: everybody "
		    "knows that key; listen on 127.0.0.1 or turn it off",
		    s->gateway_listen);
	return 0;
}

static int
load_master(struct gateway *gw, struct err *err)
{
	char path[PATH_LEN];

	if (io_mkdir_all(gw->set.farm_data_dir, 0755, err) < 0 ||
	    io_mkdir_all(gw->set.farm_run_dir, 0755, err) < 0)
		return -1;
	(void)snprintf(
	    path, sizeof(path), "%s/master.key", gw->set.farm_data_dir);
	return secret_master_load(path, true, &gw->master, err);
}

static struct redisContext *
connect_patiently(const char *url, struct err *err)
{
	int64_t until = clock_mono_ms() + REDIS_WAIT_MS;
	struct redisContext *c;

	while (!(c = store_connect_sync(url, err)) &&
	       err->code == ERR_UNAVAILABLE && clock_mono_ms() < until)
		(void)usleep(REDIS_PAUSE_US);
	return c;
}

static int
save_dev_key(const struct gateway *gw, struct err *err)
{
	struct redisContext *c;
	struct key k;
	int r;

	if (!gw->set.farm_dev_key)
		return 0;
	c = connect_patiently(gw->set.farm_redis_url, err);
	if (!c)
		return -1;
	key_init_dev(&k);
	r = key_save(c, gw->set.farm_prefix, &k, &gw->master, err);
	key_done(&k);
	redisFree(c);
	return r;
}

/* A client that waits costs two descriptors: its own and our watch over it. */
static void
check_descriptors(const struct gateway *gw)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 &&
	    (long)files.rlim_cur * gw->prefork.n <
		2 * gw->set.gateway_connections)
		log_warn(NULL,
		    "few descriptors for gateway.connections, going on|"
		    "limit=%ld connections=%ld",
		    (long)files.rlim_cur, gw->set.gateway_connections);
}

/* The last steps that need root, and then its end. */
static int
give_up_root(const struct gateway *gw, struct err *err)
{
	char path[PATH_LEN];

	(void)snprintf(
	    path, sizeof(path), "%s/gateway.pid", gw->set.farm_run_dir);
	if (proc_write_pid(path, err) < 0)
		return -1;
	if (geteuid() == 0 && proc_drop_user(gw->set.gateway_user, err) < 0)
		return -1;
	return proc_lock_down(
	    gw->prefork.n > 1 ? PROC_gateway_parent : PROC_gateway, err);
}

/* ---- Redis ---- */

static void
on_store_state(void *ctx, bool up)
{
	struct gateway *gw = ctx;

	log_info(NULL, "redis %s", up ? "connected" : "is away");
	if (up)
		waiters_look(gw->waiters);
}

/* What was published while we were away is lost. */
static void
on_events_state(void *ctx, bool up)
{
	struct gateway *gw = ctx;

	if (!up)
		return;
	keyring_forget(gw->keyring, NULL);
	waiters_look(gw->waiters);
}

static void
on_done_message(void *ctx, const char *channel, const char *message, size_t n)
{
	struct gateway *gw = ctx;

	(void)channel;
	waiters_job_ended(gw->waiters, message, n);
}

static void
on_key_message(void *ctx, const char *channel, const char *public_key, size_t n)
{
	struct gateway *gw = ctx;

	(void)channel;
	(void)n;
	keyring_forget(gw->keyring, public_key);
}

static int
open_stores(struct gateway *gw, struct err *err)
{
	const struct store_hooks calls = { gw, on_store_state };
	const struct store_hooks events = { gw, on_events_state };
	const struct settings *s = &gw->set;
	char channel[GATEWAY_ID_MAX + 8];

	gw->store = store_new(&gw->loop, s->farm_redis_url, s->farm_prefix,
	    STORE_DEADLINE_MS, &calls, err);
	if (!gw->store)
		return -1;
	gw->events = store_new(
	    &gw->loop, s->farm_redis_url, s->farm_prefix, 0, &events, err);
	if (!gw->events)
		return -1;
	(void)snprintf(channel, sizeof(channel), "done:%s", gw->id);
	store_subscribe(gw->events, channel, on_done_message, gw);
	store_subscribe(gw->events, KEY_CHANNEL, on_key_message, gw);
	return 0;
}

/* ---- stop ---- */

static void
on_drain(uv_timer_t *t)
{
	struct run *run = t->data;
	struct gateway *gw = run->gw;

	if (gw->metrics->open_requests == 0 ||
	    clock_mono_ms() > run->drain_until_ms)
		uv_stop(&gw->loop);
}

static void
on_signal(uv_signal_t *sig, int signum)
{
	struct run *run = sig->data;
	struct gateway *gw = run->gw;

	if (gw->draining)
		return;
	log_info(NULL, "stopping|signal=%d open_requests=%llu", signum,
	    (unsigned long long)gw->metrics->open_requests);
	gw->draining = true;
	run->drain_until_ms = clock_mono_ms() +
			      gw->set.gateway_drain_seconds * 1000;
	server_stop_listening(gw->server);
	waiters_expire(gw->waiters);
	relay_close_all(gw); /* their clients come again, elsewhere */
	stream_close_all(gw);
	(void)uv_timer_start(&run->drain, on_drain, 0, DRAIN_LOOK_MS);
}

/* SIGHUP: the languages are read again; a bad record changes nothing. */
static void
reload(void *ctx)
{
	struct gateway *gw = ctx;
	struct err err;
	struct lang_registry *langs = lang_load(gw->set.farm_share_dir, &err);

	if (!langs) {
		log_err(NULL, "reload: %s, keeping what was", err.msg);
		return;
	}
	gw->old_langs = xreallocarray(
	    gw->old_langs, gw->n_old_langs + 1, sizeof(struct lang_registry *));
	gw->old_langs[gw->n_old_langs++] = gw->langs;
	gw->langs = langs;
	if (gw->farm)
		farm_forget(gw->farm);
	log_info(NULL, "reloaded|languages=%zu", lang_count(langs));
}

static void
on_reload(uv_signal_t *sig, int signum)
{
	(void)signum;
	reload(((struct run *)sig->data)->gw);
}

static void
watch_signals(struct run *run)
{
	uv_loop_t *loop = &run->gw->loop;
	sigset_t none;

	(void)uv_timer_init(loop, &run->drain);
	(void)uv_signal_init(loop, &run->sigterm);
	(void)uv_signal_init(loop, &run->sigint);
	(void)uv_signal_init(loop, &run->sighup);
	run->drain.data = run->sigterm.data = run->sigint.data = run;
	run->sighup.data = run;
	(void)uv_signal_start(&run->sighup, on_reload, SIGHUP);
	(void)uv_signal_start(&run->sigterm, on_signal, SIGTERM);
	(void)uv_signal_start(&run->sigint, on_signal, SIGINT);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/*
 * Stores first: their pending calls fail, which answers the requests that wait
 * for them; libmicrohttpd must not be stopped with suspended connections.
 */
static void
close_all(struct run *run)
{
	struct gateway *gw = run->gw;

	store_free(gw->store);
	store_free(gw->events);
	waiters_expire(gw->waiters);
	node_calls_fail(gw);
	relay_close_all(gw);
	stream_close_all(gw);
	(void)uv_run(&gw->loop, UV_RUN_NOWAIT); /* connections are given back */
	server_free(gw->server);
	uv_close((uv_handle_t *)&run->sigterm, NULL);
	uv_close((uv_handle_t *)&run->sigint, NULL);
	uv_close((uv_handle_t *)&run->sighup, NULL);
	uv_close((uv_handle_t *)&run->drain, NULL);
	(void)uv_run(&gw->loop, UV_RUN_DEFAULT);
}

static void
close_loop(struct gateway *gw)
{
	(void)uv_loop_close(&gw->loop);
	waiters_free(gw->waiters);
	farm_free(gw->farm);
	keyring_free(gw->keyring);
}

static void
free_all(struct gateway *gw)
{
	for (size_t i = 0; i < gw->n_old_langs; i++)
		lang_free(gw->old_langs[i]);
	free(gw->old_langs);
	lang_free(gw->langs);
	prefork_done(&gw->prefork);
	explicit_bzero(&gw->master, sizeof(gw->master));
	free(gw);
}

/* ---- all of it ---- */

/* What needs root, or is the same for all processes. */
static int
prepare(struct gateway *gw, const char *path, struct err *err)
{
	if (load_settings(gw, path, err) < 0 ||
	    check_settings(&gw->set, err) < 0 || load_master(gw, err) < 0 ||
	    save_dev_key(gw, err) < 0)
		return -1;
	gw->langs = lang_load(gw->set.farm_share_dir, err);
	if (!gw->langs || prefork_open(&gw->prefork, &gw->set, err) < 0)
		return -1;
	return give_up_root(gw, err);
}

static int
start(struct gateway *gw, unsigned number, struct err *err)
{
	id_random_hex(gw->id, (GATEWAY_ID_MAX - 1) / 2);
	gw->metrics = &gw->prefork.metrics[number];
	TAILQ_INIT(&gw->node_calls);
	TAILQ_INIT(&gw->relays);
	TAILQ_INIT(&gw->streams);
	(void)uv_loop_init(&gw->loop);
	gw->keyring = keyring_new(gw);
	gw->waiters = waiters_new(gw);
	gw->farm = farm_new(gw);
	gw->server = server_new(
	    gw, steal_fd(&gw->prefork.listeners[number]), err);
	return gw->server ? open_stores(gw, err) : -1;
}

/* One process of the gateway, from its loop's begin to its end. */
static void
serve(struct gateway *gw, unsigned number)
{
	struct run run = { .gw = gw };
	struct err err = { .code = ERR_OK };

	if (start(gw, number, &err) < 0)
		die(PROGRAM, &err);
	watch_signals(&run);
	log_info(NULL, "serving|gateway=%s", gw->id);
	(void)uv_run(&gw->loop, UV_RUN_DEFAULT);
	close_all(&run);
	close_loop(gw);
}

int
main(int argc, char **argv)
{
	struct gateway *gw = xcalloc(1, sizeof(*gw));
	const struct prefork_hooks hooks = { gw, reload };
	struct err err = { .code = ERR_OK };
	int status, number;
	const char *path = parse_options(argc, argv, &status);

	if (!path) {
		free(gw);
		return status;
	}
	if (proc_only_std_fds(-1, &err) < 0 || proc_hide_memory(&err) < 0 ||
	    prepare(gw, path, &err) < 0)
		die(PROGRAM, &err);
	(void)signal(SIGPIPE, SIG_IGN);
	log_info(NULL, "started|version=%s listen=%s port=%ld processes=%u",
	    UNFARM_VERSION, gw->set.gateway_listen, gw->set.gateway_port,
	    gw->prefork.n);
	check_descriptors(gw);
	number = prefork_run(&gw->prefork, &hooks, &status);
	if (number >= 0)
		serve(gw, (unsigned)number);
	log_info(NULL, "stopped");
	free_all(gw);
	return status;
}
