/* unfarm.conf: what it says is in range, and saying it again is the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "cleanup.h"
#include "fuzz.h"
#include "settings.h"

static char *
printed(const struct settings *s)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	must(f);
	settings_print(s, f);
	must(fclose(f) == 0);
	return text;
}

/* Each "section.name = value" sets the same value. */
static void
check_again(const struct settings *s)
{
	auto_free char *text = printed(s), *again = NULL;
	auto_free char *copy = strdup(text);
	struct settings other;
	struct err err;
	char *save, *line;

	settings_default(&other);
	for (line = strtok_r(copy, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *dot = strchr(line, '.'), *eq;

		must(dot);
		*dot = '\0';
		eq = strstr(dot + 1, " = ");
		must(eq);
		*eq = '\0';
		must(settings_set(&other, line, dot + 1, eq + 3, &err) == 0);
	}
	again = printed(&other);
	must(strcmp(text, again) == 0);
}

/* A comment after any line changes nothing. */
static void
check_comments(const char *text, size_t n, const struct settings *s)
{
	auto_buf struct buf more = { .cap = SIZE_MAX / 4 };
	auto_free char *before = printed(s), *after = NULL;
	struct settings other;
	struct err err;

	while (n > 0) {
		const char *end = memchr(text, '\n', n);
		size_t len = end ? (size_t)(end - text) + 1 : n;

		must(buf_add(&more, text, len) == 0);
		if (end)
			must(buf_adds(&more, "# a = b\n") == 0);
		text += len;
		n -= len;
	}
	must(settings_load(&other, fuzz_file(more.data, more.len), &err) == 0);
	after = printed(&other);
	must(strcmp(before, after) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct settings s;
	struct err err;

	if (settings_load(&s, fuzz_file(data, size), &err) < 0) {
		must(err.code == ERR_INVALID && *err.msg);
		return 0;
	}
	must(s.gateway_port >= 1 && s.gateway_port <= 65535);
	must(s.job_default_ttl >= 1 && s.job_default_ttl <= 900);
	must(s.sandbox_uid_base >= 65536);
	check_again(&s);
	if (size > 0)
		check_comments((const char *)data, size, &s);
	return 0;
}
