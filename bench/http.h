#pragma once
/* http.h - the end of one HTTP/1.1 answer in a stream of bytes. */
#include <stdbool.h>
#include <stddef.h>

struct answer {
	int status;      /* 0 until the head is complete */
	size_t head_len; /* with the empty line */
	size_t body_len;
	bool close; /* the server will close the connection */
};

/*
 * Looks at the bytes received so far.  1: the answer is complete, 0: more are
 * needed, -1: this is no answer that we understand (it must have a
 * Content-Length).  a is kept between calls; the head is read once.
 */
int answer_feed(struct answer *a, const char *data, size_t len);
/*
 * The text of the first "name":"text" in a body of JSON, without undoing
 * escapes; false when there is none or it does not fit.
 */
bool answer_text(
    const char *body, size_t len, const char *name, char *ret, size_t ret_size);
