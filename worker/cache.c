/*
 * cache.c - see cache.h.
 *
 * The file `total` holds the sum of all entries, so that storing needs no look
 * at each of them.  A process that is killed between a rename and the sum
 * leaves it too low; every start and every eviction counts anew.
 */
#include "cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "attr.h"
#include "cleanup.h"
#include "fault.h"
#include "io.h"
#include "mem.h"

#define NEW_NAME   ".new"
#define TOTAL_NAME ".total"

enum {
	OWNER_LEN = 2 * CACHE_OWNER_SIZE,
	NAME_LEN = OWNER_LEN + 2 * DIGEST_SIZE,
	BLOCK = 4096,
	PART_MAX = 8,   /* an entry is at most this part of the limit */
	SLACK_PART = 16 /* evicted is this part of it more than needed */
};

struct cache {
	int dir;
	int total;
	uint64_t limit;
};

DEFINE_CLEANUP(cache, cache_close)

struct head {
	char magic[16];
	unsigned char hash[DIGEST_SIZE]; /* its own name */
	unsigned char sum[DIGEST_SIZE];  /* of that and of what follows */
	uint64_t len;
};

static const char magic[16] = "unfarm-compiled";

static void
name_of(const struct cache_key *key, char ret_name[NAME_LEN + 1])
{
	char *s = ret_name;

	for (size_t i = 0; i < CACHE_OWNER_SIZE; i++, s += 2)
		(void)snprintf(s, 3, "%02x", key->owner[i]);
	for (size_t i = 0; i < DIGEST_SIZE; i++, s += 2)
		(void)snprintf(s, 3, "%02x", key->hash[i]);
}

static bool
is_entry(const char *name)
{
	return strlen(name) == NAME_LEN &&
	       strspn(name, "0123456789abcdef") == NAME_LEN;
}

static uint64_t
on_disk(uint64_t size)
{
	return (size + BLOCK - 1) / BLOCK * BLOCK;
}

/* ---- the lock; each holder has a descriptor of its own ---- */

