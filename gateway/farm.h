#pragma once
/*
 * farm.h - what workers and nodes with sessions say of themselves, at most one
 * second old.
 *
 * Read on demand by one call at a time, however many ask: an idle gateway asks
 * Redis nothing.
 */
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct gateway;
struct lang;
struct lang_registry;
struct shell;
struct farm;

/* The workers of one machine together. */
struct farm_node {
	char name[128];
	long slots, busy, ready, spawning; /* sums */
	long max_vcpu, cores;
	double load[3];
	double memory_used_gb, memory_available_gb, memory_used_percent;
};

struct farm_stat {
	char name[48];
	long long value;
};

struct farm_view {
	int64_t read_ms; /* monotonic */
	size_t n_workers;
	struct farm_node *nodes; /* owned */
	size_t n_nodes;
	struct farm_stat *stats; /* owned; counters of the scripts */
	size_t n_stats;
	bool *languages; /* owned; by position in the registry */
	size_t n_languages;
	size_t n_session_nodes;
	bool *shells; /* owned; of those nodes, by position in the registry */
	long slots, busy, ready, spawning; /* of all nodes */
	long max_vcpu;
	bool trying; /* a worker is still finding out what it can run */
	long long running, ring, delayed;
};

/* From the answer of the script `overview`; what v held is freed. */
void farm_view_read(
    struct farm_view *v, const struct lang_registry *reg, const redisReply *r);
void farm_view_done(struct farm_view *v);

struct farm *farm_new(struct gateway *gw);
void farm_free(struct farm *f);

/*
 * cb runs once, at once when a fresh view is at hand, else from the loop.  view
 * is NULL exactly when err is not, and is borrowed for the call.
 */
typedef void
farm_cb(void *ctx, const struct farm_view *view, const struct err *err);
void farm_get(struct farm *f, farm_cb *cb, void *ctx);
/* The same, with a view that was read at since_ms, monotonic, or later. */
void farm_get_since(struct farm *f, int64_t since_ms, farm_cb *cb, void *ctx);

/* The registry was replaced: what was read by its positions is read again. */
void farm_forget(struct farm *f);

/* A live worker has it. */
bool farm_runs(const struct farm *f, const struct lang *l);

/* A session can begin it: s is the i-th of the registry. */
bool farm_has_shell(const struct farm *f, size_t i, const struct shell *s);
