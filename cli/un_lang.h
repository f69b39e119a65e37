#pragma once
/*
 * un_lang.h - which language a source file is written in.
 *
 * un_lang.def is the one list; every name it gives is one the server knows.
 */
#include <stddef.h>

/* By the extension of a path; NULL when it has none or nobody claims it. */
const char *un_lang_of_path(const char *path);

/*
 * By a first line such as "#!/bin/bash", "#!/usr/bin/env node",
 * "#!/usr/bin/env -S deno run" or "#!/opt/python3.11"; NULL when there is none.
 */
const char *un_lang_of_shebang(const char *code, size_t n);
