#include "un_lang.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "attr.h"

struct row {
	const char *key;
	const char *language;
};

static const struct row extensions[] = {
#define EXTENSION(ext, language) { ext, language },
#define INTERPRETER(name, language)
#include "un_lang.def"
#undef EXTENSION
#undef INTERPRETER
};

static const struct row interpreters[] = {
#define EXTENSION(ext, language)
#define INTERPRETER(name, language) { name, language },
#include "un_lang.def"
#undef EXTENSION
#undef INTERPRETER
};

static const char *
row_find(const struct row *rows, size_t n_rows, const char *key, size_t n)
{
	for (size_t i = 0; i < n_rows; i++)
		if (strlen(rows[i].key) == n &&
		    memcmp(rows[i].key, key, n) == 0)
			return rows[i].language;
	return NULL;
}

const char *
un_lang_of_path(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	const char *dot = strrchr(base, '.');

	/* ".sh" alone is a hidden file, not an extension. */
	if (!dot || dot == base)
		return NULL;
	return row_find(
	    extensions, ARRAY_LEN(extensions), dot + 1, strlen(dot + 1));
}

/* One blank-separated word of the first line. */
struct word {
	const char *p;
	size_t n;
};

static bool
word_next(const char **p, const char *end, struct word *ret_word)
{
	const char *s = *p;

	while (s < end && (*s == ' ' || *s == '\t'))
		s++;
	ret_word->p = s;
	while (s < end && *s != ' ' && *s != '\t')
		s++;
	ret_word->n = (size_t)(s - ret_word->p);
	*p = s;
	return ret_word->n > 0;
}

static struct word
word_base(struct word w)
{
	const char *slash = memrchr(w.p, '/', w.n);

	if (slash) {
		w.n -= (size_t)(slash + 1 - w.p);
		w.p = slash + 1;
	}
	return w;
}

static bool
word_is(struct word w, const char *text)
{
	return strlen(text) == w.n && memcmp(w.p, text, w.n) == 0;
}

/* The program behind env's own words: -S, -i, -u NAME, --x, NAME=VALUE. */
static bool
env_program(const char **p, const char *end, struct word *ret_word)
{
	while (word_next(p, end, ret_word)) {
		struct word *w = ret_word;

		if (word_is(*w, "-u") || word_is(*w, "-C")) {
			(void)word_next(p, end, w);
			continue;
		}
		/* "-Spython3" glues the program to the option. */
		if (w->n > 2 && memcmp(w->p, "-S", 2) == 0) {
			w->p += 2;
			w->n -= 2;
			return true;
		}
		if (w->p[0] != '-' && !memchr(w->p, '=', w->n))
			return true;
	}
	return false;
}

static const char *
interpreter_language(struct word w)
{
	static const char version[] = "0123456789.-";
	const char *lang = row_find(
	    interpreters, ARRAY_LEN(interpreters), w.p, w.n);

	while (!lang && w.n > 0 && strchr(version, w.p[w.n - 1])) {
		w.n--;
		lang = row_find(
		    interpreters, ARRAY_LEN(interpreters), w.p, w.n);
	}
	return lang;
}

const char *
un_lang_of_shebang(const char *code, size_t n)
{
	const char *p = code + 2, *end;
	struct word w;

	if (n < 3 || memcmp(code, "#!", 2) != 0)
		return NULL;
	end = memchr(code, '\n', n);
	if (!end)
		end = code + n;
	if (end[-1] == '\r')
		end--;
	if (!word_next(&p, end, &w))
		return NULL;
	w = word_base(w);
	if (word_is(w, "env") && !env_program(&p, end, &w))
		return NULL;
	return interpreter_language(word_base(w));
}
