/*
 * The quick reader and the writer of JSON: what the reader takes, jansson
 * takes, and reads the same; what the writer writes is read back the same.
 */
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "fuzz.h"
#include "json.h"
#include "out.h"

static json_t *
jansson(const char *text, size_t n)
{
	return json_loadb(text, n,
	    JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

static void
must_come_back(const json_t *v)
{
	auto_free char *text = NULL;
	json_auto_t *again = NULL;
	struct out o;
	size_t n;

	out_init(&o);
	out_value(&o, NULL, v);
	text = out_steal(&o, &n);
	must_be_json(text, n);
	again = jansson(text, n);
	must(json_equal(v, again));
}

/* Any bytes, as a string. */
static void
must_be_text(const char *text, size_t n)
{
	auto_free char *written = NULL;
	json_auto_t *ours = NULL, *theirs = NULL;
	struct out o;
	size_t len;

	out_init(&o);
	out_text(&o, NULL, text, n);
	written = out_steal(&o, &len);
	ours = json_read(written, len);
	theirs = jansson(written, len);
	must(ours && json_equal(ours, theirs));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data; /* no NUL behind it */
	json_auto_t *ours = json_read(text, size);
	json_auto_t *theirs = jansson(text, size);

	must(!ours || (theirs && json_equal(ours, theirs)));
	if (theirs)
		must_come_back(theirs);
	must_be_text(text, size);
	return 0;
}
