#pragma once
/*
 * digest.h - SHA-256 over fields.  Each field is preceded by its length, so two
 * lists of fields have the same bytes only when they are the same.
 */
#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

enum { DIGEST_SIZE = 32 };

struct digest {
	EVP_MD_CTX *ctx; /* owned until digest_end() */
};

void digest_begin(struct digest *d);
void digest_bytes(struct digest *d, const void *p, size_t n);
void digest_text(struct digest *d, const char *s);
void digest_number(struct digest *d, uint64_t v);
void digest_end(struct digest *d, unsigned char ret_hash[DIGEST_SIZE]);
