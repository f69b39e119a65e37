/* settings: one file for all programs, and errors that say where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attr.h"
#include "cleanup.h"
#include "settings.h"

static char path[] = "/tmp/unfarm-settings-XXXXXX";

static int
make_file(void **state)
{
	auto_close int fd = mkstemp(path);

	(void)state;
	return fd < 0;
}

static int
remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

static int
load_bytes(struct settings *s, const char *text, size_t n, struct err *err)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
	return settings_load(s, path, err);
}

static int
load(struct settings *s, const char *text, struct err *err)
{
	return load_bytes(s, text, strlen(text), err);
}

static void
without_a_row_defaults_are_in_force(void **state)
{
	struct settings s;
	struct err e;

	(void)state;
	assert_int_equal(load(&s, "# nothing\n", &e), 0);
	assert_string_equal(s.farm_prefix, "unfarm");
	assert_int_equal(s.gateway_port, 8484);
	assert_false(s.farm_dev_key);
	assert_int_equal(s.scheduler_tick_ms, 500);
}

static void
rows_of_each_type_are_read(void **state)
{
	struct settings s;
	struct err e;

	(void)state;
	assert_int_equal(load(&s,
			     "[farm]\nprefix = two words\ndev_key=yes\n"
			     "; comment\n[gateway]\nport = 9000 ; inline\n",
			     &e),
	    0);
	assert_string_equal(s.farm_prefix, "two words");
	assert_true(s.farm_dev_key);
	assert_int_equal(s.gateway_port, 9000);
}

static void
mistakes_name_file_and_line(void **state)
{
	static const struct {
		const char *text;
		int line;
		const char *what;
	} rows[] = {
		{ "[farm]\nprefx = x\n", 2,
		    "unknown setting `prefx` in [farm]" },
		{ "\n\n[fram]\nprefix = x\n", 4, "unknown section [fram]" },
		{ "[gateway]\n# c\nport = 0\n", 3,
		    "gateway.port: 0 is outside 1 to 65535" },
		{ "[gateway]\nport = 65536\n", 2, "outside 1 to 65535" },
		{ "[gateway]\nport = 80x\n", 2, "`80x` is not a whole number" },
		{ "[gateway]\nport =\n", 2, "is not a whole number" },
		{ "[gateway]\nport = 99999999999999999999\n", 2,
		    "not a whole number" },
		{ "[farm]\ndev_key = 1\n", 2, "neither yes nor no" },
		{ "[farm]\nnonsense\n", 2, "neither [section] nor name" },
		{ "[farm\n", 1, "neither [section] nor name" },
		/* The first mistake counts, of whichever kind. */
		{ "[farm]\nx\nprefx = y\n", 2, "neither [section]" },
		{ "[farm]\nprefx = y\nx\n", 2, "unknown setting" },
		{ "[farm]\nprefx = y\nlog_levl = z\n", 2, "`prefx`" },
	};
	char want[64];
	struct settings s;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(load(&s, rows[i].text, &e), -1);
		(void)snprintf(
		    want, sizeof(want), "%s:%d: ", path, rows[i].line);
		assert_int_equal(e.code, ERR_INVALID);
		assert_memory_equal(e.msg, want, strlen(want));
		assert_non_null(strstr(e.msg, rows[i].what));
	}
}

static void
a_line_too_long_to_read_is_refused_not_cut(void **state)
{
	char text[1024];
	struct settings s;
	struct err e;

	(void)state;
	(void)snprintf(
	    text, sizeof(text), "[farm]\n\nredis_url = unix:/%0300d\n", 0);
	assert_int_equal(load(&s, text, &e), -1);
	assert_non_null(strstr(e.msg, ":3: line is longer than"));
	/* A comment may be as long as it likes. */
	(void)snprintf(text, sizeof(text),
	    "[farm]\n# %0300d = prefix = x\nprefx = 1\n", 0);
	assert_int_equal(load(&s, text, &e), -1);
	assert_non_null(strstr(e.msg, ":3: unknown setting `prefx`"));
}

static void
a_nul_byte_swallows_no_line(void **state)
{
	static const char text[] = "[farm]\n# a\0b\nprefix = x\n";
	struct settings s;
	struct err e;

	(void)state;
	assert_int_equal(load_bytes(&s, text, sizeof(text) - 1, &e), -1);
	assert_non_null(strstr(e.msg, ":2: line holds a NUL byte"));
}

static void
a_missing_file_is_named(void **state)
{
	struct settings s;
	struct err e;

	(void)state;
	assert_int_equal(settings_load(&s, "/nonexistent/conf", &e), -1);
	assert_string_equal(
	    e.msg, "read `/nonexistent/conf`: No such file or directory");
}

static void
a_value_that_does_not_fit_is_refused(void **state)
{
	char value[SETTINGS_STR_MAX + 1];
	struct settings s;
	struct err e;

	(void)state;
	settings_default(&s);
	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	assert_int_equal(settings_set(&s, "farm", "node", value, &e), -1);
	value[SETTINGS_STR_MAX - 1] = '\0';
	assert_int_equal(settings_set(&s, "farm", "node", value, &e), 0);
}

static char *
printed(void (*print)(FILE *out, const struct settings *s),
    const struct settings *s)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	assert_non_null(f);
	print(f, s);
	assert_int_equal(fclose(f), 0);
	return text;
}

static void
print_sample(FILE *out, const struct settings *s)
{
	(void)s;
	settings_print_sample(out);
}

static void
print_force(FILE *out, const struct settings *s)
{
	settings_print(s, out);
}

/* Uncommented, the sample is the defaults. */
static void
the_sample_holds_every_row_with_its_default(void **state)
{
	struct settings s, defaults;
	struct err e;
	auto_free char *sample = printed(print_sample, NULL);
	auto_free char *a = NULL, *b = NULL;

	(void)state;
	for (char *p = sample; *p; p++)
		if (*p == '#' && (p == sample || p[-1] == '\n') && p[1] != ' ')
			*p = ' ';
	settings_default(&defaults);
	for (char *p = sample; (p = strstr(p, "\n ")); p++)
		memmove(p + 1, p + 2, strlen(p + 1));
	assert_int_equal(load(&s, sample, &e), 0);
	a = printed(print_force, &s);
	b = printed(print_force, &defaults);
	assert_string_equal(a, b);
	assert_non_null(strstr(a, "scheduler.batch = 500\n"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_row_defaults_are_in_force),
		cmocka_unit_test(rows_of_each_type_are_read),
		cmocka_unit_test(mistakes_name_file_and_line),
		cmocka_unit_test(a_line_too_long_to_read_is_refused_not_cut),
		cmocka_unit_test(a_nul_byte_swallows_no_line),
		cmocka_unit_test(a_missing_file_is_named),
		cmocka_unit_test(a_value_that_does_not_fit_is_refused),
		cmocka_unit_test(the_sample_holds_every_row_with_its_default),
	};

	return cmocka_run_group_tests_name(
	    "settings", tests, make_file, remove_file);
}
