#pragma once
/* un_status.h - the version, and what the exit statuses of `un` mean. */

/* The build says which; a hand-made build does not know. */
#ifndef UNFARM_VERSION
#define UNFARM_VERSION "unknown"
#endif

/* Any other status is the program's own. */
enum un_status {
	UN_OK = 0,
	UN_FAILED = 1,     /* not run, or a value was refused */
	UN_USAGE = 2,      /* the command line is wrong */
	UN_TIMEOUT = 124,  /* the program's time ran out */
	UN_SIGNALED = 128, /* plus the number of the signal */
};
