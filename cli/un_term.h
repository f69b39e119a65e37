#pragma once
/*
 * un_term.h - the client's half of unfarm.term.v1 (docs/api.md), without
 * its input and output.
 *
 * Output has offsets: `out` is what came and was not written here yet, and what
 * is asked for after a dropped line begins behind it.  Where the farm no longer
 * had what came next, bytes in front of `out` clear the terminal.  Input has
 * offsets, too: `in` is what the session did not acknowledge; it is sent again
 * on each new line from where the session says that it stands.  So no byte is
 * lost and none comes twice, however often the line drops.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "un_mute.h"

enum {
	UN_TERM_OUT_HIGH = 512 << 10, /* more is not read from the line */
	UN_TERM_IN_HIGH = 64 << 10,   /* more is not read from the keyboard */
	UN_TERM_FRAME = 16 << 10,     /* most that un_term_next() makes */
};

struct un_term {
	struct buf out;
	uint64_t out_at; /* offset of its first byte that has one */
	size_t clear;    /* how many bytes of a FRAME_SCREEN are before it */
	uint64_t told;   /* all before it was acknowledged to the session */
	struct buf in;
	uint64_t in_at;      /* offset of its first byte */
	size_t sent;         /* how much of it went out on this line */
	bool greeted;        /* the session said hello on this line */
	bool beside;         /* others were attached then */
	bool resized;        /* cols and rows are to be said */
	unsigned cols, rows; /* 0: not known */
	bool replay;         /* it is not live yet: questions in it are old */
	struct un_mute mute;
	bool exited;
	bool detached;   /* a multiplexer let go of us */
	bool state_new;  /* `state` changed since somebody looked */
	uint64_t lost;   /* bytes of output that the farm no longer had */
	char state[16];  /* of the session */
	char reason[32]; /* why it ended */
};

void un_term_init(struct un_term *t);
void un_term_done(struct un_term *t);

/* Another line: what was sent and not acknowledged goes again after hello. */
void un_term_new_line(struct un_term *t);
/* The offset to ask the line for. */
uint64_t un_term_since(const struct un_term *t);

/* A message of the session; -1 when it breaks the protocol. */
int
un_term_take(struct un_term *t, const uint8_t *p, size_t n, struct err *err);

/* The first n bytes of `out` were written. */
void un_term_written(struct un_term *t, size_t n);
/* For typed bytes there is room for UN_TERM_IN_HIGH. */
void un_term_type(struct un_term *t, const char *p, size_t n);
void un_term_resize(struct un_term *t, unsigned cols, unsigned rows);

/* The next message to send; 0: there is none. */
size_t un_term_next(struct un_term *t, uint8_t ret_frame[UN_TERM_FRAME]);
/* A message that says good-bye. */
size_t un_term_detach(uint8_t ret_frame[UN_TERM_FRAME]);
