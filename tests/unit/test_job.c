/* job: specs and results between gateway and worker, states, file names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "cleanup.h"
#include "job.h"
#include "json.h"

DEFINE_CLEANUP(job_spec, job_spec_free)

static char *
text(const char *s)
{
	char *p = strdup(s);

	assert_non_null(p);
	return p;
}

static void
content(struct buf *b, const char *p, size_t n)
{
	buf_init(b, n);
	assert_int_equal(buf_add(b, p, n), 0);
}

static struct job_spec *
small_spec(void)
{
	struct job_spec *s = job_spec_new();

	s->language = text("python");
	s->network_mode = text("zerotrust");
	s->ttl = 60;
	s->vcpu = 1;
	job_bytes_set(&s->code, "print(1)", 8);
	return s;
}

static struct job_spec *
there_and_back(const struct job_spec *s)
{
	auto_free char *line = job_spec_encode(s);
	struct err e = { 0 };
	struct job_spec *back = job_spec_decode(line, strlen(line), &e);

	assert_null(strchr(line, '\n'));
	assert_non_null(back);
	return back;
}

static void
a_full_spec_comes_back_as_it_was(void **state)
{
	struct buf file;
	auto_ref(job_spec) s = small_spec();
	auto_ref(job_spec) b = NULL;

	(void)state;
	s->cpu_limit = 7;
	s->vcpu = 8;
	s->ttl = 900;
	s->memory_mb = 100;
	s->return_artifact = true;
	job_bytes_set(&s->input, "in\0put", 6);
	job_spec_add_arg(s, "-x");
	job_spec_add_arg(s, "");
	job_spec_add_env(s, "A", "1=2");
	content(&file, "\xff\0\n", 3);
	job_spec_add_file(s, "d/f", &file);
	assert_null(file.data); /* it was taken */
	b = there_and_back(s);
	assert_string_equal(b->language, "python");
	assert_string_equal(b->network_mode, "zerotrust");
	assert_string_equal(b->code.data, "print(1)");
	assert_int_equal(b->input.len, 6);
	assert_memory_equal(b->input.data, "in\0put", 7);
	assert_int_equal(b->n_args, 2);
	assert_string_equal(b->args[0], "-x");
	assert_string_equal(b->args[1], "");
	assert_int_equal(b->n_env, 1);
	assert_string_equal(b->env[0].name, "A");
	assert_string_equal(b->env[0].value, "1=2");
	assert_int_equal(b->n_files, 1);
	assert_string_equal(b->files[0].name, "d/f");
	assert_int_equal(b->files[0].content.len, 3);
	assert_memory_equal(b->files[0].content.data, "\xff\0\n", 4);
	assert_int_equal(b->ttl, 900);
	assert_int_equal(b->cpu_limit, 7);
	assert_int_equal(b->vcpu, 8);
	assert_int_equal(b->memory_mb, 100);
	assert_true(b->return_artifact);
}

static void
code_that_is_not_text_comes_back_byte_for_byte(void **state)
{
	static const char code[] = "a\xff\0\xc3\x28"
				   "b";
	auto_ref(job_spec) s = small_spec();
	auto_ref(job_spec) b = NULL;

	(void)state;
	job_bytes_set(&s->code, code, sizeof(code) - 1);
	job_bytes_set(&s->input, "\x80", 1);
	b = there_and_back(s);
	assert_int_equal(b->code.len, sizeof(code) - 1);
	assert_memory_equal(b->code.data, code, sizeof(code));
	assert_int_equal(b->input.len, 1);
	assert_memory_equal(b->input.data, "\x80", 2);
}

static void
code_with_nul_and_empty_code_come_back(void **state)
{
	auto_ref(job_spec) s = small_spec();
	auto_ref(job_spec) b = NULL;
	auto_ref(job_spec) c = NULL;

	(void)state;
	job_bytes_set(&s->code, "a\0b", 3);
	b = there_and_back(s);
	assert_int_equal(b->code.len, 3);
	assert_memory_equal(b->code.data, "a\0b", 4);
	assert_null(b->input.data); /* none is not empty */
	job_bytes_set(&s->code, "", 0);
	job_bytes_set(&s->input, "", 0);
	c = there_and_back(s);
	assert_int_equal(c->code.len, 0);
	assert_non_null(c->input.data);
}

