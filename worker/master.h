#pragma once
/* master.h - the privileged parent of the worker processes. */
#include "settings.h"

/* Runs until SIGTERM; returns the exit status. */
int master_main(const struct settings *s, const char *conf_path);

/* How settings with 0 for "choose" come out on this machine. */
long node_processes(const struct settings *s);
long node_slots(const struct settings *s);
long node_warm(const struct settings *s);
long node_max_vcpu(const struct settings *s);
/* Where compiled programs are kept. */
void node_cache_dir(const struct settings *s, char *ret_path, size_t size);
void node_name(const struct settings *s, char *ret_name, size_t size);
