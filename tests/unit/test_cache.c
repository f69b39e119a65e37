/* What compiled programs are kept under, how, and for how long. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "attr.h"
#include "buf.h"
#include "cache.h"
#include "cleanup.h"
#include "compiled.h"
#include "confine.h"
#include "io.h"
#include "job.h"
#include "lang.h"
#include "mem.h"
#include "settings.h"
#include "toolchain.h"

enum { MB = 1 << 20, ENTRY = 100 << 10, BLOCK = 4096 };
/* Entries of the folder from n * OWNERS_PART on are owner n's. */
enum { OWNERS_PART = 1000 };

/* ---- the key ---- */

struct world {
	struct settings settings;
	struct lang lang;
	struct job_spec *spec;
	struct compiled_from from;
	unsigned char host[DIGEST_SIZE];
	char *words[3];
	struct lang_pair pair;
};

static void
add_file(struct job_spec *s, const char *name, const char *text)
{
	auto_buf struct buf content = { .cap = 64 };

	assert_int_equal(buf_adds(&content, text), 0);
	job_spec_add_file(s, name, &content);
}

static struct world *
world_new(void)
{
	struct world *w = xcalloc(1, sizeof(*w));

	settings_default(&w->settings);
	w->words[0] = xstrdup("cc");
	w->words[1] = xstrdup("main.c");
	w->lang = (struct lang){ .name = xstrdup("c"),
		.source = xstrdup("main.c"),
		.locale = xstrdup("C"),
		.compile = { w->words, 2 },
		.pids = 64,
		.compile_seconds = 30 };
	w->pair = (struct lang_pair){ xstrdup("LANG_ENV"), xstrdup("1") };
	w->lang.env = (struct lang_pairs){ &w->pair, 1 };
	w->spec = job_spec_new();
	w->spec->network_mode = xstrdup("zerotrust");
	w->spec->ttl = w->spec->vcpu = 1;
	w->spec->memory_mb = 64;
	job_bytes_set(&w->spec->code, "int x;", 6);
	job_spec_add_env(w->spec, "NAME", "value");
	add_file(w->spec, "ab", "c");
	w->from = (struct compiled_from){ "owner", w->host, &w->settings,
		&w->lang, w->spec };
	return w;
}

static void
world_free(struct world *w)
{
	job_spec_free(w->spec);
	free(w->lang.name);
	free(w->lang.source);
	free(w->lang.locale);
	free(w->pair.name);
	free(w->pair.value);
	for (size_t i = 0; i < ARRAY_LEN(w->words); i++)
		free(w->words[i]);
	free(w);
}

static void
set(char **text, const char *value)
{
	free(*text);
	*text = xstrdup(value);
}

typedef void change(struct world *w);

#define CHANGE(name, step)                                                     \
	static void name(struct world *w)                                      \
	{                                                                      \
		step;                                                          \
	}
CHANGE(owner, w->from.owner = "other")
CHANGE(nobody, w->from.owner = "")
CHANGE(shared, w->settings.worker_cache_shared = true)
CHANGE(farm, w->settings.farm_prefix[0]++)
CHANGE(host, w->host[DIGEST_SIZE - 1]++)
CHANGE(language, set(&w->lang.name, "d"))
CHANGE(source_name, set(&w->lang.source, "main.d"))
CHANGE(locale, set(&w->lang.locale, "C.UTF-8"))
CHANGE(flag, set(&w->words[1], "-O2"))
CHANGE(flags_joined, (set(&w->words[0], "cc main.c"), w->lang.compile.n = 1))
CHANGE(one_more_flag, (set(&w->words[2], ""), w->lang.compile.n = 3))
CHANGE(lang_env, set(&w->pair.value, "2"))
CHANGE(lang_env_name, set(&w->pair.name, "LANG_ENW"))
CHANGE(caches, w->lang.caches = w->lang.env)
CHANGE(pids, w->lang.pids++)
CHANGE(seconds, w->lang.compile_seconds++)
CHANGE(address_space, w->lang.limit_address_space = true)
CHANGE(disk, w->settings.sandbox_disk_mb++)
CHANGE(inodes, w->settings.sandbox_inodes++)
CHANGE(open_files, w->settings.sandbox_files++)
CHANGE(file_size, w->settings.sandbox_file_mb++)
CHANGE(memory, w->spec->memory_mb++)
CHANGE(vcpu, w->spec->vcpu++)
CHANGE(network, set(&w->spec->network_mode, "semitrusted"))
CHANGE(code, job_bytes_set(&w->spec->code, "int y;", 6))
CHANGE(code_nul, job_bytes_set(&w->spec->code, "int x;\0", 7))
CHANGE(env_value, set(&w->spec->env[0].value, "values"))
CHANGE(env_name, set(&w->spec->env[0].name, "NAMES"))
CHANGE(env_more, job_spec_add_env(w->spec, "B", ""))
CHANGE(file_name, set(&w->spec->files[0].name, "aB"))
CHANGE(file_bytes, job_bytes_set(&w->spec->files[0].content, "C", 1))
CHANGE(file_border, (set(&w->spec->files[0].name, "a"),
			job_bytes_set(&w->spec->files[0].content, "bc", 2)))
