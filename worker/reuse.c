/*
 * reuse.c - a compile step that some job had before is not run again.
 *
 * Before a task gets a sandbox, a thread makes the key of its compile step and
 * looks for it on the disk.  Found, what the compiler made goes in with the
 * source, and the program runs.  Otherwise, after a compile step that went
 * well, all that it made is copied out, and only then does the program begin,
 * so that nothing of the program is ever kept.  A thread stores the copy while
 * the program runs.
 *
 * What cannot be made again from names, modes and bytes is not kept.  No
 * trouble here is the job's: the compiler runs.
 */
#include "mem.h"
#include "task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "cache.h"
#include "cleanup.h"
#include "clock.h"
#include "compiled.h"
#include "fault.h"
#include "lang.h"
#include "log.h"
#include "sandbox.h"
#include "worker.h"

enum {
	SOURCES_MAX = 8 << 20, /* bytes that are hashed and compared */
	FILES_MAX = 64,        /* input files, which are looked for by name */
	STORES_MAX = 2, /* at a time: of libuv's 4 threads one is left for
			 * results, also while a reload looks around */
	CHUNK = 64 << 10,
};

struct reuse {
	uv_work_t work;
	struct task *task;
	struct cache_key key;
	bool late;   /* the task did not wait for it */
	bool looked; /* the thread is done with us: the next three are there */
	int found;   /* as cache_load() */
	struct err err;
	int64_t took_us;
	void *blob; /* owned: what was found */
	size_t n;

	/* Keeping. */
	struct buf kept; /* the blob that grows */
	bool spoilt;     /* not to be kept */
	unsigned entries;
	unsigned staged; /* files that we put and that came back */
	unsigned folders;
};

/* ---- looking ---- */

static bool
can_be_kept(const struct task *t)
{
	const struct job_spec *s = t->spec;
	size_t total = s->code.len;

	/* A canary asks whether the compiler works. */
	if (!t->worker->cache || t->worker->late_looks > 0 || !*t->id ||
	    t->lang->compile.n == 0)
		return false;
	for (size_t i = 0; i < s->n_files; i++)
		total += s->files[i].content.len;
	return total <= SOURCES_MAX && s->n_files <= FILES_MAX;
}

/* One line when it begins, one when it is over. */
static void
tell_trouble(struct worker *w, const struct err *err)
{
	if (err && !w->cache_trouble)
		log_warn(
		    NULL, "compiled programs cannot be kept: %s", err->msg);
	if (!err && w->cache_trouble)
		log_info(NULL, "compiled programs are kept again");
	w->cache_trouble = err != NULL;
}

static void
look(uv_work_t *work)
{
	struct reuse *r = work->data;
	const struct task *t = r->task;
	const struct compiled_from from = { t->owner, t->registry->host,
		&t->worker->settings, t->lang, t->spec };
	int64_t began = clock_mono_us();

	FAULT(worker_looking);
	compiled_key(&from, &r->key);
	r->found = cache_load(
	    t->worker->cache, &r->key, &r->blob, &r->n, &r->err);
	r->took_us = clock_mono_us() - began;
}

static void
on_looked(uv_work_t *work, int status)
{
	struct reuse *r = work->data;

	(void)status;
	r->looked = true;
	if (r->late)
		r->task->worker->late_looks--;
	if (r->found < 0)
		tell_trouble(r->task->worker, &r->err);
	task_looked(r->task);
}

bool
reuse_look(struct task *t)
{
	if (!can_be_kept(t))
		return false;
	t->reuse = xcalloc(1, sizeof(*t->reuse));
	t->reuse->task = t;
	t->reuse->work.data = t->reuse;
	buf_init(&t->reuse->kept, CACHE_ENTRY_MAX);
	return uv_queue_work(
		   &t->worker->loop, &t->reuse->work, look, on_looked) == 0;
}

/* The disk may be hung: nobody else asks it until it has answered. */
void
reuse_stop_waiting(struct task *t)
{
	t->reuse->late = true;
	t->worker->late_looks++;
}

