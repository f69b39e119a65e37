/* The command line of `un`: one argument a line. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attr.h"
#include "cleanup.h"
#include "fuzz.h"
#include "un_options.h"

enum { ARGS_MAX = 64, LIST_MAX = 4 };

struct options {
	bool quiet;
	const char *text;
	char *secret;
	int number;
	struct un_list list;
};

#define AT(member) .offset = offsetof(struct options, member)
static const struct un_opt rows[] = {
	{ 'q', UN_OPT_FLAG, "quiet", AT(quiet), .help = "" },
	{ 'o', UN_OPT_TEXT, "output", AT(text), .arg = "DIR", .help = "" },
	{ 'k', UN_OPT_SECRET, NULL, AT(secret), .arg = "KEY", .help = "" },
	{ 0, UN_OPT_NUMBER, "account", AT(number), .min = -1, .max = 900,
	    .arg = "N", .help = "" },
	{ 'e', UN_OPT_LIST, "env", AT(list), .max = LIST_MAX, .arg = "A=B",
	    .help = "" },
};

static void
check(const struct options *o, const struct un_words *w, int argc)
{
	int n = 0;

	must(o->number >= -1 && o->number <= 900);
	must(o->list.n <= LIST_MAX);
	for (size_t i = 0; i < o->list.n; i++)
		must(o->list.items[i].value && o->list.items[i].letter == 'e');
	must(w->n_plain <= w->n && w->n < argc);
	while (n < w->n)
		must(w->v[n++]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, size };
	char *argv[ARGS_MAX + 2] = { fuzz_text((const uint8_t *)"un", 2) };
	struct options o = { .number = 0 };
	const struct un_opt_group group = { rows, ARRAY_LEN(rows), &o };
	struct un_words w;
	int argc = 1;

	fuzz_be_silent();
	while (f.left > 0 && argc <= ARGS_MAX)
		argv[argc++] = feed_line(&f);
	for (int i = 1; i < argc; i++)
		(void)un_options_match(&group, argv[i]);
	if (un_options_parse(&group, 1, argc, argv, &w) == 0)
		check(&o, &w, argc);
	free(w.v);
	un_options_done(&group);
	must(!o.secret && !o.list.items);
	for (int i = 0; i < argc; i++)
		free(argv[i]);
	return 0;
}
