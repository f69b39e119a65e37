/* init_read.c - takes messages apart; nothing here acts or allocates. */
#include <string.h>

#include "init.h"
#include "msg.h"
#include "plan.h"
#include "proto.h"

/* Strings stay in the message. */
bool
init_read_op(struct msg_in *in, struct plan_op *ret_op)
{
	uint32_t kind = msg_get_u32(in);

	ret_op->src = (char *)(uintptr_t)msg_get_str(in);
	ret_op->dst = (char *)(uintptr_t)msg_get_str(in);
	ret_op->data = (char *)(uintptr_t)msg_get_str(in);
	ret_op->mode = msg_get_u32(in);
	ret_op->flags = msg_get_u32(in);
	ret_op->fd = msg_get_u32(in);
	ret_op->value = msg_get_u64(in);
	if (in->bad || kind >= OP__COUNT)
		return false;
	ret_op->kind = (enum plan_op_kind)kind;
	return true;
}

bool
init_read_put(const struct msg *m, struct init_put *ret_put)
{
	struct msg_in in;

	msg_in_init(&in, m);
	ret_put->path = msg_get_str(&in);
	ret_put->mode = msg_get_u32(&in);
	ret_put->kind = msg_get_u32(&in);
	ret_put->target = msg_get_str(&in);
	ret_put->data = msg_get_bytes(&in, &ret_put->len);
	return msg_in_done(&in) && ret_put->kind >= PUT_FILE &&
	       ret_put->kind <= PUT_LINK;
}

static bool
read_words(struct msg_in *in, const char **words)
{
	uint32_t n = msg_get_u32(in);

	if (n > INIT_WORDS_MAX)
		return false;
	for (uint32_t i = 0; i < n; i++)
		words[i] = msg_get_str(in);
	words[n] = NULL;
	return true;
}

static bool
read_command(const struct msg *m, struct init_command *c)
{
	struct msg_in in;

	msg_in_init(&in, m);
	if (!read_words(&in, c->argv) || !read_words(&in, c->env))
		return false;
	c->address_space = msg_get_u64(&in);
	return msg_in_done(&in);
}

bool
init_read_run(const struct msg *m, struct init_command *ret_command)
{
	return read_command(m, ret_command) && m->n_fds == 3;
}

bool
init_read_hold(const struct msg *m, struct init_command *ret_command)
{
	return read_command(m, ret_command) && ret_command->argv[0] &&
	       (m->n_fds == HOLD_LIBRARY_FD + 1 ||
		   m->n_fds == HOLD_LIBRARY_FD + 2);
}

bool
init_read_start(const struct msg *m, struct init_process *p)
{
	struct msg_in in;

	msg_in_init(&in, m);
	p->id = msg_get_u32(&in);
	if (!read_words(&in, p->command.argv) ||
	    !read_words(&in, p->command.env))
		return false;
	p->command.address_space = 0;
	p->dir = msg_get_str(&in);
	p->terminal = msg_get_u32(&in) != 0;
	p->cols = msg_get_u32(&in);
	p->rows = msg_get_u32(&in);
	return msg_in_done(&in) && p->command.argv[0] &&
	       m->n_fds == (p->terminal ? 0 : 3);
}

bool
init_read_collect(const struct msg *m, struct init_collect *ret_collect)
{
	struct msg_in in;

	msg_in_init(&in, m);
	ret_collect->path = msg_get_str(&in);
	ret_collect->max_files = msg_get_u32(&in);
	ret_collect->max_bytes = msg_get_u64(&in);
	return msg_in_done(&in);
}
