/* stage.c - what goes into the sandbox before a step: files, argv, environment.
 */
#include "mem.h"
#include "task.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "environment.h"
#include "io.h"
#include "lang.h"
#include "sandbox.h"
#include "worker.h"

enum { ADDRESS_SPACE_SLACK = 1 << 30 };

/* The program itself keeps its name; folders of ours theirs. */
bool
stage_is_linked(const struct task *t, const struct job_file *f)
{
	return strcmp(f->name, t->lang->source) != 0 &&
	       strcmp(f->name, "input") != 0 &&
	       strcmp(f->name, "artifacts") != 0;
}

/* Input files are in /tmp/input and, by a second name, in the working folder. */
static int
put_inputs(struct task *t, struct box *box, struct err *err)
{
	const struct job_spec *s = t->spec;

	for (size_t i = 0; i < s->n_files; i++) {
		const struct job_file *f = &s->files[i];
		char path[400];

		(void)snprintf(path, sizeof(path), "/tmp/input/%s", f->name);
		if (box_put_file(box, path, 0644, f->content.data,
			f->content.len, err) < 0)
			return -1;
		if (stage_is_linked(t, f) &&
		    box_put_link(box, f->name, path, err) < 0)
			return -1;
	}
	return 0;
}

int
stage_files(struct task *t, struct err *err)
{
	struct box *box = t->slot->box;

	for (size_t i = 0; i < t->lang->caches.n; i++)
		if (box_put_dir(
			box, t->lang->caches.items[i].value, 0755, err) < 0)
			return -1;
	if (put_inputs(t, box, err) < 0)
		return -1;
	return box_put_file(box, t->lang->source, 0644, t->spec->code.data,
	    t->spec->code.len, err);
}

/* The program's input is a sealed file: it cannot block, nor be written to. */
static int
open_input(const struct task *t, bool with_input, struct err *err)
{
	const struct job_bytes *in = &t->spec->input;
	int fd;

	if (with_input && in->data)
		return io_memfd_sealed("stdin", in->data, in->len, err);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return fd >= 0 ? fd : err_errno(err, "open /dev/null");
}

int
stage_run(struct task *t, const struct lang_list *argv, bool with_input,
    int out, int err_fd, struct err *err)
{
	const struct job_spec *s = t->spec;
	size_t n_args = with_input ? s->n_args : 0, n = 0;
	auto_free const char **words = xcalloc(
	    argv->n + n_args + 1, sizeof(*words));
	auto_close int in = open_input(t, with_input, err);
	struct environment env = { .n = 0 };
	struct box_command cmd = { .argv = words, .fds = { in, out, err_fd } };
	int r;

	if (in < 0)
		return -1;
	if (!t->slot->held || !with_input) {
		for (size_t i = 0; i < argv->n; i++)
			words[n++] = argv->items[i];
		for (size_t i = 0; i < n_args; i++)
			words[n++] = s->args[i];
		env_of_job(&env, t->lang, s);
	}
	cmd.env = env_words(&env);
	if (t->lang->limit_address_space)
		cmd.address_space = ((uint64_t)s->memory_mb << 20) +
				    ADDRESS_SPACE_SLACK;
	r = box_run(t->slot->box, &cmd, err);
	env_done(&env);
	return r;
}
