#pragma once
/*
 * metrics.h - counters of a gateway process; rows live in metrics.def.
 *
 * Each process writes its own and reads those of its siblings, which have no
 * lock: a word is read whole, and two words may be of different moments.
 */
#include <stdint.h>

#include "buf.h"

enum metric {
#define COUNTER(name, help) METRIC_##name,
#include "metrics.def"
#undef COUNTER
	METRIC__COUNT
};

/* One more slot than routes: requests that no route matched. */
enum { METRICS_ROUTES = 64, METRICS_CLASSES = 6 };

struct metrics {
	uint64_t counters[METRIC__COUNT];
	uint64_t answers[METRICS_ROUTES][METRICS_CLASSES]; /* by status / 100 */
	uint64_t spent_us[METRICS_ROUTES]; /* arrival to answered */
	uint64_t open_requests;
};

void metrics_add(struct metrics *sum, const struct metrics *m);

struct farm_view;

void
metrics_answered(struct metrics *m, size_t route, int status, int64_t spent_us);
/*
 * Prometheus text.  farm is NULL while Redis does not answer: then its figures
 * are missing and unfarm_redis_up is 0.
 */
void metrics_print(
    const struct metrics *m, const struct farm_view *farm, struct buf *out);
