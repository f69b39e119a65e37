#pragma once
/*
 * toolchain.h - what of this machine decides what a compiler makes.
 *
 * Every compiled program is kept under a hash that holds this, so that a change
 * of the machine makes all of them useless.  Files are looked at by number,
 * size and times, which cannot be set back (ctime), not by their bytes.
 */
#include "digest.h"

struct lang;

/*
 * The slow part, done at start and at a reload: the kernel, and every file that
 * paths (sandbox.paths) shows of this machine and no package manager keeps
 * account of.  A list that cannot be read is as an empty one: sandboxes could
 * not be made by it either.
 */
void toolchain_survey(const char *paths, unsigned char ret_hash[DIGEST_SIZE]);
/*
 * The quick part, done for each job: the books of the package manager, and what
 * the words of the compile command lead to.
 */
void toolchain_add(struct digest *d, const struct lang *l);
