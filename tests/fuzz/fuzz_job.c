/* What Redis hands a worker as a spec. */
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "fuzz.h"
#include "job.h"

DEFINE_CLEANUP(job_spec, job_spec_free)

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data; /* no NUL behind it */
	auto_ref(job_spec) spec = NULL;
	auto_ref(job_spec) again = NULL;
	auto_free char *line = NULL, *same = NULL;
	struct err err;

	spec = job_spec_decode(text, size, &err);
	if (!spec) {
		must(err.code != ERR_OK && *err.msg);
		return 0;
	}
	must(spec->language && spec->network_mode && spec->code.data);
	must(spec->ttl >= 1 && spec->ttl <= 900);
	must(spec->vcpu >= 1 && spec->vcpu <= 8);
	must(spec->memory_mb >= 0 && spec->cpu_limit >= 0);
	for (size_t i = 0; i < spec->n_files; i++)
		must_be_inside(spec->files[i].name);
	for (size_t i = 0; i < spec->n_env; i++)
		must(*spec->env[i].name && !strchr(spec->env[i].name, '='));
	line = job_spec_encode(spec);
	must_be_json(line, strlen(line));
	again = job_spec_decode(line, strlen(line), &err);
	must(again);
	same = job_spec_encode(again);
	must(strcmp(line, same) == 0);
	return 0;
}
