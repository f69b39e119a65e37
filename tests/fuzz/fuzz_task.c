/*
 * A worker's task whose init lies: said when it likes, whatever it likes.  The
 * task ends all the same, once, with a result that can be told, and nothing is
 * left behind.
 *
 * The first byte chooses the job: 1 one with a compile step, 2 artifacts are
 * wanted, 4 what is compiled is asked for, to be kept; there is no room for it,
 * so that it is asked for each time.  Then liar.h's packets.  The control group
 * is a few memory files.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include "cache.h"
#include "cleanup.h"
#include "fuzz.h"
#include "job.h"
#include "lang.h"
#include "liar.h"
#include "log.h"
#include "mem.h"
#include "msg.h"
#include "sandbox.h"
#include "task.h"
#include "wire.h"
#include "worker.h"

enum { ARTIFACTS = 4, ARTIFACTS_KB = 1, TURNS_MAX = 100 };

/* ---- of worker/main.c, what a task needs ---- */

struct registry *
registry_ref(struct registry *r)
{
	r->refs++;
	return r;
}

void
registry_unref(struct registry *r)
{
	r->refs--;
}

bool
worker_can(const struct worker *w, const char *lang)
{
	(void)w;
	(void)lang;
	return true;
}

void
worker_set_can(struct worker *w, const char *names)
{
	(void)w;
	(void)names;
}

void
worker_check_drained(struct worker *w)
{
	(void)w;
}

/* ---- the worker, and its master's end of the wire ---- */

struct world {
	struct worker worker;
	int master;
	int files[3]; /* memory, pids and CPU limits */
};

static struct world *
the_world(void)
{
	static struct world world; /* made once, lives as long as we */
	static struct registry registry;
	struct worker *w = &world.worker;
	int sv[2];

	if (w->registry)
		return &world;
	log_init("fuzz_task", LOG_CRIT);
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		 0, sv) == 0);
	world.master = dup(sv[0]); /* whatever 3 was, it is the wire now */
	if (sv[1] != WIRE_FD)
		must(dup2(sv[1], WIRE_FD) == WIRE_FD);
	for (size_t i = 0; i < ARRAY_LEN(world.files); i++)
		world.files[i] = memfd_create("limit", MFD_CLOEXEC);
	registry.langs = (struct lang_registry *)(uintptr_t)fuzz_langs();
	settings_default(&w->settings);
	w->settings.job_artifacts = ARTIFACTS;
	w->settings.job_artifacts_kb = ARTIFACTS_KB;
	w->settings.job_output_kb = 1;
	w->registry = &registry;
	w->layers = "none";
	must(uv_loop_init(&w->loop) == 0);
	slots_start(w);
	return &world;
}

/* Its folder is gone at once: nothing fits into it. */
static struct cache *
the_cache(void)
{
	static struct cache *cache;
	char folder[] = "/tmp/unfarm-fuzz-XXXXXX", total[sizeof(folder) + 8];
	struct err err;

	if (cache)
		return cache;
	must(mkdtemp(folder) != NULL);
	cache = cache_open(folder, 1, &err);
	must(cache != NULL);
	(void)snprintf(total, sizeof(total), "%s/.total", folder);
	must(unlink(total) == 0 && rmdir(folder) == 0);
	return cache;
}

/* The sandbox that was wanted; init's end of it is returned. */
static int
give_slot(const struct world *world)
{
	/* The control socket, then files 0, 5 and 7 of enum cg_file. */
	const uint32_t mask = 1 | 2U << 0 | 2U << 5 | 2U << 7;
	unsigned char body[32];
	struct msg_out o = { .data = body };
	int fds[4], init = init_make(&fds[0]);
	struct err err;

	memcpy(fds + 1, world->files, sizeof(world->files));
	msg_put_u32(&o, 1);
	msg_put_u32(&o, mask);
	msg_put_u32(&o, 2);
	msg_put_str(&o, "");
	must(msg_send(world->master, WIRE_SLOT, &o, fds, 4, &err) == 0);
	(void)close(fds[0]);
	return init;
}

/* Reads and forgets what was sent to fd. */
static void
drain(int fd)
{
	static struct msg m;
	struct err err;

	while (msg_recv(fd, &m, &err) > 0)
		msg_close_fds(&m);
}

static void
turn(struct world *world, int init)
{
	(void)uv_run(&world->worker.loop, UV_RUN_NOWAIT);
	if (init >= 0)
		drain(init);
	drain(world->master);
}

/* ---- the task ---- */

static void
check_artifacts(const struct job_result *r)
{
	size_t total = 0;

	must(r->n_artifacts <= ARTIFACTS);
	for (size_t i = 0; i < r->n_artifacts; i++) {
		must_be_inside(r->artifacts[i].name);
		total += r->artifacts[i].content.len;
	}
	must(total <= ARTIFACTS_KB << 10);
}

static void
on_done(struct task *t, void *ctx)
{
	auto_free char *text = job_result_encode(&t->result);
	const struct job_step *last = job_result_last(&t->result);
	unsigned *done = ctx;

	(*done)++;
	must_be_json(text, strlen(text));
	must(last->reason < REASON__COUNT);
	must(last->exit_code >= -1 && last->exit_code <= 255);
	must(t->spec->return_artifact || t->result.n_artifacts == 0);
	check_artifacts(&t->result);
}

static void
start(struct world *world, unsigned flags, unsigned *done)
{
	const struct task *t;
	struct job_spec *s = job_spec_new();
	const struct lang *l = lang_find(
	    fuzz_langs(), flags & 1 ? "c" : "python");
	auto_buf struct buf input = { .cap = 8 };

	must(l);
	s->language = xstrdup(l->name);
	s->network_mode = xstrdup("zerotrust");
	s->ttl = 900;
	s->vcpu = 1;
	s->return_artifact = flags & 2;
	job_bytes_set(&s->code, "x", 1);
	must(buf_adds(&input, "bytes") == 0); /* as liar.c has them */
	job_spec_add_file(s, "d/in.txt", &input);
	world->worker.cache = flags & 4 ? the_cache() : NULL;
	t = task_start(
	    &world->worker, s, l, "job_1", "lease", "key", on_done, done);
	while (t->phase == TASK_LOOK)
		(void)uv_run(&world->worker.loop, UV_RUN_ONCE);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world *world = the_world();
	struct worker *w = &world->worker;
	struct feed f = { data, size };
	unsigned done = 0;
	unsigned before;
	int init;

	(void)the_cache();
	before = fuzz_free_fds();
	start(world, feed_u8(&f), &done);
	init = give_slot(world);
	turn(world, init);
	must(slots_count(w).hungry == 0);
	while (f.left > 0)
		if (init_say(init, &f) < 0)
			turn(world, init);
	turn(world, init);
	/* Its end is the end of what is inside, too. */
	(void)close(init);
	for (int i = 0; i < TURNS_MAX && !LIST_EMPTY(&w->tasks); i++)
		turn(world, -1);
	turn(world, -1);
	while (w->storing > 0)
		turn(world, -1);
	must(done == 1);
	must(LIST_EMPTY(&w->tasks) && slots_count(w).ready == 0);
	must(w->registry->refs == 0);
	must(fuzz_free_fds() == before);
	return 0;
}
