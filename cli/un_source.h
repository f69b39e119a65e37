#pragma once
/*
 * un_source.h - the code to run: a file, the command line, or standard input.
 */
#include <stdbool.h>

#include "buf.h"
#include "err.h"

enum { UN_SOURCE_MAX = 100 << 20 };

struct un_source {
	const char *path;     /* borrowed; NULL when it is not a file */
	const char *language; /* borrowed */
	struct buf code;
};

/* "-", or nothing at all with a language: standard input. */
bool un_source_is_stdin(const char *word, const char *language);
/* Without a language, a word that names something readable is a file. */
bool un_source_is_file(const char *word, const char *language);

/*
 * word may be NULL (none given), language too (find it: by extension, then by
 * the first line; code that is no file is bash).  ret_source is always left fit
 * for un_source_done().
 */
int un_source_load(const char *word, const char *language,
    struct un_source *ret_source, struct err *err);
void un_source_done(struct un_source *s);

/* All of standard input, up to the buffer's cap. */
int un_source_read_stdin(struct buf *ret_data, struct err *err);
