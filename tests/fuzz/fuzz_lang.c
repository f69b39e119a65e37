/* A record of a language that an operator wrote, between two good ones. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "fuzz.h"
#include "lang.h"

DEFINE_CLEANUP(lang_registry, lang_free)

/* A share_dir whose languages are ours and the memory file. */
static const char *
make_share(void)
{
	const char *dir = fuzz_folder();
	char from[4096], to[4096], *tree = realpath("conf/languages.d", NULL);
	static const char *const names[] = { "python.json", "bash.json" };

	must(tree);
	(void)snprintf(to, sizeof(to), "%s/languages.d", dir);
	must(mkdir(to, 0700) == 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		(void)snprintf(from, sizeof(from), "%s/%s", tree, names[i]);
		(void)snprintf(
		    to, sizeof(to), "%s/languages.d/%s", dir, names[i]);
		must(symlink(from, to) == 0);
	}
	(void)snprintf(to, sizeof(to), "%s/languages.d/new.json", dir);
	must(symlink(fuzz_file("", 0), to) == 0);
	(void)snprintf(from, sizeof(from), "%s/../shells.json", tree);
	(void)snprintf(to, sizeof(to), "%s/shells.json", dir);
	must(symlink(from, to) == 0);
	free(tree);
	return dir;
}

static void
check_record(const struct lang_registry *reg, const struct lang *l)
{
	const char *missing = NULL;

	must(*l->name && *l->source && !strchr(l->source, '/'));
	must(l->run.n > 0 && l->pids > 0 && l->min_memory_mb > 0 &&
	     l->compile_seconds > 0);
	must(!l->artifact || *l->artifact);
	must(lang_find(reg, l->name) == l);
	for (size_t i = 0; i < l->aliases.n; i++)
		must(lang_find(reg, l->aliases.items[i]) == l);
	for (size_t i = 0; i < l->shebangs.n; i++) {
		const char *word = l->shebangs.items[i];
		char line[256];
		int n = snprintf(line, sizeof(line), "#!/x/%s\n", word);

		must(n < (int)sizeof(line));
		must(strcmp(word, "env") == 0 ||
		     lang_from_shebang(reg, line, (size_t)n) == l);
	}
	must(lang_installed(l, &missing) || missing);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *share;
	auto_ref(lang_registry) reg = NULL;
	struct err err;

	if (!share)
		share = make_share();
	(void)fuzz_file(data, size);
	reg = lang_load(share, &err);
	if (!reg) {
		must(err.code != ERR_OK && *err.msg);
		return 0;
	}
	must(lang_count(reg) == 3);
	for (size_t i = 0; i < lang_count(reg); i++)
		check_record(reg, lang_at(reg, i));
	return 0;
}
