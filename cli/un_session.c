#include "un_session.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "attr.h"
#include "un_api.h"
#include "un_output.h"

bool
un_session_name_valid(const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("-_.", name[i]))
			return false;
	return n > 0 && n < UN_SESSION_NAME && name[0] != '.';
}

static const char *
name_of(const json_t *session, const char *first, const char *second)
{
	const char *name = un_api_text(session, first);

	if (!*name)
		name = un_api_text(session, second);
	return un_session_name_valid(name) ? name : "";
}

const char *
un_session_id(const json_t *session)
{
	return name_of(session, "session_id", "id");
}

const char *
un_session_container(const json_t *session)
{
	return name_of(session, "container_name", "name");
}

bool
un_session_is_kept(const json_t *session)
{
	return *un_api_text(session, "multiplexer") ||
	       json_is_true(json_object_get(session, "persist"));
}

void
un_session_ttl(long long seconds, char ret_text[UN_SESSION_TTL])
{
	enum { MINUTE = 60, HOUR = 3600 };

	if (seconds >= HOUR)
		(void)snprintf(ret_text, UN_SESSION_TTL, "%lldh%lldm",
		    seconds / HOUR, seconds % HOUR / MINUTE);
	else if (seconds >= MINUTE)
		(void)snprintf(ret_text, UN_SESSION_TTL, "%lldm%llds",
		    seconds / MINUTE, seconds % MINUTE);
	else
		(void)snprintf(ret_text, UN_SESSION_TTL, "%llds",
		    seconds > 0 ? seconds : 0);
}

static void
ttl_of(const json_t *session, const char *key, char ret_text[UN_SESSION_TTL])
{
	un_session_ttl(
	    json_integer_value(json_object_get(session, key)), ret_text);
}

void
un_session_show_list(const json_t *answer)
{
	static const char row[] = "%-40s %-20s %-10s %-8s %-10s";
	static const char dashes[] = "----------------------------------------";
	const json_t *list = json_is_array(answer)
				 ? answer
				 : json_object_get(answer, "sessions");
	const json_t *s;
	size_t i;

	if (json_array_size(list) == 0) {
		(void)puts("No active sessions");
		return;
	}
	(void)printf("Active sessions: %zu\n\n", json_array_size(list));
	un_output_line(stdout, UN_PLAIN, row, "SESSION ID", "CONTAINER",
	    "SHELL", "TTL", "STATUS");
	un_output_line(stdout, UN_PLAIN, "%.40s %.20s %.10s %.8s %.10s", dashes,
	    dashes, dashes, dashes, dashes);
	json_array_foreach (list, i, s) {
		char ttl[UN_SESSION_TTL];

		ttl_of(s, "remaining_ttl", ttl);
		un_output_line(stdout, UN_PLAIN, row, un_session_id(s),
		    un_session_container(s), un_api_text(s, "shell"), ttl,
		    un_api_text(s, "status"));
	}
}

enum kind { TEXT, NUMBER, MEGABYTES, YES_NO, SECONDS };
static const struct {
	const char *label;
	const char *key;
	enum kind kind;
} rows[] = {
	{ "ID:", "session_id", TEXT },
	{ "Container:", "container_name", TEXT },
	{ "Shell:", "shell", TEXT },
	{ "Status:", "status", TEXT },
	{ "Reason:", "reason", TEXT },
	{ "Network Mode:", "network_mode", TEXT },
	{ "vCPU:", "vcpu", NUMBER },
	{ "Memory:", "memory_mb", MEGABYTES },
	{ "Boosted:", "boosted", YES_NO },
	{ "Multiplexer:", "multiplexer", TEXT },
	{ "Persistent:", "persist", YES_NO },
	{ "Audit:", "audit", YES_NO },
	{ "Viewers:", "viewers", NUMBER },
	{ "TTL:", "remaining_ttl", SECONDS },
	{ "Idle Timeout:", "idle_timeout", SECONDS },
	{ "Created:", "created_at", TEXT },
	{ "Last Activity:", "last_activity", TEXT },
};

static void
show_row(const json_t *session, size_t i)
{
	const json_t *v = json_object_get(session, rows[i].key);
	char text[UN_SESSION_TTL];

	switch (rows[i].kind) {
	case TEXT:
		if (json_string_length(v) > 0)
			un_output_line(stdout, UN_PLAIN, "  %-16s %s",
			    rows[i].label, json_string_value(v));
		return;
	case YES_NO:
		(void)snprintf(
		    text, sizeof(text), "%s", json_is_true(v) ? "yes" : "no");
		break;
	case SECONDS:
		un_session_ttl(json_integer_value(v), text);
		break;
	case NUMBER:
	case MEGABYTES:
		(void)snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT "%s",
		    json_integer_value(v),
		    rows[i].kind == MEGABYTES ? " MB" : "");
		break;
	}
	if (v)
		un_output_line(
		    stdout, UN_PLAIN, "  %-16s %s", rows[i].label, text);
}

void
un_session_show(const json_t *session)
{
	(void)puts("Session Information:");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		show_row(session, i);
}

const char *
un_session_reason(const char *reason)
{
	static const struct {
		const char *word, *text;
	} reasons[] = {
		{ "ttl", "its time was used up (--ttl)" },
		{ "idle", "nothing was done in it for too long" },
		{ "disconnected", "the connection was gone for too long" },
		{ "terminated", "it was terminated from outside" },
		{ "killed", "its sandbox was killed: out of memory, or its "
			    "node stopped" },
	};

	if (!*reason || strcmp(reason, "exit") == 0)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
		if (strcmp(reasons[i].word, reason) == 0)
			return reasons[i].text;
	return reason;
}
