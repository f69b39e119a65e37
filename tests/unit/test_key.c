/* key and secret: sealing, signatures, the master key, records of Redis. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "key.h"
#include "secret.h"
#include "settings.h"

static const struct secret_master master = {
	.key = "a master key of 32 bytes......"
};

static void
a_sealed_secret_opens_again(void **state)
{
	auto_free char *sealed = NULL, *again = NULL;
	char *secret = NULL;
	struct err e;

	(void)state;
	assert_int_equal(
	    secret_seal(&master, "unsb-pk-a", "the secret", &sealed, &e), 0);
	assert_null(strstr(sealed, "secret"));
	assert_int_equal(
	    secret_open(&master, "unsb-pk-a", sealed, &secret, &e), 0);
	assert_string_equal(secret, "the secret");
	secret_free(secret);
	assert_int_equal(
	    secret_seal(&master, "unsb-pk-a", "the secret", &again, &e), 0);
	assert_string_not_equal(sealed, again); /* a fresh nonce */
}

static void
every_changed_byte_of_a_sealed_secret_is_noticed(void **state)
{
	auto_free char *sealed = NULL;
	char *secret = NULL;
	struct err e;

	(void)state;
	assert_int_equal(
	    secret_seal(&master, "unsb-pk-a", "the secret", &sealed, &e), 0);
	for (char *p = sealed; *p && *p != '='; p++) {
		char was = *p;

		*p = was == 'A' ? 'Z' : 'A';
		/* The last digit has bits that are not used. */
		if (p[1] != '\0' && p[1] != '=')
			assert_int_equal(secret_open(&master, "unsb-pk-a",
					     sealed, &secret, &e),
			    -1);
		*p = was;
	}
	assert_null(secret);
}

static void
a_sealed_secret_fits_one_public_key_and_one_master(void **state)
{
	const struct secret_master other = { .key = "another" };
	auto_free char *sealed = NULL;
	char *secret = NULL;
	struct err e;

	(void)state;
	assert_int_equal(
	    secret_seal(&master, "unsb-pk-a", "the secret", &sealed, &e), 0);
	assert_int_equal(
	    secret_open(&master, "unsb-pk-b", sealed, &secret, &e), -1);
	assert_int_equal(e.code, ERR_INVALID);
	assert_int_equal(
	    secret_open(&other, "unsb-pk-a", sealed, &secret, &e), -1);
	assert_int_equal(
	    secret_open(&master, "unsb-pk-a", "", &secret, &e), -1);
	assert_int_equal(
	    secret_open(&master, "unsb-pk-a", "AAAA", &secret, &e), -1);
	assert_int_equal(
	    secret_open(&master, "unsb-pk-a", "!", &secret, &e), -1);
	assert_null(secret);
}

static void
secrets_have_a_length_limit(void **state)
{
	char longest[258];
	auto_free char *sealed = NULL;
	char *secret = NULL;
	struct err e;

	(void)state;
	memset(longest, 's', sizeof(longest));
	longest[257] = '\0';
	assert_int_equal(secret_seal(&master, "k", longest, &sealed, &e), -1);
	assert_int_equal(secret_seal(&master, "k", "", &sealed, &e), -1);
	longest[256] = '\0';
	assert_int_equal(secret_seal(&master, "k", longest, &sealed, &e), 0);
	assert_int_equal(secret_open(&master, "k", sealed, &secret, &e), 0);
	assert_string_equal(secret, longest);
	secret_free(secret);
	secret_free(NULL);
}

