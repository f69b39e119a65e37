#pragma once
/* json.h - what jansson leaves to its users: typed, named, lenient access. */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "err.h"

/*
 * Parses one value; rejects duplicate keys and trailing bytes.  err names the
 * line and column.  NULL on failure; else the caller owns the value.
 */
json_t *json_parse(const char *text, size_t len, struct err *err);
/* The same of what is plain and right; NULL: ask json_parse(). */
json_t *json_read(const char *text, size_t len);
json_t *json_parse_file(const char *path, size_t max, struct err *err);

/* Compact text, keys in the order they were set.  Caller frees. */
char *json_text(const json_t *v);

/*
 * Shell clients send numbers and booleans as strings: "5" and "true" pass.
 * 1 = found, 0 = missing, -1 = another type or out of range (err names it).
 */
int json_get_int(const json_t *obj, const char *name, long long min,
    long long max, long long *ret_value, struct err *err);
int json_get_bool(
    const json_t *obj, const char *name, bool *ret_value, struct err *err);
/* Borrowed from obj. */
int json_get_str(const json_t *obj, const char *name, const char **ret_value,
    size_t *ret_len, struct err *err);

/* Sets "name" to text as valid UTF-8 (U+FFFD for bytes that are not). */
void json_set_text(json_t *obj, const char *name, const char *s, size_t n);
void json_set_str(json_t *obj, const char *name, const char *s);
void json_set_int(json_t *obj, const char *name, long long v);
void json_set_bool(json_t *obj, const char *name, bool v);
