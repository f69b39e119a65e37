#pragma once
/*
 * term_frame.h - the messages of `unfarm.term.v1`, which docs/api.md describes:
 * a head, and what its type says.  All numbers are little-endian.
 */
#include <stdint.h>

/* The first byte of each message. */
enum term_frame {
	/* session to client */
	FRAME_HELLO = 0x01, /* JSON */
	FRAME_OUT = 0x02,   /* u64 offset, bytes */
	/* u64 offset, u16 columns, u16 rows, bytes that clear a terminal */
	FRAME_SCREEN = 0x03,
	FRAME_LIVE = 0x04,  /* u64 offset: all that was kept has been sent */
	FRAME_TRUNC = 0x05, /* u64 from, u64 to: lost for this client */
	FRAME_SIZE = 0x06,  /* u16 columns, u16 rows */
	FRAME_PEERS = 0x07, /* JSON */
	FRAME_STATE = 0x08, /* JSON */
	FRAME_EXIT = 0x09,  /* u64 final offset, JSON */
	FRAME_INACK = 0x0a, /* u64 input offset: all before it was taken */
	/* client to session */
	FRAME_IN = 0x81,     /* u64 input offset, bytes */
	FRAME_RESIZE = 0x82, /* u16 columns, u16 rows */
	FRAME_ACK = 0x83,    /* u64 output offset: all before it was used */
	/* u8 signal for the foreground: INT, QUIT or TSTP, as keys make them */
	FRAME_SIGNAL = 0x84,
	FRAME_CLAIM = 0x85, /* the size is mine */
	FRAME_DETACH = 0x86,
};

enum {
	FRAME_HEAD = 4,   /* u8 type, u8 flags, u16 reserved */
	FRAME_OFFSET = 8, /* of a place in the output or the input */
};

static inline void
frame_put_u16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static inline void
frame_put_u64(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < FRAME_OFFSET; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static inline unsigned
frame_get_u16(const uint8_t *p)
{
	return p[0] | (unsigned)p[1] << 8;
}

static inline uint64_t
frame_get_u64(const uint8_t *p)
{
	uint64_t v = 0;

	for (int i = FRAME_OFFSET - 1; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}
