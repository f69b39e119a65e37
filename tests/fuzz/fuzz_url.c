/* farm.redis_url: where the server is. */
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "fuzz.h"
#include "store.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *url = fuzz_text(data, size);
	struct store_target t;
	struct err err;

	if (store_target_parse(url, &t, &err) < 0) {
		/* Messages are logged: not the password. */
		must(err.code == ERR_INVALID && *err.msg);
		must(!strchr(err.msg, '@') || strstr(err.msg, "[:password@]"));
		return 0;
	}
	must(memchr(t.host, '\0', sizeof(t.host)) && *t.host);
	must(memchr(t.password, '\0', sizeof(t.password)));
	must(strstr(url, t.host) && strstr(url, t.password));
	if (t.port == 0) {
		must(strncmp(url, "unix:", 5) == 0 && t.host[0] == '/');
		must(!*t.password && t.db == 0);
		return 0;
	}
	must(strncmp(url, "redis://", 8) == 0);
	must(t.port <= 65535 && t.db >= 0 && !strpbrk(t.host, ":/@"));
	return 0;
}
