/* The benchmark's histogram: three digits over the whole range. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "hist.h"

static struct hist h, other;

static int
empty(void **state)
{
	(void)state;
	hist_init(&h);
	hist_init(&other);
	return 0;
}

/* Alone in a histogram that also has something longer, so max does not help. */
static int64_t
through(int64_t ns)
{
	hist_init(&h);
	hist_add(&h, ns);
	hist_add(&h, INT64_MAX);
	return hist_at(&h, 50);
}

static void
every_time_of_the_range_keeps_three_digits(void **state)
{
	(void)state;
	for (int64_t ns = 1000; ns <= 100LL * 1000 * 1000 * 1000;
	     ns += ns / 37 + 1) {
		int64_t got = through(ns);

		assert_in_range(got, ns, ns + ns / 1000);
	}
}

static void
short_times_are_exact(void **state)
{
	(void)state;
	for (int64_t ns = 0; ns < HIST_SUB; ns++)
		assert_int_equal(through(ns), ns);
}

static void
times_next_to_a_power_of_two_do_not_mix(void **state)
{
	(void)state;
	for (unsigned bit = HIST_SUB_BITS; bit < HIST_VALUE_BITS; bit++) {
		int64_t edge = (int64_t)1 << bit;

		assert_int_equal(through(edge - 1), edge - 1);
		assert_true(through(edge) >= edge);
	}
}

static void
percentiles_are_those_of_the_sorted_times(void **state)
{
	(void)state;
	for (int i = 1000; i >= 1; i--)
		hist_add(&h, i);
	assert_int_equal(hist_at(&h, 0), 1);
	assert_int_equal(hist_at(&h, 50), 500);
	assert_int_equal(hist_at(&h, 90), 900);
	assert_int_equal(hist_at(&h, 99), 990);
	assert_int_equal(hist_at(&h, 99.9), 999);
	assert_int_equal(hist_at(&h, 100), 1000);
	assert_int_equal(h.min, 1);
	assert_int_equal(h.max, 1000);
}

static void
one_time_is_every_percentile(void **state)
{
	(void)state;
	hist_add(&h, 1234567);
	assert_int_equal(hist_at(&h, 0), 1234567);
	assert_int_equal(hist_at(&h, 50), 1234567);
	assert_int_equal(hist_at(&h, 99.9), 1234567);
}

static void
what_is_out_of_range_is_not_lost(void **state)
{
	(void)state;
	hist_add(&h, -5);
	hist_add(&h, (int64_t)1 << 50);
	assert_int_equal(h.n, 2);
	assert_int_equal(h.min, 0);
	assert_int_equal(hist_at(&h, 50), 0);
	assert_int_equal(hist_at(&h, 100), (int64_t)1 << 50);
}

static void
merged_is_as_if_added_to_one(void **state)
{
	(void)state;
	hist_add(&other, 7);
	hist_merge(&h, &other); /* min of an empty one is not 0 */
	assert_int_equal(h.min, 7);
	hist_init(&other);
	hist_merge(&h, &other);
	assert_int_equal(h.min, 7);
	hist_add(&other, 3);
	hist_add(&other, 1000);
	hist_merge(&h, &other);
	assert_int_equal(h.n, 3);
	assert_int_equal(h.min, 3);
	assert_int_equal(h.max, 1000);
	assert_int_equal(hist_at(&h, 50), 7);
	assert_int_equal((int)h.sum, 1010);
}

static void
prints_microseconds(void **state)
{
	auto_free char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	(void)state;
	assert_non_null(f);
	hist_add(&h, 1000);
	hist_add(&h, 2000);
	hist_print(f, &h);
	assert_int_equal(fclose(f), 0);
	assert_string_equal(text,
	    "{\"n\":2,\"min\":1.000,\"p50\":1.000,\"p90\":2.000,"
	    "\"p99\":2.000,\"p99.9\":2.000,\"max\":2.000,\"mean\":1.500}");
}

static void
prints_nothing_measured_as_zero(void **state)
{
	auto_free char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	(void)state;
	assert_non_null(f);
	hist_print(f, &h);
	assert_int_equal(fclose(f), 0);
	assert_non_null(strstr(text, "\"n\":0,\"min\":0.000"));
	assert_non_null(strstr(text, "\"mean\":0.000"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(
		    every_time_of_the_range_keeps_three_digits, empty),
		cmocka_unit_test_setup(short_times_are_exact, empty),
		cmocka_unit_test_setup(
		    times_next_to_a_power_of_two_do_not_mix, empty),
		cmocka_unit_test_setup(
		    percentiles_are_those_of_the_sorted_times, empty),
		cmocka_unit_test_setup(one_time_is_every_percentile, empty),
		cmocka_unit_test_setup(what_is_out_of_range_is_not_lost, empty),
		cmocka_unit_test_setup(merged_is_as_if_added_to_one, empty),
		cmocka_unit_test_setup(prints_microseconds, empty),
		cmocka_unit_test_setup(prints_nothing_measured_as_zero, empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
