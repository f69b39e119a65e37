#pragma once
/*
 * exec.h - command calls: a process beside the terminal, its output, its end.
 *
 * The call ends when the process does.  What it left running lives on, and its
 * output is not waited for.  At its time limit it is killed with all that it
 * started.
 */
#include <stdbool.h>

#include "err.h"
#include "shim.h"

struct client;

/*
 * body: "command" (for `sh -c`) or "argv"; "stdin", "env", "cwd",
 * "timeout" in seconds, "stream".  Answers c, now or later.
 */
int exec_start(
    struct shim *s, struct client *c, const json_t *body, struct err *err);
/* For ourselves: done gets the exit code, -1 when it could not run. */
int exec_ask(struct shim *s, const char *command,
    void (*done)(struct shim *s, int exit_code), struct err *err);
/* True when the event was for one of them. */
bool exec_on_event(struct shim *s, struct box_event *e);
bool exec_any(const struct shim *s);
void exec_free_all(struct shim *s);
