/* The body of POST /execute and /execute/async. */
#include <stdlib.h>

#include "fuzz.h"
#include "settings.h"
#include "spec.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data; /* no NUL behind it */
	struct spec_rules rules = { .langs = fuzz_langs(), .max_vcpu = 4 };
	struct settings set;
	struct job_spec *s;
	struct err err;
	bool async;

	settings_default(&set);
	/* Limits that an input can reach. */
	set.gateway_max_code_kb = set.gateway_max_file_kb = 1;
	set.gateway_max_files_kb = set.gateway_max_stdin_kb = 2;
	set.gateway_max_env_kb = set.gateway_max_args_kb = 1;
	set.gateway_max_args = set.gateway_max_env = 8;
	rules.set = &set;
	s = spec_from_json(&rules, text, size, &async, &err);
	if (!s) {
		must(err.code != ERR_OK && *err.msg);
		return 0;
	}
	must_be_within(s, &set);
	must_be_good_spec(s);
	return 0;
}
