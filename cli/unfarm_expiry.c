#include "unfarm_expiry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

enum { YEARS_MAX = 1000 };

/* Seconds of one unit; 0 for a letter that is none. */
static int64_t
unit_seconds(const char *unit)
{
	static const struct {
		const char *name;
		int64_t seconds;
	} units[] = {
		{ "s", 1 },
		{ "m", 60 },
		{ "h", 3600 },
		{ "d", 86400 },
		{ "w", 604800 },
	};

	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (strcmp(units[i].name, unit) == 0)
			return units[i].seconds;
	return 0;
}

/* "30d" as milliseconds; -1 for other text. */
static int64_t
span_ms(const char *text)
{
	const int64_t longest = (int64_t)YEARS_MAX * 365 * 86400;
	int64_t unit;
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	unit = unit_seconds(end);
	if (errno != 0 || end == text || unit == 0 || n < 1 ||
	    n > longest / unit)
		return -1;
	return n * unit * 1000;
}

int
expiry_parse(const char *text, int64_t now_ms, int64_t *ret_ms, struct err *err)
{
	int64_t span, at;

	if (strcmp(text, "never") == 0) {
		*ret_ms = 0;
		return 0;
	}
	at = clock_from_iso8601(text);
	span = span_ms(text);
	if (at < 0 && span < 0)
		return err_set(err, ERR_INVALID, 0,
		    "`%s` is not like 30d, 2027-01-31T00:00:00Z or never",
		    text);
	if (at < 0)
		at = now_ms + span;
	if (at <= now_ms)
		return err_set(err, ERR_INVALID, 0, "`%s` is over", text);
	*ret_ms = at;
	return 0;
}