void
reuse_free(struct task *t)
{
	if (!t->reuse)
		return;
	free(t->reuse->blob);
	buf_done(&t->reuse->kept);
	free(t->reuse);
}

/* ---- found: into the sandbox ---- */

static int
put_all(struct box *box, const struct compiled *c, struct err *err)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct compiled_entry *e = &c->entries[i];
		mode_t mode = e->mode & ACCESSPERMS;
		int r = S_ISDIR(e->mode) ? box_put_dir(box, e->name, mode, err)
					 : box_put_file(box, e->name, mode,
					       e->data, e->len, err);

		if (r < 0)
			return -1;
	}
	return 0;
}

int
reuse_put(struct task *t, struct err *err)
{
	auto_free struct compiled *c = NULL;
	struct reuse *r = t->reuse;
	auto_free void *blob = r && r->looked ? steal_ptr(&r->blob) : NULL;

	if (!blob)
		return 0;
	c = xmalloc(sizeof(*c));
	if (!compiled_read(blob, r->n, c))
		return 0; /* by another version: it is written anew */
	if (put_all(t->slot->box, c, err) < 0)
		return -1;
	t->result.compile = (struct job_step){
		.ran = true,
		.cached = true,
		.reason = REASON_exited,
		.wall_us = r->took_us,
	};
	if (c->text_len > 0)
		job_bytes_set(&t->result.compile_text, c->text, c->text_len);
	t->worker->compiles_reused++;
	return 1;
}

/* ---- not found: out of the sandbox ---- */

bool
reuse_collect(struct task *t)
{
	const struct job_bytes *text = &t->result.compile_text;
	struct reuse *r = t->reuse;
	/* Input files have two names and their folders. */
	unsigned names = COMPILED_ENTRIES_MAX + 8 * (unsigned)t->spec->n_files;
	struct err err;

	if (!r || !r->looked || r->found < 0 ||
	    t->worker->storing >= STORES_MAX)
		return false;
	if (compiled_begin(&r->kept, text->data ? text->data : "", text->len) <
	    0)
		return false;
	return box_collect_all(t->slot->box, names,
		   CACHE_ENTRY_MAX + 2 * (uint64_t)SOURCES_MAX, &err) == 0;
}

/* What was put under this name, or NULL; the last one of a name counts. */
static const struct job_bytes *
input_named(const struct task *t, const char *name)
{
	const struct job_spec *s = t->spec;
	const char *below = strncmp(name, "input/", 6) == 0 ? name + 6 : NULL;

	for (size_t i = s->n_files; i > 0; i--) {
		const struct job_file *f = &s->files[i - 1];

		if (below ? strcmp(f->name, below) == 0
			  : stage_is_linked(t, f) && strcmp(f->name, name) == 0)
			return &f->content;
	}
	return NULL;
}

static unsigned
names_staged(const struct task *t)
{
	const struct job_spec *s = t->spec;
	unsigned n = 1; /* the source */

	for (size_t i = 0; i < s->n_files; i++) {
		bool again = false;

		for (size_t k = i + 1; k < s->n_files; k++)
			again |= strcmp(s->files[i].name, s->files[k].name) ==
				 0;
		if (!again)
			n += stage_is_linked(t, &s->files[i]) ? 2 : 1;
	}
	return n;
}

/* init is believed neither the size nor that the file stays as it is. */
static bool
holds(int fd, const struct job_bytes *want)
{
	auto_free char *chunk = xmalloc(CHUNK);
	size_t at = 0;
	ssize_t n;

	while ((n = pread(fd, chunk, CHUNK, (off_t)at)) > 0) {
		if ((size_t)n > want->len - at ||
		    memcmp(chunk, want->data + at, (size_t)n) != 0)
			return false;
		at += (size_t)n;
	}
	return n == 0 && at == want->len;
}

