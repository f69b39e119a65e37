#pragma once
/* clock_ns.h - the clock of every measurement: monotonic, in nanoseconds. */
#include <stdint.h>
#include <time.h>

static inline int64_t
clock_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
