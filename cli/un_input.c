#include "un_input.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "b64.h"
#include "buf.h"
#include "cleanup.h"
#include "io.h"
#include "un_options.h"
#include "utf8.h"

static const long long files_ask = 1LL << 30; /* bytes; more is asked about */
static const long long files_max = 4LL << 30;

static int
files_measure(
    const struct un_list *files, long long *ret_total, struct err *err)
{
	struct stat st;

	*ret_total = 0;
	for (size_t i = 0; i < files->n; i++) {
		const char *path = files->items[i].value;

		if (stat(path, &st) < 0)
			return err_errno(err, "input file `%s`", path);
		if (S_ISDIR(st.st_mode))
			return err_set(err, ERR_INVALID, 0,
			    "input file `%s` is a directory", path);
		*ret_total += st.st_size;
	}
	if (*ret_total > files_max)
		return err_set(err, ERR_TOO_BIG, 0,
		    "the input files are larger than 4 GB together");
	return 0;
}

static int
files_confirm(long long total, struct err *err)
{
	char line[16] = "";

	if (!isatty(STDIN_FILENO))
		return err_set(err, ERR_TOO_BIG, 0,
		    "the input files have %lld MB; confirm with --yes",
		    total >> 20);
	(void)fprintf(stderr, "The input files have %lld MB. Continue? [y/N] ",
	    total >> 20);
	if (fgets(line, sizeof(line), stdin) && strcasecmp(line, "y\n") == 0)
		return 0;
	return err_set(err, ERR_INVALID, 0, "not confirmed");
}

static const char *
sent_name(const struct un_item *item)
{
	const char *slash = strrchr(item->value, '/');

	return item->letter == 'f' && slash ? slash + 1 : item->value;
}

static int
file_add(json_t *list, const struct un_item *item, struct err *err)
{
	auto_buf struct buf data = { .cap = (size_t)files_max };
	const char *name = sent_name(item);
	auto_free char *text = NULL;
	json_t *file;

	if (!utf8_valid(name, strlen(name)))
		return err_set(err, ERR_INVALID, 0,
		    "the name of input file `%s` is not UTF-8", name);
	if (io_read_file(AT_FDCWD, item->value, &data, err) < 0)
		return err_wrap(err, "input file");
	text = b64_encode(data.data ? data.data : "", data.len);
	file = json_object();
	if (json_object_set_new_nocheck(
		file, "filename", json_string_nocheck(name)) < 0 ||
	    json_object_set_new_nocheck(
		file, "content", json_string_nocheck(text)) < 0 ||
	    json_array_append_new(list, file) < 0)
		abort();
	return 0;
}

int
un_input_add(
    json_t *body, const struct un_list *files, bool yes, struct err *err)
{
	json_auto_t *list = json_array();
	long long total;

	if (files->n == 0)
		return 0;
	if (files_measure(files, &total, err) < 0)
		return -1;
	if (total > files_ask && !yes && files_confirm(total, err) < 0)
		return -1;
	for (size_t i = 0; i < files->n; i++)
		if (file_add(list, &files->items[i], err) < 0)
			return -1;
	if (json_object_set_nocheck(body, "input_files", list) < 0)
		abort();
	return 0;
}
