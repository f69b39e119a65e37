#include "wall.h"

void
wall_learn(struct wall *w, int64_t redis_ms, int64_t mono_ms)
{
	w->ahead_ms = redis_ms - mono_ms;
	w->known = true;
}

int64_t
wall_expect(const struct wall *w, int64_t mono_ms)
{
	return w->known ? mono_ms + w->ahead_ms : -1;
}
