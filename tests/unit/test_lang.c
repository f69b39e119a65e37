/* lang: records are read strictly, names lead to one language. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "json.h"
#include "lang.h"

/* A share_dir of our own; the records below are made from one template. */
struct world {
	char dir[64];
	struct lang_registry *reg; /* owned */
};

static const char template[] =
    "{\"name\":\"x\",\"title\":\"X\",\"aliases\":[],\"extensions\":[],"
    "\"shebangs\":[],\"tier\":\"small\",\"packages\":{\"apt\":[],\"npm\":[]},"
    "\"source\":\"main.x\",\"compile\":null,\"run\":[\"sh\",\"main.x\"],"
    "\"artifact\":null,\"env\":{},\"locale\":\"C.UTF-8\",\"caches\":{},"
    "\"limits\":{\"pids\":64,\"min_memory_mb\":16,\"compile_seconds\":30,"
    "\"limit_address_space\":false},\"requires\":[],\"notes\":\"\","
    "\"hello\":\"echo hello\\n\",\"hello_output\":\"hello\\n\"}";

static void
write_text(const struct world *w, const char *name, const char *text)
{
	char path[128];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", w->dir, name);
	f = fopen(path, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* The template with some fields replaced; changes is a JSON object. */
static void
write_lang(const struct world *w, const char *file, const char *changes)
{
	struct err e;
	json_auto_t *o = json_parse(template, strlen(template), &e);
	json_auto_t *c = json_parse(changes, strlen(changes), &e);
	auto_free char *text = NULL;
	char path[64];

	assert_non_null(o);
	assert_non_null(c);
	assert_int_equal(json_object_update(o, c), 0);
	text = json_text(o);
	(void)snprintf(path, sizeof(path), "languages.d/%s", file);
	write_text(w, path, text);
}

static int
set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	char path[128];

	*state = w;
	(void)snprintf(w->dir, sizeof(w->dir), "/tmp/unfarm-lang-XXXXXX");
	if (!mkdtemp(w->dir))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/languages.d", w->dir);
	if (mkdir(path, 0700) < 0)
		return -1;
	write_text(w, "shells.json", "[]");
	write_lang(w, "python.json",
	    "{\"name\":\"python\",\"aliases\":[\"py\",\"Python3\"],"
	    "\"extensions\":[\"py\"],\"shebangs\":[\"python\",\"python3\"]}");
	write_lang(w, "bash.json",
	    "{\"name\":\"bash\",\"aliases\":[\"sh\"],\"extensions\":[\"sh\"],"
	    "\"shebangs\":[\"bash\",\"sh\"]}");
	write_lang(w, "node.json",
	    "{\"name\":\"javascript\",\"aliases\":[\"js\",\"node\"],"
	    "\"extensions\":[\"js\"],\"shebangs\":[\"node\"]}");
	write_lang(w, "lua.json",
	    "{\"name\":\"lua\",\"shebangs\":[\"lua\"],\"extensions\":[\"lua\"]"
	    "}");
	write_lang(
	    w, "lua53.json", "{\"name\":\"lua5.3\",\"shebangs\":[\"lua5.3\"]}");
	return 0;
}

static void
empty(const char *dir)
{
	DIR *d = opendir(dir);
	const struct dirent *f;

	while (d && (f = readdir(d)))
		(void)unlinkat(dirfd(d), f->d_name, 0);
	if (d)
		(void)closedir(d);
	(void)rmdir(dir);
}

static int
tear_down(void **state)
{
	struct world *w = *state;
	char path[128];

	lang_free(w->reg);
	(void)snprintf(path, sizeof(path), "%s/languages.d", w->dir);
	empty(path);
	empty(w->dir);
	free(w);
	return 0;
}

static void
load(struct world *w)
{
	struct err e = { 0 };

	w->reg = lang_load(w->dir, &e);
	assert_string_equal(e.msg, "");
	assert_non_null(w->reg);
}

static void
refused(struct world *w, const char *file, const char *why)
{
	struct err e = { 0 };

	assert_null(lang_load(w->dir, &e));
	assert_int_equal(e.code, ERR_INVALID);
	if (!strstr(e.msg, file) || !strstr(e.msg, why))
		fail_msg("`%s` has neither %s nor %s", e.msg, file, why);
}

static const char *
name_of(const struct lang *l)
{
	return l ? l->name : "none";
}

static void
a_record_is_read_in_full(void **state)
{
	struct world *w = *state;
	const struct lang *l;

	write_lang(w, "c.json",
	    "{\"name\":\"c\",\"compile\":[\"gcc\",\"-o\",\"a.out\",\"x.c\"],"
	    "\"artifact\":\"a.out\",\"env\":{\"A\":\"1\"},"
	    "\"ahead\":[\"conf\",\"a.out\"],\"fork\":null,"
	    "\"requires\":[\"proc\",\"home\"],"
	    "\"packages\":{\"apt\":[\"gcc\"],\"npm\":[]}}");
	load(w);
	assert_int_equal(lang_count(w->reg), 6);
	l = lang_find(w->reg, "c");
	assert_non_null(l);
	assert_int_equal(l->compile.n, 4);
	assert_null(l->compile.items[4]);
	assert_string_equal(l->artifact, "a.out");
	assert_string_equal(l->env.items[0].name, "A");
	assert_string_equal(l->apt.items[0], "gcc");
	assert_int_equal(l->requires.n, 2);
	assert_int_equal(l->ahead.n, 2);
	assert_string_equal(l->ahead.items[1], "a.out");
	assert_null(l->ahead.items[2]);
	assert_int_equal(lang_find(w->reg, "lua")->ahead.n, 0);
	assert_int_equal(l->pids, 64);
	assert_false(l->limit_address_space);
}

static void
languages_are_found_by_name_and_alias_in_any_case(void **state)
{
	struct world *w = *state;

	load(w);
	assert_string_equal(name_of(lang_find(w->reg, "python")), "python");
	assert_string_equal(name_of(lang_find(w->reg, "PYTHON3")), "python");
	assert_string_equal(name_of(lang_find(w->reg, "Py")), "python");
	assert_null(lang_find(w->reg, ""));
	assert_null(lang_find(w->reg, ".py")); /* extensions are no names */
	assert_null(lang_find(w->reg, "#!python"));
	assert_null(lang_find(w->reg, "cobol"));
	assert_null(lang_find(w->reg,
	    "a name that is much longer than any language's name could be, "
	    "on and on"));
}

static void
names_claimed_twice_are_refused(void **state)
{
	static const struct {
		const char *changes, *why;
	} rows[] = {
		{ "{\"name\":\"python\"}", "`python`" },
		{ "{\"name\":\"x\",\"aliases\":[\"PY\"]}", "`py`" },
		{ "{\"name\":\"js\"}", "`js`" },
		{ "{\"name\":\"x\",\"extensions\":[\"py\"]}", "`.py`" },
		{ "{\"name\":\"x\",\"shebangs\":[\"sh\"]}", "`#!sh`" },
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		write_lang(w, "zz.json", rows[i].changes);
		refused(w, "zz.json", rows[i].why);
	}
	/* One record may repeat itself; a name is no extension. */
	write_lang(w, "zz.json",
	    "{\"name\":\"x\",\"aliases\":[\"x\",\"X\",\".py\",\"#!sh\"]}");
	load(w);
	assert_string_equal(name_of(lang_find(w->reg, ".PY")), "x");
	assert_string_equal(name_of(lang_find(w->reg, "#!sh")), "x");
}

#define LONG "a-name-that-no-client-could-ask-for-as-it-is-longer-than-any-is"

static void
bad_records_are_refused_by_file_and_field(void **state)
{
	static const struct {
		const char *changes, *why;
	} rows[] = {
		{ "{\"colour\":1}", "unknown field `colour`" },
		{ "{\"limits\":{}}", "field `pids` is missing" },
		{ "{\"limits\":{\"pids\":0,\"min_memory_mb\":1,"
		  "\"compile_seconds\":1,\"limit_address_space\":true}}",
		    "`pids` must be" },
		{ "{\"name\":\"a b\"}", "`name` must be a word" },
		{ "{\"name\":\"\"}", "`name`" },
		{ "{\"name\":\"" LONG "\"}", "is empty, longer than" },
		{ "{\"aliases\":[\"" LONG "\"]}", "is empty, longer than" },
		{ "{\"aliases\":[\"a b\"]}", "`a b`" },
		{ "{\"shebangs\":[\"/bin/x\"]}", "`/bin/x`" },
		{ "{\"extensions\":[\"\"]}", "`` is empty" },
		{ "{\"name\":\"a:1\"}", "`name`" }, /* ':' parts a class */
		{ "{\"source\":\"../x\"}", "`source`" },
		{ "{\"run\":[]}", "`run` must be a command" },
		{ "{\"run\":\"sh x\"}", "`run`" },
		{ "{\"run\":[1]}", "`run`" },
		{ "{\"aliases\":null}", "`aliases`" },
		{ "{\"env\":{\"A\":1}}", "`env`" },
		{ "{\"requires\":[\"net\"]}", "`requires`" },
		{ "{\"ahead\":\"main.x\"}", "`ahead`" },
		{ "{\"ahead\":[\"/tmp/main.x\"]}", "`ahead`" },
		{ "{\"ahead\":[\"main.x\"],\"fork\":\"\"}", "with `fork`" },
		{ "{\"ahead\":[\"main.x\"],\"caches\":{\"A\":\"/tmp/a\"}}",
		    "with `caches`" },
		{ "{\"title\":1}", "`title`" },
		{ "{\"packages\":{\"apt\":[],\"npm\":[],\"pip\":[]}}",
		    "`pip`" },
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		write_lang(w, "bad.json", rows[i].changes);
		refused(w, "bad.json", rows[i].why);
	}
	write_text(w, "languages.d/bad.json", "[]");
	refused(w, "bad.json", "not an object");
	write_text(w, "languages.d/bad.json", "{}");
	refused(w, "bad.json", "is missing");
	write_text(w, "languages.d/bad.json", "{");
	refused(w, "bad.json", "not valid JSON");
	write_text(w, "languages.d/bad.json", "");
	refused(w, "bad.json", "not valid JSON");
}

static void
other_files_beside_the_records_are_left_alone(void **state)
{
	struct world *w = *state;

	write_text(w, "languages.d/README", "x");
	write_text(w, "languages.d/.hidden.json", "x");
	write_text(w, "languages.d/old.json.bak", "x");
	load(w);
	assert_int_equal(lang_count(w->reg), 5);
}

static void
shells_are_read_and_checked(void **state)
{
	static const char good[] =
	    "[{\"name\":\"bash\",\"title\":\"Bash\",\"category\":\"unix\","
	    "\"aliases\":[],\"packages\":{\"apt\":[],\"npm\":[]},"
	    "\"argv\":[\"sh\",\"-i\"]}]";
	struct world *w = *state;
	struct err e = { 0 };

	write_text(w, "shells.json", good);
	load(w);
	assert_int_equal(shell_count(w->reg), 1);
	assert_string_equal(shell_at(w->reg, 0)->argv.items[1], "-i");
	assert_true(shell_installed(shell_at(w->reg, 0)));
	write_text(w, "shells.json",
	    "[{\"name\":\"a\",\"title\":\"\",\"category\":\"x\","
	    "\"aliases\":[\"b\"],\"packages\":{\"apt\":[],\"npm\":[]},"
	    "\"argv\":[\"a\"]},"
	    "{\"name\":\"b\",\"title\":\"\",\"category\":\"x\","
	    "\"aliases\":[],\"packages\":{\"apt\":[],\"npm\":[]},"
	    "\"argv\":[\"b\"]}]");
	refused(w, "shells.json", "record 1: a and b share a name");
	write_text(w, "shells.json", "{}");
	refused(w, "shells.json", "not an array");
	write_text(w, "shells.json", "[{}]");
	refused(w, "shells.json", "record 0");
	assert_null(lang_load("/nonexistent", &e));
}

static void
the_first_line_names_the_language(void **state)
{
	static const struct {
		const char *code, *lang;
	} rows[] = {
		{ "#!/bin/sh", "bash" },
		{ "#!/bin/sh\necho", "bash" },
		{ "#!/bin/sh\r\necho", "bash" },
		{ "#!/bin/bash -eu\n", "bash" },
		{ "#! /bin/bash\n", "bash" },
		{ "#!bash\n", "bash" },
		{ "#!/usr/bin/python3\n", "python" },
		{ "#!/usr/bin/python3.11\n", "python" },
		{ "#!/usr/bin/python2.7-dbg\n", "none" },
		{ "#!/usr/local/bin/python2\n", "python" },
		{ "#!/usr/bin/env python3\n", "python" },
		{ "#!/usr/bin/env python3\r\n", "python" },
		{ "#!/usr/bin/env\tpython3.12", "python" },
		{ "#!/usr/bin/env -S node --x\n", "javascript" },
		{ "#!/usr/bin/env -i A=1 B=2 /usr/bin/node\n", "javascript" },
		{ "#!/usr/bin/lua5.3\n", "lua5.3" },
		{ "#!/usr/bin/lua5.4\n", "lua" },
		{ "#!/usr/bin/env\npython3\n", "none" },
		{ "#!/usr/bin/env -S\n", "none" },
		{ "#!/usr/bin/cobol\n", "none" },
		{ "#!/usr/bin/\n", "none" },
		{ "#!\n/bin/sh\n", "none" },
		{ "#!   \n", "none" },
		{ "#!", "none" },
		{ "#", "none" },
		{ "", "none" },
		{ " #!/bin/sh\n", "none" },
		{ "\n#!/bin/sh\n", "none" },
	};
	struct world *w = *state;

	load(w);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		/* Exactly as long as it is, for the sanitizers. */
		size_t n = strlen(rows[i].code);
		auto_free char *code = malloc(n ? n : 1);
		const char *got;

		memcpy(code, rows[i].code, n);
		got = name_of(lang_from_shebang(w->reg, code, n));
		if (strcmp(got, rows[i].lang) != 0)
			fail_msg("`%s` is %s, not %s", rows[i].code, got,
			    rows[i].lang);
	}
}

