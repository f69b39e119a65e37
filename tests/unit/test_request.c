/* What a request says: its signature, its query, its job. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "cleanup.h"
#include "job.h"
#include "lang.h"
#include "query.h"
#include "secret.h"
#include "settings.h"
#include "signature.h"
#include "spec.h"

DEFINE_CLEANUP(job_spec, job_spec_free)

#define PK "unsb-pk-test-0000-0000-0001"
#define SK "unsb-sk-test0-vault-unlck-12345"

/* ---- signatures ---- */

static void
sign(const char *text, char sig[SECRET_SIG_LEN + 1])
{
	const struct secret_part part = { text, strlen(text) };

	secret_sign(SK, &part, 1, sig);
}

static bool
accepted(const char *signed_text, const char *target, const char *body)
{
	const struct signed_text t = {
		.method = "POST",
		.target = target,
		.target_len = strlen(target),
		.path_len = strcspn(target, "?"),
		.body = body,
		.body_len = strlen(body),
	};
	struct claim c = { .timestamp = "100", .seconds = 100 };

	sign(signed_text, c.signature);
	return signature_fits(SK, &c, &t);
}

static void
test_documented_signature(void **state)
{
	char sig[SECRET_SIG_LEN + 1];

	(void)state;
	/* echo -n '1:POST:/keys/validate:' | openssl dgst -sha256 -hmac KEY */
	sign("1:POST:/keys/validate:", sig);
	assert_string_equal(sig, "b0d071dbb8e5e8a11679ef342dda66d0"
				 "07b56156d05551423130bb9844c04f71");
}

