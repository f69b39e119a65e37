#pragma once
/*
 * id.h - identifiers.
 *
 * A job id is "job_<13 digits of wall ms>_<18 hex digits>": 36 characters, the
 * most that the clients' tables show (contract 5.1), sortable by time, with 72
 * random bits so that it cannot be guessed.
 */
#include <stdbool.h>
#include <stddef.h>

enum { ID_MAX = 37 };

void id_new_job(char ret_id[ID_MAX]);
/* True for what id_new_job() could have made; keeps junk out of Redis keys. */
bool id_is_job(const char *s);

/* n random bytes as 2n lower-case hex digits and a NUL. */
void id_random_hex(char *ret_hex, size_t n);
/* A key pair in the documents' shape: unsb-pk-xxxx-..., unsb-sk-xxxxx-... */
void id_new_public_key(char ret_key[ID_MAX]);
void id_new_secret_key(char ret_key[ID_MAX]);
/* "unsb-pk-" and then 1 to 40 letters, digits and dashes. */
bool id_is_public_key(const char *s);
