/* un tells a language from a file's name and from its first line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "attr.h"
#include "un_lang.h"

struct sample {
	const char *text;
	const char *language; /* NULL: cannot be told */
};

static void
check(const char *got, const struct sample *s)
{
	if (!s->language && got)
		fail_msg("`%s` became %s", s->text, got);
	if (s->language && (!got || strcmp(got, s->language) != 0))
		fail_msg("`%s` became %s, not %s", s->text,
		    got ? got : "nothing", s->language);
}

static void
a_known_extension_names_the_language(void **state)
{
	static const struct sample samples[] = {
		{ "fib.py", "python" },
		{ "dir.js/fib.rb", "ruby" },
		{ "/abs/fib.test.go", "go" },
		{ "a.mjs", "javascript" },
		{ "a.ts", "typescript" },
		{ "a.cxx", "cpp" },
		{ "a.R", "r" },
		{ "a.r", "r" },
		{ "a.m", "objc" },
		{ "a.cs", "csharp" },
		{ "a.pro", "prolog" },
		{ "a.p", "prolog" },
		{ "a.4th", "forth" },
		{ "a.ss", "scheme" },
		{ "a.lsp", "commonlisp" },
		{ "a.f95", "fortran" },
		{ "a.cbl", "cobol" },
		{ "a.exs", "elixir" },
		{ "a.ps1", "powershell" },
		{ "a.scala", "scala" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(samples); i++)
		check(un_lang_of_path(samples[i].text), &samples[i]);
}

static void
a_name_without_known_extension_tells_nothing(void **state)
{
	static const struct sample samples[] = {
		{ "Makefile", NULL },
		{ "dir.py/script", NULL },
		{ ".py", NULL },
		{ "a.", NULL },
		{ "a.PY", NULL },
		{ "a.unheard", NULL },
		{ "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(samples); i++)
		check(un_lang_of_path(samples[i].text), &samples[i]);
}

static void
a_first_line_names_the_language(void **state)
{
	static const struct sample samples[] = {
		{ "#!/bin/bash\necho", "bash" },
		{ "#!/bin/sh", "bash" },
		{ "#! /usr/bin/perl -w\n", "perl" },
		{ "#!/usr/bin/python3.11\n", "python" },
		{ "#!/opt/python-3.12/bin/python3.12\n", "python" },
		{ "#!/usr/bin/env python3\r\nprint()", "python" },
		{ "#!/usr/bin/env -S node --no-warnings\n", "javascript" },
		{ "#!/usr/bin/env -Sruby\n", "ruby" },
		{ "#!/usr/bin/env -i -u HOME A=1 php\n", "php" },
		{ "#!/usr/bin/env /usr/local/bin/lua5.4\n", "lua" },
		{ "#!/usr/bin/lua5.3\n", "lua5.3" },
		{ "#!/usr/bin/perl6\n", "raku" },
		{ "#!/usr/bin/tclsh8.6\n", "tcl" },
		{ "#!/usr/bin/wish\n", "tcl" },
		{ "#!/usr/bin/Rscript\n", "r" },
		{ "#!/usr/bin/guile\n", "scheme" },
		{ "#!/usr/bin/sbcl --script\n", "commonlisp" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(samples); i++)
		check(un_lang_of_shebang(
			  samples[i].text, strlen(samples[i].text)),
		    &samples[i]);
}

static void
other_first_lines_tell_nothing(void **state)
{
	static const struct sample samples[] = {
		{ "", NULL },
		{ "#", NULL },
		{ "#!", NULL },
		{ "#!\n", NULL },
		{ "#!\r\n", NULL },
		{ "#!   \npython", NULL },
		{ "#!/usr/bin/env\n", NULL },
		{ "#!/usr/bin/env -S\n", NULL },
		{ "#!/usr/bin/env -u\n", NULL },
		{ "#!/\n", NULL },
		{ "#!/opt/3.11\n", NULL },
		{ "#!/usr/bin/unheard\n#!/bin/bash\n", NULL },
		{ " #!/bin/bash\n", NULL },
		{ "# /bin/bash\n", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(samples); i++)
		check(un_lang_of_shebang(
			  samples[i].text, strlen(samples[i].text)),
		    &samples[i]);
}

static void
nothing_beyond_the_given_length_is_read(void **state)
{
	static const char code[] = "#!/bin/bash";

	(void)state;
	assert_null(un_lang_of_shebang(code, 2));
	assert_null(un_lang_of_shebang(code, strlen("#!/bin/ba")));
	assert_string_equal(un_lang_of_shebang(code, strlen(code)), "bash");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_known_extension_names_the_language),
		cmocka_unit_test(a_name_without_known_extension_tells_nothing),
		cmocka_unit_test(a_first_line_names_the_language),
		cmocka_unit_test(other_first_lines_tell_nothing),
		cmocka_unit_test(nothing_beyond_the_given_length_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
