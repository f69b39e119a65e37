#pragma once
/*
 * log.h - one line per event: logfmt on stderr, journald priority prefix.
 *
 *   <6>ts=1768392000.123 prog=worker pid=812 job=job_1_ab msg="job finished" ...
 *
 * The first argument of each macro is the identity, printed before msg: NULL or
 * preformatted fields ("job=job_1_ab"); the format that follows gives msg and,
 * after a '|', further fields: log_info(id, "job finished|reason=%s", reason).
 *
 * Library code (common/, sandbox/) returns a struct err and does not log above
 * LOG_DEBUG.  The daemon's edge, where a request or a job is finished, logs it
 * once.
 */
#include <syslog.h>

#include "attr.h"

/* max_level is one of LOG_ERR ... LOG_DEBUG; more verbose lines are dropped. */
void log_init(const char *progname, int max_level);
/* "error", "warning", "info" or "debug" to a LOG_ level; -1 for another word. */
int log_level_from_name(const char *name);
void log_at(int level, const char *file, int line, const char *id,
    const char *fmt, ...) printf_like(5, 6);
extern int log_max_level;

#define log_(lvl, id, ...)                                                     \
	do {                                                                   \
		if ((lvl) <= log_max_level)                                    \
			log_at((lvl), __FILE__, __LINE__, (id), __VA_ARGS__);  \
	} while (0)

#define log_err(id, ...)   log_(LOG_ERR, id, __VA_ARGS__)
#define log_warn(id, ...)  log_(LOG_WARNING, id, __VA_ARGS__)
#define log_info(id, ...)  log_(LOG_INFO, id, __VA_ARGS__)
#define log_debug(id, ...) log_(LOG_DEBUG, id, __VA_ARGS__)