CHANGE(file_more, add_file(w->spec, "", ""))
#undef CHANGE

static void
key_after(change *c, struct cache_key *ret_key)
{
	struct world *w = world_new();

	if (c)
		c(w);
	compiled_key(&w->from, ret_key);
	world_free(w);
}

static void
whatever_a_compiler_sees_is_in_the_key(void **state)
{
	static change *const changes[] = { NULL, owner, nobody, shared, farm,
		host, language, source_name, locale, flag, flags_joined,
		one_more_flag, lang_env, lang_env_name, caches, pids, seconds,
		address_space, disk, inodes, open_files, file_size, memory,
		vcpu, network, code, code_nul, env_value, env_name, env_more,
		file_name, file_bytes, file_border, file_more };
	struct cache_key keys[ARRAY_LEN(changes)], again;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
		key_after(changes[i], &keys[i]);
		key_after(changes[i], &again);
		assert_memory_equal(&again, &keys[i], sizeof(again));
		for (size_t k = 0; k < i; k++)
			assert_memory_not_equal(
			    &keys[i], &keys[k], sizeof(again));
	}
}

static void
what_it_does_not_see(struct world *w)
{
	job_bytes_set(&w->spec->input, "stdin", 5);
	job_spec_add_arg(w->spec, "-x");
	w->spec->ttl = 900;
	w->spec->cpu_limit = 3;
	w->spec->return_artifact = true;
	w->lang.fork = NULL;
	w->settings.worker_cache_mb = 1;
}

static void
shared_by_owner(struct world *w)
{
	shared(w);
	owner(w);
}

static void
what_it_does_not_see_is_not(void **state)
{
	struct cache_key a, b;

	(void)state;
	key_after(NULL, &a);
	key_after(what_it_does_not_see, &b);
	assert_memory_equal(&a, &b, sizeof(a));
	key_after(shared, &a);
	key_after(shared_by_owner, &b);
	assert_memory_equal(&a, &b, sizeof(a));
}

/* ---- the toolchain ---- */

static char folder[] = "/tmp/unfarm-test-cache-XXXXXX";

static const char *
in_folder(const char *name)
{
	static char path[4][128];
	static unsigned n;

	n = (n + 1) % ARRAY_LEN(path);
	(void)snprintf(path[n], sizeof(path[n]), "%s/%s", folder, name);
	return path[n];
}

static void
write_file(const char *name, const char *text)
{
	int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_TRUNC, 0755);

	assert_true(fd >= 0);
	assert_int_equal(io_write_all(fd, text, strlen(text)), 0);
	(void)close(fd);
}

/* Times of files stand still for some milliseconds. */
static void
wait_for_a_tick(void)
{
	struct stat first, st;

	write_file("clock", "");
	assert_int_equal(stat(in_folder("clock"), &first), 0);
	do {
		assert_int_equal(chmod(in_folder("clock"), 0600), 0);
		assert_int_equal(stat(in_folder("clock"), &st), 0);
	} while (st.st_ctim.tv_sec == first.st_ctim.tv_sec &&
		 st.st_ctim.tv_nsec == first.st_ctim.tv_nsec);
}

