#pragma once
/*
 * cache.h - blobs on this node's disk, each under the hash of what it was made
 * from.
 *
 * One file an entry, in one directory that the worker processes share; they
 * agree by a lock on the directory, and only those who change it take it.  An
 * entry is written under another name and renamed, so that it is whole or not
 * there, and is looked at by its checksum each time it is read.  When room is
 * needed, the owner of most bytes loses what was not read for longest, so that
 * no owner can drive out the others.
 *
 * Every function may be called from any thread.
 */
#include <stddef.h>
#include <stdint.h>

#include "digest.h"
#include "err.h"

struct cache;

/* Of one entry; also of what a task holds of it in memory. */
enum { CACHE_ENTRY_MAX = 16 << 20 };

enum { CACHE_OWNER_SIZE = 8 };

/* The owner is part of the name: equal hashes of two are two entries. */
struct cache_key {
	unsigned char owner[CACHE_OWNER_SIZE];
	unsigned char hash[DIGEST_SIZE];
};

/*
 * dir must be there and ours to write.  Removes what a killed process left and
 * what is too much by now.
 */
struct cache *cache_open(const char *dir, uint64_t limit, struct err *err);
void cache_close(struct cache *c);
/* Of the directory; borrowed. */
int cache_fd(const struct cache *c);

/* The caller frees the data.  1: found, 0: not there, or damaged and removed,
 * -1: the disk's fault. */
int cache_load(struct cache *c, const struct cache_key *key, void **ret_data,
    size_t *ret_n, struct err *err);
/* ERR_TOO_BIG for more than an eighth of the limit, or CACHE_ENTRY_MAX. */
int cache_store(struct cache *c, const struct cache_key *key, const void *p,
    size_t n, struct err *err);
