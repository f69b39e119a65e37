#include "wire.h"

#include "msg.h"

bool
wire_read(const struct msg *m, struct wire *ret_wire)
{
	struct wire w = {
		.type = (enum wire_type)m->hdr.type, .text = "", .kind = ""
	};
	struct msg_in in;

	msg_in_init(&in, m);
	switch (m->hdr.type) {
	case WIRE_WANT:
		w.number = msg_get_u32(&in);
		w.kind = msg_get_str(&in);
		break;
	case WIRE_DONE:
	case WIRE_KILL:
		w.number = msg_get_u32(&in);
		break;
	case WIRE_CAN:
	case WIRE_ABANDONED:
		w.text = msg_get_str(&in);
		break;
	case WIRE_NO_SLOT:
		w.kind = msg_get_str(&in);
		w.text = msg_get_str(&in);
		break;
	case WIRE_SLOT:
		w.number = msg_get_u32(&in);
		w.mask = msg_get_u32(&in);
		w.others = msg_get_u32(&in);
		w.kind = msg_get_str(&in);
		break;
	default:
		return false;
	}
	if (!msg_in_done(&in))
		return false;
	*ret_wire = w;
	return true;
}
