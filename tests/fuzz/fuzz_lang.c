/*
 * Two readers: the first byte chooses.  Odd: source text, of which the language
 * is guessed.  Even: a record that an operator wrote, loaded from a folder.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "lang.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RECORD(name, shebangs)                                                 \
	"{\"name\":\"" name "\",\"title\":\"\",\"aliases\":[],"                \
	"\"extensions\":[],\"shebangs\":" shebangs ",\"tier\":\"small\","      \
	"\"packages\":{\"apt\":[],\"npm\":[]},\"source\":\"m\","               \
	"\"compile\":null,\"run\":[\"sh\"],\"artifact\":null,\"env\":{},"      \
	"\"locale\":\"C\",\"caches\":{},\"limits\":{\"pids\":1,"               \
	"\"min_memory_mb\":1,\"compile_seconds\":1,"                           \
	"\"limit_address_space\":false},\"requires\":[],\"notes\":\"\","       \
	"\"hello\":\"\",\"hello_output\":\"\"}"

/* The process's one world, made before the first input. */
static struct lang_registry *known;
static char dir[] = "/tmp/unfarm-fuzz-XXXXXX";

static void
put(const char *name, const void *data, size_t n)
{
	char path[128];
	auto_close int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || io_write_all(fd, data, n) < 0)
		abort();
}

static void
put_text(const char *name, const char *text)
{
	put(name, text, strlen(text));
}

static void
clean_up(void)
{
	static const char *const names[] = { "languages.d/a.json",
		"languages.d/b.json", "shells.json" };
	char path[128];

	lang_free(known);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		(void)unlink(path);
	}
	(void)snprintf(path, sizeof(path), "%s/languages.d", dir);
	(void)rmdir(path);
	(void)rmdir(dir);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char path[128];
	struct err err;

	(void)argc;
	(void)argv;
	if (!mkdtemp(dir) || atexit(clean_up) != 0)
		abort();
	(void)snprintf(path, sizeof(path), "%s/languages.d", dir);
	if (mkdir(path, 0700) < 0)
		abort();
	put_text("shells.json", "[]");
	put_text("languages.d/a.json", RECORD("python", "[\"python\"]"));
	put_text("languages.d/b.json", RECORD("bash", "[\"sh\",\"bash\"]"));
	known = lang_load(dir, &err);
	if (!known)
		abort();
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lang_registry *reg;
	struct err err;

	if (size < 1)
		return 0;
	if (data[0] & 1) {
		(void)lang_guess(known, (const char *)data + 1, size - 1);
		return 0;
	}
	put("languages.d/b.json", data + 1, size - 1);
	reg = lang_load(dir, &err);
	if (reg && lang_count(reg) != 2)
		abort();
	lang_free(reg);
	return 0;
}
