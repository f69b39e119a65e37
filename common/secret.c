#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "b64.h"
#include "buf.h"
#include "cleanup.h"
#include "io.h"

enum { NONCE_LEN = 12, TAG_LEN = 16, SECRET_MAX = 256 };

static void
hex_of(const unsigned char *raw, size_t n, char *ret_hex)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		ret_hex[2 * i] = digits[raw[i] >> 4];
		ret_hex[2 * i + 1] = digits[raw[i] & 15];
	}
	ret_hex[2 * n] = '\0';
}

/*
 * Two may make it at the same time: the name is given by link(2), which does
 * not replace, so all of them go on with the key of the first.
 */
static int
master_create(const char *path, struct err *err)
{
	unsigned char key[SECRET_MASTER_LEN];
	char tmp[PATH_MAX];
	int r;

	if (snprintf(tmp, sizeof(tmp), "%s.%d", path, (int)getpid()) >=
	    (int)sizeof(tmp))
		return err_set(err, ERR_INVALID, 0, "path is too long");
	if (RAND_bytes(key, sizeof(key)) != 1)
		return err_set(
		    err, ERR_SYS, 0, "no randomness for a master key");
	r = io_write_file(AT_FDCWD, tmp, key, sizeof(key), 0640, err);
	OPENSSL_cleanse(key, sizeof(key));
	if (r < 0)
		return err_wrap(err, "make the master key");
	if (link(tmp, path) < 0 && errno != EEXIST)
		r = err_errno(err, "make the master key `%s`", path);
	(void)unlink(tmp);
	return r;
}

int
secret_master_load(const char *path, bool create,
    struct secret_master *ret_master, struct err *err)
{
	auto_buf struct buf data = { .cap = SECRET_MASTER_LEN };
	struct stat st;

	if (create && access(path, F_OK) < 0 && master_create(path, err) < 0)
		return -1;
	if (stat(path, &st) == 0 && (st.st_mode & S_IRWXO) != 0)
		return err_set(err, ERR_INVALID, 0,
		    "master key `%s`: everybody may read it, so secrets are "
		    "not secret: `chmod o= %s`",
		    path, path);
	if (io_read_file(AT_FDCWD, path, &data, err) < 0)
		return err_wrap(err, "master key");
	if (data.len != SECRET_MASTER_LEN)
		return err_set(err, ERR_INVALID, 0,
		    "master key `%s`: %zu bytes, not %d", path, data.len,
		    SECRET_MASTER_LEN);
	memcpy(ret_master->key, data.data, SECRET_MASTER_LEN);
	OPENSSL_cleanse(data.data, data.len);
	return 0;
}

/* Encrypts or decrypts n bytes; the tag is written or checked. */
static bool
gcm(const struct secret_master *m, bool encrypt, const char *aad,
    const unsigned char *nonce, const unsigned char *in, size_t n,
    unsigned char *out, unsigned char tag[TAG_LEN])
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int len;
	bool ok;

	ok = c &&
	     EVP_CipherInit_ex(
		 c, EVP_aes_256_gcm(), NULL, m->key, nonce, encrypt) == 1 &&
	     EVP_CipherUpdate(c, NULL, &len, (const unsigned char *)aad,
		 (int)strlen(aad)) == 1 &&
	     EVP_CipherUpdate(c, out, &len, in, (int)n) == 1;
	if (ok && !encrypt)
		ok = EVP_CIPHER_CTX_ctrl(
			 c, EVP_CTRL_GCM_SET_TAG, TAG_LEN, tag) == 1;
	ok = ok && EVP_CipherFinal_ex(c, out + len, &len) == 1;
	if (ok && encrypt)
		ok = EVP_CIPHER_CTX_ctrl(
			 c, EVP_CTRL_GCM_GET_TAG, TAG_LEN, tag) == 1;
	EVP_CIPHER_CTX_free(c);
	return ok;
}

int
secret_seal(const struct secret_master *m, const char *public_key,
    const char *secret, char **ret_sealed, struct err *err)
{
	unsigned char raw[NONCE_LEN + SECRET_MAX + TAG_LEN];
	size_t n = strlen(secret);

	if (n == 0 || n > SECRET_MAX)
		return err_set(err, ERR_INVALID, 0,
		    "a secret key has 1 to %d characters", SECRET_MAX);
	if (RAND_bytes(raw, NONCE_LEN) != 1 ||
	    !gcm(m, true, public_key, raw, (const unsigned char *)secret, n,
		raw + NONCE_LEN, raw + NONCE_LEN + n))
		return err_set(err, ERR_SYS, 0, "seal a secret key");
	*ret_sealed = b64_encode(raw, NONCE_LEN + n + TAG_LEN);
	return 0;
}

int
secret_open(const struct secret_master *m, const char *public_key,
    const char *sealed, char **ret_secret, struct err *err)
{
	auto_buf struct buf raw = { .cap = NONCE_LEN + SECRET_MAX + TAG_LEN };
	unsigned char *p;
	auto_free char *text = NULL;
	size_t n;

	if (b64_decode(sealed, strlen(sealed), &raw, err) < 0)
		return err_wrap(err, "stored secret of `%s`", public_key);
	if (raw.len <= NONCE_LEN + TAG_LEN)
		return err_set(err, ERR_INVALID, 0,
		    "stored secret of `%s` is too short", public_key);
	p = (unsigned char *)raw.data;
	n = raw.len - NONCE_LEN - TAG_LEN;
	text = calloc(1, n + 1);
	if (!text)
		return err_errno(err, "open a secret key");
	if (!gcm(m, false, public_key, p, p + NONCE_LEN, n,
		(unsigned char *)text, p + NONCE_LEN + n))
		return err_set(err, ERR_INVALID, 0,
		    "stored secret of `%s` does not fit the master key",
		    public_key);
	*ret_secret = steal_ptr(&text);
	return 0;
}

void
secret_free(char *secret)
{
	if (!secret)
		return;
	OPENSSL_cleanse(secret, strlen(secret));
	free(secret);
}

void
secret_sign(const char *secret, const struct secret_part *parts, size_t n,
    char ret_sig[SECRET_SIG_LEN + 1])
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	auto_buf struct buf msg;
	unsigned int len = 0;

	/* A request's parts are capped by the gateway; joined once, signed. */
	buf_init(&msg, SIZE_MAX / 2);
	for (size_t i = 0; i < n; i++)
		if (buf_add(&msg, parts[i].data, parts[i].len) < 0)
			abort();
	if (!HMAC(EVP_sha256(), secret, (int)strlen(secret),
		(const unsigned char *)msg.data, msg.len, mac, &len))
		abort();
	hex_of(mac, len, ret_sig);
}

bool
secret_sig_equal(const char *sig, const char *expected)
{
	size_t n = strlen(expected);

	return strlen(sig) == n && CRYPTO_memcmp(sig, expected, n) == 0;
}

void
secret_sha256(const void *p, size_t n, char ret_hex[SECRET_SIG_LEN + 1])
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned int len = 0;

	if (EVP_Digest(p, n, md, &len, EVP_sha256(), NULL) != 1)
		abort();
	hex_of(md, len, ret_hex);
}
