/*
 * A request from end to end: `un -e NAME=VALUE ... ARG ...` makes a body, the
 * gateway reads the same variables and arguments out of it.  The first line is
 * the code, then a variable (begins with -e) or an argument a line.
 */
#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "cleanup.h"
#include "fuzz.h"
#include "job.h"
#include "json.h"
#include "settings.h"
#include "spec.h"
#include "un_execute.h"
#include "un_source.h"
#include "utf8.h"

enum { LINES_MAX = 32 };

struct typed {
	char *lines[LINES_MAX];
	size_t n;
	struct un_item env[LINES_MAX];
	size_t n_env;
	char *args[LINES_MAX];
	int n_args;
};

static void
split(struct feed *f, struct typed *l)
{
	while (f->left > 0 && l->n < LINES_MAX) {
		char *text = feed_line(f);

		l->lines[l->n++] = text;
		if (strncmp(text, "-e", 2) == 0)
			l->env[l->n_env++] = (struct un_item){ text + 2, 'e' };
		else
			l->args[l->n_args++] = text;
	}
}

/* The last of a name counts. */
static const char *
value_of(const struct typed *l, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = l->n_env; i-- > 0;) {
		const char *text = l->env[i].value;

		if ((size_t)(strchrnul(text, '=') - text) == n &&
		    memcmp(text, name, n) == 0)
			return text[n] ? text + n + 1 : "";
	}
	return NULL;
}

static void
check(const struct typed *l, const struct job_spec *s, const char *code)
{
	must(strcmp(s->code.data, code) == 0);
	must(s->n_args == (size_t)l->n_args);
	for (size_t i = 0; i < s->n_args; i++)
		must(strcmp(s->args[i], l->args[i]) == 0);
	for (size_t i = 0; i < s->n_env; i++) {
		const char *value = value_of(l, s->env[i].name);

		must(value && strcmp(value, s->env[i].value) == 0);
	}
	for (size_t i = 0; i < l->n_env; i++) {
		size_t k = 0, n = strcspn(l->env[i].value, "=");

		while (k < s->n_env &&
		       (strncmp(s->env[k].name, l->env[i].value, n) != 0 ||
			   s->env[k].name[n] != '\0'))
			k++;
		must(k < s->n_env);
	}
}

static void
send(const struct typed *l, const json_t *body, const char *code)
{
	auto_free char *text = json_text(body);
	struct spec_rules rules = { .langs = fuzz_langs() };
	struct settings set;
	struct job_spec *s;
	struct err err;
	bool async;

	settings_default(&set);
	rules.set = &set;
	must_be_json(text, strlen(text));
	s = spec_from_json(&rules, text, strlen(text), &async, &err);
	if (!s) {
		/* No code, no name of a variable, or too much of something. */
		must(!*code || value_of(l, "") || err.code == ERR_TOO_BIG);
		return;
	}
	check(l, s, code);
	must_be_good_spec(s);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, size };
	auto_free char *code = feed_line(&f);
	struct un_source source = { .language = "python",
		.code = { .data = code, .len = strlen(code) } };
	struct typed l = { .n = 0 };
	struct un_execute x = { .env = { .items = l.env } };
	json_t *body;
	struct err err;

	/* un_source_load() lets in nothing else. */
	if (!utf8_valid(code, strlen(code)))
		return 0;
	split(&f, &l);
	x.env.n = l.n_env;
	body = un_execute_body(&x, &source, l.args, l.n_args, &err);
	if (body)
		send(&l, body, code);
	else
		must(err.code == ERR_INVALID && *err.msg);
	json_decref(body);
	for (size_t i = 0; i < l.n; i++)
		free(l.lines[i]);
	return 0;
}