static void
arguments_that_are_not_text_do_not_stop_us(void **state)
{
	auto_ref(job_spec) s = small_spec();
	auto_ref(job_spec) b = NULL;

	(void)state;
	job_spec_add_arg(s, "a\xff");
	job_spec_add_env(s, "A", "\xff");
	b = there_and_back(s);
	assert_string_equal(b->args[0], "a\xef\xbf\xbd");
	assert_string_equal(b->env[0].value, "\xef\xbf\xbd");
}

static void
a_spec_that_we_did_not_write_is_refused(void **state)
{
	static const char *const fields[] = { "language", "network_mode",
		"code", "args", "env", "files", "ttl", "cpu_limit", "vcpu",
		"memory_mb", "return_artifact" };
	static const struct {
		const char *field, *value;
	} bad[] = {
		{ "ttl", "0" },
		{ "ttl", "901" },
		{ "vcpu", "9" },
		{ "vcpu", "0" },
		{ "memory_mb", "-1" },
		{ "args", "{}" },
		{ "args", "[1]" },
		{ "args", "[\"a\\u0000b\"]" },
		{ "env", "[]" },
		{ "env", "{\"A\":1}" },
		{ "env", "{\"\":\"1\"}" },
		{ "env", "{\"A=B\":\"1\"}" },
		{ "env", "{\"A\":\"\\u0000\"}" },
		{ "files", "[{}]" },
		{ "files", "[{\"filename\":\"a\",\"content_base64\":\"!\"}]" },
		{ "files",
		    "[{\"filename\":\"../a\",\"content_base64\":\"\"}]" },
		{ "files", "[{\"filename\":\"/a\",\"content_base64\":\"\"}]" },
		{ "language", "\"a\\u0000\"" },
		{ "code", "1" },
	};
	auto_ref(job_spec) s = small_spec();
	auto_free char *line = job_spec_encode(s);
	struct err e = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(fields) + ARRAY_LEN(bad); i++) {
		json_auto_t *o = json_parse(line, strlen(line), &e);
		auto_free char *changed = NULL;

		if (i < ARRAY_LEN(fields)) {
			assert_int_equal(json_object_del(o, fields[i]), 0);
		} else {
			size_t k = i - ARRAY_LEN(fields);

			assert_int_equal(json_object_set_new(o, bad[k].field,
					     json_parse(bad[k].value,
						 strlen(bad[k].value), &e)),
			    0);
		}
		changed = json_text(o);
		e.code = ERR_OK;
		assert_null(job_spec_decode(changed, strlen(changed), &e));
		assert_int_equal(e.code, ERR_INVALID);
	}
	for (size_t n = 0; n < strlen(line); n++)
		assert_null(job_spec_decode(line, n, &e));
}

/* ---- file names ---- */

static void
file_names_become_relative_and_clean(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "a.txt", "a.txt" },
		{ "/a", "a" },
		{ "///a//b/", "a/b" },
		{ "./a/./b", "a/b" },
		{ ".hidden", ".hidden" },
		{ "...", "..." },
		{ "a b", "a b" },
		{ "..a/b..", "..a/b.." },
		{ "\xc3\xa9", "\xc3\xa9" },
		{ "", NULL },
		{ ".", NULL },
		{ "/", NULL },
		{ "./", NULL },
		{ "..", NULL },
		{ "a/../b", NULL },
		{ "a/..", NULL },
		{ "/..", NULL },
		{ "a\nb", NULL },
		{ "a\x7f", NULL },
		{ "\xff", NULL },
	};
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_free char *name = NULL;

		e.code = ERR_OK;
		name = job_file_name(rows[i].in, strlen(rows[i].in), &e);
		if (rows[i].out) {
			assert_non_null(name);
			assert_string_equal(name, rows[i].out);
		} else {
			assert_null(name);
			assert_int_equal(e.code, ERR_INVALID);
		}
	}
	assert_null(job_file_name("a\0b", 3, &e));
}

