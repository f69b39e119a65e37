#pragma once
/* b64.h - base64 with exact-length checks, over OpenSSL's coder. */
#include <stddef.h>

#include "err.h"

struct buf;

/* Bytes that n bytes become, without the NUL. */
size_t b64_encoded_len(size_t n);
/* Standard alphabet, padded, no line breaks.  Caller frees. */
char *b64_encode(const void *p, size_t n);
/* To b64_encoded_len(n) bytes and a NUL. */
void b64_encode_to(char *to, const void *p, size_t n);

/*
 * Decodes standard base64; white space anywhere is skipped (shell clients send
 * line breaks), padding may be missing.  Appends to ret_data.  ERR_INVALID for
 * any other byte or an impossible length, ERR_TOO_BIG past the buffer's cap.
 */
int b64_decode(const char *s, size_t n, struct buf *ret_data, struct err *err);
