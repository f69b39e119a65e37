#pragma once
/*
 * un_artifact.h - files a job or a session left behind, saved here.
 *
 * The names come from the server and ultimately from the code that ran, so they
 * are not trusted: each is taken apart and made again below the directory, step
 * by step and never through a symbolic link.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "err.h"

/*
 * Saves every artifact of the job below dir, which is made when missing.  The
 * compiled program is named after source (a path, or NULL: keep its name).
 * One that cannot be saved is reported and the rest go on; false then.
 */
bool
un_artifact_save_all(const json_t *job, const char *dir, const char *source);

/* The same of a session; names get "-postfix" before their extension. */
bool un_artifact_save_named(
    const json_t *answer, const char *dir, const char *postfix);

/* "d/a.txt" -> "d/a-postfix.txt".  Caller frees. */
char *un_artifact_postfix(const char *name, const char *postfix);

/*
 * The safe relative form of a name: no empty and no "." parts.  NULL with err
 * for an absolute name, one with "..", with control characters, or too long.
 * Caller frees.
 */
char *un_artifact_name(const char *name, size_t n, struct err *err);

/* 0755 for what looks like a program or cannot be told, 0644 for data. */
unsigned un_artifact_mode(const char *name, const void *data, size_t n);
