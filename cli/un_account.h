#pragma once
/*
 * un_account.h - whose keys a request is signed with.
 *
 * In this order: both keys given; a row of ~/.unsandbox/accounts.csv asked for
 * by number (the environment is ignored then); UNSANDBOX_PUBLIC_KEY together
 * with UNSANDBOX_SECRET_KEY; the row that UNSANDBOX_ACCOUNT names, or row 0.
 *
 * A line of the file is `public_key,secret_key[,comment]`.  Blank lines and
 * those that begin with # do not count, nor do lines whose keys do not begin
 * with unsb-pk- and unsb-sk-.  Rows are numbered from 0.
 */
#include "err.h"

struct un_account {
	char *public_key; /* owned */
	char *secret_key; /* owned; wiped by un_account_done() */
};

enum { UN_ACCOUNT_ANY = -1 };

struct un_account_choice {
	const char *public_key; /* both or none */
	const char *secret_key;
	int row; /* UN_ACCOUNT_ANY, or a row of the file */
};

/*
 * 0, or -1: ERR_KEY when there are no credentials at all, ERR_NOT_FOUND when
 * the row asked for is not there, other codes for a file that cannot be read.
 * No message ever holds a key.
 */
int un_account_load(const struct un_account_choice *choice,
    struct un_account *ret_account, struct err *err);
void un_account_done(struct un_account *a);
