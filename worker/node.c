/* node.c - what this machine offers when the settings leave it open. */
#include "master.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "job.h"
#include "proc.h"

enum { SLOTS_A_CORE = 8, WARM_A_CORE = 2, VCPU_MAX = 8 };

long
node_processes(const struct settings *s)
{
	return s->worker_processes > 0 ? s->worker_processes : proc_cores();
}

long
node_slots(const struct settings *s)
{
	return s->worker_slots > 0 ? s->worker_slots
				   : SLOTS_A_CORE * proc_cores();
}

long
node_warm(const struct settings *s)
{
	return s->worker_warm > 0 ? s->worker_warm : WARM_A_CORE * proc_cores();
}

long
node_max_vcpu(const struct settings *s)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	long by_memory = pages / (1024L * 1024 / page) / JOB_MEMORY_PER_VCPU_MB;
	long n = proc_cores() < by_memory ? proc_cores() : by_memory;

	if (s->worker_max_vcpu > 0)
		return s->worker_max_vcpu;
	if (n < 1)
		n = 1;
	return n < VCPU_MAX ? n : VCPU_MAX;
}

void
node_cache_dir(const struct settings *s, char *ret_path, size_t size)
{
	if (*s->worker_cache_dir)
		(void)snprintf(ret_path, size, "%s", s->worker_cache_dir);
	else
		(void)snprintf(ret_path, size, "%s/compiled", s->farm_data_dir);
}

void
node_name(const struct settings *s, char *ret_name, size_t size)
{
	char host[64] = "node";

	(void)gethostname(host, sizeof(host) - 1);
	(void)snprintf(
	    ret_name, size, "%s", *s->farm_node ? s->farm_node : host);
}
