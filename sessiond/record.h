#pragma once
/*
 * record.h - what was printed and typed in a terminal, with its times, for an
 * audit; kept outside the sandbox, where nothing inside can change it.
 *
 * One file without a name, of events one after the other: kind, microseconds
 * since the event before, length, bytes.  It is exported as what script(1)
 * writes and scriptreplay(1) replays, and as asciicast version 2.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

enum record_kind {
	RECORD_OUTPUT = 'o',
	RECORD_INPUT = 'i',
	RECORD_RESIZE = 'r', /* "COLUMNSxROWS" */
	RECORD_MARK = 'm',   /* a word: frozen, thawed */
};

struct record {
	int fd; /* owned */
	uint64_t size;
	uint64_t max; /* 0: nothing is recorded */
	int64_t begun_wall_ms, last_us;
	unsigned cols, rows;
	bool full; /* more came than max */
	char shell[64];
};

/* Its file, made in dir; nothing is recorded before record_begin(). */
int record_open(struct record *r, const char *dir, struct err *err);
void record_begin(struct record *r, uint64_t max, const char *shell,
    unsigned cols, unsigned rows);
void record_close(struct record *r);

/*
 * hidden: input that the terminal does not echo, as passwords; its length is
 * recorded, as so many `*`.  What does not fit max any more is left out.
 */
void record_add(struct record *r, enum record_kind kind, const void *p,
    size_t n, bool hidden);

/* A file in memory at offset 0, which the caller closes; -1 with err. */
typedef int record_export(const struct record *r, struct err *err);
record_export record_typescript; /* gzip of script's output */
record_export record_timing;     /* scriptreplay -t: classic timing file */
record_export record_asciicast;
