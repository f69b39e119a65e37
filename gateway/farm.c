#include "farm.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "clock.h"
#include "gateway.h"
#include "json.h"
#include "lang.h"
#include "mem.h"
#include "store.h"

enum {
	FRESH_MS = 1000,
	WORKERS_MAX = 10000,
	NODES_MAX = 1000,
	STATS_MAX = 256
};

struct asking {
	STAILQ_ENTRY(asking) link;
	farm_cb *cb;
	void *ctx;
};

struct farm {
	struct gateway *gw;
	struct farm_view view;
	bool reading;
	STAILQ_HEAD(asking_list, asking) asking;
};

static void
view_init(struct farm_view *v, const struct lang_registry *reg)
{
	*v = (struct farm_view){
		.languages = xcalloc(lang_count(reg), sizeof(bool)),
		.shells = xcalloc(shell_count(reg), sizeof(bool)),
	};
}

struct farm *
farm_new(struct gateway *gw)
{
	struct farm *f = xcalloc(1, sizeof(*f));

	f->gw = gw;
	view_init(&f->view, gw->langs);
	STAILQ_INIT(&f->asking);
	return f;
}

void
farm_view_done(struct farm_view *v)
{
	free(v->nodes);
	free(v->stats);
	free(v->languages);
	free(v->shells);
	*v = (struct farm_view){ .read_ms = 0 };
}

void
farm_free(struct farm *f)
{
	if (!f)
		return;
	farm_view_done(&f->view);
	free(f);
}

/* ---- one worker's description ---- */

static long
info_long(const json_t *info, const char *name)
{
	const json_t *v = json_object_get(info, name);
	json_int_t n = json_integer_value(v);

	return n > 0 && n < 1000000000 ? (long)n : 0;
}

static double
info_real(const json_t *obj, const char *name)
{
	return json_number_value(json_object_get(obj, name));
}

static struct farm_node *
node_find(struct farm_view *v, const char *name)
{
	struct farm_node *n;

	for (size_t i = 0; i < v->n_nodes; i++)
		if (strcmp(v->nodes[i].name, name) == 0)
			return &v->nodes[i];
	n = &v->nodes[v->n_nodes++];
	(void)snprintf(n->name, sizeof(n->name), "%s", name);
	return n;
}

/* Slots are the worker's own; load, memory and cores are its machine's. */
static void
node_add(struct farm_node *n, const json_t *info)
{
	const json_t *memory = json_object_get(info, "memory");
	const json_t *load = json_object_get(info, "load");
	long vcpu = info_long(info, "max_vcpu");

	n->slots += info_long(info, "slots");
	n->busy += info_long(info, "busy");
	n->ready += info_long(info, "ready");
	n->spawning += info_long(info, "spawning");
	n->cores = info_long(info, "cores");
	if (vcpu > n->max_vcpu)
		n->max_vcpu = vcpu;
	for (size_t i = 0; i < 3; i++)
		n->load[i] = json_number_value(json_array_get(load, i));
	n->memory_used_gb = info_real(memory, "used_gb");
	n->memory_available_gb = info_real(memory, "available_gb");
	n->memory_used_percent = info_real(memory, "used_percent");
}

static void
add_description(struct farm_view *v, const redisReply *r)
{
	struct err ignored;
	json_auto_t *info = NULL;
	const char *node = NULL;

	if (r && r->type == REDIS_REPLY_STRING)
		info = json_parse(r->str, r->len, &ignored);
	if (json_get_str(info, "node", &node, NULL, &ignored) <= 0)
		node = "unknown";
	node_add(node_find(v, node), info);
	v->trying |= json_is_true(json_object_get(info, "trying"));
}

static size_t
lang_position(const struct lang_registry *reg, const struct lang *l)
{
	size_t i = 0;

	while (i < lang_count(reg) && lang_at(reg, i) != l)
		i++;
	return i;
}

/* Names separated by spaces. */
static void
add_languages(
    struct farm_view *v, const struct lang_registry *reg, const char *names)
{
	while (*names) {
		size_t n = strcspn(names, " ");
		char name[64];
		const struct lang *l;

		(void)snprintf(name, sizeof(name), "%.*s",
		    (int)(n < sizeof(name) ? n : 0), names);
		l = lang_find(reg, name);
		if (l && !v->languages[lang_position(reg, l)]) {
			v->languages[lang_position(reg, l)] = true;
			v->n_languages++;
		}
		names += n + strspn(names + n, " ");
	}
}

/* ---- the whole answer ---- */

static size_t
reply_len(const redisReply *r, size_t most)
{
	size_t n = r && r->type == REDIS_REPLY_ARRAY ? r->elements : 0;

	return n < most ? n : most;
}

static void
add_workers(struct farm_view *v, const struct lang_registry *reg,
    const redisReply *list)
{
	size_t n = reply_len(list, WORKERS_MAX);

	v->nodes = xcalloc(n, sizeof(*v->nodes));
	v->n_workers = n;
	for (size_t i = 0; i < n; i++) {
		const redisReply *w = list->element[i];

		add_description(v, store_reply_at(w, 1));
		add_languages(
		    v, reg, store_reply_str(store_reply_at(w, 2), ""));
	}
}

