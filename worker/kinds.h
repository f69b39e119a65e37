#pragma once
/*
 * kinds.h - the kinds of sandboxes that this node can make: a plain one, and
 * one for each installed language whose interpreter can be forked, or started
 * ahead of its job.
 */
#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "sandbox.h"

struct lang_registry;

struct kind {
	const char *name;                /* "" is the plain one */
	struct sandbox_program *program; /* owned; NULL for the plain one */
	bool ahead; /* each sandbox starts it; else its nest, once */
};

/* Those of one load of the records; nests keep the one they began with. */
struct kinds {
	unsigned refs;
	struct lang_registry *langs; /* owned */
	struct kind *items;          /* owned; the first is the plain one */
	size_t n;
};

struct kinds *kinds_load(const char *share_dir, struct err *err);
struct kinds *kinds_ref(struct kinds *k);
void kinds_unref(struct kinds *k);
/* NULL when there is none of that name. */
const struct kind *kinds_find(const struct kinds *k, const char *name);
/* Of which kind the nests are that its sandboxes are made in. */
const struct kind *kinds_nest(const struct kinds *k, const struct kind *of);
