#pragma once
/* environment.h - the environment of a program; later settings of a name win. */
#include <stddef.h>

struct lang;
struct job_spec;

struct environment {
	char **items; /* owned "NAME=value", ended by NULL; NULL when empty */
	size_t n;
};

void env_set(struct environment *e, const char *name, const char *value);
/* What every program of that language has. */
void env_of_lang(struct environment *e, const struct lang *l);
/* With the job's own. */
void env_of_job(
    struct environment *e, const struct lang *l, const struct job_spec *s);
/* Ended by NULL; borrowed. */
const char *const *env_words(const struct environment *e);
void env_done(struct environment *e);
