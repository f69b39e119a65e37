#include "un_source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io.h"
#include "un_lang.h"
#include "un_output.h"
#include "utf8.h"

bool
un_source_is_stdin(const char *word, const char *language)
{
	return word ? strcmp(word, "-") == 0 : language != NULL;
}

bool
un_source_is_file(const char *word, const char *language)
{
	struct stat st;

	return word && !language && !un_source_is_stdin(word, language) &&
	       stat(word, &st) == 0 && !S_ISDIR(st.st_mode);
}

int
un_source_read_stdin(struct buf *ret_data, struct err *err)
{
	char chunk[8192];
	ssize_t n;

	while ((n = read(STDIN_FILENO, chunk, sizeof(chunk))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "read standard input");
		if (buf_add(ret_data, chunk, (size_t)n) < 0)
			return err_set(err, ERR_TOO_BIG, 0,
			    "standard input is larger than %zu bytes",
			    ret_data->cap);
	}
	return 0;
}

static int
code_read(const char *word, const char *language, struct un_source *s,
    struct err *err)
{
	if (un_source_is_stdin(word, language)) {
		if (isatty(STDIN_FILENO))
			un_output_line(stderr, UN_YELLOW,
			    "Reading the code from the terminal; "
			    "end it with Ctrl-D.");
		return un_source_read_stdin(&s->code, err);
	}
	if (un_source_is_file(word, language)) {
		s->path = word;
		return io_read_file(AT_FDCWD, word, &s->code, err);
	}
	if (buf_adds(&s->code, word) < 0)
		return err_set(err, ERR_TOO_BIG, 0, "the code is too long");
	return 0;
}

static int
language_find(struct un_source *s, struct err *err)
{
	const char *code = s->code.data ? s->code.data : "";

	if (s->path)
		s->language = un_lang_of_path(s->path);
	if (!s->language)
		s->language = un_lang_of_shebang(code, s->code.len);
	if (s->language)
		return 0;
	if (s->path)
		return err_set(err, ERR_LANGUAGE, 0,
		    "cannot tell the language of `%s` from its name or its "
		    "first line; say it: un -s LANGUAGE - < FILE",
		    s->path);
	s->language = "bash";
	return 0;
}

int
un_source_load(const char *word, const char *language,
    struct un_source *ret_source, struct err *err)
{
	struct un_source *s = ret_source;

	*s = (struct un_source){ .language = language };
	buf_init(&s->code, UN_SOURCE_MAX);
	if (code_read(word, language, s, err) < 0)
		return -1;
	if (s->code.len == 0)
		return err_set(err, ERR_INVALID, 0, "there is no code to run");
	if (!utf8_valid(s->code.data, s->code.len))
		return err_set(err, ERR_INVALID, 0, "%s%s%s is not UTF-8 text",
		    s->path ? "`" : "", s->path ? s->path : "the code",
		    s->path ? "`" : "");
	return language ? 0 : language_find(s, err);
}

void
un_source_done(struct un_source *s)
{
	buf_done(&s->code);
}