static void
add_stats(struct farm_view *v, const redisReply *list)
{
	size_t n = reply_len(list, (size_t)2 * STATS_MAX) / 2;

	v->stats = xcalloc(n, sizeof(*v->stats));
	for (size_t i = 0; i < n; i++) {
		struct farm_stat *s = &v->stats[v->n_stats];
		const char *name = store_reply_str(list->element[2 * i], "");

		/* They become names of Prometheus. */
		if (!*name || strlen(name) >= sizeof(s->name) ||
		    name[strspn(name, "abcdefghijklmnopqrstuvwxyz_")])
			continue;
		memcpy(s->name, name, strlen(name) + 1);
		s->value = store_reply_int(list->element[2 * i + 1], 0);
		v->n_stats++;
	}
}

static void
add_shells(
    struct farm_view *v, const struct lang_registry *reg, const json_t *names)
{
	const json_t *name;
	size_t i;

	json_array_foreach (names, i, name)
		for (size_t k = 0; k < shell_count(reg); k++)
			v->shells[k] |= json_is_string(name) &&
					strcmp(shell_at(reg, k)->name,
					    json_string_value(name)) == 0;
}

static void
add_session_nodes(struct farm_view *v, const struct lang_registry *reg,
    const redisReply *list)
{
	v->n_session_nodes = reply_len(list, NODES_MAX);
	for (size_t i = 0; i < v->n_session_nodes; i++) {
		const char *text = store_reply_str(list->element[i], "");
		struct err ignored;
		json_auto_t *node = json_parse(text, strlen(text), &ignored);

		add_shells(v, reg, json_object_get(node, "shells"));
	}
}

static void
add_sums(struct farm_view *v)
{
	for (size_t i = 0; i < v->n_nodes; i++) {
		const struct farm_node *n = &v->nodes[i];

		v->slots += n->slots;
		v->busy += n->busy;
		v->ready += n->ready;
		v->spawning += n->spawning;
		if (n->max_vcpu > v->max_vcpu)
			v->max_vcpu = n->max_vcpu;
	}
}

void
farm_view_read(
    struct farm_view *v, const struct lang_registry *reg, const redisReply *r)
{
	farm_view_done(v);
	view_init(v, reg);
	v->read_ms = clock_mono_ms();
	add_workers(v, reg, store_reply_at(r, 0));
	add_stats(v, store_reply_at(r, 1));
	add_session_nodes(v, reg, store_reply_at(r, 5));
	add_sums(v);
	v->running = store_reply_int(store_reply_at(r, 2), 0);
	v->ring = store_reply_int(store_reply_at(r, 3), 0);
	v->delayed = store_reply_int(store_reply_at(r, 4), 0);
}

static void
on_overview(void *ctx, const redisReply *reply, const struct err *err)
{
	struct farm *f = ctx;

	if (reply)
		farm_view_read(&f->view, f->gw->langs, reply);
	f->reading = false;
	while (!STAILQ_EMPTY(&f->asking)) {
		struct asking *a = STAILQ_FIRST(&f->asking);

		STAILQ_REMOVE_HEAD(&f->asking, link);
		a->cb(a->ctx, err ? NULL : &f->view, err);
		free(a);
	}
}

void
farm_forget(struct farm *f)
{
	farm_view_done(&f->view);
	view_init(&f->view, f->gw->langs);
}

void
farm_get(struct farm *f, farm_cb *cb, void *ctx)
{
	farm_get_since(f, clock_mono_ms() - FRESH_MS + 1, cb, ctx);
}

void
farm_get_since(struct farm *f, int64_t since_ms, farm_cb *cb, void *ctx)
{
	struct asking *a;

	if (!f->reading && f->view.read_ms > 0 && store_up(f->gw->store) &&
	    f->view.read_ms >= since_ms) {
		cb(ctx, &f->view, NULL);
		return;
	}
	a = xcalloc(1, sizeof(*a));
	a->cb = cb;
	a->ctx = ctx;
	STAILQ_INSERT_TAIL(&f->asking, a, link);
	if (f->reading)
		return;
	f->reading = true;
	store_eval(f->gw->store, STORE_overview, NULL, 0, on_overview, f);
}

bool
farm_runs(const struct farm *f, const struct lang *l)
{
	size_t i = lang_position(f->gw->langs, l);

	return i < lang_count(f->gw->langs) && f->view.languages[i];
}

/*
 * Where no node has sessions, the best guess is what this machine has, and what
 * a worker can run by its name.
 */
bool
farm_has_shell(const struct farm *f, size_t i, const struct shell *s)
{
	const struct lang *l = lang_find(f->gw->langs, s->name);

	if (f->view.n_session_nodes > 0)
		return f->view.shells[i];
	return shell_installed(s) || (l && farm_runs(f, l));
}