static void
file_names_have_limits(void **state)
{
	struct err e;
	char long_name[300];
	char *name;

	(void)state;
	memset(long_name, 'x', sizeof(long_name));
	name = job_file_name(long_name, 255, &e);
	assert_non_null(name);
	free(name);
	assert_null(job_file_name(long_name, 256, &e));
	long_name[100] = '/';
	name = job_file_name(long_name, 256, &e);
	assert_non_null(name);
	free(name);
	assert_null(job_file_name(long_name, 257, &e));
}

/* ---- states and reasons ---- */

static void
states_and_reasons_agree(void **state)
{
	(void)state;
	for (int s = 0; s < JOB__COUNT; s++)
		assert_int_equal(
		    job_state_from_name(job_state_name((enum job_state)s)), s);
	assert_int_equal(job_state_from_name("done"), -1);
	assert_int_equal(job_state_from_name(""), -1);
	assert_false(job_state_final(JOB_pending));
	assert_false(job_state_final(JOB_running));
	for (int r = 0; r < REASON__COUNT; r++)
		assert_true(
		    job_state_final(job_reason_state((enum job_reason)r)));
	assert_int_equal(job_reason_state(REASON_timeout), JOB_timeout);
	assert_int_equal(job_reason_state(REASON_memory), JOB_completed);
	assert_int_equal(job_reason_state(REASON_lost), JOB_failed);
	assert_int_equal(job_reason_state(REASON_cancelled), JOB_cancelled);
}

/* ---- results ---- */

static void
a_result_tells_what_ran_and_what_was_cut(void **state)
{
	struct buf file;
	struct job_result r = { .out_total = 5, .layers = "user,pid" };
	struct err e = { 0 };
	auto_free char *line = NULL;
	json_auto_t *o = NULL;
	const json_t *a;

	(void)state;
	r.run = (struct job_step){ .ran = true,
		.reason = REASON_signaled,
		.exit_code = 137,
		.signal = 9,
		.wall_us = 1999 };
	job_bytes_set(&r.out, "ok\xff", 3);
	content(&file, "\0\1", 2);
	job_result_add_artifact(&r, "a.bin", &file);
	line = job_result_encode(&r);
	o = json_parse(line, strlen(line), &e);
	assert_non_null(o);
	assert_string_equal(
	    json_string_value(json_object_get(o, "stdout")), "ok\xef\xbf\xbd");
	assert_string_equal(
	    json_string_value(json_object_get(o, "stdout_base64")), "b2v/");
	assert_true(json_is_true(json_object_get(o, "stdout_truncated")));
	assert_true(json_is_false(json_object_get(o, "stderr_truncated")));
	assert_int_equal(json_integer_value(json_object_get(o, "signal")), 9);
	assert_int_equal(json_integer_value(json_object_get(o, "wall_ms")), 1);
	assert_string_equal(
	    json_string_value(json_object_get(o, "end_reason")), "signaled");
	assert_null(json_object_get(o, "compile"));
	a = json_array_get(json_object_get(o, "artifacts"), 0);
	assert_string_equal(
	    json_string_value(json_object_get(a, "content_base64")), "AAE=");
	job_result_done(&r);
}

static void
a_compile_step_that_failed_decides(void **state)
{
	struct job_result r = { .layers = NULL };

	(void)state;
	assert_ptr_equal(job_result_last(&r), &r.run);
	r.compile.ran = true;
	assert_ptr_equal(job_result_last(&r), &r.compile);
	r.run.ran = true;
	assert_ptr_equal(job_result_last(&r), &r.run);
	job_result_done(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_spec_comes_back_as_it_was),
		cmocka_unit_test(
		    code_that_is_not_text_comes_back_byte_for_byte),
		cmocka_unit_test(code_with_nul_and_empty_code_come_back),
		cmocka_unit_test(arguments_that_are_not_text_do_not_stop_us),
		cmocka_unit_test(a_spec_that_we_did_not_write_is_refused),
		cmocka_unit_test(file_names_become_relative_and_clean),
		cmocka_unit_test(file_names_have_limits),
		cmocka_unit_test(states_and_reasons_agree),
		cmocka_unit_test(a_result_tells_what_ran_and_what_was_cut),
		cmocka_unit_test(a_compile_step_that_failed_decides),
	};

	return cmocka_run_group_tests_name("job", tests, NULL, NULL);
}
