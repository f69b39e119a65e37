#pragma once
/* sessiond.h - what main.c starts. */
#include "settings.h"

/* The privileged process; returns the program's exit status. */
int master_main(const struct settings *s, const char *conf_path);
/* The process that gateways reach; conf was read by it, too. */
int server_main(const struct settings *s);
