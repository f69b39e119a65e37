#pragma once
/* respond.h - answers: compact JSON, error bodies, extra headers. */
#include <jansson.h>
#include <stddef.h>

#include "err.h"

struct out;
struct request;

/* For the answer to come; name is a literal, a long value is cut. */
void respond_header(struct request *req, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

struct MHD_Response;
/* One that was made elsewhere; it is owned from here on. */
void respond_ready(struct request *req, int status, struct MHD_Response *r);

/* Each answers the request; it must not have been answered before. */
void respond_json(struct request *req, int status, const json_t *body);
/* Takes the text out of o. */
void respond_out(struct request *req, int status, struct out *o);
void respond_err(struct request *req, const struct err *err);
/* Takes text (malloc). */
void respond_text(struct request *req, int status, const char *content_type,
    char *text, size_t len);

/* The error body, for those who add fields to it.  Caller owns it. */
json_t *respond_err_body(const struct err *err);
