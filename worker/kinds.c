#include "kinds.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "environment.h"
#include "lang.h"
#include "mem.h"

static const char *const *
stops_of(const struct lang *l)
{
	const char **names = xcalloc(l->ahead.n + 2, sizeof(*names));

	names[0] = l->source;
	for (size_t i = 0; i < l->ahead.n; i++)
		names[i] = l->ahead.items[i];
	return names;
}

/* The words of an environment, which the program owns from now on. */
static struct sandbox_program *
program_of(const struct lang *l)
{
	struct sandbox_program *p = xcalloc(1, sizeof(*p));
	struct environment env = { .n = 0 };

	env_of_lang(&env, l);
	p->argv = (const char *const *)l->run.items;
	p->env = env_words(&env);
	p->stops = stops_of(l);
	p->code = l->fork ? l->fork : "";
	return p;
}

static void
program_free(struct sandbox_program *p)
{
	struct environment env = { .n = 0 };

	if (!p)
		return;
	env.items = (char **)(uintptr_t)p->env;
	while (env.items[env.n])
		env.n++;
	env_done(&env);
	free((void *)(uintptr_t)p->stops);
	free(p);
}

static bool
has_kind(const struct lang *l)
{
	return ((l->fork && l->compile.n == 0) || l->ahead.n > 0) &&
	       lang_installed(l, NULL);
}

struct kinds *
kinds_load(const char *share_dir, struct err *err)
{
	struct lang_registry *langs = lang_load(share_dir, err);
	struct kinds *k;

	if (!langs)
		return NULL;
	k = xcalloc(1, sizeof(*k));
	k->refs = 1;
	k->langs = langs;
	k->items = xcalloc(lang_count(langs) + 1, sizeof(*k->items));
	k->items[k->n++].name = "";
	for (size_t i = 0; i < lang_count(langs); i++) {
		const struct lang *l = lang_at(langs, i);

		if (has_kind(l))
			k->items[k->n++] = (struct kind){ l->name,
				program_of(l), l->ahead.n > 0 };
	}
	return k;
}

struct kinds *
kinds_ref(struct kinds *k)
{
	k->refs++;
	return k;
}

void
kinds_unref(struct kinds *k)
{
	if (!k || --k->refs > 0)
		return;
	for (size_t i = 0; i < k->n; i++)
		program_free(k->items[i].program);
	free(k->items);
	lang_free(k->langs);
	free(k);
}

const struct kind *
kinds_find(const struct kinds *k, const char *name)
{
	for (size_t i = 0; i < k->n; i++)
		if (strcmp(k->items[i].name, name) == 0)
			return &k->items[i];
	return NULL;
}

const struct kind *
kinds_nest(const struct kinds *k, const struct kind *of)
{
	return of->ahead ? &k->items[0] : of;
}
