#pragma once
/*
 * fault.h - named places where a process can be killed, for tests/fault.
 *
 * Only a build with UNFARM_FAULTS has the switch (`make B=build/fault
 * FAULTS=1`); in any other FAULT() is nothing.  There the variable
 * UNFARM_FAULTS names a file of one struct fault for each row of
 * fault_points.def, shared with the test, which arms a point by writing a
 * countdown: the process that makes it zero dies there by SIGKILL, as if the
 * machine had failed between two lines.
 */
#ifdef UNFARM_FAULTS
#include <stdint.h>

enum fault_point {
#define FAULT_POINT(name, doc) FAULT_##name,
#include "fault_points.def"
#undef FAULT_POINT
	FAULT__COUNT
};

struct fault {
	uint32_t countdown; /* 0: not armed */
	uint32_t passed;    /* times that anyone came by */
};

void fault_pass(enum fault_point point);
#define FAULT(name) fault_pass(FAULT_##name)
#else
#define FAULT(name) ((void)0)
#endif
