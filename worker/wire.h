#pragma once
/*
 * wire.h - what the worker master and its worker processes say to each other,
 * as msg.h packets over one SOCK_SEQPACKET pair a worker.
 *
 * The master is privileged and parses nothing else: fixed messages, and names
 * that it looks up, or only stores and hands on.
 */
#include <stdbool.h>
#include <stdint.h>

enum wire_type {
	/* worker -> master: u32 n, str kind: n more sandboxes, please */
	WIRE_WANT = 1,
	/* worker -> master: u32 serial; that sandbox is used up */
	WIRE_DONE,
	/* worker -> master: u32 serial; kill what is inside */
	WIRE_KILL,
	/* worker -> master -> other workers: str languages that work here */
	WIRE_CAN,
	/* worker -> master: str instance whose jobs were given back */
	WIRE_ABANDONED,
	/* master -> worker: u32 serial, mask, others, str kind; fds: the grant */
	WIRE_SLOT,
	/* master -> worker: str kind, str why; what was wanted cannot be */
	WIRE_NO_SLOT,
};

/*
 * A kind of sandbox is the name of the language whose interpreter it is a fork
 * of, or "" for one without.
 */

/* The descriptor of the pair in a worker process. */
enum { WIRE_FD = 3 };

struct msg;

/* One of the messages above; what its type does not have is 0 and "". */
struct wire {
	enum wire_type type;
	uint32_t number;       /* n or serial */
	uint32_t mask, others; /* of the grant */
	const char *kind;      /* borrowed from the message, as is text */
	const char *text;
};
/* False for a message that is none of them, to the last byte. */
bool wire_read(const struct msg *m, struct wire *ret_wire);