static void
survey(unsigned char ret_hash[DIGEST_SIZE])
{
	toolchain_survey(in_folder("list"), ret_hash);
}

static void
a_changed_tree_changes_the_survey(void **state)
{
	const struct timespec old[2] = { { 1000000000, 0 }, { 1000000000, 0 } };
	unsigned char before[DIGEST_SIZE], after[DIGEST_SIZE];
	char list[256];

	(void)state;
	assert_int_equal(mkdir(in_folder("tree"), 0755), 0);
	assert_int_equal(mkdir(in_folder("tree/deep"), 0755), 0);
	write_file("tree/deep/compiler", "one");
	assert_int_equal(
	    utimensat(AT_FDCWD, in_folder("tree/deep/compiler"), old, 0), 0);
	(void)snprintf(list, sizeof(list), "# comment\ntree %s\netc nothing\n",
	    in_folder("tree"));
	write_file("list", list);
	survey(before);
	survey(after);
	assert_memory_equal(before, after, sizeof(before));
	/* The same size, and a time that is set back. */
	wait_for_a_tick();
	write_file("tree/deep/compiler", "two");
	assert_int_equal(
	    utimensat(AT_FDCWD, in_folder("tree/deep/compiler"), old, 0), 0);
	survey(after);
	assert_memory_not_equal(before, after, sizeof(before));
	survey(before);
	write_file("tree/deep/new", "");
	survey(after);
	assert_memory_not_equal(before, after, sizeof(before));
}

/* By its path in the command, as by its name in PATH. */
static void
a_changed_compiler_is_noticed_at_once(void **state)
{
	struct cache_key a, b;
	struct world *w = world_new();

	(void)state;
	write_file("cc", "one");
	set(&w->words[0], in_folder("cc"));
	compiled_key(&w->from, &a);
	compiled_key(&w->from, &b);
	assert_memory_equal(&a, &b, sizeof(a));
	write_file("cc", "three");
	compiled_key(&w->from, &b);
	assert_memory_not_equal(&a, &b, sizeof(a));
	world_free(w);
}

/* ---- the blob ---- */

static void
add(struct buf *b, const char *name, mode_t mode, const char *data)
{
	assert_int_equal(compiled_entry(b, name, mode, strlen(data)), 0);
	assert_int_equal(buf_adds(b, data), 0);
	assert_int_equal(compiled_end_entry(b), 0);
}

static void
a_blob_is_read_as_it_was_written(void **state)
{
	auto_buf struct buf b = { .cap = MB };
	struct compiled c;

	(void)state;
	assert_int_equal(compiled_begin(&b, "warn\0ing", 8), 0);
	add(&b, "out", S_IFDIR | 0700, "");
	add(&b, "out/main", S_IFREG | 0755, "\177ELF");
	assert_true(compiled_read(b.data, b.len, &c));
	assert_int_equal(c.text_len, 8);
	assert_memory_equal(c.text, "warn\0ing", 8);
	assert_int_equal(c.n, 2);
	assert_string_equal(c.entries[0].name, "out");
	assert_int_equal(c.entries[0].mode, S_IFDIR | 0700);
	assert_string_equal(c.entries[1].name, "out/main");
	assert_int_equal(c.entries[1].mode, S_IFREG | 0755);
	assert_int_equal(c.entries[1].len, 4);
	assert_memory_equal(c.entries[1].data, "\177ELF", 4);
}

/* Whole entries may be missing at its end; the checksum is for that. */
static void
half_a_blob_is_none(void **state)
{
	auto_buf struct buf b = { .cap = MB };
	struct compiled c;
	size_t whole = 0;

	(void)state;
	assert_int_equal(compiled_begin(&b, "text", 4), 0);
	add(&b, "main", S_IFREG | 0755, "bytes");
	for (size_t n = 0; n < b.len; n++) {
		/* Of its own size, so that reading beyond it is seen. */
		auto_free char *part = xmalloc(n + 1);

		memcpy(part, b.data, n);
		part = realloc(part, n ? n : 1);
		if (compiled_read(part, n, &c)) {
			assert_int_equal(c.n, 0);
			whole++;
		}
	}
	assert_int_equal(whole, 1);
}

