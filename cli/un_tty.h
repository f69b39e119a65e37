#pragma once
/*
 * un_tty.h - the terminal that `un` was called in.
 *
 * While it is raw, each way out of the process but SIGKILL gives it back as it
 * was: un_tty_restore() for those we know, and handlers for signals that end a
 * program which is broken.
 */
#include <stdbool.h>
#include <stddef.h>

#include "err.h"

/* Standard input becomes raw when it is a terminal; again after a stop. */
int un_tty_raw(struct err *err);
void un_tty_restore(void);
bool un_tty_is_raw(void);

/* Of the first of output, input and errors that is a terminal; else false. */
bool un_tty_size(unsigned *ret_cols, unsigned *ret_rows);

/*
 * A descriptor like standard output that never blocks, and is not shared with
 * others; -1 when there can be none: then write little, after a poll.
 */
int un_tty_output(void);

/*
 * From here on the signals that end or stop a program, and SIGWINCH, come as
 * struct signalfd_siginfo from the descriptor that is returned.  What is
 * ignored (nohup) stays ignored.
 */
int un_tty_signals(struct err *err);
/* They act again as before. */
void un_tty_signals_end(int fd);

/* Stops us, as the shell expects, and comes back when it lets us go on. */
void un_tty_stop(void);

/* One line for the user, on standard error, raw or not. */
void un_tty_say(const char *fmt, ...) printf_like(1, 2);
