#include "hist.h"

#include <inttypes.h>
#include <string.h>

void
hist_init(struct hist *h)
{
	memset(h, 0, sizeof(*h));
}

static unsigned
bucket_of(uint64_t ns)
{
	unsigned bits, shift;

	if (ns < HIST_SUB)
		return (unsigned)ns;
	if (ns >> HIST_VALUE_BITS)
		return HIST_BUCKETS - 1;
	bits = 64 - (unsigned)__builtin_clzll(ns);
	shift = bits - HIST_SUB_BITS;
	return HIST_SUB + (shift - 1) * HIST_HALF + (unsigned)(ns >> shift) -
	       HIST_HALF;
}

/* The largest time that falls into a bucket. */
static int64_t
bucket_top(unsigned bucket)
{
	unsigned shift;
	uint64_t first;

	if (bucket < HIST_SUB)
		return bucket;
	shift = (bucket - HIST_SUB) / HIST_HALF + 1;
	first = HIST_HALF + (bucket - HIST_SUB) % HIST_HALF;
	return (int64_t)(((first + 1) << shift) - 1);
}

void
hist_add(struct hist *h, int64_t ns)
{
	if (ns < 0)
		ns = 0;
	if (h->n == 0 || ns < h->min)
		h->min = ns;
	if (ns > h->max)
		h->max = ns;
	h->counts[bucket_of((uint64_t)ns)]++;
	h->n++;
	h->sum += (double)ns;
}

void
hist_merge(struct hist *to, const struct hist *from)
{
	if (from->n == 0)
		return;
	if (to->n == 0 || from->min < to->min)
		to->min = from->min;
	if (from->max > to->max)
		to->max = from->max;
	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		to->counts[i] += from->counts[i];
	to->n += from->n;
	to->sum += from->sum;
}

int64_t
hist_at(const struct hist *h, double percent)
{
	/* A little less, or rounding makes 99.9 % of 1000 the last one. */
	double wanted = percent / 100 * (double)h->n - 1e-6;
	uint64_t seen = 0;

	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		seen += h->counts[i];
		if (h->counts[i] > 0 && (double)seen >= wanted)
			return i == HIST_BUCKETS - 1 || bucket_top(i) > h->max
				   ? h->max
				   : bucket_top(i);
	}
	return h->max;
}

void
hist_print(FILE *out, const struct hist *h)
{
	static const struct {
		const char *name;
		double percent;
	} rows[] = { { "p50", 50 }, { "p90", 90 }, { "p99", 99 },
		{ "p99.9", 99.9 } };
	const double us = 1000;

	(void)fprintf(
	    out, "{\"n\":%" PRIu64 ",\"min\":%.3f", h->n, (double)h->min / us);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		(void)fprintf(out, ",\"%s\":%.3f", rows[i].name,
		    (double)hist_at(h, rows[i].percent) / us);
	(void)fprintf(out, ",\"max\":%.3f,\"mean\":%.3f}", (double)h->max / us,
	    h->n > 0 ? h->sum / (double)h->n / us : 0);
}
