#include "digest.h"

#include <stdlib.h>
#include <string.h>

/* What fails here is memory, or an OpenSSL without SHA-256. */
static void
add(struct digest *d, const void *p, size_t n)
{
	if (EVP_DigestUpdate(d->ctx, p, n) != 1)
		abort();
}

void
digest_begin(struct digest *d)
{
	d->ctx = EVP_MD_CTX_new();
	if (!d->ctx || EVP_DigestInit_ex(d->ctx, EVP_sha256(), NULL) != 1)
		abort();
}

void
digest_bytes(struct digest *d, const void *p, size_t n)
{
	const uint64_t len = n;

	add(d, &len, sizeof(len));
	add(d, p, n);
}

void
digest_text(struct digest *d, const char *s)
{
	digest_bytes(d, s, strlen(s));
}

void
digest_number(struct digest *d, uint64_t v)
{
	digest_bytes(d, &v, sizeof(v));
}

void
digest_end(struct digest *d, unsigned char ret_hash[DIGEST_SIZE])
{
	if (EVP_DigestFinal_ex(d->ctx, ret_hash, NULL) != 1)
		abort();
	EVP_MD_CTX_free(d->ctx);
	d->ctx = NULL;
}
