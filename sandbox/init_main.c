/* init_main.c - sandbox-init, the first process of a nest. */
#include "init.h"
#include "proto.h"

int
main(void)
{
	struct init in = { .control = INIT_CONTROL_FD, .held = -1 };

	init_begin(&in);
}
