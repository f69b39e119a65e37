#pragma once
/*
 * compiled.h - what a compile step made, as one blob, and what it was made
 * from, as one hash.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cache.h"

struct buf;
struct lang;
struct job_spec;
struct settings;

/* What can change what a compiler makes of a job. */
struct compiled_from {
	const char *owner;         /* its public key */
	const unsigned char *host; /* toolchain_survey(): DIGEST_SIZE bytes */
	const struct settings *settings;
	const struct lang *lang;
	const struct job_spec *spec;
};

/*
 * Not in it: standard input and the program's arguments, which a compiler is
 * not given, and the limits of the run.  With worker.cache_shared the owner is
 * left out, too.
 */
void compiled_key(const struct compiled_from *from, struct cache_key *ret_key);

/* ---- the blob: the compiler's words, then any number of entries ---- */

enum { COMPILED_ENTRIES_MAX = 256 };

struct compiled_entry {
	const char *name; /* relative to the working directory */
	mode_t mode;      /* permissions, and S_IFDIR or S_IFREG */
	const char *data;
	size_t len;
};

/* Adders return what buf_add() does. */
int compiled_begin(struct buf *b, const char *text, size_t n);
/* Its len bytes are to be added by buf_add(), then compiled_end_entry(). */
int compiled_entry(struct buf *b, const char *name, mode_t mode, size_t len);
int compiled_end_entry(struct buf *b);

/* A reader; strings and bytes are borrowed from the blob. */
struct compiled {
	const char *text;
	size_t text_len;
	struct compiled_entry entries[COMPILED_ENTRIES_MAX];
	size_t n;
};
/* False for anything but a whole blob whose names stay inside. */
bool compiled_read(const void *p, size_t n, struct compiled *ret_compiled);
