#include "id.h"

#include <assert.h>
#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

#include "clock.h"

enum { RANDOM_MAX = 64, JOB_DIGITS = 13, JOB_HEX = 18 };

void
id_random_hex(char *ret_hex, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char raw[RANDOM_MAX];

	assert(n <= sizeof(raw));
	/* Up to 256 bytes getrandom(2) neither fails nor comes short. */
	assert(getrandom(raw, n, 0) == (ssize_t)n);
	for (size_t i = 0; i < n; i++) {
		*ret_hex++ = digits[raw[i] >> 4];
		*ret_hex++ = digits[raw[i] & 15];
	}
	*ret_hex = '\0';
}

void
id_new_job(char ret_id[ID_MAX])
{
	uint64_t ms = (uint64_t)clock_wall_ms();

	(void)stpcpy(ret_id, "job_");
	for (size_t i = 4 + JOB_DIGITS; i-- > 4; ms /= 10)
		ret_id[i] = (char)('0' + ms % 10);
	ret_id[4 + JOB_DIGITS] = '_';
	id_random_hex(ret_id + 5 + JOB_DIGITS, JOB_HEX / 2);
}

bool
id_is_job(const char *s)
{
	size_t digits, hex;

	if (strncmp(s, "job_", 4) != 0)
		return false;
	digits = strspn(s + 4, "0123456789");
	if (digits != JOB_DIGITS || s[4 + digits] != '_')
		return false;
	hex = strspn(s + 5 + digits, "0123456789abcdef");
	return hex == JOB_HEX && s[5 + digits + hex] == '\0';
}

/* prefix, then hex digits in groups: "unsb-pk-" + 4-4-4-4. */
static void
new_key(char *ret_key, const char *prefix, size_t groups, size_t width)
{
	char hex[2 * RANDOM_MAX + 1], *p = ret_key;

	id_random_hex(hex, (groups * width + 1) / 2);
	p = stpcpy(p, prefix);
	for (size_t g = 0; g < groups; g++) {
		*p++ = '-';
		memcpy(p, hex + g * width, width);
		p += width;
	}
	*p = '\0';
}

void
id_new_public_key(char ret_key[ID_MAX])
{
	new_key(ret_key, "unsb-pk", 4, 4);
}

void
id_new_secret_key(char ret_key[ID_MAX])
{
	new_key(ret_key, "unsb-sk", 4, 5);
}

bool
id_is_public_key(const char *s)
{
	size_t n;

	if (strncmp(s, "unsb-pk-", 8) != 0)
		return false;
	n = strlen(s + 8);
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[8 + i]) && s[8 + i] != '-')
			return false;
	return n >= 1 && n <= 40;
}
