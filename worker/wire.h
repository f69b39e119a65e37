#pragma once
/*
 * wire.h - what the worker master and its worker processes say to each other,
 * as msg.h packets over one SOCK_SEQPACKET pair a worker.
 *
 * The master is privileged and parses nothing else: three fixed messages and a
 * list of names that it only stores and hands on.
 */
enum wire_type {
	/* worker -> master: u32 n more sandboxes, please */
	WIRE_WANT = 1,
	/* worker -> master: u32 serial; that sandbox is used up */
	WIRE_DONE,
	/* worker -> master: u32 serial; kill what is inside (no cgroup.kill) */
	WIRE_KILL,
	/* worker -> master -> other workers: str languages that work here */
	WIRE_CAN,
	/* worker -> master: str instance whose jobs were given back */
	WIRE_ABANDONED,
	/* master -> worker: u32 serial, u32 mask; fds: struct sandbox_grant */
	WIRE_SLOT,
	/* master -> worker: str why; the sandbox that was wanted cannot be */
	WIRE_NO_SLOT,
};

/* The descriptor of the pair in a worker process. */
enum { WIRE_FD = 3 };
