#include "fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <hiredis/hiredis.h>
#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "job.h"
#include "json.h"
#include "lang.h"
#include "msg.h"
#include "settings.h"
#include "utf8.h"

void
fuzz_broken(const char *cond, const char *file, int line)
{
	(void)fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, cond);
	abort();
}

void
must_be_json(const char *text, size_t n)
{
	struct err err;
	json_t *v;

	must(utf8_valid(text, n));
	v = json_parse(text, n, &err);
	must(v);
	json_decref(v);
}

void
must_be_inside(const char *name)
{
	must(*name);
	for (const char *p = name; p; p = strchr(p, '/')) {
		size_t n;

		p += p > name;
		n = strcspn(p, "/");
		must(n > 0);
		must(!(n == 1 && p[0] == '.'));
		must(!(n == 2 && p[0] == '.' && p[1] == '.'));
	}
}

/* ---- inputs in other shapes ---- */

char *
fuzz_text(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	must(text);
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	return text;
}

const char *
fuzz_file(const void *data, size_t size)
{
	static char path[64];
	static int fd = -1;

	if (fd < 0) {
		fd = memfd_create("input", MFD_CLOEXEC);
		must(fd >= 0);
		(void)snprintf(
		    path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
	}
	must(ftruncate(fd, 0) == 0);
	must(pwrite(fd, data, size, 0) == (ssize_t)size);
	return path;
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	(void)st;
	(void)kind;
	return where->level > 0 ? remove(path) : 0;
}

void
fuzz_folder_clear(const char *dir)
{
	must(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
}

/* One a process, in memory: targets write and remove much there. */
static void
folder_name(pid_t pid, char ret_name[64])
{
	(void)snprintf(ret_name, 64, "/dev/shm/unfarm-fuzz-%d", (int)pid);
}

void
fuzz_folder_remove(pid_t pid)
{
	char name[64];

	folder_name(pid, name);
	if (access(name, F_OK) < 0)
		return;
	fuzz_folder_clear(name);
	(void)rmdir(name);
}

static void
remove_own(void)
{
	fuzz_folder_remove(getpid());
}

const char *
fuzz_folder(void)
{
	static char name[64];

	folder_name(getpid(), name);
	remove_own();
	must(mkdir(name, 0700) == 0 && atexit(remove_own) == 0);
	return name;
}

/* ---- inputs in pieces ---- */

const uint8_t *
feed_bytes(struct feed *f, size_t n, size_t *ret_len)
{
	const uint8_t *p = f->p;

	*ret_len = n < f->left ? n : f->left;
	f->p += *ret_len;
	f->left -= *ret_len;
	return p;
}

static uint64_t
number(struct feed *f, size_t size)
{
	uint64_t v = 0;
	size_t n;
	const uint8_t *p = feed_bytes(f, size, &n);

	memcpy(&v, p, n);
	return v;
}

unsigned
feed_u8(struct feed *f)
{
	return (unsigned)number(f, 1);
}

unsigned
feed_u16(struct feed *f)
{
	return (unsigned)number(f, 2);
}

uint64_t
feed_u64(struct feed *f)
{
	return number(f, 8);
}

char *
feed_line(struct feed *f)
{
	const uint8_t *end = f->left ? memchr(f->p, '\n', f->left) : NULL;
	size_t n = end ? (size_t)(end - f->p) : f->left;
	const uint8_t *p = feed_bytes(f, n, &n);

	if (end)
		(void)feed_u8(f);
	return fuzz_text(p, n);
}

unsigned
fuzz_free_fds(void)
{
	enum { LOOKED_AT = 24 };
	int fds[LOOKED_AT];
	unsigned sum = 0;

	for (size_t i = 0; i < LOOKED_AT; i++) {
		fds[i] = dup(STDERR_FILENO);
		must(fds[i] >= 0);
		sum += (unsigned)fds[i];
	}
	for (size_t i = 0; i < LOOKED_AT; i++)
		(void)close(fds[i]);
	return sum;
}

void
fuzz_msg(struct msg *m, unsigned type, struct feed *f)
{
	const uint8_t *p;
	size_t n;

	p = feed_bytes(f, f->left < MSG_MAX ? f->left : MSG_MAX, &n);
	ASAN_UNPOISON_MEMORY_REGION(m->body, MSG_MAX);
	m->hdr = (struct msg_hdr){ MSG_VERSION, (uint16_t)type, (uint32_t)n };
	memcpy(m->body, p, n);
	ASAN_POISON_MEMORY_REGION(m->body + n, MSG_MAX - n);
}

/* ---- what several targets give out ---- */

const struct lang_registry *
fuzz_langs(void)
{
	static struct lang_registry *langs; /* lives as long as we */
	struct err err;

	if (!langs)
		langs = lang_load("conf", &err);
	must(langs);
	return langs;
}

static redisReply *
reply_new(int type)
{
	redisReply *r = calloc(1, sizeof(*r));

	must(r);
	r->type = type;
	return r;
}

static redisReply *
reply_text(struct feed *f, int type)
{
	redisReply *r = reply_new(type);
	size_t n;
	const uint8_t *p = feed_bytes(f, feed_u16(f), &n);

	r->str = fuzz_text(p, n);
	r->len = n;
	return r;
}

static redisReply *
reply_array(struct feed *f, int depth)
{
	redisReply *r = reply_new(REDIS_REPLY_ARRAY);
	size_t n = feed_u8(f);

	r->element = calloc(n + 1, sizeof(*r->element));
	must(r->element);
	while (r->elements < n && f->left > 0)
		r->element[r->elements++] = fuzz_reply(f, depth + 1);
	return r;
}

struct redisReply *
fuzz_reply(struct feed *f, int depth)
{
	enum { DEPTH_MAX = 7 }; /* as hiredis */
	redisReply *r;

	switch (feed_u8(f)) {
	case 'A':
		return depth < DEPTH_MAX ? reply_array(f, depth)
					 : reply_new(REDIS_REPLY_NIL);
	case 'S':
		return reply_text(f, REDIS_REPLY_STRING);
	case 'T':
		return reply_text(f, REDIS_REPLY_STATUS);
	case 'I':
		r = reply_new(REDIS_REPLY_INTEGER);
		r->integer = (long long)feed_u64(f);
		return r;
	default:
		return reply_new(REDIS_REPLY_NIL);
	}
}

/* ---- job specs ---- */

static void
check_texts(const struct job_spec *s)
{
	must(utf8_valid(s->language, strlen(s->language)));
	must(strcmp(s->network_mode, "zerotrust") == 0);
	must(lang_find(fuzz_langs(), s->language));
	for (size_t i = 0; i < s->n_args; i++)
		must(s->args[i]);
	for (size_t i = 0; i < s->n_env; i++) {
		must(*s->env[i].name && !strchr(s->env[i].name, '='));
		for (size_t k = 0; k < i; k++)
			must(strcmp(s->env[k].name, s->env[i].name) != 0);
	}
}

static void
check_files(const struct job_spec *s)
{
	for (size_t i = 0; i < s->n_files; i++) {
		const char *name = s->files[i].name;

		must_be_inside(name);
		must(utf8_valid(name, strlen(name)) && strlen(name) <= 256);
		/* None of them is where another one needs a folder. */
		for (size_t k = 0; k < s->n_files; k++) {
			const char *other = s->files[k].name;
			size_t n = strlen(other);

			must(i == k || strncmp(name, other, n) != 0 ||
			     (name[n] != '\0' && name[n] != '/'));
		}
	}
}

void
must_be_within(const struct job_spec *s, const struct settings *set)
{
	size_t files = 0, args = 0, env = 0;

	for (size_t i = 0; i < s->n_files; i++) {
		must(s->files[i].content.len <= (size_t)set->gateway_max_file_kb
						    << 10);
		files += s->files[i].content.len;
	}
	for (size_t i = 0; i < s->n_args; i++)
		args += strlen(s->args[i]) + 1;
	for (size_t i = 0; i < s->n_env; i++)
		env += strlen(s->env[i].name) + strlen(s->env[i].value) + 2;
	must(s->code.len <= (size_t)set->gateway_max_code_kb << 10);
	must(s->input.len <= (size_t)set->gateway_max_stdin_kb << 10);
	must(files <= (size_t)set->gateway_max_files_kb << 10);
	must(args <= (size_t)set->gateway_max_args_kb << 10);
	must(env <= (size_t)set->gateway_max_env_kb << 10);
	must(s->n_files <= (size_t)set->gateway_max_files);
	must(s->n_args <= (size_t)set->gateway_max_args);
	must(s->n_env <= (size_t)set->gateway_max_env);
}

void
must_be_good_spec(struct job_spec *s)
{
	auto_free char *text = NULL, *again_text = NULL;
	struct job_spec *again;
	struct err err;

	must(s->code.len > 0);
	must(s->ttl >= 1 && s->ttl <= 900);
	must(s->cpu_limit >= 0 && s->cpu_limit <= 900);
	must(s->vcpu >= 1 && s->vcpu <= 8);
	must(s->memory_mb >= 0 &&
	     s->memory_mb <= s->vcpu * JOB_MEMORY_PER_VCPU_MB);
	check_texts(s);
	check_files(s);
	text = job_spec_encode(s);
	must_be_json(text, strlen(text));
	again = job_spec_decode(text, strlen(text), &err);
	must(again);
	again_text = job_spec_encode(again);
	must(strcmp(text, again_text) == 0);
	must(again->code.len == s->code.len &&
	     memcmp(again->code.data, s->code.data, s->code.len) == 0);
	job_spec_free(again);
	job_spec_free(s);
}

void
fuzz_be_silent(void)
{
	static bool done;
	int fd = done ? -1 : open("/dev/null", O_WRONLY | O_CLOEXEC);

	/* Messages go nowhere; descriptor 2 stays for the sanitizers. */
	if (fd >= 0)
		stderr = fdopen(fd, "we");
	must(stderr);
	done = true;
}
