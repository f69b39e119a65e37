#include "watch.h"

#include <stdlib.h>

#include "mem.h"

uv_poll_t *
watch_new(uv_loop_t *loop, int fd, void *ctx)
{
	uv_poll_t *w = xcalloc(1, sizeof(*w));

	if (uv_poll_init(loop, w, fd) < 0)
		abort();
	w->data = ctx;
	return w;
}

static void
on_closed(uv_handle_t *h)
{
	free(h);
}

void
watch_drop(uv_poll_t **w)
{
	if (*w)
		uv_close((uv_handle_t *)*w, on_closed);
	*w = NULL;
}
