#pragma once
/*
 * un_output.h - what `un` prints, and in which colour.
 *
 * Colours appear only when that very stream is a terminal, NO_COLOR is unset
 * and TERM is not "dumb".  Bytes of a program pass through untouched; text that
 * came from the server or from the user has its control characters replaced, so
 * that no message can drive the terminal.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "attr.h"

enum un_colour {
	UN_PLAIN,
	UN_BLUE,
	UN_RED,
	UN_BOLD_RED,
	UN_GREEN,
	UN_YELLOW,
	UN_COLOUR__COUNT
};

bool un_output_coloured(FILE *f);

/* Exactly these bytes; nothing at all, not even a colour, when n is 0. */
void un_output_bytes(FILE *f, enum un_colour c, const char *p, size_t n);

/* One line of text; the newline is added. */
void un_output_line(FILE *f, enum un_colour c, const char *fmt, ...)
    printf_like(3, 4);

/* "Error: ..." on standard error. */
void un_output_error(const char *fmt, ...) printf_like(1, 2);
/* The same; returns status, so that giving up reads as one step. */
int un_output_refuse(int status, const char *fmt, ...) printf_like(2, 3);

/*
 * Flushes standard output.  False, having said why, when some of it could not
 * be written (a full disk); a reader that went away early is not worth a word.
 */
bool un_output_flush(void);