static void
names_stay_inside(void **state)
{
	static const char *const bad[] = { "", "/", "/etc/passwd", "..", "../x",
		"a/../../x", "a//b", "a/", ".", "./a" };
	static const char *const good[] = { "a", "..a", "a/b", ".x" };
	struct compiled c;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad) + ARRAY_LEN(good); i++) {
		auto_buf struct buf b = { .cap = MB };
		bool is_bad = i < ARRAY_LEN(bad);

		assert_int_equal(compiled_begin(&b, "", 0), 0);
		add(&b, is_bad ? bad[i] : good[i - ARRAY_LEN(bad)],
		    S_IFREG | 0644, "");
		assert_int_equal(compiled_read(b.data, b.len, &c), !is_bad);
	}
}

static void
only_files_and_folders_and_not_too_many(void **state)
{
	auto_buf struct buf b = { .cap = MB };
	auto_buf struct buf link = { .cap = MB };
	struct compiled c;

	(void)state;
	assert_int_equal(compiled_begin(&link, "", 0), 0);
	add(&link, "x", S_IFLNK | 0777, "/etc");
	assert_false(compiled_read(link.data, link.len, &c));
	assert_int_equal(compiled_begin(&b, "", 0), 0);
	for (int i = 0; i < COMPILED_ENTRIES_MAX; i++)
		add(&b, "x", S_IFREG, "");
	assert_true(compiled_read(b.data, b.len, &c));
	add(&b, "x", S_IFREG, "");
	assert_false(compiled_read(b.data, b.len, &c));
}

/* ---- the folder ---- */

static struct cache *
open_cache(uint64_t limit)
{
	struct err err;
	struct cache *c = cache_open(folder, limit, &err);

	if (!c)
		fail_msg("%s", err.msg);
	return c;
}

static struct cache_key
key_of(unsigned n)
{
	struct cache_key k;

	memset(&k, 0, sizeof(k));
	memcpy(k.hash, &n, sizeof(n));
	k.owner[0] = (unsigned char)(n / OWNERS_PART);
	return k;
}

static const char *
name_of(unsigned n)
{
	static char name[2 * sizeof(struct cache_key) + 1];
	const struct cache_key k = key_of(n);

	for (size_t i = 0; i < sizeof(k); i++)
		(void)snprintf(
		    name + 2 * i, 3, "%02x", ((const unsigned char *)&k)[i]);
	return name;
}

static int
store(struct cache *c, unsigned n, size_t len)
{
	auto_free char *data = xmalloc(len + 1);
	const struct cache_key k = key_of(n);
	struct err err;

	memset(data, 'a' + (int)(n % 26), len);
	return cache_store(c, &k, data, len, &err);
}

/* As cache_load(); what was found is as store() wrote it. */
static int
load(struct cache *c, unsigned n, size_t len)
{
	const struct cache_key k = key_of(n);
	auto_free void *data = NULL;
	struct err err;
	size_t got;
	int r = cache_load(c, &k, &data, &got, &err);

	if (r == 1) {
		assert_int_equal(got, len);
		for (size_t i = 0; i < len; i++)
			assert_int_equal(
			    ((char *)data)[i], 'a' + (int)(n % 26));
	}
	return r;
}

static bool
is_there(const char *name)
{
	return access(in_folder(name), F_OK) == 0;
}

/* Of all entries, as they are on the disk. */
static uint64_t
sum(unsigned *ret_n)
{
	DIR *dir = opendir(folder);
	const struct dirent *d;
	struct stat st;
	uint64_t total = 0;

	*ret_n = 0;
	while ((d = readdir(dir)) != NULL)
		if (strlen(d->d_name) == 2 * sizeof(struct cache_key) &&
		    stat(in_folder(d->d_name), &st) == 0) {
			total += (uint64_t)(st.st_size + BLOCK - 1) / BLOCK *
				 BLOCK;
			++*ret_n;
		}
	(void)closedir(dir);
	return total;
}

