#pragma once
/* nest.h - a nest, between the files of this folder. */
#include <stdint.h>
#include <sys/types.h>

#include "cgroup.h"
#include "err.h"
#include "program.h"

struct sandbox_host;
struct sandbox_program;

struct sandbox_nest {
	struct sandbox_host *host;             /* borrowed */
	const struct sandbox_program *program; /* borrowed; NULL: holds none */
	struct cg_group group;
	pid_t pid;
	int pidfd;
	int control;         /* to its init */
	struct program held; /* its FORKs go there: init has the other one */
	int range;
	int64_t memory_at_rest; /* bytes in its cgroup before any sandbox */
};

/* Asks for a sandbox whose control socket is a copy of control. */
int nest_fork(const struct sandbox_nest *n, int control, struct err *err);
/* How many of its cgroup are its own. */
unsigned nest_processes(const struct sandbox_nest *n);
