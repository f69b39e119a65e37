/* The route table: every record is complete, every path leads to one route. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "attr.h"
#include "metrics.h"
#include "route.h"
#include "routes.h"

static const struct route *
find(const char *method, const char *path)
{
	struct route_hit hit = { .route = NULL };

	(void)route_find(method, path, strlen(path), &hit);
	return hit.route;
}

static void
test_every_record_is_complete(void **state)
{
	(void)state;
	assert_null(route_table_check());
	assert_true(route_table_len < METRICS_ROUTES);
	for (size_t i = 0; i < route_table_len; i++) {
		const struct route *r = route_table[i];

		assert_string_not_equal(r->summary, "");
		assert_int_equal(route_index(r), i);
	}
}

static void
test_no_two_routes_match_the_same_request(void **state)
{
	(void)state;
	for (size_t i = 0; i < route_table_len; i++)
		assert_ptr_equal(
		    find(route_table[i]->method, route_table[i]->path),
		    route_table[i]);
}

static void
test_paths_lead_to_their_routes(void **state)
{
	static const struct {
		const char *method, *path;
		const struct route *want;
	} cases[] = {
		{ "POST", "/execute", &route_job_execute },
		{ "POST", "/execute/", &route_job_execute },
		{ "POST", "/execute//", &route_job_execute },
		{ "POST", "/execute/async", &route_job_execute_async },
		{ "GET", "/jobs", &route_job_list },
		{ "HEAD", "/jobs/", &route_job_list },
		{ "GET", "/jobs/x", &route_job_read },
		{ "HEAD", "/jobs/x", &route_job_read },
		{ "GET", "/jobs/x/wait", &route_job_wait },
		{ "GET", "/jobs/wait", &route_job_read },
		{ "POST", "/jobs/x/cancel/", &route_job_cancel },
		{ "DELETE", "/jobs/x", &route_job_delete },
		{ "GET", "/system/stats", &route_stats_system_stats },
		{ "get", "/jobs", NULL },
		{ "POST", "/jobs", NULL },
		{ "HEAD", "/execute", NULL },
		{ "GET", "", NULL },
		{ "GET", "/", NULL },
		{ "GET", "//", NULL },
		{ "GET", "jobs", NULL },
		{ "GET", "/job", NULL },
		{ "GET", "/jobsx", NULL },
		{ "GET", "/jobs//wait", NULL },
		{ "GET", "/jobs/x/y", NULL },
		{ "GET", "/jobs/x/wait/y", NULL },
		{ "GET", "/Jobs", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_ptr_equal(
		    find(cases[i].method, cases[i].path), cases[i].want);
}

static void
test_id_is_what_stands_in_its_place(void **state)
{
	struct route_hit hit;
	const char *path = "/jobs/job_1_ab/cancel/";

	(void)state;
	assert_int_equal(
	    route_find("POST", path, strlen(path), &hit), ROUTE_FOUND);
	assert_int_equal(hit.id_len, 8);
	assert_memory_equal(hit.id, "job_1_ab", 8);
}

static void
test_allow_lists_the_methods_of_a_path(void **state)
{
	static const struct {
		const char *path, *want;
	} cases[] = {
		{ "/execute", "POST" },
		{ "/jobs/x", "GET, HEAD, DELETE" },
		{ "/health/", "GET, HEAD" },
		{ "/nothing", "" },
	};
	char allow[ROUTE_ALLOW_MAX];
	struct route_hit hit;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		size_t n = strlen(cases[i].path);

		route_allow(cases[i].path, n, allow);
		assert_string_equal(allow, cases[i].want);
		assert_int_equal(route_find("PATCH", cases[i].path, n, &hit),
		    *allow ? ROUTE_NO_METHOD : ROUTE_NO_PATH);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_record_is_complete),
		cmocka_unit_test(test_no_two_routes_match_the_same_request),
		cmocka_unit_test(test_paths_lead_to_their_routes),
		cmocka_unit_test(test_id_is_what_stands_in_its_place),
		cmocka_unit_test(test_allow_lists_the_methods_of_a_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