static bool
copy(struct buf *b, int fd, size_t len)
{
	auto_free char *chunk = xmalloc(CHUNK);
	size_t at = 0;

	while (at < len) {
		size_t most = len - at < CHUNK ? len - at : CHUNK;
		ssize_t n = pread(fd, chunk, most, (off_t)at);

		if (n <= 0 || buf_add(b, chunk, (size_t)n) < 0)
			return false;
		at += (size_t)n;
	}
	return true;
}

/* fd: -1 for a folder. */
static bool
keep(struct reuse *r, const char *name, mode_t mode, int fd, size_t len)
{
	return ++r->entries <= COMPILED_ENTRIES_MAX &&
	       compiled_entry(&r->kept, name, mode, len) == 0 &&
	       copy(&r->kept, fd, len) && compiled_end_entry(&r->kept) == 0;
}

static bool
keep_file(struct reuse *r, int fd, const char *name)
{
	struct stat st;

	/* A second name would become a second file. */
	return fstat(fd, &st) == 0 && st.st_nlink <= 1 &&
	       st.st_size <= CACHE_ENTRY_MAX &&
	       keep(r, name, S_IFREG | (st.st_mode & ACCESSPERMS), fd,
		   (size_t)st.st_size);
}

void
reuse_file(struct task *t, struct box_event *e)
{
	auto_close int fd = steal_fd(&e->fd);
	struct reuse *r = t->reuse;
	bool source = strcmp(e->name, t->lang->source) == 0;
	const struct job_bytes *put = source ? &t->spec->code
					     : input_named(t, e->name);

	if (r->spoilt)
		return;
	if (put)
		r->staged++;
	if (put && holds(fd, put))
		return;
	/* An input file that was changed is two names of one file. */
	r->spoilt = (put && !source) || !keep_file(r, fd, e->name);
}

/* plan.c made these two; a job may not find them otherwise. */
static bool
is_made(const char *name)
{
	return strcmp(name, "input") == 0 || strcmp(name, "artifacts") == 0;
}

void
reuse_folder(struct task *t, const struct box_event *e)
{
	struct reuse *r = t->reuse;

	if (is_made(e->name)) {
		r->folders++;
		r->spoilt |= e->mode != ACCESSPERMS;
		return;
	}
	/* What is in it was not told, and is known to be of no use then only. */
	if (strcmp(e->name, ".cache") == 0 && t->lang->caches.n == 0)
		r->spoilt = true;
	if (!keep(r, e->name, S_IFDIR | e->mode, -1, 0))
		r->spoilt = true;
}

/* ---- to the disk ---- */

struct store_work {
	uv_work_t work;
	struct worker *worker;
	struct cache_key key;
	char *blob; /* owned */
	size_t n;
	int r;
	struct err err;
};

static void
store(uv_work_t *work)
{
	struct store_work *s = work->data;

	s->r = cache_store(s->worker->cache, &s->key, s->blob, s->n, &s->err);
}

static void
on_stored(uv_work_t *work, int status)
{
	struct store_work *s = work->data;

	(void)status;
	s->worker->storing--;
	if (s->r < 0 && s->err.code != ERR_TOO_BIG)
		tell_trouble(s->worker, &s->err);
	else if (s->r == 0)
		tell_trouble(s->worker, NULL);
	free(s->blob);
	free(s);
}

void
reuse_store(struct task *t, bool whole)
{
	struct reuse *r = t->reuse;
	struct store_work *s;

	if (!whole || r->spoilt || r->folders != 2 ||
	    r->staged != names_staged(t)) {
		log_debug(t->log_id, "what was compiled is not kept");
		buf_done(&r->kept);
		return;
	}
	s = xcalloc(1, sizeof(*s));
	s->work.data = s;
	s->worker = t->worker;
	s->key = r->key;
	s->blob = buf_steal(&r->kept, &s->n);
	t->worker->storing++;
	FAULT(worker_keeping);
	(void)uv_queue_work(&t->worker->loop, &s->work, store, on_stored);
}
