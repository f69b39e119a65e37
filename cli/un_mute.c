#include "un_mute.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "attr.h"

#define ENQ '\5'
#define BEL '\7'
#define CAN '\30'
#define ESC '\33'

enum { REPORT_MIN = 11, REPORT_MAX = 21 };

/*
 * Final bytes of questions; a character that must be among the parameters, one
 * that must not; and a range of the first number.
 */
static const struct {
	char final, with, without;
	int min, max;
} questions[] = {
	{ 'c', '\0', '\0', 0, 0 },                   /* what are you? */
	{ 'n', '\0', '>', 0, 0 },                    /* status, cursor */
	{ 'p', '$', '\0', 0, 0 },                    /* modes */
	{ 'q', '>', '\0', 0, 0 },                    /* version */
	{ 'S', '?', '\0', 0, 0 },                    /* graphics */
	{ 't', '\0', '\0', REPORT_MIN, REPORT_MAX }, /* window */
	{ 'u', '?', '\0', 0, 0 },                    /* keyboard */
	{ 'x', '\0', '*', 0, 0 },                    /* parameters */
};

static bool
is_question(const struct un_mute *m, char final)
{
	long number = strtol(m->text, NULL, 10);

	for (size_t i = 0; i < ARRAY_LEN(questions); i++) {
		char with = questions[i].with, without = questions[i].without;

		if (questions[i].final == final &&
		    (!with || strchr(m->text, with)) &&
		    (!without || !strchr(m->text, without)) &&
		    (questions[i].max == 0 || (number >= questions[i].min &&
						  number <= questions[i].max)))
			return true;
	}
	return false;
}

/* "11;?" asks for a colour; "$q" and "+q" for settings. */
static bool
string_asks(const struct un_mute *m)
{
	const char *t = m->text;

	if (m->kind == 'P')
		return strcmp(t, "$q") == 0 || strcmp(t, "+q") == 0;
	return m->n >= 2 && t[m->n - 1] == '?' && t[m->n - 2] == ';';
}

static void
collect(struct un_mute *m, char c)
{
	if (m->n == sizeof(m->text) - 1) { /* its end is what counts */
		memmove(m->text, m->text + 1, m->n - 1);
		m->n--;
	}
	m->text[m->n++] = c;
	m->text[m->n] = '\0';
}

static void
begin(struct un_mute *m, char c)
{
	m->n = 0;
	m->text[0] = '\0';
	m->kind = c;
	m->state = c == '['               ? UN_MUTE_CONTROL
		   : c == ']' || c == 'P' ? UN_MUTE_STRING
					  : UN_MUTE_TEXT;
}

static char
in_control(struct un_mute *m, char c)
{
	if ((unsigned char)c >= ' ' && c < '@') {
		collect(m, c);
		return c;
	}
	m->state = UN_MUTE_TEXT;
	if (is_question(m, c))
		return CAN;
	return c;
}

static char
in_string(struct un_mute *m, char c)
{
	bool swallowed = m->state == UN_MUTE_SWALLOW;

	if (c == BEL || c == CAN) {
		m->state = UN_MUTE_TEXT;
		if (!swallowed)
			return c;
	}
	if (swallowed)
		return '\0';
	collect(m, c);
	if (!string_asks(m))
		return c;
	m->state = UN_MUTE_SWALLOW;
	return CAN;
}

static char
next(struct un_mute *m, char c)
{
	if (c == ESC) { /* ends a string, too, with the \ behind it */
		m->state = UN_MUTE_ESCAPE;
		return c;
	}
	switch (m->state) {
	case UN_MUTE_ESCAPE:
		begin(m, c);
		if (c == 'Z')
			return CAN;
		return c;
	case UN_MUTE_CONTROL:
		return in_control(m, c);
	case UN_MUTE_STRING:
	case UN_MUTE_SWALLOW:
		return in_string(m, c);
	case UN_MUTE_TEXT:
		break;
	}
	if (c == ENQ)
		return '\0';
	return c;
}

void
un_mute(struct un_mute *m, char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = next(m, p[i]);
}
