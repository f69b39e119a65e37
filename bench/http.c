#include "http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define VERSION "HTTP/1.1 "

/* What is behind "Name:" of a line, or NULL when it is another line. */
static const char *
header(const char *line, const char *name)
{
	size_t n = strlen(name);

	if (strncasecmp(line, name, n) != 0 || line[n] != ':')
		return NULL;
	line += n + 1;
	return line + strspn(line, " ");
}

static int
read_head(struct answer *a, const char *data, size_t head_len)
{
	const char *end = data + head_len, *v;
	bool has_length = false;

	if (strncmp(data, VERSION, sizeof(VERSION) - 1) != 0)
		return -1;
	for (const char *l = data; l < end && *l != '\r';
	     l = strchr(l, '\n') + 1) {
		if ((v = header(l, "Content-Length"))) {
			a->body_len = strtoul(v, NULL, 10);
			has_length = true;
		} else if ((v = header(l, "Connection"))) {
			a->close = strncasecmp(v, "close", 5) == 0;
		}
	}
	a->head_len = head_len;
	a->status = (int)strtol(data + sizeof(VERSION) - 1, NULL, 10);
	return has_length && a->status > 0 ? 0 : -1;
}

int
answer_feed(struct answer *a, const char *data, size_t len)
{
	const char *end;

	if (a->status == 0) {
		end = len > 0 ? memmem(data, len, "\r\n\r\n", 4) : NULL;
		if (!end)
			return 0;
		if (read_head(a, data, (size_t)(end + 4 - data)) < 0)
			return -1;
	}
	return len >= a->head_len + a->body_len;
}

bool
answer_text(
    const char *body, size_t len, const char *name, char *ret, size_t ret_size)
{
	char mark[64];
	int n = snprintf(mark, sizeof(mark), "\"%s\":\"", name);
	const char *from, *to;

	if (len == 0 || n < 0 || (size_t)n >= sizeof(mark))
		return false;
	from = memmem(body, len, mark, (size_t)n);
	if (!from)
		return false;
	from += n;
	to = memchr(from, '"', len - (size_t)(from - body));
	if (!to || (size_t)(to - from) >= ret_size)
		return false;
	memcpy(ret, from, (size_t)(to - from));
	ret[to - from] = '\0';
	return true;
}
