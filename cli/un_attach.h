#pragma once
/*
 * un_attach.h - our terminal as the session's, until one of them is done.
 *
 * A line that drops is made again: first after 250 ms, then in growing steps up
 * to 8 s, for as long as the session may live.  Where standard input is no
 * terminal nothing becomes raw, and its end is not the end.
 */
#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct un_api;

struct un_attach {
	struct un_api *api;
	const char *session; /* its id */
	bool readonly;
	bool replay;     /* what it printed before comes first */
	bool repaint;    /* a multiplexer: show its screen, not its past */
	int64_t life_ms; /* at most so much without a line */
	/* The first line stands; the terminal is not raw yet. */
	void (*on_connected)(void *ctx);
	void *ctx;
};

enum un_attach_end {
	UN_ATTACH_EXIT,     /* the session ended */
	UN_ATTACH_DETACHED, /* its multiplexer let go of us */
	UN_ATTACH_LEFT,     /* by "~.", or Ctrl-C when reading only */
	UN_ATTACH_SIGNAL,   /* we are to end */
	UN_ATTACH_GONE,     /* there is no such session (any more) */
	UN_ATTACH_FAILED,   /* refused, or no line for too long */
};

struct un_attach_result {
	enum un_attach_end end;
	int signal;
	char reason[32]; /* EXIT: why */
	bool in_line;    /* text stands before the cursor */
	struct err err;  /* GONE, FAILED */
};

void
un_attach_run(const struct un_attach *a, struct un_attach_result *ret_result);

/* Before try n (0: the first) after a line dropped; random: any number. */
int64_t un_attach_pause_ms(unsigned n, unsigned random);
