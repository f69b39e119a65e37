#pragma once
/*
 * hold_python.h - what a held Python needs beside being stopped and forked
 * (hold.c).
 */

#include <stdbool.h>

/*
 * Before the interpreter opens its program: whether Python only looks if that
 * is an archive, which it does before it opens it to read it.  It need not do
 * so again for each program; hold_python_goes_on() is for those that are one.
 * The first time it runs code, the language record's.
 */
bool hold_python_only_looks(const char *code);
/*
 * In the nest, once, before it is forked: runs code, unless that was done, and
 * makes the ends of its forks cheap.  Does nothing in another interpreter, and
 * leaves out what a Python it does not know has not.
 */
void hold_python_prepare(const char *code);
/* In the job's process: executes argv afresh when its program is an archive. */
void hold_python_goes_on(const char *program, char *const *argv);
