/*
 * What a server answers, as JSON, into files below a folder of the user's:
 * nothing outside of it changes, and nothing is written through a link.
 */
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "fuzz.h"
#include "json.h"
#include "un_artifact.h"

enum { ARTIFACTS_MAX = 8 };

static unsigned found;

static int
look(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	(void)path;
	(void)where;
	must(kind == FTW_D || kind == FTW_F || kind == FTW_SL);
	must(kind != FTW_F || (st->st_mode & 07022) == 0);
	found += kind == FTW_F;
	return 0;
}

static unsigned
count_files(const char *dir)
{
	found = 0;
	must(nftw(dir, look, 16, FTW_PHYS) == 0);
	return found;
}

/* outside/precious, inside/, and inside/link that leads to outside. */
static void
make_world(const char *dir, char ret_inside[256], char ret_outside[256])
{
	char path[512];
	auto_close int fd = -1;

	(void)snprintf(ret_inside, 256, "%s/inside", dir);
	(void)snprintf(ret_outside, 256, "%s/outside", dir);
	must(mkdir(ret_inside, 0755) == 0 && mkdir(ret_outside, 0755) == 0);
	(void)snprintf(path, sizeof(path), "%s/precious", ret_outside);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	must(fd >= 0);
	(void)snprintf(path, sizeof(path), "%s/link", ret_inside);
	must(symlink("../outside", path) == 0);
	(void)snprintf(path, sizeof(path), "%s/file", ret_inside);
	must(symlink("../outside/precious", path) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *dir;
	char inside[256], outside[256], precious[512];
	auto_free char *text = fuzz_text(data, size);
	json_auto_t *job = NULL;
	struct stat st;
	struct err err;
	size_t n;

	job = json_parse(text, size, &err);
	n = json_array_size(json_object_get(job, "artifacts"));
	if (n == 0 || n > ARTIFACTS_MAX)
		return 0;
	if (!dir)
		dir = fuzz_folder();
	fuzz_be_silent();
	make_world(dir, inside, outside);
	(void)un_artifact_save_all(job, inside, "src/prog.c");
	must(count_files(outside) == 1);
	must(count_files(inside) <= n);
	must(count_files(dir) == count_files(inside) + 1);
	(void)snprintf(precious, sizeof(precious), "%s/precious", outside);
	must(stat(precious, &st) == 0 && st.st_size == 0 &&
	     (st.st_mode & 07777) == 0600);
	fuzz_folder_clear(dir);
	return 0;
}
