#include "ring.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "log.h"

int
ring_open(struct ring *r, const char *dir, uint64_t cap, struct err *err)
{
	*r = (struct ring){ .cap = cap };
	r->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (r->fd < 0)
		return err_errno(err, "make a file in `%s`", dir);
	return 0;
}

void
ring_close(struct ring *r)
{
	if (r->fd >= 0)
		(void)close(r->fd);
	*r = (struct ring){ .fd = -1 };
}

/* The piece from offset on that does not cross the file's end. */
static size_t
piece(const struct ring *r, uint64_t offset, size_t n)
{
	uint64_t room = r->cap - offset % r->cap;

	return n < room ? n : (size_t)room;
}

static int
store(const struct ring *r, uint64_t at, const unsigned char *p, size_t n)
{
	while (n > 0) {
		ssize_t k = pwrite(
		    r->fd, p, piece(r, at, n), (off_t)(at % r->cap));

		if (k <= 0)
			return -1;
		p += k;
		at += (uint64_t)k;
		n -= (size_t)k;
	}
	return 0;
}

void
ring_add(struct ring *r, const void *p, size_t n)
{
	const unsigned char *bytes = p;
	uint64_t end = r->end + n;
	/* Of more than fits, the first ones would be overwritten. */
	size_t skip = n > r->cap ? n - (size_t)r->cap : 0;

	if (r->fd < 0)
		return; /* it was closed */
	if (store(r, r->end + skip, bytes + skip, n - skip) < 0) {
		log_warn(NULL, "output of a terminal cannot be kept: %m");
		r->start = r->end = end;
		return;
	}
	r->end = end;
	if (r->end - r->start > r->cap)
		r->start = r->end - r->cap;
}

size_t
ring_read(const struct ring *r, uint64_t offset, void *p, size_t n)
{
	ssize_t k;

	if (offset < r->start || offset >= r->end)
		return 0;
	if (n > r->end - offset)
		n = (size_t)(r->end - offset);
	k = pread(r->fd, p, piece(r, offset, n), (off_t)(offset % r->cap));
	return k > 0 ? (size_t)k : 0;
}
