#include "lead.h"

void
lead_init(struct lead *l, int64_t lock_ms)
{
	*l = (struct lead){ .lock_ms = lock_ms };
}

int64_t
lead_period_ms(const struct lead *l)
{
	int64_t third = l->lock_ms / 3;

	return third > 0 ? third : 1;
}

bool
lead_ask(struct lead *l, int64_t now_ms)
{
	if (l->asking)
		return false;
	l->asking = true;
	l->asked_ms = now_ms;
	return true;
}

enum lead_change
lead_answer(struct lead *l, bool granted)
{
	bool led = l->leading;

	l->asking = false;
	if (!granted)
		return lead_step_down(l);
	l->until_ms = l->asked_ms + l->lock_ms;
	l->leading = true;
	return led ? LEAD_SAME : LEAD_GAINED;
}

void
lead_no_answer(struct lead *l)
{
	l->asking = false;
}

enum lead_change
lead_check(struct lead *l, int64_t now_ms)
{
	if (!l->leading || now_ms < l->until_ms)
		return LEAD_SAME;
	return lead_step_down(l);
}

enum lead_change
lead_step_down(struct lead *l)
{
	bool led = l->leading;

	l->leading = false;
	return led ? LEAD_LOST : LEAD_SAME;
}