static void
telling_words_at_the_start_of_a_line_are_a_guess(void **state)
{
	struct world *w = *state;
	const struct {
		const char *code, *lang;
	} rows[] = {
		{ "#!/bin/sh\nimport os\n", "bash" },
		{ "import os\n", "python" },
		{ "x = 1\ndef f():\n", "python" },
		{ "x def y\ndef f():\n", "python" }, /* not the first hit */
		{ "console.log(1)", "javascript" },
		{ "echo hi", "bash" },
		{ "x echo hi", "none" },
		{ "", "none" },
		/* Known words of a language that is not here. */
		{ "<?php echo 1;", "none" },
	};

	load(w);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_string_equal(name_of(lang_guess(w->reg, rows[i].code,
					strlen(rows[i].code))),
		    rows[i].lang);
}

static void
a_language_without_its_program_is_not_installed(void **state)
{
	struct world *w = *state;
	const char *missing = NULL;

	write_lang(w, "a.json",
	    "{\"name\":\"a\",\"run\":[\"no-such-program-anywhere\"]}");
	write_lang(w, "b.json",
	    "{\"name\":\"b\",\"compile\":[\"no-such-compiler\"],"
	    "\"run\":[\"./main\"]}");
	write_lang(w, "c.json",
	    "{\"name\":\"c\",\"compile\":[\"sh\"],\"run\":[\"./main\"]}");
	load(w);
	assert_true(lang_installed(lang_find(w->reg, "python"), &missing));
	assert_false(lang_installed(lang_find(w->reg, "a"), &missing));
	assert_string_equal(missing, "no-such-program-anywhere");
	assert_false(lang_installed(lang_find(w->reg, "b"), &missing));
	assert_string_equal(missing, "no-such-compiler");
	assert_true(lang_installed(lang_find(w->reg, "c"), NULL));
}

#define LANG_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		LANG_TEST(a_record_is_read_in_full),
		LANG_TEST(languages_are_found_by_name_and_alias_in_any_case),
		LANG_TEST(names_claimed_twice_are_refused),
		LANG_TEST(bad_records_are_refused_by_file_and_field),
		LANG_TEST(other_files_beside_the_records_are_left_alone),
		LANG_TEST(shells_are_read_and_checked),
		LANG_TEST(the_first_line_names_the_language),
		LANG_TEST(telling_words_at_the_start_of_a_line_are_a_guess),
		LANG_TEST(a_language_without_its_program_is_not_installed),
	};

	return cmocka_run_group_tests_name("lang", tests, NULL, NULL);
}
