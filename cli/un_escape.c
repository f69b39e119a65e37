#include "un_escape.h"

size_t
un_escape_take(struct un_escape *e, const char *p, size_t n, char *ret_typed,
    bool *ret_leave)
{
	size_t out = 0;

	*ret_leave = false;
	for (size_t i = 0; i < n; i++) {
		bool was_tilde = e->tilde;

		e->tilde = false;
		if (was_tilde && p[i] == '.') {
			*ret_leave = true;
			return out;
		}
		if (p[i] == '~' && !was_tilde && !e->inside) {
			e->tilde = true;
			continue;
		}
		if (was_tilde && p[i] != '~')
			ret_typed[out++] = '~';
		ret_typed[out++] = p[i];
		e->inside = p[i] != '\r' && p[i] != '\n';
	}
	return out;
}
