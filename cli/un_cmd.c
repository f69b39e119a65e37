#include "un_cmd.h"

#include <stdlib.h>
#include <string.h>

#include "un_account.h"
#include "un_api.h"
#include "un_output.h"

#define DEFAULT_BASE "http://127.0.0.1:8484"

const char *
un_cmd_base(const struct un_global *g)
{
	const char *env = getenv("UNSANDBOX_API_BASE");

	if (g->api_base)
		return g->api_base;
	return env && *env ? env : DEFAULT_BASE;
}

static int
account_find(const struct un_global *g, bool needed, struct un_account *ret)
{
	const struct un_account_choice choice = {
		.public_key = g->public_key,
		.secret_key = g->secret_key,
		.row = g->account,
	};
	struct err err = { 0 };

	if (!g->public_key != !g->secret_key)
		return un_output_refuse(
		    UN_USAGE, "-p and -k go together: one is missing");
	if (un_account_load(&choice, ret, &err) == 0)
		return UN_OK;
	if (err.code == ERR_KEY && !needed)
		return UN_OK;
	un_output_error("%s", err.msg);
	if (err.code == ERR_KEY)
		un_output_line(stderr, UN_PLAIN,
		    "Give them with -p PUBLIC_KEY -k SECRET_KEY,\n"
		    "or set UNSANDBOX_PUBLIC_KEY and UNSANDBOX_SECRET_KEY,\n"
		    "or write them to ~/.unsandbox/accounts.csv "
		    "(public_key,secret_key).");
	if (err.code == ERR_KEY && getenv("UNSANDBOX_API_KEY"))
		un_output_line(stderr, UN_PLAIN,
		    "UNSANDBOX_API_KEY is not used: a key of a farm is a "
		    "pair.");
	return UN_FAILED;
}

int
un_cmd_connect(
    const struct un_global *g, bool keys_needed, struct un_api **ret_api)
{
	struct un_account account = { .public_key = NULL };
	struct err err = { 0 };
	int status = account_find(g, keys_needed, &account);

	if (status == UN_OK &&
	    un_api_new(un_cmd_base(g), &account, ret_api, &err) < 0) {
		un_output_error("%s", err.msg);
		status = UN_USAGE;
	}
	un_account_done(&account);
	return status;
}

int
un_cmd_call(
    struct un_api *api, const struct un_request *rq, struct un_reply *ret_reply)
{
	struct err err = { 0 };

	if (un_api_call(api, rq, ret_reply, &err) < 0) {
		un_output_error("%s", err.msg);
		return -1;
	}
	if (!un_reply_ok(ret_reply)) {
		un_reply_complain(ret_reply);
		return -1;
	}
	return 0;
}

int
un_cmd_no_words(const struct un_call *call)
{
	if (call->words.n == 0)
		return UN_OK;
	un_output_error("un %s: unexpected argument `%s`", call->cmd->name,
	    call->words.v[0]);
	return UN_USAGE;
}
