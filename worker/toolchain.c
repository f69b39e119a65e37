#include "toolchain.h"

#include <fts.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "buf.h"
#include "cleanup.h"
#include "lang.h"
#include "mem.h"

#define PACKAGES "/var/lib/dpkg/status"

enum { LINE_MAX_ = 4096 };

static void
add_stat(struct digest *d, const char *path, const struct stat *st)
{
	digest_text(d, path);
	digest_number(d, st->st_mode);
	digest_number(d, st->st_ino);
	digest_number(d, (uint64_t)st->st_size);
	digest_number(d, (uint64_t)st->st_mtim.tv_sec);
	digest_number(d, (uint64_t)st->st_mtim.tv_nsec);
	digest_number(d, (uint64_t)st->st_ctim.tv_sec);
	digest_number(d, (uint64_t)st->st_ctim.tv_nsec);
}

/* ---- the slow part ---- */

struct roots {
	char **paths; /* owned, each one too; ended by NULL */
	size_t n;
};

static void
add_root(struct roots *r, const char *path)
{
	r->paths = xreallocarray(r->paths, r->n + 2, sizeof(*r->paths));
	r->paths[r->n++] = xstrdup(path);
	r->paths[r->n] = NULL;
}

/* Of /usr, what is not from packages; those are in their manager's books. */
static void
read_line(struct roots *r, const char *line)
{
	char word[PATH_MAX], path[PATH_MAX + 8];

	if (sscanf(line, "tree %4095s", word) == 1)
		add_root(r, strcmp(word, "/usr") == 0 ? "/usr/local" : word);
	else if (sscanf(line, "etc %4095s", word) == 1 &&
		 snprintf(path, sizeof(path), "/etc/%s", word) > 0)
		add_root(r, path);
}

static void
read_roots(struct roots *r, const char *list)
{
	auto_fclose FILE *f = fopen(list, "re");
	char line[LINE_MAX_];

	while (f && fgets(line, sizeof(line), f))
		read_line(r, line);
}

static int
by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void
add_below(struct digest *d, const struct roots *r)
{
	FTS *fts = fts_open(r->paths, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	const FTSENT *e;

	while (fts && (e = fts_read(fts)) != NULL)
		if (e->fts_info != FTS_DP && e->fts_info != FTS_NS)
			add_stat(d, e->fts_path, e->fts_statp);
	if (fts)
		(void)fts_close(fts);
}

void
toolchain_survey(const char *paths, unsigned char ret_hash[DIGEST_SIZE])
{
	struct roots roots = { .n = 0 };
	struct utsname u = { .release = "" };
	struct digest d;

	(void)uname(&u);
	digest_begin(&d);
	digest_text(&d, UNFARM_VERSION);
	digest_text(&d, u.release);
	digest_text(&d, u.machine);
	read_roots(&roots, paths);
	if (roots.n > 0)
		add_below(&d, &roots);
	digest_end(&d, ret_hash);
	for (size_t i = 0; i < roots.n; i++)
		free(roots.paths[i]);
	free(roots.paths);
}

/* ---- the quick part ---- */

/* A word of a command may be a program, a file or neither. */
static void
add_word(struct digest *d, const char *word)
{
	auto_free char *path = xstrdup(LANG_PATH);
	char file[PATH_MAX];
	struct stat st;
	char *save;

	if (*word == '/' && stat(word, &st) == 0)
		add_stat(d, word, &st);
	if (strchr(word, '/') || strlen(word) > NAME_MAX)
		return;
	for (const char *dir = strtok_r(path, ":", &save); dir;
	     dir = strtok_r(NULL, ":", &save))
		if (snprintf(file, sizeof(file), "%s/%s", dir, word) > 0 &&
		    stat(file, &st) == 0) {
			add_stat(d, file, &st);
			return;
		}
}

void
toolchain_add(struct digest *d, const struct lang *l)
{
	struct stat st;

	if (stat(PACKAGES, &st) == 0)
		add_stat(d, PACKAGES, &st);
	for (size_t i = 0; i < l->compile.n; i++)
		add_word(d, l->compile.items[i]);
}
