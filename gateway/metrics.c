#include "metrics.h"

#include <inttypes.h>
#include <stdlib.h>

#include "attr.h"
#include "farm.h"
#include "route.h"

static const struct {
	const char *name;
	const char *help;
} rows[] = {
#define COUNTER(name, help) { #name, help },
#include "metrics.def"
#undef COUNTER
};

void
metrics_answered(struct metrics *m, size_t route, int status, int64_t spent_us)
{
	if (route >= METRICS_ROUTES)
		route = METRICS_ROUTES - 1;
	if (status < 100 || status / 100 >= METRICS_CLASSES)
		status = 500;
	m->answers[route][status / 100]++;
	m->spent_us[route] += (uint64_t)spent_us;
}

void
metrics_add(struct metrics *sum, const struct metrics *m)
{
	for (size_t i = 0; i < METRIC__COUNT; i++)
		sum->counters[i] += m->counters[i];
	for (size_t i = 0; i < METRICS_ROUTES; i++) {
		for (size_t k = 0; k < METRICS_CLASSES; k++)
			sum->answers[i][k] += m->answers[i][k];
		sum->spent_us[i] += m->spent_us[i];
	}
	sum->open_requests += m->open_requests;
}

/* The buffer's cap is far above what the tables can print. */
#define add(out, ...)                                                          \
	do {                                                                   \
		if (buf_addf((out), __VA_ARGS__) < 0)                          \
			abort();                                               \
	} while (0)

static void
print_route(const struct metrics *m, size_t i, struct buf *out)
{
	const struct route *r = i < route_table_len ? route_table[i] : NULL;

	for (size_t k = 0; k < METRICS_CLASSES; k++)
		if (m->answers[i][k] > 0)
			add(out,
			    "unfarm_gateway_requests_total{method=\"%s\","
			    "path=\"%s\",code=\"%zuxx\"} %" PRIu64 "\n",
			    r ? r->method : "", r ? r->path : "", k,
			    m->answers[i][k]);
}

static void
print_seconds(const struct metrics *m, size_t i, struct buf *out)
{
	const struct route *r = i < route_table_len ? route_table[i] : NULL;

	if (m->spent_us[i] > 0)
		add(out,
		    "unfarm_gateway_request_seconds_total{method=\"%s\","
		    "path=\"%s\"} %.6f\n",
		    r ? r->method : "", r ? r->path : "",
		    (double)m->spent_us[i] / 1e6);
}

static void
print_requests(const struct metrics *m, struct buf *out)
{
	add(out, "# HELP unfarm_gateway_requests_total HTTP requests by route "
		 "and class of status\n"
		 "# TYPE unfarm_gateway_requests_total counter\n");
	for (size_t i = 0; i < METRICS_ROUTES; i++)
		print_route(m, i, out);
	add(out, "# HELP unfarm_gateway_request_seconds_total Time from a "
		 "request's first line to its answer\n"
		 "# TYPE unfarm_gateway_request_seconds_total counter\n");
	for (size_t i = 0; i < METRICS_ROUTES; i++)
		print_seconds(m, i, out);
	add(out,
	    "# HELP unfarm_gateway_open_requests Requests that are not "
	    "answered yet\n"
	    "# TYPE unfarm_gateway_open_requests gauge\n"
	    "unfarm_gateway_open_requests %" PRIu64 "\n",
	    m->open_requests);
}

static void
print_gauge(struct buf *out, const char *name, const char *help, long long v)
{
	add(out,
	    "# HELP unfarm_%s %s\n# TYPE unfarm_%s gauge\nunfarm_%s %lld\n",
	    name, help, name, name, v);
}

static void
print_farm(const struct farm_view *f, struct buf *out)
{
	print_gauge(
	    out, "workers", "Live worker processes", (long long)f->n_workers);
	print_gauge(
	    out, "nodes", "Machines with a live worker", (long long)f->n_nodes);
	print_gauge(out, "languages", "Languages that a live worker has",
	    (long long)f->n_languages);
	print_gauge(out, "slots", "Jobs that can run at once", f->slots);
	print_gauge(out, "slots_busy", "Slots that run a job", f->busy);
	print_gauge(out, "sandboxes_ready", "Warm sandboxes", f->ready);
	print_gauge(out, "jobs_running", "Jobs under a lease", f->running);
	print_gauge(
	    out, "jobs_delayed", "Jobs that wait for a retry", f->delayed);
	print_gauge(
	    out, "keys_ready", "Keys whose turn comes in the ring", f->ring);
	for (size_t i = 0; i < f->n_stats; i++)
		add(out, "unfarm_farm_%s %lld\n", f->stats[i].name,
		    f->stats[i].value);
}

void
metrics_print(
    const struct metrics *m, const struct farm_view *farm, struct buf *out)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		add(out,
		    "# HELP unfarm_gateway_%s_total %s\n"
		    "# TYPE unfarm_gateway_%s_total counter\n"
		    "unfarm_gateway_%s_total %" PRIu64 "\n",
		    rows[i].name, rows[i].help, rows[i].name, rows[i].name,
		    m->counters[i]);
	print_requests(m, out);
	print_gauge(out, "redis_up", "1 while Redis answers", farm ? 1 : 0);
	if (farm)
		print_farm(farm, out);
}