static void
test_every_candidate_is_accepted_and_nothing_else(void **state)
{
	static const struct {
		const char *text, *target, *body;
		bool want;
	} cases[] = {
		{ "100:POST:/run?a=1:x", "/run?a=1", "x", true },
		{ "100:POST:/run:x", "/run?a=1", "x", true },
		{ "100:POST:/run?:x", "/run?", "x", true },
		{ "100:POST:/run:", "/run", "{}", true },
		{ "100:POST:/run:{}", "/run", "{}", true },
		{ "100:POST:/run:", "/run", " [ ]", false },
		{ "100:POST:/run:", "/run", "\n[]\t", true },
		{ "100:POST:/run:\n[]\t", "/run", "\n[]\t", true },
		{ "100:POST:/run?a=1:", "/run?a=1", "[]", true },
		{ "100:POST:/run:", "/run?a=1", "[]", true },
		{ "100:POST:/run:", "/run", "", true },
		{ "100:POST:/run:", "/run", "x", false },
		{ "100:POST:/run:{}", "/run", "", false },
		{ "100:POST:/run:[]", "/run", "{}", false },
		{ "100:POST:/run:x", "/run/", "x", false },
		{ "100:POST:/run?a=%20:x", "/run?a=%20", "x", true },
		{ "100:POST:/run?a= :x", "/run?a=%20", "x", false },
		{ "101:POST:/run:x", "/run", "x", false },
		{ "100:GET:/run:x", "/run", "x", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (accepted(cases[i].text, cases[i].target, cases[i].body) !=
		    cases[i].want)
			fail_msg("case %zu: %s", i, cases[i].text);
}

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void
test_malformed_headers_are_refused_as_bad_keys(void **state)
{
	static const char *const bad[][3] = {
		{ NULL, "1", HEX64 },
		{ "Bearer " PK, NULL, HEX64 },
		{ "Bearer " PK, "1", NULL },
		{ "", "1", HEX64 },
		{ "Bearer", "1", HEX64 },
		{ "Bearer ", "1", HEX64 },
		{ "Basic " PK, "1", HEX64 },
		{ "Bearer " PK " ", "1", HEX64 },
		{ "Bearer " SK, "1", HEX64 },
		{ "Bearer unsb-pk-", "1", HEX64 },
		{ "Bearer unsb-pk-a_b", "1", HEX64 },
		{ "Bearer " PK, "", HEX64 },
		{ "Bearer " PK, "-1", HEX64 },
		{ "Bearer " PK, "+1", HEX64 },
		{ "Bearer " PK, " 1", HEX64 },
		{ "Bearer " PK, "1 ", HEX64 },
		{ "Bearer " PK, "1.0", HEX64 },
		{ "Bearer " PK, "0x1", HEX64 },
		{ "Bearer " PK, "99999999999999999999", HEX64 },
		{ "Bearer " PK, "1", "" },
		{ "Bearer " PK, "1", "0" HEX64 },
		{ "Bearer " PK, "1", "ABCDEF" },
	};
	struct claim c;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = { .code = ERR_OK };

		if (claim_parse(bad[i][0], bad[i][1], bad[i][2], &c, &err) == 0)
			fail_msg("case %zu was accepted", i);
		assert_int_equal(err.code, ERR_KEY);
		assert_null(strstr(err.msg, "timestamp"));
	}
}

static void
test_good_headers_are_read(void **state)
{
	struct claim c;
	struct err err;

	(void)state;
	assert_int_equal(
	    claim_parse("bearer  " PK, "1700000000", HEX64, &c, &err), 0);
	assert_string_equal(c.public_key, PK);
	assert_string_equal(c.signature, HEX64);
	assert_int_equal(c.seconds, 1700000000);
}

static void
test_clock_window(void **state)
{
	struct claim c = { .seconds = 1000 };
	struct err err;

	(void)state;
	assert_int_equal(claim_check_clock(&c, 1300, 300, &err), 0);
	assert_int_equal(claim_check_clock(&c, 700, 300, &err), 0);
	assert_int_equal(claim_check_clock(&c, 1301, 300, &err), -1);
	assert_int_equal(err.code, ERR_CLOCK);
	assert_non_null(strstr(err.msg, "301 seconds behind"));
	assert_int_equal(claim_check_clock(&c, 699, 300, &err), -1);
	assert_non_null(strstr(err.msg, "301 seconds ahead"));
}

/* ---- queries ---- */

static void
test_query_values(void **state)
{
	static const struct {
		const char *query, *want;
	} cases[] = {
		{ "", NULL },
		{ "&&=&", NULL },
		{ "b=1", NULL },
		{ "aa=1", NULL },
		{ "a", "" },
		{ "a=", "" },
		{ "a=1&a=2", "1" },
		{ "b=2&a=1", "1" },
		{ "%61=x", "x" },
		{ "a=b+c%20d%2Be", "b c d+e" },
		{ "a=b=c", "b=c" },
		{ "a=%C3%a9", "\xc3\xa9" },
		{ "%=1&%zz=1&a=3", "3" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct query q = { cases[i].query,
			strlen(cases[i].query) };
		struct err err;
		auto_free char *got = query_get(&q, "a", &err);

		assert_int_equal(err.code, ERR_OK);
		if (cases[i].want)
			assert_string_equal(got, cases[i].want);
		else
			assert_null(got);
	}
}

static void
test_broken_escapes_are_refused(void **state)
{
	static const char *const bad[] = { "a=%", "a=%1", "a=%zz", "a=%00",
		"a=x%0", "b=1&a=%g1" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		const struct query q = { bad[i], strlen(bad[i]) };
		struct err err = { .code = ERR_OK };

		assert_null(query_get(&q, "a", &err));
		assert_int_equal(err.code, ERR_INVALID);
	}
}

static void
test_query_numbers(void **state)
{
	static const struct {
		const char *query;
		int want;
		long value;
	} cases[] = {
		{ "", 0, -7 },
		{ "a=5", 1, 5 },
		{ "a=500", 1, 100 },
		{ "a=99999999999999999999999", 1, 100 },
		{ "a=", -1, -7 },
		{ "a=-1", -1, -7 },
		{ "a=1s", -1, -7 },
		{ "a=%zz", -1, -7 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct query q = { cases[i].query,
			strlen(cases[i].query) };
		struct err err;
		long v = -7;

		assert_int_equal(
		    query_get_int(&q, "a", 100, &v, &err), cases[i].want);
		assert_int_equal(v, cases[i].value);
	}
}

/* ---- jobs ---- */

struct world {
	struct settings set;
	struct lang_registry *langs;
	struct spec_rules rules;
};

static bool
all_but_julia(void *ctx, const struct lang *l)
{
	(void)ctx;
	return strcmp(l->name, "julia") != 0;
}

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct err err;

	assert_non_null(w);
	settings_default(&w->set);
	w->set.gateway_max_code_kb = 1;
	w->set.gateway_max_file_kb = 1;
	w->set.gateway_max_files_kb = 2;
	w->set.gateway_max_files = 3;
	w->set.gateway_max_env = 2;
	w->set.gateway_max_args = 2;
	w->langs = lang_load("conf", &err);
	if (!w->langs)
		fail_msg("%s", err.msg);
	w->rules = (struct spec_rules){ .set = &w->set,
		.langs = w->langs,
		.max_vcpu = 4,
		.runs = all_but_julia };
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	lang_free(w->langs);
	free(w);
	return 0;
}

static struct job_spec *
parse(const struct world *w, const char *text, struct err *err)
{
	bool async;

	return spec_from_json(&w->rules, text, strlen(text), &async, err);
}

#define OK "\"language\":\"python\",\"code\":\"x\""

static void
test_bad_jobs_say_what_to_change(void **state)
{
	static const struct {
		const char *text;
		enum err_code code;
		const char *says;
	} cases[] = {
		{ "{", ERR_INVALID, "not valid JSON at line 1" },
		{ "[1]", ERR_INVALID, "JSON object" },
		{ "[]", ERR_INVALID, "`code` is missing" },
		{ "{\"code\":\"x\"}", ERR_INVALID, "GET /languages" },
		{ "{\"language\":\"x\",\"code\":\"x\"}", ERR_LANGUAGE,
		    "Unsupported language: x" },
		{ "{\"language\":\"julia\",\"code\":\"x\"}", ERR_LANGUAGE,
		    "not installed on any machine" },
		{ "{\"language\":\"c\",\"code\":\"\"}", ERR_INVALID,
		    "`code` is empty" },
		{ "{" OK ",\"ttl\":901}", ERR_INVALID, "between 1 and 900" },
		{ "{" OK ",\"vcpu\":5}", ERR_INVALID, "ask for 4 or less" },
		{ "{" OK ",\"vcpu\":9}", ERR_INVALID, "between 1 and 8" },
		{ "{" OK ",\"vcpu\":2,\"memory_mb\":4097}", ERR_INVALID,
		    "between 16 and 4096" },
		{ "{" OK ",\"network\":\"semitrusted\"}", ERR_UNAVAILABLE_MODE,
		    "no egress proxy" },
		{ "{" OK ",\"return_wasm_artifact\":1}", ERR_UNAVAILABLE_MODE,
		    "return_wasm_artifact" },
		{ "{" OK ",\"async\":\"later\"}", ERR_INVALID, "`async`" },
		{ "{" OK ",\"env\":{\"a\":1,\"b\":2,\"c\":3}}", ERR_INVALID,
		    "at most 2" },
		{ "{" OK ",\"args\":[1,2,3]}", ERR_INVALID, "at most 2" },
		{ "{" OK ",\"args\":[null]}", ERR_INVALID, "entry 0" },
		{ "{" OK ",\"input_files\":[{},{},{},{}]}", ERR_INVALID,
		    "at most 3" },
		{ "{" OK ",\"input_files\":[{\"filename\":1}]}", ERR_INVALID,
		    "`filename` must be a string" },
	};
	const struct world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err err = { .code = ERR_OK };

		if (parse(w, cases[i].text, &err))
			fail_msg("case %zu was accepted", i);
		if (err.code != cases[i].code ||
		    !strstr(err.msg, cases[i].says))
			fail_msg("case %zu: %s", i, err.msg);
	}
}

/* One byte less passes, one more does not. */
static void
test_sizes_are_exact(void **state)
{
	const struct world *w = *state;
	char code[2048], text[4096];
	struct err err;

	for (int n = 1024; n <= 1025; n++) {
		auto_ref(job_spec) s = NULL;

		(void)snprintf(code, sizeof(code), "%0*d", n, 0);
		(void)snprintf(text, sizeof(text),
		    "{\"language\":\"c\",\"code\":\"%s\"}", code);
		s = parse(w, text, &err);
		assert_int_equal(s != NULL, n == 1024);
		if (!s)
			assert_int_equal(err.code, ERR_TOO_BIG);
	}
}

static void
test_defaults_and_dialects(void **state)
{
	const struct world *w = *state;
	struct err err;
	auto_ref(job_spec) s = parse(w, "{" OK "}", &err);
	auto_ref(job_spec) t = parse(w,
	    "{\"language\":\"JS\",\"code\":\"x\",\"ttl\":\"5\",\"env\":[],"
	    "\"vcpu\":null,\"args\":[1.5,true],\"artifacts\":true,"
	    "\"input_files\":[{\"filename\":\"./a//b\\n\",\"content\":\"\"}]}",
	    &err);

	assert_non_null(s);
	assert_string_equal(s->language, "python");
	assert_string_equal(s->network_mode, "zerotrust");
	assert_int_equal(s->ttl, w->set.job_default_ttl);
	assert_int_equal(s->vcpu, 1);
	assert_int_equal(s->memory_mb, 0);
	assert_null(s->input.data);
	assert_non_null(t);
	assert_string_equal(t->language, "javascript");
	assert_int_equal(t->ttl, 5);
	assert_int_equal(t->vcpu, 1);
	assert_string_equal(t->args[0], "1.5");
	assert_string_equal(t->args[1], "true");
	assert_true(t->return_artifact);
	assert_string_equal(t->files[0].name, "a/b");
}

static struct job_spec *
parse_run(const struct world *w, const char *text, size_t n, bool json,
    const char *query, struct err *err)
{
	const struct query q = { query, strlen(query) };

	return spec_from_run(&w->rules, text, n, json, &q, err);
}

static void
test_run_reads_program_and_query(void **state)
{
	static const char program[] = "#!/usr/bin/env bash\necho \xff\0";
	const struct world *w = *state;
	struct err err;
	auto_ref(job_spec) s = parse_run(w, program, sizeof(program), false,
	    "ttl=7&env=%7B%22A%22%3A%22b%22%7D&stdin=in&unknown=1", &err);

	assert_non_null(s);
	assert_string_equal(s->language, "bash");
	assert_int_equal(s->code.len, sizeof(program));
	assert_memory_equal(s->code.data, program, sizeof(program));
	assert_int_equal(s->ttl, 7);
	assert_string_equal(s->env[0].value, "b");
	assert_string_equal(s->input.data, "in");
}

static void
test_run_takes_json_only_when_told(void **state)
{
	static const char text[] = "{\"code\":\"#!/bin/bash\\n\"}";
	const struct world *w = *state;
	struct err err;
	auto_ref(job_spec) s = parse_run(w, text, strlen(text), true, "", &err);

	assert_non_null(s);
	assert_string_equal(s->language, "bash");
	assert_null(parse_run(w, text, strlen(text), false, "", &err));
	assert_int_equal(err.code, ERR_LANGUAGE);
	assert_null(parse_run(w, "", 0, false, "", &err));
	assert_non_null(strstr(err.msg, "`code` is empty"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_documented_signature),
		cmocka_unit_test(
		    test_every_candidate_is_accepted_and_nothing_else),
		cmocka_unit_test(
		    test_malformed_headers_are_refused_as_bad_keys),
		cmocka_unit_test(test_good_headers_are_read),
		cmocka_unit_test(test_clock_window),
		cmocka_unit_test(test_query_values),
		cmocka_unit_test(test_broken_escapes_are_refused),
		cmocka_unit_test(test_query_numbers),
		cmocka_unit_test(test_bad_jobs_say_what_to_change),
		cmocka_unit_test(test_sizes_are_exact),
		cmocka_unit_test(test_defaults_and_dialects),
		cmocka_unit_test(test_run_reads_program_and_query),
		cmocka_unit_test(test_run_takes_json_only_when_told),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
