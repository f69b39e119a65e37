/*
 * POST /run and /run/async: the first line is the query, the rest the program;
 * an object with `code` when it begins with a brace.
 */
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "fuzz.h"
#include "query.h"
#include "settings.h"
#include "spec.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, size };
	auto_free char *query = feed_line(&f);
	auto_free char *body = fuzz_text(f.p, f.left);
	const struct query q = { query, strlen(query) };
	struct spec_rules rules = { .langs = fuzz_langs() };
	struct settings set;
	struct job_spec *s;
	struct err err;

	settings_default(&set);
	set.gateway_max_code_kb = set.gateway_max_stdin_kb = 1;
	set.gateway_max_env_kb = set.gateway_max_args_kb = 1;
	rules.set = &set;
	s = spec_from_run(&rules, body, f.left, body[0] == '{', &q, &err);
	if (!s) {
		must(err.code != ERR_OK && *err.msg);
		return 0;
	}
	must_be_within(s, &set);
	must_be_good_spec(s);
	return 0;
}
