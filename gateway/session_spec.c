#include "session_spec.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "attr.h"
#include "b64.h"
#include "cleanup.h"
#include "job.h"
#include "json.h"
#include "lang.h"
#include "query.h"
#include "settings.h"
#include "spec.h"

enum { MS = 1000, VCPU_MAX = 8, RANDOM = 10, NAME_MAX_ = 63, SIZE_MAX_ = 1000 };

DEFINE_CLEANUP(job_spec, job_spec_free)

bool
session_is_name(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && s[i] != '-')
			return false;
	return n > 0 && n <= NAME_MAX_;
}

static bool
shell_has_name(const struct shell *s, const char *name)
{
	if (strcasecmp(s->name, name) == 0)
		return true;
	for (size_t i = 0; i < s->aliases.n; i++)
		if (strcasecmp(s->aliases.items[i], name) == 0)
			return true;
	return false;
}

static const struct shell *
find_shell(const struct lang_registry *langs, const char *name)
{
	for (size_t i = 0; i < shell_count(langs); i++)
		if (shell_has_name(shell_at(langs, i), name))
			return shell_at(langs, i);
	return NULL;
}

/* Clients that know languages only mean the one's REPL. */
static const struct shell *
read_shell(const json_t *o, const struct lang_registry *langs, struct err *err)
{
	const char *name = "";
	const struct shell *s;
	char three[64];

	if (json_get_str(o, "shell", &name, NULL, err) < 0 ||
	    (!*name && json_get_str(o, "language", &name, NULL, err) < 0))
		return NULL;
	if (!*name)
		name = "bash";
	s = find_shell(langs, name);
	if (!s &&
	    snprintf(three, sizeof(three), "%s3", name) < (int)sizeof(three))
		s = find_shell(langs, three);
	if (!s)
		(void)err_set(err, ERR_LANGUAGE, 0,
		    "`shell` is `%.60s`, which this farm does not know: GET "
		    "/shells lists what there is",
		    name);
	return s;
}

static int
read_network(const json_t *o, struct err *err)
{
	const char *mode = "zerotrust";

	if (json_get_str(o, "network_mode", &mode, NULL, err) < 0 ||
	    json_get_str(o, "network", &mode, NULL, err) < 0)
		return -1;
	if (strcmp(mode, "semitrusted") == 0)
		return err_set(err, ERR_UNAVAILABLE_MODE, 0,
		    "`network_mode` semitrusted is not available: this farm "
		    "has no egress proxy yet; use zerotrust");
	if (strcmp(mode, "zerotrust") != 0)
		return err_set(err, ERR_INVALID, 0,
		    "`network_mode` must be zerotrust or semitrusted");
	return 0;
}

/* "tmux", "screen", "none", or "" for nothing said. */
static int
read_multiplexer(const json_t *o, const char **ret_name, struct err *err)
{
	static const char *const flags[] = { "tmux", "screen" };
	static const char *const words[] = { "multiplexer", "persistence" };
	const char *name = "";
	bool on;

	for (size_t i = 0; i < ARRAY_LEN(words) && !*name; i++)
		if (!json_is_null(json_object_get(o, words[i])) &&
		    json_get_str(o, words[i], &name, NULL, err) < 0)
			return -1;
	for (size_t i = 0; i < ARRAY_LEN(flags) && !*name; i++) {
		on = false;
		if (json_get_bool(o, flags[i], &on, err) < 0)
			return -1;
		if (on)
			name = flags[i];
	}
	if (*name && strcmp(name, "tmux") != 0 && strcmp(name, "screen") != 0 &&
	    strcmp(name, "none") != 0)
		return err_set(err, ERR_INVALID, 0,
		    "`multiplexer` must be tmux, screen or none");
	*ret_name = strcmp(name, "none") == 0 ? "" : name;
	return 0;
}

static json_t *
words_of(const struct lang_list *l)
{
	json_t *list = json_array();

	for (size_t i = 0; i < l->n; i++)
		if (json_array_append_new(list, json_string(l->items[i])) < 0)
			abort();
	return list;
}

/*
 * PROMPT_COMMAND writes bash's history line by line: a session that is ended
 * from outside has one, too.
 */
static json_t *
environment(const struct shell *s)
{
	static const char path[] = "PATH=" LANG_PATH;
	static const char *const all[] = { path, "HOME=/root", "USER=root",
		"LOGNAME=root", "SHELL=/bin/bash", "TMPDIR=/tmp",
		"TERM=xterm-256color", "COLORTERM=truecolor", "LANG=C.UTF-8" };
	static const char *const bash[] = { "PS1=\\u@\\h:\\w$ ",
		"PROMPT_COMMAND=history -a" };
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		(void)json_array_append_new(list, json_string(all[i]));
	for (size_t i = 0; i < ARRAY_LEN(bash); i++)
		if (strcmp(s->name, "bash") == 0)
			(void)json_array_append_new(list, json_string(bash[i]));
	return list;
}

