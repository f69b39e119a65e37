#pragma once
/*
 * lang.h - the languages and shells of conf/, read-only once loaded.
 *
 * One JSON record a file in languages.d/ (docs/languages.md has the fields).
 * An operator adds a language by adding a record; nothing is compiled in.
 */
#include <stdbool.h>
#include <stddef.h>

#include "err.h"

enum { LANG_AHEAD_MAX = 8 };

/* A list of strings, ended by NULL; also counted. */
struct lang_list {
	char **items; /* owned, each one too */
	size_t n;
};

struct lang_pair {
	char *name;  /* owned */
	char *value; /* owned */
};

struct lang_pairs {
	struct lang_pair *items; /* owned */
	size_t n;
};

struct lang {
	char *name;     /* canonical; owned like all below */
	char *title;    /* for people */
	char *tier;     /* small, standard, full, trixie or manual */
	char *source;   /* file name the code is written to */
	char *artifact; /* file the compile step leaves; NULL for none */
	char *locale;   /* LANG */
	char *hello;    /* program whose output is hello_output: the canary */
	char *hello_output;
	char *notes;
	/*
	 * Not NULL: jobs are forks of an interpreter that was stopped just
	 * before it opens source.  The text is run in it first (Python).
	 */
	char *fork;
	/*
	 * Not empty: its interpreter is started before there is a job, and
	 * stopped the first time it opens one of these files.  Not with fork.
	 */
	struct lang_list ahead;
	struct lang_list aliases;
	struct lang_list extensions; /* without the dot */
	struct lang_list shebangs;
	struct lang_list apt, npm; /* packages */
	struct lang_list compile;  /* argv; n is 0 when there is no such step */
	struct lang_list run;      /* argv, never empty */
	struct lang_list requires; /* of proc, dev, shm, tmp, home */
	struct lang_pairs env;
	struct lang_pairs caches; /* variable -> directory made before a run */
	long pids;                /* most processes and threads */
	long min_memory_mb;       /* with less, not even hello starts */
	long compile_seconds;     /* wall limit of the compile step */
	bool limit_address_space; /* RLIMIT_AS as a second line */
};

struct shell {
	char *name; /* owned like all below */
	char *title;
	char *category;
	struct lang_list aliases;
	struct lang_list apt, npm;
	struct lang_list argv;
};

struct lang_registry;

/*
 * Reads share_dir/languages.d/ *.json and share_dir/shells.json.  A bad record,
 * or a name, alias, extension or shebang that two records claim, fails the
 * load: err names the file and the reason.
 */
struct lang_registry *lang_load(const char *share_dir, struct err *err);
void lang_free(struct lang_registry *reg);

size_t lang_count(const struct lang_registry *reg);
const struct lang *lang_at(const struct lang_registry *reg, size_t i);
size_t shell_count(const struct lang_registry *reg);
const struct shell *shell_at(const struct lang_registry *reg, size_t i);

/* By name or alias, letters of either case; NULL when unknown. */
const struct lang *lang_find(const struct lang_registry *reg, const char *name);

/*
 * By the first line: "#!/usr/bin/env python3", "#!/usr/bin/env -S node --x",
 * "#!/bin/bash", versions ("python3.11") stripped.  NULL when there is no
 * shebang or nobody claims it.
 */
const struct lang *lang_from_shebang(
    const struct lang_registry *reg, const char *code, size_t len);
/* Shebang, else telling first words ("<?php", "package main", ...). */
const struct lang *
lang_guess(const struct lang_registry *reg, const char *code, size_t len);

/* PATH inside every sandbox. */
#define LANG_PATH                                                              \
	"/opt/langs/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:"    \
	"/sbin:/bin"
/*
 * True when the first words of its commands are programs of this machine (by
 * LANG_PATH); else ret_missing, when not NULL, gets the one that is not.
 */
bool lang_installed(const struct lang *l, const char **ret_missing);
bool shell_installed(const struct shell *s);
