#pragma once
/*
 * fuzz.h - what the fuzz targets share.
 *
 * A target is one parser: it gives the input to it, and says with must() what
 * has to hold for whatever came in.  Its seeds are in corpus/NAME/.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Says what does not hold, and aborts. */
#define must(cond) ((cond) ? (void)0 : fuzz_broken(#cond, __FILE__, __LINE__))
void fuzz_broken(const char *cond, const char *file, int line)
    __attribute__((noreturn));

/* Strict JSON of valid UTF-8. */
void must_be_json(const char *text, size_t n);
/* Relative, and leads nowhere else: no "..", no empty or "." part. */
void must_be_inside(const char *name);

/* A copy with a NUL behind it, of exact size; caller frees. */
char *fuzz_text(const uint8_t *data, size_t size);
/* The path of the one memory file, which now holds this. */
const char *fuzz_file(const void *data, size_t size);
/* Makes an empty directory, removed with all below it at exit. */
const char *fuzz_folder(void);
/* That of a process that had no exit. */
void fuzz_folder_remove(pid_t pid);
/* Removes what is below it. */
void fuzz_folder_clear(const char *dir);

/* What is said on stderr goes nowhere; descriptor 2 stays the sanitizers'. */
void fuzz_be_silent(void);

/* Takes an input apart from its beginning; at its end all reads give 0. */
struct feed {
	const uint8_t *p;
	size_t left;
};
unsigned feed_u8(struct feed *f);
unsigned feed_u16(struct feed *f);
uint64_t feed_u64(struct feed *f);
/* Up to n bytes, borrowed. */
const uint8_t *feed_bytes(struct feed *f, size_t n, size_t *ret_len);
/* Up to the next newline, which is dropped; caller frees. */
char *feed_line(struct feed *f);

/* A number made of the lowest free descriptors: another when one was left. */
unsigned fuzz_free_fds(void);

struct msg;
/* A packet with the rest of the input; what is behind it may not be read. */
void fuzz_msg(struct msg *m, unsigned type, struct feed *f);

struct job_spec;
struct settings;
/* None of the limits of size and number is passed. */
void must_be_within(const struct job_spec *s, const struct settings *set);
/* Its fields are in range and clean, and the same behind Redis.  Frees it. */
void must_be_good_spec(struct job_spec *s);
/* The records of conf/, loaded once; the targets run in the tree's root. */
const struct lang_registry *fuzz_langs(void);

/*
 * An answer of Redis, any that its protocol can say: A and a byte of number,
 * then so many more; S (string) or T (status), two bytes of length, text; I and
 * eight bytes; anything else is nil.  Freed by freeReplyObject().
 */
struct redisReply *fuzz_reply(struct feed *f, int depth);
