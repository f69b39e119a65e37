#pragma once
/*
 * session.h - what a session is asked to do, and when it ends.
 *
 * It ends when its program does, when its time is used up (counted while it is
 * not frozen), when nothing was done in it for `sessiond.idle_seconds`, when
 * the last viewer of one that does not persist has been gone for
 * `sessiond.grace_seconds`, or when it is told to.  Something done is: bytes
 * typed, a viewer that comes or goes, a call that changes it, and a command
 * call until it ends.  Output alone is not, nor a pong.
 *
 * At its end artifacts are collected while it still stands; then all inside is
 * killed, and artifacts and recording are kept for `sessiond.keep_seconds`.
 */
#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "shim.h"

struct client;

/* A call of a gateway; 0: it is answered, or will be. */
int session_call(struct shim *s, struct client *c, struct err *err);

void session_init(struct shim *s);
/* The record as others see it; the caller owns it. */
json_t *session_record(const struct shim *s);
/* What init said. */
void session_on_event(struct shim *s, struct box_event *e);

/* From the terminal and its viewers. */
void session_program_ended(struct shim *s);
void session_viewer_came(struct shim *s);
/* After its hello; the program is started when it was waited for. */
void session_viewer_ready(struct shim *s, struct viewer *v);
void session_viewer_left(struct shim *s, bool clean);
void session_touched(struct shim *s);
/* How many bytes this client has typed so far, reconnections included. */
uint64_t *session_input_of(struct shim *s, const char *client);
