/* Whose keys un signs with: the order of the places, and the rows of a file. */
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
#include <unistd.h>

#include "io.h"
#include "un_account.h"

static const char rows[] = "# public,secret,comment\n"
			   "\n"
			   "  unsb-pk-row0 , unsb-sk-row0 , first\r\n"
			   "not,a,key\n"
			   "unsb-pk-half\n"
			   "unsb-pk-,unsb-sk-\n"
			   "unsb-sk-swap,unsb-pk-swap\n"
			   "#unsb-pk-off,unsb-sk-off\n"
			   "unsb-pk-row1,unsb-sk-row1";

static const char *const variables[] = { "UNSANDBOX_PUBLIC_KEY",
	"UNSANDBOX_SECRET_KEY", "UNSANDBOX_ACCOUNT" };

struct world {
	char home[64];
	char file[128];
};

/* A home of its own, without a file and without variables. */
static int
setup(void **state)
{
	static struct world the_world;
	struct world *w = &the_world;

	(void)snprintf(w->home, sizeof(w->home), "/tmp/un-account-XXXXXX");
	if (!mkdtemp(w->home))
		return -1;
	(void)snprintf(w->file, sizeof(w->file), "%.63s/.unsandbox", w->home);
	if (mkdir(w->file, 0700) < 0)
		return -1;
	(void)snprintf(
	    w->file, sizeof(w->file), "%.63s/.unsandbox/accounts.csv", w->home);
	for (size_t i = 0; i < ARRAY_LEN(variables); i++)
		(void)unsetenv(variables[i]);
	(void)setenv("HOME", w->home, 1);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	(void)unlink(w->file);
	*strrchr(w->file, '/') = '\0';
	(void)rmdir(w->file);
	(void)rmdir(w->home);
	return 0;
}

static void
write_rows(const struct world *w)
{
	struct err err = { 0 };

	assert_int_equal(
	    io_write_file(AT_FDCWD, w->file, rows, strlen(rows), 0600, &err),
	    0);
}

/* Loads, and checks that this pair came out. */
static void
expect_pair(
    const struct un_account_choice *choice, const char *pk, const char *sk)
{
	struct un_account a;
	struct err err = { 0 };

	if (un_account_load(choice, &a, &err) < 0)
		fail_msg("%s", err.msg);
	assert_string_equal(a.public_key, pk);
	assert_string_equal(a.secret_key, sk);
	un_account_done(&a);
	assert_null(a.secret_key);
}

static void
expect_failure(const struct un_account_choice *choice, enum err_code code)
{
	struct un_account a;
	struct err err = { 0 };

	assert_int_equal(un_account_load(choice, &a, &err), -1);
	assert_int_equal(err.code, code);
	assert_null(strstr(err.msg, "unsb-sk-"));
	assert_null(a.public_key);
	un_account_done(&a);
}

static const struct un_account_choice any = { .row = UN_ACCOUNT_ANY };

static void
keys_given_win_over_everything(void **state)
{
	const struct un_account_choice given = { "pk", "sk", 1 };

	write_rows(*state);
	(void)setenv("UNSANDBOX_PUBLIC_KEY", "unsb-pk-env", 1);
	(void)setenv("UNSANDBOX_SECRET_KEY", "unsb-sk-env", 1);
	expect_pair(&given, "pk", "sk");
}

static void
a_row_asked_for_ignores_the_environment(void **state)
{
	const struct un_account_choice row = { .row = 1 };

	write_rows(*state);
	(void)setenv("UNSANDBOX_PUBLIC_KEY", "unsb-pk-env", 1);
	(void)setenv("UNSANDBOX_SECRET_KEY", "unsb-sk-env", 1);
	(void)setenv("UNSANDBOX_ACCOUNT", "0", 1);
	expect_pair(&row, "unsb-pk-row1", "unsb-sk-row1");
}

static void
the_environment_wins_over_the_file(void **state)
{
	write_rows(*state);
	(void)setenv("UNSANDBOX_PUBLIC_KEY", "unsb-pk-env", 1);
	(void)setenv("UNSANDBOX_SECRET_KEY", "unsb-sk-env", 1);
	expect_pair(&any, "unsb-pk-env", "unsb-sk-env");
}

static void
half_a_pair_in_the_environment_does_not_count(void **state)
{
	write_rows(*state);
	(void)setenv("UNSANDBOX_PUBLIC_KEY", "unsb-pk-env", 1);
	expect_pair(&any, "unsb-pk-row0", "unsb-sk-row0");
	(void)setenv("UNSANDBOX_SECRET_KEY", "", 1);
	expect_pair(&any, "unsb-pk-row0", "unsb-sk-row0");
}

static void
the_variable_chooses_the_row(void **state)
{
	write_rows(*state);
	(void)setenv("UNSANDBOX_ACCOUNT", "1", 1);
	expect_pair(&any, "unsb-pk-row1", "unsb-sk-row1");
	(void)setenv("UNSANDBOX_ACCOUNT", "one", 1);
	expect_failure(&any, ERR_INVALID);
	(void)setenv("UNSANDBOX_ACCOUNT", "-1", 1);
	expect_failure(&any, ERR_INVALID);
}

static void
a_missing_row_is_named(void **state)
{
	const struct un_account_choice row = { .row = 2 };

	write_rows(*state);
	expect_failure(&row, ERR_NOT_FOUND);
	(void)setenv("UNSANDBOX_ACCOUNT", "7", 1);
	expect_failure(&any, ERR_NOT_FOUND);
}

static void
nothing_anywhere_means_no_credentials(void **state)
{
	const struct un_account_choice row = { .row = 0 };

	(void)state;
	expect_failure(&any, ERR_KEY);
	expect_failure(&row, ERR_SYS);
	(void)unsetenv("HOME");
	expect_failure(&any, ERR_KEY);
}

static void
a_file_without_rows_means_no_credentials(void **state)
{
	const struct world *w = *state;
	struct err err = { 0 };

	assert_int_equal(
	    io_write_file(AT_FDCWD, w->file, "# none\n", 7, 0600, &err), 0);
	expect_failure(&any, ERR_KEY);
	assert_int_equal(
	    io_write_file(AT_FDCWD, w->file, "", 0, 0600, &err), 0);
	expect_failure(&any, ERR_KEY);
}

static void
a_key_that_would_break_a_header_is_refused(void **state)
{
	const struct un_account_choice injected = { "pk\r\nX: y", "sk",
		UN_ACCOUNT_ANY };
	char endless[400];
	const struct un_account_choice large = { endless, "sk",
		UN_ACCOUNT_ANY };

	(void)state;
	memset(endless, 'a', sizeof(endless) - 1);
	endless[sizeof(endless) - 1] = '\0';
	expect_failure(&injected, ERR_INVALID);
	expect_failure(&large, ERR_INVALID);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(keys_given_win_over_everything),
		TEST(a_row_asked_for_ignores_the_environment),
		TEST(the_environment_wins_over_the_file),
		TEST(half_a_pair_in_the_environment_does_not_count),
		TEST(the_variable_chooses_the_row),
		TEST(a_missing_row_is_named),
		TEST(nothing_anywhere_means_no_credentials),
		TEST(a_file_without_rows_means_no_credentials),
		TEST(a_key_that_would_break_a_header_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
