#include "unfarm_op.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store.h"

#define DEFAULT_CONF "/etc/unfarm/unfarm.conf"

const char op_hint_redis[] =
    "is it running, and does farm.redis_url name it?  `unfarm config` shows\n"
    "what is in force; `make run` starts a farm with a Redis of its own.";

void
op_done(struct op *op)
{
	if (op->redis)
		redisFree(op->redis);
	op->redis = NULL;
}

int
op_load(struct op *op, struct err *err)
{
	if (op->loaded)
		return 0;
	if (!op->conf && access(DEFAULT_CONF, F_OK) < 0 && errno == ENOENT)
		settings_default(&op->settings);
	else if (settings_load(&op->settings,
		     op->conf ? op->conf : DEFAULT_CONF, err) < 0)
		return -1;
	op->loaded = true;
	return 0;
}

redisContext *
op_redis(struct op *op, struct err *err)
{
	if (op_load(op, err) < 0)
		return NULL;
	if (!op->redis)
		op->redis = store_connect_sync(
		    op->settings.farm_redis_url, err);
	return op->redis;
}

int
op_fail(const struct err *err, const char *hint)
{
	if (!hint && err->code == ERR_UNAVAILABLE)
		hint = op_hint_redis;
	(void)fprintf(stderr, "unfarm: %s\n", err->msg);
	if (hint)
		(void)fprintf(stderr, "%s\n", hint);
	return err_exit_status(err->code);
}

void
op_print_json(const json_t *v)
{
	if (json_dumpf(v, stdout, JSON_INDENT(2)) < 0)
		abort();
	(void)putchar('\n');
}