static uint64_t
kept_sum(void)
{
	uint64_t n = 0;
	int fd = open(in_folder(".total"), O_RDONLY);

	assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
	(void)close(fd);
	return n;
}

static void
what_is_stored_is_found(void **state)
{
	struct cache *c = open_cache(8 * MB);
	unsigned n;

	(void)state;
	assert_int_equal(load(c, 1, 5), 0);
	assert_int_equal(store(c, 1, 5), 0);
	assert_int_equal(store(c, 2, 0), 0);
	assert_int_equal(store(c, 1, 7), 0);
	assert_int_equal(load(c, 1, 7), 1);
	assert_int_equal(load(c, 2, 0), 1);
	assert_int_equal(load(c, 3, 0), 0);
	assert_int_equal(sum(&n), 2 * BLOCK);
	assert_int_equal(kept_sum(), 2 * BLOCK);
	cache_close(c);
	c = open_cache(8 * MB);
	assert_int_equal(load(c, 1, 7), 1);
	cache_close(c);
}

static void
flip(const char *name, off_t at)
{
	int fd = open(in_folder(name), O_RDWR);
	char b;

	assert_int_equal(pread(fd, &b, 1, at), 1);
	b ^= 1;
	assert_int_equal(pwrite(fd, &b, 1, at), 1);
	(void)close(fd);
}

static void
a_damaged_file_is_a_miss_and_goes(void **state)
{
	enum { HEAD = 16 + 2 * DIGEST_SIZE + 8, LEN = 40 };
	struct cache *c = open_cache(8 * MB);
	const char *path;

	(void)state;
	for (off_t at = 0; at < HEAD + LEN; at++) {
		assert_int_equal(store(c, 1, LEN), 0);
		flip(name_of(1), at);
		assert_int_equal(load(c, 1, LEN), 0);
		assert_false(is_there(name_of(1)));
		assert_int_equal(kept_sum(), 0);
	}
	for (off_t len = 0; len < HEAD + LEN; len += 7) {
		assert_int_equal(store(c, 1, LEN), 0);
		assert_int_equal(truncate(in_folder(name_of(1)), len), 0);
		assert_int_equal(load(c, 1, LEN), 0);
	}
	/* Another's, under this name. */
	assert_int_equal(store(c, 1, LEN), 0);
	path = in_folder(name_of(1));
	assert_int_equal(rename(path, in_folder(name_of(2))), 0);
	assert_int_equal(load(c, 2, LEN), 0);
	assert_false(is_there(name_of(2)));
	/* A link that somebody put there leads nowhere. */
	write_file("elsewhere", "x");
	assert_int_equal(
	    symlink(in_folder("elsewhere"), in_folder(name_of(3))), 0);
	assert_int_equal(load(c, 3, LEN), -1);
	cache_close(c);
}

static void
used(unsigned n, time_t when)
{
	const struct timespec at[2] = { { when, 0 }, { when, 0 } };

	assert_int_equal(utimensat(AT_FDCWD, in_folder(name_of(n)), at, 0), 0);
}

static void
what_was_not_used_for_longest_goes(void **state)
{
	const uint64_t each = (ENTRY + 104 + BLOCK - 1) / BLOCK * BLOCK;
	struct cache *c = open_cache(10 * each);
	unsigned n;

	(void)state;
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(store(c, i, ENTRY), 0);
		used(i, 1000 + (time_t)(i * 7 % 10)); /* 0 3 6 9 2 5 8 1 4 7 */
	}
	assert_int_equal(sum(&n), 10 * each);
	assert_int_equal(load(c, 0, ENTRY), 1); /* the oldest, used now */
	assert_int_equal(store(c, 10, ENTRY), 0);
	assert_true(sum(&n) <= 10 * each);
	assert_int_equal(sum(&n), kept_sum());
	assert_true(n >= 9);
	assert_true(is_there(name_of(0)) && is_there(name_of(10)));
	assert_false(is_there(name_of(3)));
	assert_true(is_there(name_of(7)) && is_there(name_of(4)));
	cache_close(c);
}

