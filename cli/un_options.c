#include "un_options.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "mem.h"
#include "secret.h"
#include "un_output.h"
#include "un_status.h"

enum {
	ROWS_MAX = 64,    /* of a command and the global ones together */
	SHORTS_MAX = 128, /* two bytes for each printable letter */
	LONG_BASE = 256,  /* getopt values of rows: above every letter */
	HELP_COLUMN = 26
};

/* Rows of all groups count through: 0, 1, ... */
static const struct un_opt *
row_at(const struct un_opt_group *groups, size_t n_groups, size_t i,
    void **ret_target)
{
	for (size_t g = 0; g < n_groups; i -= groups[g++].n)
		if (i < groups[g].n) {
			*ret_target = groups[g].target;
			return &groups[g].rows[i];
		}
	return NULL;
}

static const struct un_opt *
row_of(const struct un_opt_group *groups, size_t n_groups, int code,
    void **ret_target)
{
	const struct un_opt *o;

	if (code >= LONG_BASE)
		return row_at(
		    groups, n_groups, (size_t)(code - LONG_BASE), ret_target);
	for (size_t i = 0;
	     (o = row_at(groups, n_groups, i, ret_target)) != NULL; i++)
		if (o->letter == code)
			return o;
	return NULL;
}

/* "-" hands words over in order, ":" leaves the messages to us. */
static void
shorts_build(const struct un_opt_group *groups, size_t n_groups,
    char ret_shorts[SHORTS_MAX])
{
	const struct un_opt *o;
	void *target;
	size_t used = 2;

	memcpy(ret_shorts, "-:", 2);
	for (size_t i = 0; (o = row_at(groups, n_groups, i, &target)) != NULL &&
			   used + 3 < SHORTS_MAX;
	     i++) {
		if (!o->letter)
			continue;
		ret_shorts[used++] = o->letter;
		if (o->arg)
			ret_shorts[used++] = ':';
	}
	ret_shorts[used] = '\0';
}

static void
longs_build(const struct un_opt_group *groups, size_t n_groups,
    struct option ret_longs[ROWS_MAX + 1])
{
	const struct un_opt *o;
	size_t used = 0;
	void *target;

	for (size_t i = 0; (o = row_at(groups, n_groups, i, &target)) != NULL;
	     i++) {
		assert(i < ROWS_MAX);
		if (!o->name)
			continue;
		ret_longs[used++] = (struct option){ .name = o->name,
			.has_arg = o->arg ? required_argument : no_argument,
			.val = LONG_BASE + (int)i };
	}
	ret_longs[used] = (struct option){ .name = NULL };
}

/* ---- storing one value ---- */

static void
row_name(const struct un_opt *o, char *ret_text, size_t size)
{
	if (o->letter && o->name)
		(void)snprintf(ret_text, size, "-%c/--%s", o->letter, o->name);
	else if (o->letter)
		(void)snprintf(ret_text, size, "-%c", o->letter);
	else
		(void)snprintf(ret_text, size, "--%s", o->name);
}

static int
store_number(const struct un_opt *o, int *place, const char *value)
{
	char name[64], *end;
	long v;

	errno = 0;
	v = strtol(value, &end, 10);
	if (errno == 0 && end != value && !*end && v >= o->min && v <= o->max) {
		*place = (int)v;
		return 0;
	}
	row_name(o, name, sizeof(name));
	un_output_error("%s: `%s` is not a number from %d to %d", name, value,
	    o->min, o->max);
	return UN_FAILED;
}

static int
store_item(const struct un_opt *o, struct un_list *list, const char *value)
{
	struct un_item *more;

	if (list->n >= (size_t)o->max) {
		char name[64];

		row_name(o, name, sizeof(name));
		un_output_error("%s: more than %d of them", name, o->max);
		return UN_FAILED;
	}
	more = xreallocarray(list->items, list->n + 1, sizeof(*more));
	list->items = more;
	list->items[list->n++] = (struct un_item){ .value = value,
		.letter = o->letter };
	return 0;
}

/* Anyone may read our argv in /proc: the secret must not stay there. */
static int
store_secret(char **place, char *value)
{
	secret_free(*place);
	*place = strdup(value);
	if (!*place)
		abort();
	explicit_bzero(value, strlen(value));
	return 0;
}

