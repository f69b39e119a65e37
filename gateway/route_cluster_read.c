/*
 * GET /cluster and /pools: the sandboxes of the farm, together and by machine.
 * A pool is one machine.
 */
#include "routes.h"

#include <stdio.h>
#include <stdlib.h>

#include "attr.h"
#include "farm.h"
#include "gateway.h"
#include "json.h"
#include "request.h"
#include "respond.h"

static void
set_new(json_t *obj, const char *name, json_t *v)
{
	if (!v || json_object_set_new(obj, name, v) < 0)
		abort();
}

static long
available(long slots, long busy)
{
	return slots > busy ? slots - busy : 0;
}

/* Machines' loads are averaged, their memory is added up. */
static json_t *
load_avg(const struct farm_view *v)
{
	static const char *const names[] = { "load1", "load5", "load15" };
	json_t *o = json_object();

	for (size_t k = 0; k < ARRAY_LEN(names); k++) {
		double sum = 0;

		for (size_t i = 0; i < v->n_nodes; i++)
			sum += v->nodes[i].load[k];
		set_new(o, names[k],
		    json_real(v->n_nodes ? sum / (double)v->n_nodes : 0));
	}
	return o;
}

static json_t *
memory(const struct farm_view *v)
{
	double used = 0, free_gb = 0;
	json_t *o = json_object();

	for (size_t i = 0; i < v->n_nodes; i++) {
		used += v->nodes[i].memory_used_gb;
		free_gb += v->nodes[i].memory_available_gb;
	}
	set_new(o, "used_gb", json_real(used));
	set_new(o, "available_gb", json_real(free_gb));
	set_new(o, "used_percent",
	    json_real(used + free_gb > 0 ? 100 * used / (used + free_gb) : 0));
	return o;
}

static json_t *
network(long allocated, long free_slots, long total, bool services)
{
	json_t *o = json_object();

	json_set_int(o, "allocated", allocated);
	json_set_int(o, "available", free_slots);
	if (services)
		json_set_int(o, "services", 0);
	json_set_int(o, "total", total);
	return o;
}

static json_t *
cluster_body(const struct farm_view *v)
{
	json_t *o = json_object(), *nets = json_object();
	long free_slots = available(v->slots, v->busy);

	json_set_str(o, "mode", "pooled");
	json_set_int(o, "pool_size", v->slots);
	json_set_int(o, "allocated", v->busy);
	json_set_int(o, "available", free_slots);
	json_set_int(o, "spawning", v->spawning);
	json_set_int(o, "total_containers", v->busy + v->ready + v->spawning);
	json_set_str(o, "network_mode", "zerotrust_only");
	json_set_int(o, "nodes", (long long)v->n_nodes);
	json_set_int(o, "workers", (long long)v->n_workers);
	set_new(
	    nets, "zerotrust", network(v->busy, free_slots, v->slots, false));
	set_new(nets, "semitrusted", network(0, 0, 0, true));
	set_new(o, "network_breakdown", nets);
	set_new(o, "load_avg", load_avg(v));
	set_new(o, "memory", memory(v));
	return o;
}

static json_t *
pool(const struct farm_node *n)
{
	json_t *o = json_object();
	char id[160];

	(void)snprintf(id, sizeof(id), "pool_manager@%s", n->name);
	json_set_str(o, "id", id);
	json_set_int(o, "allocated", n->busy);
	json_set_int(o, "available", available(n->slots, n->busy));
	json_set_int(o, "total", n->slots);
	set_new(o, "load_avg", json_real(n->load[0]));
	json_set_str(o, "status", "healthy");
	json_set_str(o, "host", n->name);
	json_set_int(o, "vcpu_count", n->cores);
	return o;
}

static json_t *
pools_body(const struct farm_view *v)
{
	json_t *o = json_object(), *list = json_array();

	for (size_t i = 0; i < v->n_nodes; i++)
		if (json_array_append_new(list, pool(&v->nodes[i])) < 0)
			abort();
	json_set_int(o, "pool_count", (long long)v->n_nodes);
	json_set_int(o, "total_capacity", v->slots);
	json_set_int(o, "total_allocated", v->busy);
	json_set_int(o, "total_available", available(v->slots, v->busy));
	set_new(o, "pools", list);
	return o;
}

static void
answer(struct request *req, const struct farm_view *view, const struct err *err,
    json_t *(*body_of)(const struct farm_view *v))
{
	json_auto_t *body = NULL;

	if (!view) {
		respond_err(req, err);
		return;
	}
	body = body_of(view);
	respond_json(req, 200, body);
}

static void
on_cluster(void *ctx, const struct farm_view *view, const struct err *err)
{
	answer(ctx, view, err, cluster_body);
}

static void
on_pools(void *ctx, const struct farm_view *view, const struct err *err)
{
	answer(ctx, view, err, pools_body);
}

static int
handle_cluster(struct request *req, struct err *err)
{
	(void)err;
	farm_get(req->gw->farm, on_cluster, req);
	return 0;
}

static int
handle_pools(struct request *req, struct err *err)
{
	(void)err;
	farm_get(req->gw->farm, on_pools, req);
	return 0;
}

const struct route route_cluster_read = {
	.method = "GET",
	.path = "/cluster",
	.scope = AUTH_PUBLIC,
	.max_body = ROUTE_BODY_SMALL,
	.summary = "Sandboxes, load and memory of the farm",
	.handle = handle_cluster,
};

const struct route route_pool_list = {
	.method = "GET",
	.path = "/pools",
	.scope = AUTH_PUBLIC,
	.max_body = ROUTE_BODY_SMALL,
	.summary = "The same by machine",
	.handle = handle_pools,
};
