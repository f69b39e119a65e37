#pragma once
/*
 * hash.h - uthash as we use it: memory that is out aborts instead of exiting,
 * and its default hash function, which clang's fall-through warning rejects, is
 * replaced by one of its others.
 */
#include <stdlib.h>

#define uthash_fatal(msg) abort()
#define HASH_FUNCTION     HASH_OAT
#include <uthash.h>
