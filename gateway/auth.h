#pragma once
/*
 * auth.h - who sent a request.
 *
 * Ends in request_authorized(), at once or when Redis has answered.  Anything
 * wrong with the three headers, however odd, is a 401.
 */
struct request;

void auth_check(struct request *req);
