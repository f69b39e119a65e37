#include "compiled.h"

#include <string.h>
#include <sys/stat.h>

#include "buf.h"
#include "environment.h"
#include "io.h"
#include "job.h"
#include "lang.h"
#include "msg.h"
#include "settings.h"
#include "toolchain.h"

/* Other blobs under the same hash would be read as these: then this changes. */
#define FORMAT "compiled 1"

/* ---- the key ---- */

static void
add_list(struct digest *d, const struct lang_list *list)
{
	digest_number(d, list->n);
	for (size_t i = 0; i < list->n; i++)
		digest_text(d, list->items[i]);
}

/* They are folders, too. */
static void
add_caches(struct digest *d, const struct lang_pairs *caches)
{
	digest_number(d, caches->n);
	for (size_t i = 0; i < caches->n; i++)
		digest_text(d, caches->items[i].value);
}

/* Both steps have the same one. */
static void
add_environment(struct digest *d, const struct compiled_from *from)
{
	struct environment env = { .n = 0 };

	env_of_job(&env, from->lang, from->spec);
	digest_number(d, env.n);
	for (size_t i = 0; i < env.n; i++)
		digest_text(d, env.items[i]);
	env_done(&env);
}

/* What a compile that succeeded may have depended on. */
static void
add_limits(struct digest *d, const struct compiled_from *from)
{
	const uint64_t limits[] = { (uint64_t)from->spec->memory_mb,
		(uint64_t)from->spec->vcpu, (uint64_t)from->lang->pids,
		(uint64_t)from->lang->compile_seconds,
		from->lang->limit_address_space,
		(uint64_t)from->settings->sandbox_disk_mb,
		(uint64_t)from->settings->sandbox_inodes,
		(uint64_t)from->settings->sandbox_files,
		(uint64_t)from->settings->sandbox_file_mb };

	for (size_t i = 0; i < ARRAY_LEN(limits); i++)
		digest_number(d, limits[i]);
}

static void
add_files(struct digest *d, const struct job_spec *s)
{
	digest_number(d, s->n_files);
	for (size_t i = 0; i < s->n_files; i++) {
		digest_text(d, s->files[i].name);
		digest_bytes(
		    d, s->files[i].content.data, s->files[i].content.len);
	}
}

void
compiled_key(const struct compiled_from *from, struct cache_key *ret_key)
{
	const struct lang *l = from->lang;
	const bool shared = from->settings->worker_cache_shared;
	unsigned char owner[DIGEST_SIZE];
	struct digest d;

	digest_begin(&d);
	digest_text(&d, FORMAT);
	digest_text(&d, from->settings->farm_prefix);
	digest_number(&d, shared);
	digest_text(&d, shared ? "" : from->owner);
	digest_bytes(&d, from->host, DIGEST_SIZE);
	toolchain_add(&d, l);
	digest_text(&d, l->name);
	digest_text(&d, l->source);
	add_list(&d, &l->compile);
	add_caches(&d, &l->caches);
	add_environment(&d, from);
	add_limits(&d, from);
	digest_text(&d, from->spec->network_mode);
	digest_bytes(&d, from->spec->code.data, from->spec->code.len);
	add_files(&d, from->spec);
	digest_end(&d, ret_key->hash);
	digest_begin(&d);
	digest_text(&d, shared ? "" : from->owner);
	digest_end(&d, owner);
	memcpy(ret_key->owner, owner, sizeof(ret_key->owner));
}

/* ---- the blob ---- */

static int
add_u32(struct buf *b, size_t n)
{
	const uint32_t v = (uint32_t)n;

	return buf_add(b, &v, sizeof(v));
}

/* As msg_get_bytes() reads it: length, bytes, NUL. */
static int
add_bytes(struct buf *b, const void *p, size_t n)
{
	int r = add_u32(b, n);

	if (r == 0)
		r = buf_add(b, p, n);
	return r < 0 ? r : buf_add(b, "", 1);
}

int
compiled_begin(struct buf *b, const char *text, size_t n)
{
	return add_bytes(b, text, n);
}

int
compiled_entry(struct buf *b, const char *name, mode_t mode, size_t len)
{
	int r = add_bytes(b, name, strlen(name));

	if (r == 0)
		r = add_u32(b, mode);
	return r < 0 ? r : add_u32(b, len);
}

int
compiled_end_entry(struct buf *b)
{
	return buf_add(b, "", 1);
}

static bool
read_entry(struct msg_in *in, struct compiled_entry *e)
{
	size_t len;

	e->name = msg_get_bytes(in, &len);
	e->mode = msg_get_u32(in);
	e->data = msg_get_bytes(in, &e->len);
	return !in->bad && strlen(e->name) == len &&
	       io_name_is_inside(e->name) &&
	       (S_ISREG(e->mode) || S_ISDIR(e->mode));
}

bool
compiled_read(const void *p, size_t n, struct compiled *ret_compiled)
{
	struct msg_in in = { .p = p, .left = n };
	struct compiled *c = ret_compiled;

	c->n = 0;
	c->text = msg_get_bytes(&in, &c->text_len);
	while (!in.bad && in.left > 0) {
		if (c->n == COMPILED_ENTRIES_MAX ||
		    !read_entry(&in, &c->entries[c->n]))
			return false;
		c->n++;
	}
	return !in.bad;
}