static int
read_files(
    const struct settings *set, const json_t *o, json_t *body, struct err *err)
{
	auto_ref(job_spec) files = spec_files(set, o, err);
	json_t *list = json_array();

	(void)json_object_set_new(body, "files", list);
	if (!files)
		return -1;
	for (size_t i = 0; i < files->n_files; i++) {
		const struct job_file *f = &files->files[i];
		auto_free char *text = b64_encode(
		    f->content.data, f->content.len);
		json_t *one = json_object();

		json_set_str(one, "name", f->name);
		json_set_str(one, "content_base64", text);
		(void)json_array_append_new(list, one);
	}
	return 0;
}

static int
read_audit(
    const json_t *o, const struct query *q, bool *ret_audit, struct err *err)
{
	auto_free char *text = query_get(q, "audit", err);

	*ret_audit = text && strcmp(text, "0") != 0 &&
		     strcasecmp(text, "false") != 0;
	return json_get_bool(o, "audit", ret_audit, err) < 0 ? -1 : 0;
}

static int
read_numbers(const struct settings *set, const json_t *o, long *ret_vcpu,
    long long *ret_ttl, struct err *err)
{
	long long vcpu = 1;

	*ret_ttl = set->sessiond_ttl_seconds;
	if (json_get_int(
		o, "ttl", 1, set->sessiond_max_ttl_seconds, ret_ttl, err) < 0 ||
	    json_get_int(o, "vcpu", 1, VCPU_MAX, &vcpu, err) < 0)
		return -1;
	*ret_vcpu = (long)vcpu;
	return 0;
}

/* Of the window it will be seen in, which not every client has. */
static int
read_size(const json_t *o, json_t *body, struct err *err)
{
	static const char *const names[] = { "cols", "rows" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		long long v = 0;

		if (json_get_int(o, names[i], 1, SIZE_MAX_, &v, err) < 0)
			return -1;
		if (v > 0)
			json_set_int(body, names[i], v);
	}
	return 0;
}

static int
read_all(struct session_spec *s, const struct settings *set,
    const struct lang_registry *langs, const json_t *o, const struct query *q,
    struct err *err)
{
	const struct shell *shell = read_shell(o, langs, err);
	const char *multiplexer = "";
	bool persist = false, audit = false;
	long long ttl;

	if (!shell || read_network(o, err) < 0 ||
	    read_multiplexer(o, &multiplexer, err) < 0 ||
	    json_get_bool(o, "persist", &persist, err) < 0 ||
	    read_audit(o, q, &audit, err) < 0 ||
	    read_numbers(set, o, &s->vcpu, &ttl, err) < 0)
		return -1;
	json_set_str(s->body, "id", s->id);
	json_set_str(s->body, "shell", shell->name);
	json_set_str(s->body, "net", "zerotrust");
	json_set_str(s->body, "multiplexer", multiplexer);
	json_set_bool(s->body, "persist", persist);
	json_set_bool(s->body, "audit", audit);
	json_set_int(s->body, "vcpu", s->vcpu);
	json_set_int(s->body, "ttl_ms", ttl * MS);
	(void)json_object_set_new(s->body, "argv", words_of(&shell->argv));
	(void)json_object_set_new(s->body, "env", environment(shell));
	if (read_size(o, s->body, err) < 0)
		return -1;
	return read_files(set, o, s->body, err);
}

int
session_spec_read(struct session_spec *ret_spec, const struct settings *set,
    const struct lang_registry *langs, const char *text, size_t len,
    const struct query *q, struct err *err)
{
	json_auto_t *o = spec_object(text, len, err);
	char random[2 * RANDOM + 1];

	*ret_spec = (struct session_spec){ .vcpu = 1 };
	if (!o)
		return -1;
	id_random_hex(random, RANDOM);
	(void)snprintf(
	    ret_spec->id, sizeof(ret_spec->id), "unsb-session-%s", random);
	ret_spec->body = json_object();
	if (read_all(ret_spec, set, langs, o, q, err) == 0)
		return 0;
	session_spec_done(ret_spec);
	return -1;
}

void
session_spec_done(struct session_spec *s)
{
	json_decref(s->body);
	s->body = NULL;
}
