/* scheduler: who leads, and what a leader does next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

/* The three files whole, so that the test links like every other one. */
#include "chores.c" /* NOLINT(bugprone-suspicious-include) */
#include "lead.c"   /* NOLINT(bugprone-suspicious-include) */
#include "wall.c"   /* NOLINT(bugprone-suspicious-include) */

/* ---- lead ---- */

static void
a_lock_that_was_granted_counts_from_the_question(void **state)
{
	struct lead l;

	(void)state;
	lead_init(&l, 900);
	assert_int_equal(lead_period_ms(&l), 300);
	assert_true(lead_ask(&l, 1000));
	assert_int_equal(lead_answer(&l, true), LEAD_GAINED);
	assert_int_equal(lead_check(&l, 1899), LEAD_SAME);
	assert_int_equal(lead_check(&l, 1900), LEAD_LOST);
	assert_int_equal(lead_check(&l, 1901), LEAD_SAME);
	assert_false(l.leading);
}

static void
a_renewed_lock_lasts_longer(void **state)
{
	struct lead l;

	(void)state;
	lead_init(&l, 900);
	assert_true(lead_ask(&l, 0));
	assert_int_equal(lead_answer(&l, true), LEAD_GAINED);
	assert_true(lead_ask(&l, 300));
	assert_int_equal(lead_answer(&l, true), LEAD_SAME);
	assert_int_equal(lead_check(&l, 1199), LEAD_SAME);
	assert_int_equal(lead_check(&l, 1200), LEAD_LOST);
}

static void
one_question_is_under_way_at_a_time(void **state)
{
	struct lead l;

	(void)state;
	lead_init(&l, 900);
	assert_true(lead_ask(&l, 0));
	assert_false(lead_ask(&l, 300));
	lead_no_answer(&l);
	assert_true(lead_ask(&l, 300));
}

static void
a_question_without_answer_leaves_the_lock_until_it_runs_out(void **state)
{
	struct lead l;

	(void)state;
	lead_init(&l, 900);
	assert_true(lead_ask(&l, 0));
	assert_int_equal(lead_answer(&l, true), LEAD_GAINED);
	assert_true(lead_ask(&l, 300));
	lead_no_answer(&l);
	assert_true(l.leading);
	assert_int_equal(lead_check(&l, 900), LEAD_LOST);
}

static void
a_refusal_or_a_lost_connection_ends_it(void **state)
{
	struct lead l;

	(void)state;
	lead_init(&l, 900);
	assert_int_equal(lead_step_down(&l), LEAD_SAME);
	assert_true(lead_ask(&l, 0));
	assert_int_equal(lead_answer(&l, false), LEAD_SAME);
	assert_true(lead_ask(&l, 1));
	assert_int_equal(lead_answer(&l, true), LEAD_GAINED);
	assert_true(lead_ask(&l, 2));
	assert_int_equal(lead_answer(&l, false), LEAD_LOST);
	assert_true(lead_ask(&l, 3));
	assert_int_equal(lead_answer(&l, true), LEAD_GAINED);
	assert_int_equal(lead_step_down(&l), LEAD_LOST);
}

static void
the_shortest_lock_still_has_a_period(void **state)
{
	struct lead l;

	(void)state;
	lead_init(&l, 2);
	assert_int_equal(lead_period_ms(&l), 1);
}

/* ---- wall ---- */

static void
redis_time_goes_on_with_ours_until_it_is_learnt_anew(void **state)
{
	struct wall w = { .known = false };

	(void)state;
	assert_int_equal(wall_expect(&w, 5000), -1);
	wall_learn(&w, 1000000, 5000);
	assert_int_equal(wall_expect(&w, 5700), 1000700);
	wall_learn(&w, 400, 6000); /* set back, to before our own start */
	assert_int_equal(wall_expect(&w, 6050), 450);
}

/* ---- chores ---- */

enum { TICK = 500, BATCH = 100 };

struct answer {
	redisReply items[3];
	redisReply *list[3];
	redisReply reply;
};

static const redisReply *
numbers(struct answer *a, long long x, long long y, long long z)
{
	const long long v[3] = { x, y, z };

	for (size_t i = 0; i < 3; i++) {
		a->items[i] = (redisReply){ .type = REDIS_REPLY_INTEGER,
			.integer = v[i] };
		a->list[i] = &a->items[i];
	}
	a->reply = (redisReply){
		.type = REDIS_REPLY_ARRAY, .elements = 3, .element = a->list
	};
	return &a->reply;
}

static const redisReply *
page(struct answer *a, char *cursor, long long freed, long long more)
{
	const redisReply *r = numbers(a, 0, freed, more);

	a->items[0] = (redisReply){
		.type = REDIS_REPLY_STRING, .str = cursor, .len = strlen(cursor)
	};
	return r;
}

static void
repair_comes_each_tick_and_sweep_each_second(void **state)
{
	int repairs = 0, sweeps = 0;
	struct chores c;
	struct answer a;
	char zero[] = "0";

	(void)state;
	chores_init(&c, TICK, BATCH);
	chores_restart(&c, 0);
	for (int64_t now = 0; now < 10000; now++) {
		enum chore next = chores_next(&c, now);

		repairs += next == CHORE_REPAIR;
		sweeps += next == CHORE_SWEEP;
		if (next != CHORE_NONE)
			(void)chores_done(&c,
			    next == CHORE_REPAIR ? numbers(&a, 0, 0, 0)
						 : page(&a, zero, 0, 0),
			    now);
	}
	assert_int_equal(repairs, 20);
	assert_int_equal(sweeps, 9);
}

