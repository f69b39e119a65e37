#pragma once
/* program.h - starts what a nest or a sandbox holds, from outside. */
#include "err.h"

struct sandbox_host;
struct sandbox_program;

/* Our ends of what it has for descriptors; -1 when they are not open. */
struct program {
	int control;   /* says HELD; takes FORKs.  A sandbox's init has it */
	int output[2]; /* what it writes before its time, and nobody reads */
};
#define PROGRAM_NONE                                                           \
	{                                                                      \
		.control = -1, .output = { -1, -1 }                            \
	}

/* In a nest, whose init listens at init: it is forked for each sandbox. */
int program_hold(const struct sandbox_host *h, const struct sandbox_program *p,
    int init, struct program *ret_program, struct err *err);
/* In a sandbox: it is the job itself, later.  Its init says HELD. */
int program_hold_ahead(const struct sandbox_host *h,
    const struct sandbox_program *p, int init, struct program *ret_program,
    struct err *err);
void program_close(struct program *p);
