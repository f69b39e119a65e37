#pragma once
/*
 * ring.h - the last bytes that a terminal printed, each with its offset since
 * the first one.
 *
 * They are in a file without a name, used in a circle: its pages are the
 * kernel's to keep or to write out, so a quiet session costs no memory for
 * them, and a process that holds the descriptor needs no copy.
 */
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct ring {
	int fd;              /* owned; -1: none */
	uint64_t cap;        /* bytes that are kept at most */
	uint64_t start, end; /* offsets of the first one kept, and after the
				last one */
};

/* The file is made in dir and gone with its last descriptor. */
int ring_open(struct ring *r, const char *dir, uint64_t cap, struct err *err);
void ring_close(struct ring *r);

/*
 * When they cannot be stored (a full disk) all that was there is dropped: start
 * and end are the offset after them.
 */
void ring_add(struct ring *r, const void *p, size_t n);
/*
 * Reads at most n bytes from offset on, which must lie in start ... end.
 * Returns how many; 0 at the end, or when the file cannot be read.
 */
size_t ring_read(const struct ring *r, uint64_t offset, void *p, size_t n);