static void
two_chores_are_never_under_way(void **state)
{
	struct chores c;
	struct answer a;

	(void)state;
	chores_init(&c, TICK, BATCH);
	chores_restart(&c, 0);
	assert_int_equal(chores_next(&c, 0), CHORE_REPAIR);
	assert_int_equal(chores_next(&c, 100000), CHORE_NONE);
	(void)chores_done(&c, numbers(&a, 0, 0, 0), 100000);
	assert_int_equal(chores_next(&c, 100000), CHORE_SWEEP);
	assert_int_equal(chores_next(&c, 200000), CHORE_NONE);
	chores_failed(&c, 200000);
	assert_int_equal(chores_next(&c, 200000), CHORE_NONE);
	assert_int_equal(chores_pause_ms(&c, 200000), TICK);
	assert_int_equal(chores_next(&c, 200000 + TICK), CHORE_REPAIR);
}

static void
a_full_batch_is_followed_at_once(void **state)
{
	const long long full[3][3] = { { BATCH, 0, 0 }, { 0, BATCH, 0 },
		{ 0, 0, BATCH } };
	struct chores c;
	struct answer a;

	(void)state;
	chores_init(&c, TICK, BATCH);
	chores_restart(&c, 0);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(chores_next(&c, 0), CHORE_REPAIR);
		assert_true(chores_done(
		    &c, numbers(&a, full[i][0], full[i][1], full[i][2]), 0)
				.repaired);
		assert_int_equal(chores_pause_ms(&c, 0), 0);
	}
	assert_int_equal(chores_next(&c, 0), CHORE_REPAIR);
	(void)chores_done(&c, numbers(&a, BATCH - 1, 0, 0), 0);
	assert_int_equal(chores_next(&c, 0), CHORE_NONE);
}

static void
only_what_was_repaired_is_worth_a_line(void **state)
{
	struct chores c;
	struct answer a;
	struct chore_result r;

	(void)state;
	chores_init(&c, TICK, BATCH);
	chores_restart(&c, 0);
	assert_int_equal(chores_next(&c, 0), CHORE_REPAIR);
	r = chores_done(&c, numbers(&a, 0, 0, 0), 0);
	assert_true(r.leads);
	assert_false(r.repaired);
	assert_int_equal(chores_next(&c, TICK), CHORE_REPAIR);
	r = chores_done(&c, numbers(&a, 1, 2, 3), TICK);
	assert_true(r.repaired);
	assert_int_equal(r.expired, 1);
	assert_int_equal(r.promoted, 2);
	assert_int_equal(r.given_up, 3);
}

static void
the_sweep_goes_on_where_it_was(void **state)
{
	char there[] = "17", beyond[] = "a cursor that is far too long";
	struct chores c;
	struct answer a;

	(void)state;
	chores_init(&c, 1 << 20, BATCH);
	chores_restart(&c, 0);
	assert_int_equal(chores_next(&c, 0), CHORE_REPAIR);
	(void)chores_done(&c, numbers(&a, 0, 0, 0), 0);
	assert_int_equal(chores_next(&c, 1000), CHORE_SWEEP);
	(void)chores_done(&c, page(&a, there, 0, 1), 1000);
	assert_string_equal(c.cursor, "0"); /* the page has more */
	assert_int_equal(chores_next(&c, 1000), CHORE_SWEEP);
	assert_true(chores_done(&c, page(&a, there, 2, 0), 1000).repaired);
	assert_string_equal(c.cursor, "17");
	assert_int_equal(chores_next(&c, 2000), CHORE_SWEEP);
	(void)chores_done(&c, page(&a, beyond, 0, 0), 2000);
	assert_string_equal(c.cursor, "17");
	chores_restart(&c, 2000);
	assert_string_equal(c.cursor, "0");
}

static void
nil_means_that_another_one_leads(void **state)
{
	redisReply nil = { .type = REDIS_REPLY_NIL };
	struct chores c;

	(void)state;
	chores_init(&c, TICK, BATCH);
	chores_restart(&c, 0);
	assert_int_equal(chores_next(&c, 0), CHORE_REPAIR);
	assert_false(chores_done(&c, &nil, 0).leads);
	assert_int_equal(c.under_way, CHORE_NONE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    a_lock_that_was_granted_counts_from_the_question),
		cmocka_unit_test(a_renewed_lock_lasts_longer),
		cmocka_unit_test(one_question_is_under_way_at_a_time),
		cmocka_unit_test(
		    a_question_without_answer_leaves_the_lock_until_it_runs_out),
		cmocka_unit_test(a_refusal_or_a_lost_connection_ends_it),
		cmocka_unit_test(the_shortest_lock_still_has_a_period),
		cmocka_unit_test(
		    redis_time_goes_on_with_ours_until_it_is_learnt_anew),
		cmocka_unit_test(repair_comes_each_tick_and_sweep_each_second),
		cmocka_unit_test(two_chores_are_never_under_way),
		cmocka_unit_test(a_full_batch_is_followed_at_once),
		cmocka_unit_test(only_what_was_repaired_is_worth_a_line),
		cmocka_unit_test(the_sweep_goes_on_where_it_was),
		cmocka_unit_test(nil_means_that_another_one_leads),
	};

	return cmocka_run_group_tests_name("scheduler", tests, NULL, NULL);
}
