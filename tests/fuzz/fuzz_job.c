/*
 * What Redis hands a worker as a spec: decoded without a crash, and what was
 * decoded survives another round trip.  File names take the same bytes.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "job.h"

DEFINE_CLEANUP(job_spec, job_spec_free)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool ok)
{
	if (!ok)
		abort();
}

static void
fuzz_name(const char *text, size_t size)
{
	struct err err;
	auto_free char *name = job_file_name(text, size, &err);
	auto_free char *again = NULL;

	if (!name)
		return;
	/* Clean names stay as they are, and lead nowhere else. */
	again = job_file_name(name, strlen(name), &err);
	check(again && strcmp(name, again) == 0);
	check(name[0] != '/' && strlen(name) <= 256);
	check(strcmp(name, "..") != 0 && strncmp(name, "../", 3) != 0 &&
	      !strstr(name, "/../"));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	auto_ref(job_spec) spec = NULL;
	auto_ref(job_spec) again = NULL;
	auto_free char *line = NULL;
	struct err err;

	fuzz_name(text, size);
	spec = job_spec_decode(text, size, &err);
	if (!spec)
		return 0;
	line = job_spec_encode(spec);
	again = job_spec_decode(line, strlen(line), &err);
	check(again != NULL);
	check(again->code.len == spec->code.len &&
	      memcmp(again->code.data, spec->code.data, spec->code.len) == 0);
	check(again->n_args == spec->n_args && again->n_env <= spec->n_env &&
	      again->n_files == spec->n_files);
	return 0;
}
