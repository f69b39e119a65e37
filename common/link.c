#include "link.h"

#include <string.h>

#include "attr.h"

void
link_mac(const char *secret, const char *challenge, const char *head, size_t n,
    char ret_mac[SECRET_SIG_LEN + 1])
{
	const struct secret_part parts[] = {
		{ challenge, strlen(challenge) },
		{ head, n },
	};

	secret_sign(secret, parts, ARRAY_LEN(parts), ret_mac);
}
