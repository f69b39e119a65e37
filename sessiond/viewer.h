#pragma once
/*
 * viewer.h - somebody who looks at a terminal: one WebSocket.
 *
 * Two protocols.  `unsandbox-shell` is the compatible one: binary frames are
 * bytes of the terminal, text frames are small JSON objects.  `unfarm.term.v1`
 * is ours: every frame has a type, output has offsets, input is acknowledged;
 * docs/api.md describes it.
 *
 * A viewer takes output from the ring when its socket has room for it.  One
 * that is slower than the ring loses what the ring lost, and is told so.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>
#include <wslay/wslay.h>

#include "shim.h"

/* Codes of a close frame. */
enum viewer_end {
	VIEWER_NORMAL = 1000,
	VIEWER_GOING_DOWN = 1001,
	VIEWER_POLICY = 1008,
	VIEWER_READONLY = 4003,
};

enum viewer_finish {
	FINISH_NONE,
	FINISH_EXIT,     /* the program ended */
	FINISH_DETACHED, /* a multiplexer let go of us */
};

struct viewer {
	TAILQ_ENTRY(viewer) link;
	struct shim *shim;
	int fd; /* owned */
	uv_poll_t poll;
	uv_timer_t timer; /* pings; then the time to close in */
	wslay_event_context_ptr ws;
	bool native, readonly, screen; /* see viewer_wish */
	bool live;                     /* FRAME_LIVE was sent */
	bool paused; /* what it typed does not fit: not read */
	bool away;   /* it says no more: seen when it is read to the end */
	enum viewer_finish finish;
	bool finished; /* that was said */
	bool leaving;  /* a close frame is on its way */
	bool clean;    /* it said that it leaves */
	bool dead;
	unsigned handles;
	unsigned missed;     /* pongs */
	unsigned cols, rows; /* of its window; 0: not said */
	char client[40];     /* the same one, after a reconnection */
	uint64_t sent;       /* offset of the next byte of output */
	uint64_t acked;      /* native: output it has used */
	uint64_t input;      /* typed by one that has no name */
	struct buf typed;    /* that the terminal has no room for */
};

/* How somebody attaches. */
struct viewer_wish {
	bool native, readonly;
	bool screen; /* native: after a loss it wants the screen, not the rest */
	bool has_since;
	uint64_t since; /* offset of the first byte of output it wants */
	const char *client;
	unsigned cols, rows; /* 0: not said */
};

/* Takes fd; the answer 101 was sent. */
void viewer_attach(struct shim *s, int fd, const struct viewer_wish *w);
/* There may be more in the ring. */
void viewer_feed(struct viewer *v);
/* The terminal has room for input again. */
void viewer_go_on(struct viewer *v);
void viewer_resized(struct viewer *v);
/* The state of the session changed. */
void viewer_tell_state(struct viewer *v, const char *state);
/* Who is here changed. */
void viewers_tell_peers(struct term *t);
/*
 * Says so when it has been sent all output, and leaves; one that does not take
 * that within ten seconds is left.
 */
void viewer_finish(struct viewer *v, enum viewer_finish how);
/* A close frame, and the end soon after. */
void viewer_leave(struct viewer *v, enum viewer_end code);