static int
store(const struct un_opt *o, void *target, char *value)
{
	void *place = (char *)target + o->offset;

	switch (o->kind) {
	case UN_OPT_FLAG:
		*(bool *)place = true;
		return 0;
	case UN_OPT_TEXT:
		*(const char **)place = value;
		return 0;
	case UN_OPT_SECRET:
		return store_secret(place, value);
	case UN_OPT_NUMBER:
		return store_number(o, place, value);
	case UN_OPT_LIST:
		return store_item(o, place, value);
	}
	return UN_FAILED;
}

/* ---- the whole line ---- */

static int
complain(const struct un_opt_group *groups, size_t n_groups, int what,
    const char *last)
{
	const struct un_opt *o;
	char name[64];
	void *target;

	o = optopt ? row_of(groups, n_groups, optopt, &target) : NULL;
	if (o)
		row_name(o, name, sizeof(name));
	if (o && what == ':')
		un_output_error("%s needs a value: %s", name, o->arg);
	else if (o)
		un_output_error("%s takes no value: `%s`", name, last);
	else if (optopt)
		un_output_error("unknown option `-%c`", optopt);
	else
		un_output_error("unknown option `%s`", last);
	un_output_line(stderr, UN_PLAIN, "Try `un --help`.");
	return UN_USAGE;
}

int
un_options_parse(const struct un_opt_group *groups, size_t n_groups, int argc,
    char **argv, struct un_words *ret_words)
{
	struct option longs[ROWS_MAX + 1];
	struct un_words *w = ret_words;
	char shorts[SHORTS_MAX];
	int c, r;

	*w = (struct un_words){ .v = calloc((size_t)argc + 1, sizeof(*w->v)) };
	if (!w->v)
		abort();
	shorts_build(groups, n_groups, shorts);
	longs_build(groups, n_groups, longs);
	optind = 0; /* glibc: start over */
	opterr = 0;
	while ((c = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		const struct un_opt *o;
		void *target = NULL;

		if (c == 1) {
			w->v[w->n++] = optarg;
			continue;
		}
		if (c == '?' || c == ':')
			return complain(groups, n_groups, c, argv[optind - 1]);
		o = row_of(groups, n_groups, c, &target);
		r = store(o, target, optarg);
		if (r != 0)
			return r;
	}
	w->n_plain = w->n;
	while (optind < argc)
		w->v[w->n++] = argv[optind++];
	return 0;
}

static void
secret_done(char **place)
{
	secret_free(*place);
	*place = NULL;
}

/* Two options may share a list: emptied, so that it is freed once. */
static void
list_done(struct un_list *list)
{
	free(list->items);
	*list = (struct un_list){ .items = NULL };
}

void
un_options_done(const struct un_opt_group *group)
{
	for (size_t i = 0; i < group->n; i++) {
		const struct un_opt *o = &group->rows[i];
		void *place = (char *)group->target + o->offset;

		if (o->kind == UN_OPT_LIST)
			list_done(place);
		if (o->kind == UN_OPT_SECRET)
			secret_done(place);
	}
}

const struct un_opt *
un_options_match(const struct un_opt_group *group, const char *arg)
{
	for (size_t i = 0; i < group->n; i++) {
		const struct un_opt *o = &group->rows[i];
		size_t n = o->name ? strlen(o->name) : 0;

		if (o->letter && arg[0] == '-' && arg[1] == o->letter)
			return o;
		if (n && strncmp(arg, "--", 2) == 0 &&
		    strncmp(arg + 2, o->name, n) == 0 &&
		    (arg[2 + n] == '\0' || arg[2 + n] == '='))
			return o;
	}
	return NULL;
}

/* "-o, --output DIR" */
static void
help_left(const struct un_opt *o, char *ret_text, size_t size)
{
	char letter[] = { '-', o->letter, '\0' };

	(void)snprintf(ret_text, size, "%s%s%s%s%s%s",
	    o->letter ? letter : "    ", o->letter && o->name ? ", " : "",
	    o->name ? "--" : "", o->name ? o->name : "", o->arg ? " " : "",
	    o->arg ? o->arg : "");
}

void
un_options_help(FILE *f, const struct un_opt *rows, size_t n)
{
	char left[64];

	for (size_t i = 0; i < n; i++) {
		help_left(&rows[i], left, sizeof(left));
		(void)fprintf(
		    f, "  %-*s %s\n", HELP_COLUMN, left, rows[i].help);
	}
}
