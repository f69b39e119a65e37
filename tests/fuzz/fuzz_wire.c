/*
 * A packet between the worker master, which has privileges, and a worker
 * process: two bytes of type, then the payload.
 */
#include <string.h>

#include "fuzz.h"
#include "msg.h"
#include "wire.h"

/* What the other side would have sent for it. */
static void
write_again(const struct wire *w, struct msg_out *o)
{
	switch (w->type) {
	case WIRE_WANT:
		msg_put_u32(o, w->number);
		msg_put_str(o, w->kind);
		break;
	case WIRE_DONE:
	case WIRE_KILL:
		msg_put_u32(o, w->number);
		break;
	case WIRE_CAN:
	case WIRE_ABANDONED:
		msg_put_str(o, w->text);
		break;
	case WIRE_NO_SLOT:
		msg_put_str(o, w->kind);
		msg_put_str(o, w->text);
		break;
	case WIRE_SLOT:
		msg_put_u32(o, w->number);
		msg_put_u32(o, w->mask);
		msg_put_u32(o, w->others);
		msg_put_str(o, w->kind);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct msg m;
	static unsigned char body[MSG_MAX];
	struct feed f = { data, size };
	struct msg_out o = { .data = body };
	struct wire w;

	fuzz_msg(&m, feed_u16(&f), &f);
	if (!wire_read(&m, &w))
		return 0;
	must(w.type >= WIRE_WANT && w.type <= WIRE_NO_SLOT);
	write_again(&w, &o);
	must(!o.overflow && o.len == m.hdr.len &&
	     memcmp(o.data, m.body, o.len) == 0);
	return 0;
}