static int
lock(const struct cache *c, struct err *err)
{
	auto_close int fd = openat(
	    c->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		return err_errno(err, "lock the folder of compiled programs");
	return steal_fd(&fd);
}

/* ---- the sum; its holder has the lock ---- */

static uint64_t
total_get(const struct cache *c)
{
	uint64_t n = 0;

	return pread(c->total, &n, sizeof(n), 0) == sizeof(n) ? n : 0;
}

/* But for this entry. */
static uint64_t
total_without(const struct cache *c, const char *name)
{
	uint64_t total = total_get(c), size = 0;
	struct stat st;

	if (fstatat(c->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		size = on_disk((uint64_t)st.st_size);
	return total > size ? total - size : 0;
}

static void
total_set(const struct cache *c, uint64_t n)
{
	/* Not written, it is put right by the next count. */
	(void)!pwrite(c->total, &n, sizeof(n), 0);
}

/* ---- eviction ---- */

struct item {
	char name[NAME_LEN + 1];
	struct timespec used;
	uint64_t size;
};

struct items {
	struct item *all; /* owned */
	size_t n, room;
	uint64_t sum;
};

static struct item *
new_item(struct items *items)
{
	if (items->n == items->room) {
		items->room = 2 * items->room + 64;
		items->all = xreallocarray(
		    items->all, items->room, sizeof(*items->all));
	}
	return &items->all[items->n++];
}

static int
list(const struct cache *c, struct items *ret_items, struct err *err)
{
	int fd = openat(c->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *d;

	*ret_items = (struct items){ .n = 0 };
	if (!dir) {
		if (fd >= 0)
			(void)close(fd);
		return err_errno(err, "list compiled programs");
	}
	while ((d = readdir(dir)) != NULL) {
		struct item *it;
		struct stat st;

		if (!is_entry(d->d_name) ||
		    fstatat(c->dir, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		it = new_item(ret_items);
		memcpy(it->name, d->d_name, sizeof(it->name));
		it->used = st.st_mtim;
		it->size = on_disk((uint64_t)st.st_size);
		ret_items->sum += it->size;
	}
	(void)closedir(dir);
	return 0;
}

static bool
same_owner(const struct item *a, const struct item *b)
{
	return memcmp(a->name, b->name, OWNER_LEN) == 0;
}

/* Those of an owner together, and of these the older first. */
static int
by_owner(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (!same_owner(x, y))
		return memcmp(x->name, y->name, OWNER_LEN);
	if (x->used.tv_sec != y->used.tv_sec)
		return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
	return (x->used.tv_nsec > y->used.tv_nsec) -
	       (x->used.tv_nsec < y->used.tv_nsec);
}

struct owner {
	const struct item *oldest, *end;
	uint64_t sum;
};

/* The caller frees it. */
static struct owner *
owners_of(const struct items *items, size_t *ret_n)
{
	struct owner *all = xcalloc(items->n, sizeof(*all));
	size_t n = 0;

	for (const struct item *it = items->all; it < items->all + items->n;
	     it++) {
		if (it == items->all || !same_owner(it, it - 1))
			all[n++].oldest = it;
		all[n - 1].end = it + 1;
		all[n - 1].sum += it->size;
	}
	*ret_n = n;
	return all;
}

static struct owner *
largest(struct owner *all, size_t n)
{
	struct owner *o = NULL;

	for (size_t i = 0; i < n; i++)
		if (all[i].oldest < all[i].end && (!o || all[i].sum > o->sum))
			o = &all[i];
	return o;
}

/* Returns what is left. */
static uint64_t
evict(const struct cache *c, struct items *items, uint64_t target)
{
	auto_free struct owner *owners = NULL;
	uint64_t sum = items->sum;
	struct owner *o;
	size_t n;

	qsort(items->all, items->n, sizeof(*items->all), by_owner);
	owners = owners_of(items, &n);
	while (sum > target && (o = largest(owners, n)) != NULL) {
		const struct item *it = o->oldest++;

		o->sum -= it->size;
		if (unlinkat(c->dir, it->name, 0) == 0)
			sum -= it->size;
	}
	return sum;
}

/* Counts all; then, when more than most is there, removes down to target. */
static int
trim(const struct cache *c, uint64_t most, uint64_t target, struct err *err)
{
	struct items items;
	uint64_t sum;
	int r = list(c, &items, err);

	sum = items.sum;
	if (r == 0 && sum > most)
		sum = evict(c, &items, target);
	if (r == 0)
		total_set(c, sum);
	free(items.all);
	return r;
}

/* ---- life ---- */

/* Whoever writes under the new name holds the lock: now it is a leftover. */
static int
sweep(const struct cache *c, struct err *err)
{
	auto_close int held = lock(c, err);

	if (held < 0)
		return -1;
	if (unlinkat(c->dir, NEW_NAME, 0) < 0 && errno != ENOENT)
		return err_errno(err, "remove half a compiled program");
	return trim(c, c->limit, c->limit - c->limit / SLACK_PART, err);
}

struct cache *
cache_open(const char *dir, uint64_t limit, struct err *err)
{
	auto_ref(cache) c = xcalloc(1, sizeof(*c));

	c->limit = limit;
	c->total = -1;
	c->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->dir >= 0)
		c->total = openat(c->dir, TOTAL_NAME,
		    O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (c->total < 0) {
		(void)err_errno(err, "open `%s`", dir);
		return NULL;
	}
	return sweep(c, err) < 0 ? NULL : steal_ptr(&c);
}

void
cache_close(struct cache *c)
{
	if (!c)
		return;
	cleanup_closep(&c->total);
	cleanup_closep(&c->dir);
	free(c);
}

int
cache_fd(const struct cache *c)
{
	return c->dir;
}

/* ---- reading ---- */

static void
sum_of(const struct head *h, const void *p, size_t n,
    unsigned char ret_sum[DIGEST_SIZE])
{
	struct digest d;

	digest_begin(&d);
	digest_bytes(&d, h->hash, sizeof(h->hash));
	digest_bytes(&d, p, n);
	digest_end(&d, ret_sum);
}

/* All of it, and no more; false at its end or an error. */
static bool
read_all(int fd, void *p, size_t n, off_t at)
{
	char *s = p;

	while (n > 0) {
		ssize_t r = pread(fd, s, n, at);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return false;
		s += r;
		n -= (size_t)r;
		at += r;
	}
	return true;
}

/* NULL for anything but what was stored. */
static void *
read_entry(int fd, const struct cache_key *key, size_t *ret_n)
{
	unsigned char sum[DIGEST_SIZE];
	auto_free void *p = NULL;
	struct head h;
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    !read_all(fd, &h, sizeof(h), 0) ||
	    memcmp(h.magic, magic, sizeof(magic)) != 0 ||
	    memcmp(h.hash, key->hash, sizeof(h.hash)) != 0 ||
	    h.len > CACHE_ENTRY_MAX ||
	    (uint64_t)st.st_size != sizeof(h) + h.len)
		return NULL;
	p = xmalloc(h.len + 1);
	if (!read_all(fd, p, h.len, sizeof(h)))
		return NULL;
	sum_of(&h, p, h.len, sum);
	*ret_n = h.len;
	return memcmp(sum, h.sum, sizeof(sum)) == 0 ? steal_ptr(&p) : NULL;
}

static int
remove_entry(const struct cache *c, const char *name, struct err *err)
{
	auto_close int held = lock(c, err);
	uint64_t others = total_without(c, name);

	if (held < 0)
		return -1;
	if (unlinkat(c->dir, name, 0) < 0)
		return errno == ENOENT ? 0
				       : err_errno(err, "remove `%s`", name);
	total_set(c, others);
	return 0;
}

int
cache_load(struct cache *c, const struct cache_key *key, void **ret_data,
    size_t *ret_n, struct err *err)
{
	char name[NAME_LEN + 1];
	auto_close int fd = -1;

	name_of(key, name);
	fd = openat(c->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return err_errno(err, "open a compiled program");
	*ret_data = read_entry(fd, key, ret_n);
	if (!*ret_data)
		return remove_entry(c, name, err);
	(void)futimens(fd, NULL); /* it was used just now */
	return 1;
}

/* ---- writing ---- */

static int
write_entry(const struct cache *c, const char *name, const struct head *h,
    const void *p, struct err *err)
{
	auto_close int fd = -1;

	(void)unlinkat(c->dir, NEW_NAME, 0);
	fd = openat(c->dir, NEW_NAME,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, "make a file for a compiled program");
	if (io_write_all(fd, h, sizeof(*h)) == 0 &&
	    io_write_all(fd, p, h->len) == 0) {
		FAULT(worker_storing);
		if (renameat(c->dir, NEW_NAME, c->dir, name) == 0)
			return 0;
	}
	(void)err_errno(err, "store a compiled program");
	(void)unlinkat(c->dir, NEW_NAME, 0);
	return -1;
}

int
cache_store(struct cache *c, const struct cache_key *key, const void *p,
    size_t n, struct err *err)
{
	const uint64_t need = on_disk(sizeof(struct head) + n);
	struct head h = { .len = n };
	char name[NAME_LEN + 1];
	auto_close int held = -1;
	uint64_t others;

	if (n > CACHE_ENTRY_MAX || need > c->limit / PART_MAX)
		return err_set(err, ERR_TOO_BIG, 0,
		    "a compiled program of %zu bytes is not kept", n);
	memcpy(h.magic, magic, sizeof(magic));
	memcpy(h.hash, key->hash, sizeof(h.hash));
	sum_of(&h, p, n, h.sum);
	name_of(key, name);
	held = lock(c, err);
	if (held < 0)
		return -1;
	if (total_without(c, name) + need > c->limit &&
	    trim(c, c->limit - need, c->limit - c->limit / SLACK_PART - need,
		err) < 0)
		return -1;
	others = total_without(c, name);
	if (write_entry(c, name, &h, p, err) < 0)
		return -1;
	total_set(c, others + need);
	FAULT(worker_stored);
	return 0;
}
