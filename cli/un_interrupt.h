#pragma once
/*
 * un_interrupt.h - Ctrl-C and SIGTERM while a job is being waited for.
 *
 * Between catch and release the first signal only sets a mark, which transfers
 * (un_api.h) and un_interrupt_sleep() notice at once; a second one ends `un`
 * the ordinary way, so that nobody is held by a server that does not answer.
 */
#include <stdint.h>

void un_interrupt_catch(void);
void un_interrupt_release(void);

/* The signal that came, or 0. */
int un_interrupt_pending(void);
/* The same, and forgets it: the transfer that cancels the job must go on. */
int un_interrupt_take(void);

/* Returns early when a signal comes. */
void un_interrupt_sleep(int64_t ms);
