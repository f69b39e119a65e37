#pragma once
/*
 * shim.h - the process that holds one long-lived sandbox, between its files.
 *
 * A shim is forked by the master with everything it needs, makes the sandbox,
 * gives up all rights, and waits until a session is created in it.  From then
 * on it is the session: it has its terminal, its recording, its clocks and the
 * connections of those who look at it.  sessiond may be killed or replaced
 * meanwhile: it finds the shim again by the name of its socket.  When the shim
 * ends, its sandbox does.
 *
 * Reading order: shim.c, session.c, client.c, term.c, viewer.c, exec.c.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "buf.h"
#include "record.h"
#include "ring.h"
#include "sandbox.h"
#include "settings.h"

enum {
	SHIM_TERM_ID = 1, /* of the terminal among box's processes */
	SHIM_NAME_MAX = 64,
	SHIM_COLS = 80,
	SHIM_ROWS = 24,
	SHIM_FILES_MAX = 4096,
};

struct shim;
struct client;
struct viewer;
struct exec;

enum session_state {
#define STATE(name, doc) SESSION_##name,
#include "session_states.def"
#undef STATE
	SESSION__COUNT
};
const char *session_state_name(enum session_state s);

/* ---- term.c: the terminal and what it has printed ---- */

struct term {
	struct shim *shim;
	int master;       /* -1: none, or closed */
	uv_poll_t *poll;  /* while there is one */
	uv_timer_t drain; /* after its program ended: until it is quiet */
	struct ring ring;
	struct buf input; /* typed and not taken yet */
	unsigned cols, rows;
	bool started, ended, drained;
	bool hung_up;  /* by us */
	bool viewed;   /* somebody has looked at it */
	int exit_code; /* of its program; 128 + signal */
	TAILQ_HEAD(viewer_list, viewer) viewers;
};

int term_open(struct term *t, struct shim *shim, struct err *err);
/* Starts a program in a new terminal: the first one, or one to attach again. */
int term_start(struct term *t, const char *const *argv, const char *const *env,
    struct err *err);
void term_on_event(struct term *t, struct box_event *e);
/* Queues input; returns how many bytes there was room for. */
size_t term_type(struct term *t, const char *p, size_t n);
void term_resize(struct term *t, unsigned cols, unsigned rows);
/* To what is in the foreground: INT, QUIT or TSTP; others are ignored. */
void term_signal(struct term *t, int sig);
/* As when a line is cut: its program gets SIGHUP, and reads and prints no more.
 */
void term_hang_up(struct term *t);
/* Says to all viewers what they should know, and lets go of them. */
void term_close(struct term *t);
size_t term_viewers(const struct term *t);

/* ---- session.c: what was asked for, and its clocks ---- */

struct session {
	char id[SHIM_NAME_MAX], key[SHIM_NAME_MAX], container[SHIM_NAME_MAX];
	char shell[SHIM_NAME_MAX], net[16], multiplexer[16];
	enum session_state state;
	bool persist; /* a lost connection does not end it */
	bool deleted; /* its owner ended it: nobody attaches any more */
	bool audit;
	long vcpu, base_vcpu;
	int64_t created_wall_ms, activity_wall_ms, ended_wall_ms;
	int64_t touched_ms; /* monotonic: the same as activity */
	int64_t ttl_ms;     /* of unfrozen time */
	int64_t used_ms;    /* of it, until since_ms */
	int64_t since_ms;   /* monotonic: when it began to run again */
	char reason[32];    /* why it ended */
	char **argv, **env; /* owned, ended by NULL */
	struct record record;
};

/* One file that was collected. */
struct artifact {
	char *name; /* owned */
	int fd;     /* owned */
	uint64_t size;
};

/* ---- the shim ---- */

struct shim {
	const struct settings *settings;
	uv_loop_t loop;
	unsigned serial;
	char dir[SETTINGS_STR_MAX + 16]; /* where rings and recordings are */
	struct box *box;
	uv_poll_t box_poll;
	uv_pipe_t *unused;
	int listener; /* sessiond connects there */
	uv_poll_t listener_poll;
	int owner;             /* the sessiond that is connected; -1: none */
	uv_poll_t *owner_poll; /* while there is one */
	struct session session;
	struct term term;
	uv_timer_t clock;    /* the next of its limits in time */
	uv_timer_t grace;    /* after the last viewer of a session left */
	uv_timer_t farewell; /* after its end: artifacts are kept until then */
	TAILQ_HEAD(client_list, client) clients;
	TAILQ_HEAD(exec_list, exec) execs;
	uint32_t next_exec;
	struct artifact *artifacts; /* owned */
	size_t n_artifacts;
	size_t n_left; /* so many are the user's, then bash's history */
	uint64_t artifact_bytes;
	bool collecting, artifacts_cut, has_history;
	bool frozen;
	bool leaving;
};

/* Never returns.  host, made by the caller, is used up; serial names all. */
_Noreturn void shim_main(const struct settings *s, struct sandbox_host *host,
    unsigned serial, int ready_fd);
/* The record of the session changed: whoever is connected is told. */
void shim_tell(struct shim *s);
/* The loop ends, and the sandbox with it. */
void shim_leave(struct shim *s);
