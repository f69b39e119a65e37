/* ~/.unsandbox/accounts.csv; the first byte is the row that is asked for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "un_account.h"

static void
make_home(void)
{
	const char *home = fuzz_folder();
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/.unsandbox", home);
	must(mkdir(path, 0700) == 0);
	(void)snprintf(path, sizeof(path), "%s/.unsandbox/accounts.csv", home);
	must(symlink(fuzz_file("", 0), path) == 0);
	must(setenv("HOME", home, 1) == 0);
}

static void
check_key(const char *key, const char *prefix)
{
	must(strncmp(key, prefix, 8) == 0 && strlen(key) <= 255);
	for (const char *p = key; *p; p++)
		must(*p > ' ' && *p <= '~' && *p != ',');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	struct un_account_choice choice = { .row = size ? data[0] % 8 : 0 };
	struct un_account a;
	struct err err;

	if (!ready)
		make_home();
	ready = true;
	(void)fuzz_file(data + (size > 0), size - (size > 0));
	if (un_account_load(&choice, &a, &err) < 0) {
		must(err.code != ERR_OK && !strstr(err.msg, "unsb-sk-"));
		must(!a.public_key && !a.secret_key);
		return 0;
	}
	check_key(a.public_key, "unsb-pk-");
	check_key(a.secret_key, "unsb-sk-");
	un_account_done(&a);
	return 0;
}