/* What another stores last and most often drives out its own alone. */
static void
no_owner_drives_out_the_others(void **state)
{
	enum { FLOOD = 60, OTHERS = 4 };
	const uint64_t each = (ENTRY + 104 + BLOCK - 1) / BLOCK * BLOCK;
	struct cache *c = open_cache(16 * each);
	unsigned n, theirs = 0;

	(void)state;
	for (unsigned i = 0; i < OTHERS; i++) {
		assert_int_equal(store(c, i, ENTRY), 0);
		used(i, 1000 + (time_t)i);
	}
	assert_int_equal(store(c, 2 * OWNERS_PART, ENTRY), 0);
	used(2 * OWNERS_PART, 999);
	for (unsigned i = 0; i < FLOOD; i++)
		assert_int_equal(store(c, OWNERS_PART + i, ENTRY), 0);
	assert_true(sum(&n) <= 16 * each);
	assert_int_equal(sum(&n), kept_sum());
	for (unsigned i = 0; i < OTHERS; i++)
		assert_int_equal(load(c, i, ENTRY), 1);
	assert_int_equal(load(c, 2 * OWNERS_PART, ENTRY), 1);
	assert_int_equal(load(c, OWNERS_PART + FLOOD - 1, ENTRY), 1);
	for (unsigned i = 0; i < FLOOD; i++)
		theirs += is_there(name_of(OWNERS_PART + i)) ? 1 : 0;
	assert_int_equal(theirs, n - OTHERS - 1);
	assert_true(theirs >= 9); /* and no room is left unused */
	cache_close(c);
}

/* Also where the hash would be the same. */
static void
a_name_has_its_owner(void **state)
{
	struct cache_key mine, theirs;

	(void)state;
	key_after(NULL, &mine);
	key_after(owner, &theirs);
	assert_memory_not_equal(mine.owner, theirs.owner, sizeof(mine.owner));
	key_after(code, &theirs);
	assert_memory_equal(mine.owner, theirs.owner, sizeof(mine.owner));
}

static void
too_much_for_one_is_refused(void **state)
{
	struct cache *c = open_cache(8 * MB);
	const struct cache_key k = key_of(1);
	auto_free char *data = xcalloc(1, CACHE_ENTRY_MAX + 1);
	struct err err;

	(void)state;
	assert_int_equal(store(c, 1, MB - 2 * BLOCK), 0);
	assert_int_equal(cache_store(c, &k, data, MB, &err), -1);
	assert_int_equal(err.code, ERR_TOO_BIG);
	cache_close(c);
	c = open_cache((uint64_t)1 << 40);
	assert_int_equal(
	    cache_store(c, &k, data, CACHE_ENTRY_MAX + 1, &err), -1);
	assert_int_equal(err.code, ERR_TOO_BIG);
	assert_int_equal(cache_store(c, &k, data, CACHE_ENTRY_MAX, &err), 0);
	cache_close(c);
}

static void
a_start_puts_things_right(void **state)
{
	struct cache *c = open_cache(64 * MB);
	unsigned n;

	(void)state;
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(store(c, i, ENTRY), 0);
	cache_close(c);
	write_file(".new", "half an entry");
	write_file("notes.txt", "of the operator");
	flip(".total", 2);
	c = open_cache(64 * MB);
	assert_false(is_there(".new"));
	assert_true(is_there("notes.txt"));
	assert_int_equal(sum(&n), kept_sum());
	assert_int_equal(n, 20);
	cache_close(c);
	c = open_cache(MB); /* the setting was lowered */
	assert_true(sum(&n) <= MB && n > 5);
	assert_int_equal(sum(&n), kept_sum());
	cache_close(c);
}

