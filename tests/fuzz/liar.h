#pragma once
/*
 * liar.h - an init that lies, at its end of the control socket.
 *
 * Its input is packets: a byte that says with its low half the type and with
 * its high half which descriptors go along, two bytes of length, the payload.
 */
struct feed;

/* The types that are none: */
enum {
	INIT_TURN = 14, /* nothing is said: the other side gets its turn */
	INIT_RAW = 15,  /* the payload is the whole packet, with its header */
};

/* A pair of sockets; its own end is returned. */
int init_make(int *ret_theirs);
/* Says the next of the input: how many descriptors it sent, or -1: no packet. */
int init_say(int init, struct feed *f);
