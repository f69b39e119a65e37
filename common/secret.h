#pragma once
/*
 * secret.h - what touches keys: request signatures, and secrets at rest.
 *
 * A farm has one master key, 32 random bytes in a file that only root and the
 * gateway can read.  A client's secret is stored as AES-256-GCM under it, bound
 * to its public key, so that a copy of Redis alone gives no secret away.
 */
#include <stdbool.h>
#include <stddef.h>

#include "err.h"

enum { SECRET_MASTER_LEN = 32, SECRET_SIG_LEN = 64 };

struct secret_master {
	unsigned char key[SECRET_MASTER_LEN];
};

/* Reads the master key; makes it (0640) first when create is set. */
int secret_master_load(const char *path, bool create,
    struct secret_master *ret_master, struct err *err);

/* Sealed form: base64 of nonce, ciphertext and tag.  Caller frees. */
int secret_seal(const struct secret_master *m, const char *public_key,
    const char *secret, char **ret_sealed, struct err *err);
/* Caller wipes and frees; secret_free() does both. */
int secret_open(const struct secret_master *m, const char *public_key,
    const char *sealed, char **ret_secret, struct err *err);
void secret_free(char *secret);

/* One piece of a message to sign. */
struct secret_part {
	const void *data;
	size_t len;
};

/* Lower-case hex HMAC-SHA256 of the parts joined, NUL-terminated. */
void secret_sign(const char *secret, const struct secret_part *parts, size_t n,
    char ret_sig[SECRET_SIG_LEN + 1]);
/* Constant time for equal lengths; a wrong length is false. */
bool secret_sig_equal(const char *sig, const char *expected);

/* Lower-case hex SHA-256. */
void secret_sha256(const void *p, size_t n, char ret_hex[SECRET_SIG_LEN + 1]);