/* Each in a process of its own: the limit holds, and the sum is right. */
static void
several_processes_keep_one_limit(void **state)
{
	enum { PROCESSES = 4, STORES = 60 };
	struct cache *c;
	unsigned n;

	(void)state;
	for (unsigned p = 0; p < PROCESSES; p++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid > 0)
			continue;
		c = open_cache(2 * MB);
		for (unsigned i = 0; i < STORES; i++)
			if (store(c, p * STORES + i, ENTRY) < 0 ||
			    load(c, p * STORES + i - 1, ENTRY) < 0 ||
			    sum(&n) > 2 * MB)
				_exit(1);
		_exit(0);
	}
	for (unsigned p = 0; p < PROCESSES; p++) {
		int status;

		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	assert_int_equal(sum(&n), kept_sum());
	assert_true(n > 10);
	assert_false(is_there(".new"));
}

static void
what_cannot_be_written_is_told(void **state)
{
	struct err err;

	(void)state;
	assert_null(cache_open(in_folder("missing"), MB, &err));
	write_file("file", "");
	assert_null(cache_open(in_folder("file"), MB, &err));
}

/* ---- where a process may write ---- */

/* 0, or the number of what went wrong. */
static int
try_confined(void)
{
	int dir = open(folder, O_RDONLY | O_DIRECTORY), memory, fd;
	struct err err;

	if (confine_writes(dir, &err) < 0)
		return 1;
	fd = openat(dir, "mine", O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || write(fd, "x", 1) != 1 ||
	    renameat(dir, "mine", dir, "named") < 0 ||
	    unlinkat(dir, "named", 0) < 0)
		return 2;
	memory = memfd_create("x", 0);
	if (memory < 0 || write(memory, "x", 1) != 1)
		return 3;
	if (open("/dev/null", O_RDONLY) < 0)
		return 4;
#ifndef UNFARM_INSTRUMENTED
	if (open("/tmp/unfarm-test-confined", O_WRONLY | O_CREAT, 0600) >= 0 ||
	    open("/dev/null", O_WRONLY) >= 0 ||
	    mkdirat(dir, "folder", 0700) == 0 ||
	    symlinkat("/", dir, "link") == 0 ||
	    rename(in_folder("victim"), "/tmp/unfarm-test-moved") == 0 ||
	    unlink("/tmp/unfarm-test-victim") == 0)
		return 5;
#endif
	return 0;
}

static void
a_process_writes_in_one_folder_only(void **state)
{
	pid_t pid;
	int status,
	    fd = open("/tmp/unfarm-test-victim", O_CREAT | O_RDWR, 0666);

	(void)state;
	write_file("victim", "x");
	(void)close(fd);
	pid = fork();
	if (pid == 0)
		_exit(try_confined());
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
	assert_int_equal(status, 0);
	assert_int_equal(unlink("/tmp/unfarm-test-victim"), 0);
}

static int
new_folder(void **state)
{
	(void)state;
	(void)snprintf(folder, sizeof(folder), "/tmp/unfarm-test-cache-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int
remove_folder(void **state)
{
	char command[64];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

#define in_a_folder(test)                                                      \
	cmocka_unit_test_setup_teardown(test, new_folder, remove_folder)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_a_compiler_sees_is_in_the_key),
		cmocka_unit_test(what_it_does_not_see_is_not),
		cmocka_unit_test(a_name_has_its_owner),
		in_a_folder(a_changed_tree_changes_the_survey),
		in_a_folder(a_changed_compiler_is_noticed_at_once),
		cmocka_unit_test(a_blob_is_read_as_it_was_written),
		cmocka_unit_test(half_a_blob_is_none),
		cmocka_unit_test(names_stay_inside),
		cmocka_unit_test(only_files_and_folders_and_not_too_many),
		in_a_folder(what_is_stored_is_found),
		in_a_folder(a_damaged_file_is_a_miss_and_goes),
		in_a_folder(what_was_not_used_for_longest_goes),
		in_a_folder(no_owner_drives_out_the_others),
		in_a_folder(too_much_for_one_is_refused),
		in_a_folder(a_start_puts_things_right),
		in_a_folder(several_processes_keep_one_limit),
		in_a_folder(what_cannot_be_written_is_told),
		in_a_folder(a_process_writes_in_one_folder_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
