#pragma once
/*
 * wire.h - what the processes of sessiond say to each other: packets (msg.h)
 * over SOCK_SEQPACKET sockets.  The master starts shims and buries them; the
 * server hears gateways and keeps the records in Redis; a shim is a session.
 */
#include <stddef.h>

#include "settings.h"

enum { SHIM_CHILD_FD = 3 }; /* the server's end of the wire to the master */

enum wire_type {
	/* server -> master: u32 how many shims it wants ready in advance */
	WIRE_WARM = 1,
	/* master -> server: u32 serial; its socket can be connected to */
	WIRE_READY,
	/* master -> server: u32 serial, u32 wait status; its group is gone */
	WIRE_DEAD,
	/* master -> server: str why no shim can be made */
	WIRE_FAILED,
	/* server -> master: u32 serial; kill it with all that it holds */
	WIRE_KILL,
	/*
	 * server -> master: u32 serial; its session is over: what is still in
	 * its sandbox is killed, the shim is not
	 */
	WIRE_OVER,
	/* server -> shim: str head (JSON); fd: the connection of a gateway */
	SHIM_CLIENT = 32,
	/* shim -> server: str record (JSON), when connected and when it changes
	 */
	SHIM_RECORD,
	/* server -> shim: nobody needs it */
	SHIM_LEAVE,
};

/* run_dir/sessions/SERIAL; -1 when it does not fit. */
int shim_socket_path(
    const struct settings *s, unsigned serial, char *ret_path, size_t size);
/* The number of such a name, or -1. */
long shim_serial_of(const char *name);