/* The value is that of `openssl dgst -sha256 -hmac`. */
static void
parts_are_signed_as_one_message(void **state)
{
	static const char want[] =
	    "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8";
	const struct secret_part parts[] = {
		{ "The quick brown fox ", 20 },
		{ "", 0 },
		{ "jumps over the lazy dog", 23 },
	};
	char sig[SECRET_SIG_LEN + 1], other[SECRET_SIG_LEN + 1];

	(void)state;
	secret_sign("key", parts, 3, sig);
	assert_string_equal(sig, want);
	assert_true(secret_sig_equal(sig, want));
	secret_sign("kez", parts, 3, other);
	assert_false(secret_sig_equal(other, want));
	assert_false(secret_sig_equal("", want));
	sig[SECRET_SIG_LEN - 1] = '\0';
	assert_false(secret_sig_equal(sig, want));
	secret_sha256("abc", 3, sig);
	assert_string_equal(sig,
	    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void
a_master_key_is_made_once_and_kept(void **state)
{
	char dir[] = "/tmp/unfarm-key-XXXXXX", path[64];
	struct secret_master a, b;
	struct err e;
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/master.key", dir);
	assert_int_equal(secret_master_load(path, false, &a, &e), -1);
	assert_int_equal(secret_master_load(path, true, &a, &e), 0);
	assert_int_equal(secret_master_load(path, true, &b, &e), 0);
	assert_memory_equal(a.key, b.key, sizeof(a.key));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(st.st_size, SECRET_MASTER_LEN);
	assert_int_equal(
	    io_write_file(AT_FDCWD, path, "short", 5, 0640, &e), 0);
	assert_int_equal(secret_master_load(path, true, &b, &e), -1);
	assert_int_equal(e.code, ERR_INVALID);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0); /* nothing else was left there */
}

/* Children that start together all go on with the same key. */
static void
a_master_key_made_by_many_at_once_is_one(void **state)
{
	enum { MANY = 16 };
	char dir[] = "/tmp/unfarm-key-XXXXXX", path[64];
	struct secret_master first, m;
	struct err e;
	int go[2], out[2];
	char c;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/master.key", dir);
	assert_int_equal(pipe(go) | pipe(out), 0);
	for (int i = 0; i < MANY; i++) {
		if (fork() != 0)
			continue;
		(void)close(go[1]);
		(void)!read(go[0], &c, 1);
		if (secret_master_load(path, true, &m, &e) == 0)
			(void)!write(out[1], &m, sizeof(m));
		_exit(0);
	}
	(void)close(go[0]);
	(void)close(go[1]);
	(void)close(out[1]);
	assert_int_equal(read(out[0], &first, sizeof(first)), sizeof(first));
	for (int i = 1; i < MANY; i++) {
		assert_int_equal(read(out[0], &m, sizeof(m)), sizeof(m));
		assert_memory_equal(&m, &first, sizeof(m));
	}
	(void)close(out[0]);
	while (wait(NULL) > 0)
		;
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
}

/* ---- records ---- */

enum { FIELDS_MAX = 24 };

struct record {
	redisReply items[FIELDS_MAX];
	redisReply *list[FIELDS_MAX];
	redisReply reply;
};

static const redisReply *
hash(struct record *h, char **texts)
{
	size_t n = 0;

	for (; texts[n]; n++) {
		h->items[n] = (redisReply){ .type = REDIS_REPLY_STRING,
			.str = texts[n],
			.len = strlen(texts[n]) };
		h->list[n] = &h->items[n];
	}
	h->reply = (redisReply){
		.type = REDIS_REPLY_ARRAY, .elements = n, .element = h->list
	};
	return &h->reply;
}

static void
a_key_is_read_from_its_hash(void **state)
{
	auto_free char *sealed = NULL;
	char tier[] = "Gold";
	char secret[] = "secret", f_tier[] = "tier", f_rate[] = "rate";
	char f_susp[] = "suspended", one[] = "1", rate[] = "77";
	char f_exp[] = "expires", exp[] = "1000";
	struct record h;
	struct key k = { .rate = -1 };
	struct err e;

	(void)state;
	assert_int_equal(
	    secret_seal(&master, "unsb-pk-a", "s3", &sealed, &e), 0);
	char *fields[] = { secret, sealed, f_tier, tier, f_rate, rate, f_susp,
		one, f_exp, exp, NULL };
	assert_int_equal(
	    key_from_reply(&k, "unsb-pk-a", hash(&h, fields), &master, &e), 0);
	assert_string_equal(k.secret, "s3");
	assert_string_equal(k.tier, "Gold");
	assert_int_equal(k.rate, 77);
	assert_true(k.suspended);
	assert_false(key_expired(&k, 999));
	assert_true(key_expired(&k, 1000));
	key_done(&k);
	assert_null(k.secret);

	assert_int_equal(
	    key_from_reply(&k, "unsb-pk-a", &h.reply, NULL, &e), 0);
	assert_null(k.secret);
	assert_int_equal(
	    key_from_reply(&k, "unsb-pk-b", &h.reply, &master, &e), -1);
	assert_int_equal(e.code, ERR_INVALID);
}

static void
an_empty_hash_is_no_key(void **state)
{
	char *fields[] = { NULL };
	struct record h;
	struct key k = { .rate = -1 };
	struct err e;

	(void)state;
	assert_int_equal(
	    key_from_reply(&k, "unsb-pk-a", hash(&h, fields), &master, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_int_equal(k.rate, -1);
}

static void
a_new_key_has_the_settings_limits_and_never_expires(void **state)
{
	struct settings s;
	struct key a, b;

	(void)state;
	settings_default(&s);
	s.key_rate_per_minute = 123;
	key_init_new(&a, &s);
	key_init_new(&b, &s);
	assert_int_equal(a.rate, 123);
	assert_string_not_equal(a.public_key, b.public_key);
	assert_string_not_equal(a.secret, b.secret);
	assert_true(id_is_public_key(a.public_key));
	assert_false(key_expired(&a, INT64_MAX));
	key_done(&a);
	key_done(&b);
	key_init_dev(&a);
	assert_string_equal(a.public_key, KEY_DEV_PUBLIC);
	assert_true(id_is_public_key(a.public_key));
	key_done(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sealed_secret_opens_again),
		cmocka_unit_test(
		    every_changed_byte_of_a_sealed_secret_is_noticed),
		cmocka_unit_test(
		    a_sealed_secret_fits_one_public_key_and_one_master),
		cmocka_unit_test(secrets_have_a_length_limit),
		cmocka_unit_test(parts_are_signed_as_one_message),
		cmocka_unit_test(a_master_key_is_made_once_and_kept),
		cmocka_unit_test(a_master_key_made_by_many_at_once_is_one),
		cmocka_unit_test(a_key_is_read_from_its_hash),
		cmocka_unit_test(an_empty_hash_is_no_key),
		cmocka_unit_test(
		    a_new_key_has_the_settings_limits_and_never_expires),
	};

	return cmocka_run_group_tests_name("key", tests, NULL, NULL);
}
