#pragma once
/* un_input.h - the files of -f and -F, as a request carries them. */
#include <jansson.h>
#include <stdbool.h>

#include "err.h"

struct un_list;

/*
 * Sets body's "input_files", when there are any.  Much to send is asked about
 * on the terminal first, unless yes.
 */
int un_input_add(
    json_t *body, const struct un_list *files, bool yes, struct err *err);
