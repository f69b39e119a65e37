/* Names of files: of inputs, on their way in, and of artifacts, at `un`. */
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "fuzz.h"
#include "job.h"
#include "un_artifact.h"
#include "utf8.h"

typedef char *clean_fn(const char *name, size_t n, struct err *err);

static void
check(clean_fn *clean, const char *text, size_t n, size_t max)
{
	auto_free char *name = NULL, *again = NULL;
	struct err err;

	name = clean(text, n, &err);
	if (!name) {
		must(err.code == ERR_INVALID && *err.msg);
		return;
	}
	must_be_inside(name);
	must(strlen(name) <= max && strlen(name) <= n);
	for (const char *p = name; *p; p++)
		must((unsigned char)*p >= ' ' && *p != '\177');
	again = clean(name, strlen(name), &err);
	must(again && strcmp(again, name) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data; /* no NUL behind it */
	auto_free char *name = NULL;
	struct err err;

	check(job_file_name, text, size, 256);
	check(un_artifact_name, text, size, 4096);
	name = job_file_name(text, size, &err);
	must(!name || utf8_valid(name, strlen(name)));
	return 0;
}
