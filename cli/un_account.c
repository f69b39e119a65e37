#include "un_account.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "cleanup.h"
#include "io.h"
#include "secret.h"

enum {
	CSV_MAX = 1 << 20,
	KEY_MAX = 255, /* what the server can store; also keeps headers sane */
	ROW_MAX = 1000000
};

static const char public_prefix[] = "unsb-pk-";
static const char secret_prefix[] = "unsb-sk-";

void
un_account_done(struct un_account *a)
{
	free(a->public_key);
	secret_free(a->secret_key);
	*a = (struct un_account){ .public_key = NULL };
}

/* A key goes into a header and a signature: printable, and not endless. */
static bool
key_sane(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] <= ' ' || s[i] > '~')
			return false;
	return n > 0 && n <= KEY_MAX;
}

static int
account_set(struct un_account *ret, const char *pk, size_t pk_len,
    const char *sk, size_t sk_len, struct err *err)
{
	if (!key_sane(pk, pk_len) || !key_sane(sk, sk_len))
		return err_set(err, ERR_INVALID, 0,
		    "a key is empty, too long or holds blanks");
	ret->public_key = strndup(pk, pk_len);
	ret->secret_key = strndup(sk, sk_len);
	if (!ret->public_key || !ret->secret_key)
		abort();
	return 0;
}

struct span {
	const char *p;
	size_t n;
};

static struct span
trim(struct span s)
{
	while (s.n > 0 && strchr(" \t\r", s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && strchr(" \t\r", s.p[s.n - 1]))
		s.n--;
	return s;
}

/* Cuts the part before the separator off s; the rest stays in s. */
static struct span
cut(struct span *s, char sep)
{
	const char *end = s->n ? memchr(s->p, sep, s->n) : NULL;
	struct span part = { s->p, end ? (size_t)(end - s->p) : s->n };
	size_t used = part.n + (end ? 1 : 0);

	s->p += used;
	s->n -= used;
	return part;
}

static bool
begins_with(struct span s, const char *prefix)
{
	size_t n = strlen(prefix);

	return s.n > n && memcmp(s.p, prefix, n) == 0;
}

static bool
row_parse(struct span line, struct span *ret_pk, struct span *ret_sk)
{
	line = trim(line);
	*ret_pk = trim(cut(&line, ','));
	*ret_sk = trim(cut(&line, ','));
	return begins_with(*ret_pk, public_prefix) &&
	       begins_with(*ret_sk, secret_prefix);
}

static int
row_find(struct span text, int row, const char *path,
    struct un_account *ret_account, struct err *err)
{
	int n = 0;

	while (text.n > 0) {
		struct span pk, sk;

		if (!row_parse(cut(&text, '\n'), &pk, &sk))
			continue;
		if (n++ == row)
			return account_set(
			    ret_account, pk.p, pk.n, sk.p, sk.n, err);
	}
	return err_set(err, ERR_NOT_FOUND, 0,
	    "no account %d in `%s` (it has %d, counted from 0)", row, path, n);
}

static int
csv_load(int row, struct un_account *ret_account, struct err *err)
{
	auto_buf struct buf text = { .cap = CSV_MAX };
	const char *home = getenv("HOME");
	char path[PATH_MAX];
	int r;

	if (!home || snprintf(path, sizeof(path), "%s/.unsandbox/accounts.csv",
			 home) >= (int)sizeof(path))
		return err_set(err, ERR_SYS, ENOENT, "find the home directory");
	if (io_read_file(AT_FDCWD, path, &text, err) < 0)
		return -1;
	r = row_find(
	    (struct span){ text.data, text.len }, row, path, ret_account, err);
	if (text.data)
		explicit_bzero(text.data, text.len);
	return r;
}

/* UNSANDBOX_ACCOUNT; unset is row 0. */
static int
default_row(int *ret_row, struct err *err)
{
	const char *text = getenv("UNSANDBOX_ACCOUNT");
	char *end;
	long v;

	*ret_row = 0;
	if (!text || !*text)
		return 0;
	errno = 0;
	v = strtol(text, &end, 10);
	if (errno != 0 || *end || v < 0 || v > ROW_MAX)
		return err_set(err, ERR_INVALID, 0,
		    "UNSANDBOX_ACCOUNT: `%s` is not a row number", text);
	*ret_row = (int)v;
	return 0;
}

static int
default_load(struct un_account *ret_account, struct err *err)
{
	int row;

	if (default_row(&row, err) < 0)
		return -1;
	if (csv_load(row, ret_account, err) == 0)
		return 0;
	/* No file, or one without rows, is the same as no credentials. */
	if (err->sys == ENOENT || (err->code == ERR_NOT_FOUND && row == 0))
		return err_set(err, ERR_KEY, 0, "API credentials required.");
	return -1;
}

int
un_account_load(const struct un_account_choice *choice,
    struct un_account *ret_account, struct err *err)
{
	const char *pk = choice->public_key, *sk = choice->secret_key;

	*ret_account = (struct un_account){ .public_key = NULL };
	if (!pk && choice->row != UN_ACCOUNT_ANY)
		return csv_load(choice->row, ret_account, err);
	if (!pk) {
		pk = getenv("UNSANDBOX_PUBLIC_KEY");
		sk = getenv("UNSANDBOX_SECRET_KEY");
	}
	if (pk && *pk && sk && *sk)
		return account_set(
		    ret_account, pk, strlen(pk), sk, strlen(sk), err);
	return default_load(ret_account, err);
}
