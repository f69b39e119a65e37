/* Which language a program is in: the gateway's guess, and that of `un`. */
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "fuzz.h"
#include "lang.h"
#include "un_lang.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct lang_registry *langs = fuzz_langs();
	const char *code = (const char *)data; /* no NUL behind it */
	auto_free char *text = fuzz_text(data, size);
	const struct lang *l = lang_from_shebang(langs, code, size);
	const struct lang *guess = lang_guess(langs, code, size);
	const char *name = un_lang_of_shebang(code, size);

	must(!l || (size > 2 && memcmp(code, "#!", 2) == 0 && guess == l));
	/* What `un` says, a farm with all records knows. */
	must(!name || lang_find(langs, name));
	name = un_lang_of_path(text);
	must(!name || lang_find(langs, name));
	(void)lang_find(langs, text);
	return 0;
}
