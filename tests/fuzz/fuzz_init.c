/*
 * Messages to sandbox-init: two bytes of type, one of the number of
 * descriptors, then the payload.  What is read is all that there was.
 */
#include <string.h>

#include "attr.h"
#include "fuzz.h"
#include "init.h"
#include "msg.h"
#include "plan.h"
#include "proto.h"

/* As init_setup() goes through them. */
static bool
plan_again(const struct msg *m, struct msg_out *o)
{
	static struct plan_op ops[512];
	struct plan plan = { .ops = ops };
	struct msg_in in;
	size_t n;

	msg_in_init(&in, m);
	n = msg_get_u32(&in);
	if (n > ARRAY_LEN(ops))
		return false;
	while (plan.n < n) {
		if (!init_read_op(&in, &ops[plan.n]))
			return false;
		must(ops[plan.n].kind < OP__COUNT);
		plan.n++;
	}
	plan_encode(&plan, o);
	return msg_in_done(&in);
}

static bool
put_again(const struct msg *m, struct msg_out *o)
{
	struct init_put p;

	if (!init_read_put(m, &p))
		return false;
	msg_put_str(o, p.path);
	msg_put_u32(o, p.mode);
	msg_put_u32(o, p.kind);
	msg_put_str(o, p.target);
	msg_put_bytes(o, p.data, p.len);
	return true;
}

static bool
command_again(const struct init_command *c, struct msg_out *o)
{
	msg_put_strs(o, c->argv);
	msg_put_strs(o, c->env);
	msg_put_u64(o, c->address_space);
	return true;
}

static bool
run_again(const struct msg *m, struct msg_out *o)
{
	static struct init_command c;

	if (!init_read_run(m, &c))
		return false;
	must(m->n_fds == 3);
	return command_again(&c, o);
}

static bool
hold_again(const struct msg *m, struct msg_out *o)
{
	static struct init_command c;

	if (!init_read_hold(m, &c))
		return false;
	must(c.argv[0] && (m->n_fds == HOLD_LIBRARY_FD + 1 ||
			      m->n_fds == HOLD_LIBRARY_FD + 2));
	return command_again(&c, o);
}

static bool
collect_again(const struct msg *m, struct msg_out *o)
{
	struct init_collect c;

	if (!init_read_collect(m, &c))
		return false;
	msg_put_str(o, c.path);
	msg_put_u32(o, c.max_files);
	msg_put_u64(o, c.max_bytes);
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool (*const again[])(const struct msg *, struct msg_out *) = {
		[PROTO_SETUP] = plan_again,
		[PROTO_PUT] = put_again,
		[PROTO_RUN] = run_again,
		[PROTO_HOLD] = hold_again,
		[PROTO_COLLECT] = collect_again,
	};
	static unsigned char body[MSG_MAX];
	struct msg_out o = { .data = body };
	struct feed f = { data, size };
	static struct msg m;
	unsigned type = feed_u16(&f);

	m.n_fds = feed_u8(&f) % (MSG_FDS_MAX + 1);
	fuzz_msg(&m, type, &f);
	if (type < ARRAY_LEN(again) && again[type] && again[type](&m, &o))
		must(!o.overflow && o.len == m.hdr.len &&
		     memcmp(o.data, m.body, o.len) == 0);
	return 0;
}
