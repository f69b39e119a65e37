#pragma once
/*
 * proto.h - what is said over the control socket of a nest or a sandbox (msg.h
 * packets).
 *
 * The launcher sends SETUP; then whoever holds the other end sends the rest.
 * init trusts these messages.  Nothing init says is trusted: the reader checks
 * every length, name and descriptor.
 */
#include <stdint.h>

enum { INIT_CONTROL_FD = 3, INIT_PROGRAM_FD = 4 };

/* A held program is executed with these, and loses them before its main(). */
enum { HOLD_CONTROL_FD = 3, HOLD_LIBRARY_FD = 4 };
/* The last one of its environment; gone before its main(). */
#define HOLD_VARIABLE "LD_PRELOAD=/proc/self/fd/4"

enum proto_type {
	/* u32 n, then the plan's operations (plan.h); fds: what these number */
	PROTO_SETUP = 1,
	/* -> no payload */
	PROTO_READY,
	/* -> str step or text, u32 err_code, u32 errno */
	PROTO_FAILED,
	/* str path, u32 mode, u32 kind, str target, bytes data; fd: content */
	PROTO_PUT,
	/*
	 * u32 argc, str..., u32 envc, str..., u64 address space; fds: 0 1 2.
	 * No argv: the program that is held goes on.
	 */
	PROTO_RUN,
	/* -> u32 status, u64 cpu_us, u64 rss_max */
	PROTO_EXITED,
	/* str path, u32 max_files, u64 max_bytes */
	PROTO_COLLECT,
	/* -> str name, u64 size; fd */
	PROTO_FILE,
	/* -> u32 truncated */
	PROTO_COLLECTED,
	/* -> no payload; fd: its user namespace (a nest's first process) */
	PROTO_USERNS,
	/*
	 * As RUN; fds: 0 1 2, HOLD_CONTROL_FD, HOLD_LIBRARY_FD.  To a sandbox
	 * one more: the other end of HOLD_CONTROL_FD.
	 */
	PROTO_HOLD,
	/*
	 * to the held program: u32 n, str... files to stop at, str code to run
	 * there, u32 whether it waits for a GO, not for FORKs
	 */
	PROTO_PROGRAM,
	/* -> no payload: that it waits; from it, or from a sandbox's init */
	PROTO_HELD,
	/* to a nest or what it holds; fd: the control socket of a new sandbox */
	PROTO_FORK,
	/* -> on that socket; fd: pidfd of the sandbox's first process */
	PROTO_BORN,
	/*
	 * to the held program: u64 address space; fds: 0 1 2.  It answers with
	 * one byte when it has taken over, and closes.
	 */
	PROTO_GO,
	/* as COLLECT: all there is, told apart; see box_collect_all() */
	PROTO_COLLECT_ALL,
	/* -> str name, u32 mode: a folder of COLLECT_ALL, before what is in it */
	PROTO_FOLDER,
	/*
	 * u32 id, u32 argc, str..., u32 envc, str..., str directory, u32
	 * whether it gets a terminal, u32 its columns, u32 its rows; fds: 0 1
	 * 2, or none with a terminal
	 */
	PROTO_START,
	/* -> u32 id, u32 its pid inside; fd: master of its terminal */
	PROTO_STARTED,
	/* -> u32 id, str text, u32 err_code, u32 errno: it does not run */
	PROTO_REFUSED,
	/* u32 id: SIGKILL to it and all that it started */
	PROTO_STOP,
	/* -> u32 id, u32 status, u64 cpu_us, u64 rss_max */
	PROTO_ENDED,
};

enum proto_put_kind { PUT_FILE = 1, PUT_DIR, PUT_LINK };

/* Content up to this travels in the message, more in a memory file. */
enum { PROTO_INLINE_MAX = 32 << 10 };
