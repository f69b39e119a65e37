#include "wire.h"

#include <stdio.h>
#include <stdlib.h>

int
shim_socket_path(
    const struct settings *s, unsigned serial, char *ret_path, size_t size)
{
	int n = snprintf(
	    ret_path, size, "%s/sessions/%u", s->farm_run_dir, serial);

	return n > 0 && (size_t)n < size ? 0 : -1;
}

long
shim_serial_of(const char *name)
{
	char *end;
	long serial = strtol(name, &end, 10);

	return end != name && *end == '\0' && serial > 0 ? serial : -1;
}
