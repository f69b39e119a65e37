#pragma once
/* io.h - whole reads and writes, and small files by directory descriptor. */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "err.h"

struct buf;

/* Writes all of it, over short writes and EINTR; 0 or -1 with errno set. */
int io_write_all(int fd, const void *p, size_t n);

/* The whole of a small file; fails with ERR_TOO_BIG past the buffer's cap. */
int io_read_file(
    int dirfd, const char *path, struct buf *ret_data, struct err *err);

/*
 * Replace a file in one step: written beside its place, synced, renamed.
 * Readers see the old bytes or the new ones, never half of them.
 */
int io_write_file(int dirfd, const char *path, const void *data, size_t n,
    mode_t mode, struct err *err);

/* Like mkdir -p; directories that exist are fine. */
int io_mkdir_all(const char *path, mode_t mode, struct err *err);

/* Makes a read-only, sealed memory file at offset 0; returns its descriptor. */
int
io_memfd_sealed(const char *name, const void *data, size_t n, struct err *err);

/*
 * Is it a relative path that stays below where it begins: no part "", "." or
 * ".."?  For names from a sandbox: whoever uses them must not be led elsewhere.
 */
bool io_name_is_inside(const char *name);
