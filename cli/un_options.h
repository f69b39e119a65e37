#pragma once
/*
 * un_options.h - command-line options as tables.
 *
 * A row says how an option is spelled, what it stores and where; parsing, range
 * checks and help all come from it.  Options may stand before, between and
 * after other words; `--` ends them.
 */
#include <stddef.h>
#include <stdio.h>

enum un_opt_kind {
	UN_OPT_FLAG,   /* bool */
	UN_OPT_TEXT,   /* const char *: borrowed from argv */
	UN_OPT_SECRET, /* char *: owned copy; argv's is wiped */
	UN_OPT_NUMBER, /* int within min and max */
	UN_OPT_LIST,   /* struct un_list, at most max items */
};

struct un_opt {
	char letter; /* 0: no short form */
	enum un_opt_kind kind;
	const char *name; /* NULL: no long form */
	size_t offset;    /* of the member it sets */
	int min, max;
	const char *arg; /* its value in the help; NULL for a flag */
	const char *help;
};

struct un_opt_group {
	const struct un_opt *rows;
	size_t n;
	void *target; /* what the offsets are counted from */
};

struct un_item {
	const char *value; /* borrowed from argv */
	char letter;       /* of the option that brought it */
};

struct un_list {
	struct un_item *items; /* owned */
	size_t n;
};

/* What is not an option, in order. */
struct un_words {
	char **v; /* owned; the texts are argv's */
	int n;
	int n_plain; /* how many stood before `--` */
};

/* 0, or the exit status to leave with: the reason has been printed. */
int un_options_parse(const struct un_opt_group *groups, size_t n_groups,
    int argc, char **argv, struct un_words *ret_words);
/* Frees the lists, and wipes the secrets, that the rows point at. */
void un_options_done(const struct un_opt_group *group);

/* The row an argument spells ("-o", "-oDIR", "--output", "--output=DIR"). */
const struct un_opt *
un_options_match(const struct un_opt_group *group, const char *arg);

void un_options_help(FILE *f, const struct un_opt *rows, size_t n);
