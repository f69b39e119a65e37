#pragma once
/* clock.h - the two clocks, with their unit in the name, and ISO-8601 text. */
#include <stddef.h>
#include <stdint.h>

/* Monotonic: for deadlines and durations.  Never compare with wall time. */
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
/* Wall time since 1970, for what people and records read. */
int64_t clock_wall_ms(void);

enum { CLOCK_ISO_LEN = 32 };
/* "2026-01-14T12:00:00Z"; "1970-01-01T00:00:00Z" when out of range. */
void clock_iso8601(int64_t wall_ms, char ret_text[CLOCK_ISO_LEN]);
/* Parses that form; -1 when it is not one. */
int64_t clock_from_iso8601(const char *text);
