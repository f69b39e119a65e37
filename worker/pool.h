#pragma once
/*
 * pool.h - the nests of this node and the sandboxes in them, as the master
 * keeps them.
 *
 * A sandbox here is waiting (its nest is not ready), warming (launched, not yet
 * ready), granted (its owner has it) or dying.  An owner is whoever asked; it
 * never sees one that is not ready.
 */
#include <stdint.h>
#include <uv.h>

#include "sandbox.h"

struct pool;
struct settings;

struct pool_hooks {
	/*
	 * A sandbox is ready: hand its grant over.  -1: it could not be; then
	 * it is destroyed.
	 */
	int (*on_ready)(
	    void *owner, const char *kind, const struct sandbox_grant *grant);
	/* One that was wanted cannot be made. */
	void (*on_failed)(void *owner, const char *kind, const char *why);
};

/* host and set are borrowed. */
struct pool *
pool_new(uv_loop_t *loop, struct sandbox_host *host, const struct settings *set,
    const struct pool_hooks *hooks, struct err *err);
/* Kills everything and returns when it is gone; runs the loop. */
void pool_free(struct pool *p);
/* What is launched from now on shows the host and the records of now. */
int pool_reload(struct pool *p, struct err *err);

/* n more sandboxes of a kind for owner. */
void pool_want(struct pool *p, void *owner, const char *kind, unsigned n);
/* Its owner needs it no more. */
void pool_done(struct pool *p, const void *owner, unsigned serial);
void pool_kill(struct pool *p, const void *owner, unsigned serial);
/* The owner is gone: so are its sandboxes. */
void pool_forget_owner(struct pool *p, const void *owner);
