#pragma once
/*
 * un_result.h - what a job gave: its output, byte for byte, and how it ended.
 */
#include <jansson.h>

/*
 * Writes the program's standard output and error to ours, then tells on
 * standard error what cut it short, if anything did.
 */
void un_result_show(const json_t *job);

/* Only the two streams. */
void un_result_show_stdout(const json_t *job);
void un_result_show_stderr(const json_t *job);

/* The program's own exit status, or UN_FAILED when it has none to give. */
int un_result_status(const json_t *job);
