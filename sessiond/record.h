#pragma once
/*
 * record.h - what was printed and typed in a terminal, with its times, for an
 * audit; kept outside the sandbox, where nothing inside can change it.
 *
 * One file without a name, of events one after the other: kind, microseconds
 * since the event before, length, bytes.  It is exported as what script(1)
 * writes and scriptreplay(1) replays, and as asciicast version 2.
 *
 * Two chains of SHA-256 tell of changes.  One, in memory, grows with each event
 * and tells what happens to the file until it is exported; the other one is
 * exported beside the files and tells what happens to them later.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "digest.h"
#include "err.h"
#include "secret.h"

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
	unsigned char chain[DIGEST_SIZE]; /* over all events so far */
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

/* Whether the file still has what was written to it. */
bool record_intact(const struct record *r);

struct record_file {
	const char *name;
	int fd;
};
/*
 * A file like those above, with a line for each 64 KiB of each file: the
 * SHA-256 of the line before (its digits, none for the first), the file's name
 * and these bytes; then a space and the name.  ret_head: the last one, "" when
 * all files are empty.
 */
int record_chain(const struct record_file *files, size_t n,
    char ret_head[SECRET_SIG_LEN + 1], struct err *err);
