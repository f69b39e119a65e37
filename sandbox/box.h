#pragma once
/* box.h - for launch.c: a box that is used by who launched its sandbox. */
#include "cgroup.h"

struct box;

/* Takes control and the files. */
struct box *box_new(int control, const struct cg_files *files, unsigned others);
