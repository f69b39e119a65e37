#pragma once
/*
 * hist.h - a histogram of times, three digits exact from 1 us to 100 s.
 *
 * Times are nanoseconds.  Below HIST_SUB they are counted one by one, above in
 * steps that double with each power of two and are never more than 1/1024 of
 * the value.  Adding costs a shift and an increment; nothing allocates.  What
 * is longer than the range counts as the range's end; max stays exact.
 */
#include <stdint.h>
#include <stdio.h>

enum {
	HIST_SUB_BITS = 11,
	HIST_SUB = 1 << HIST_SUB_BITS,
	HIST_HALF = HIST_SUB / 2,
	HIST_VALUE_BITS = 37, /* 2^37 ns is 137 s */
	HIST_BUCKETS = HIST_SUB + (HIST_VALUE_BITS - HIST_SUB_BITS) * HIST_HALF,
};

struct hist {
	uint64_t counts[HIST_BUCKETS];
	uint64_t n;
	int64_t min, max; /* 0 while empty */
	double sum;
};

void hist_init(struct hist *h);
/* A negative time counts as 0. */
void hist_add(struct hist *h, int64_t ns);
void hist_merge(struct hist *to, const struct hist *from);
/*
 * The time that percent of all are not above: the largest that the count in
 * its step may stand for, but never above max.  0 while empty.
 */
int64_t hist_at(const struct hist *h, double percent);
/* {"n":..,"min":..,"p50":..,"p90":..,"p99":..,"p99.9":..,"max":..,"mean":..},
 * in microseconds. */
void hist_print(FILE *out, const struct hist *h);
