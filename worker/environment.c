#include "environment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "job.h"
#include "lang.h"
#include "mem.h"

void
env_set(struct environment *e, const char *name, const char *value)
{
	size_t len = strlen(name);
	char *text;
	size_t i;

	if (asprintf(&text, "%s=%s", name, value) < 0)
		abort();
	for (i = 0; i < e->n; i++)
		if (strncmp(e->items[i], name, len) == 0 &&
		    e->items[i][len] == '=')
			break;
	if (i < e->n) {
		free(e->items[i]);
	} else {
		e->items = xreallocarray(e->items, e->n + 2, sizeof(char *));
		e->items[++e->n] = NULL;
	}
	e->items[i] = text;
}

void
env_of_lang(struct environment *e, const struct lang *l)
{
	static const char *const base[][2] = {
		{ "PATH", LANG_PATH },
		{ "HOME", "/root" },
		{ "USER", "root" },
		{ "LOGNAME", "root" },
		{ "TMPDIR", "/tmp" },
	};

	for (size_t i = 0; i < ARRAY_LEN(base); i++)
		env_set(e, base[i][0], base[i][1]);
	env_set(e, "LANG", l->locale);
	for (size_t i = 0; i < l->caches.n; i++)
		env_set(e, l->caches.items[i].name, l->caches.items[i].value);
	for (size_t i = 0; i < l->env.n; i++)
		env_set(e, l->env.items[i].name, l->env.items[i].value);
}

void
env_of_job(
    struct environment *e, const struct lang *l, const struct job_spec *s)
{
	env_of_lang(e, l);
	for (size_t i = 0; i < s->n_env; i++)
		env_set(e, s->env[i].name, s->env[i].value);
}

const char *const *
env_words(const struct environment *e)
{
	static const char *const none[] = { NULL };

	return e->n > 0 ? (const char *const *)e->items : none;
}

void
env_done(struct environment *e)
{
	for (size_t i = 0; i < e->n; i++)
		free(e->items[i]);
	free(e->items);
}
