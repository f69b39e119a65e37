#pragma once
/*
 * hold_python.h - what a held Python needs beside being stopped and forked
 * (hold.c).
 */

/*
 * In the nest, once, before it is forked: runs code, the language record's, and
 * makes the ends of its forks cheap.  Does nothing in another interpreter, and
 * leaves out what a Python it does not know has not.
 */
void hold_python_prepare(const char *code);
