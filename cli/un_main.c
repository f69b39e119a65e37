/*
 * un - run code on an unfarm farm from the command line.
 *
 * One process, one thread, no state but two files in ~/.unsandbox/: the
 * accounts, which it only reads, and a list of languages, which is a cache.
 * The first word chooses a command from the table below; anything else is code
 * to execute.  Options are parsed here, from the command's table and the global
 * one, before the command runs.  The exit status is the program's own; 1 means
 * that it could not be run, 2 that the command line was wrong.
 */
#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "cleanup.h"
#include "mem.h"
#include "un_account.h"
#include "un_cmd.h"
#include "un_output.h"

static const struct un_cmd later[] = {
	{ .name = "service", .summary = "long-running services" },
	{ .name = "snapshot", .summary = "snapshots" },
	{ .name = "image", .summary = "images" },
	{ .name = "paas", .summary = "logs of the platform" },
};

static const struct un_cmd *const commands[] = {
	&un_cmd_jobs,
	&un_cmd_languages,
	&un_cmd_key,
	&un_cmd_session,
	&later[0],
	&later[1],
	&later[2],
	&later[3],
};

#define GLOBAL(member) .offset = offsetof(struct un_global, member)
static const struct un_opt global_opts[] = {
	{ 'p', UN_OPT_TEXT, NULL, GLOBAL(public_key), .arg = "PUBLIC_KEY",
	    .help = "public key (with -k)" },
	{ 'k', UN_OPT_SECRET, NULL, GLOBAL(secret_key), .arg = "SECRET_KEY",
	    .help = "secret key (with -p)" },
	{ 0, UN_OPT_NUMBER, "account", GLOBAL(account), .max = 1000000,
	    .arg = "N", .help = "row of ~/.unsandbox/accounts.csv, from 0" },
	{ 0, UN_OPT_TEXT, "api-base", GLOBAL(api_base), .arg = "URL",
	    .help = "address of the farm" },
	{ 'h', UN_OPT_FLAG, "help", GLOBAL(help), .help = "this text" },
	{ 0, UN_OPT_FLAG, "version", GLOBAL(version), .help = "version" },
};

static const struct un_cmd *
command_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

/* Index of the first word behind leading global options; argc for none. */
static int
first_word(int argc, char **argv)
{
	const struct un_opt_group globals = { global_opts,
		ARRAY_LEN(global_opts), NULL };
	int i = 1;

	while (i < argc && argv[i][0] == '-') {
		const struct un_opt *o = un_options_match(&globals, argv[i]);
		bool glued;

		if (!o)
			return argc;
		glued = argv[i][1] == '-' ? strchr(argv[i], '=') != NULL
					  : argv[i][2] != '\0';
		i += o->arg && !glued ? 2 : 1;
	}
	return i < argc ? i : argc;
}

/* The command, whose word is taken out of argv; execute when there is none. */
static const struct un_cmd *
command_take(int *argc, char **argv)
{
	int i = first_word(*argc, argv);
	const struct un_cmd *cmd = i < *argc ? command_find(argv[i]) : NULL;

	if (!cmd)
		return &un_cmd_execute;
	memmove(&argv[i], &argv[i + 1],
	    (size_t)(*argc - i) * sizeof(*argv)); /* the NULL too */
	(*argc)--;
	return cmd;
}

static void
help(FILE *f, const struct un_cmd *cmd)
{
	(void)fprintf(f, "usage: %s\n\n%s\n\n", cmd->usage, cmd->summary);
	un_options_help(f, cmd->opts, cmd->n_opts);
	un_options_help(f, global_opts, ARRAY_LEN(global_opts));
	if (cmd != &un_cmd_execute)
		return;
	(void)fprintf(f, "\ncommands (`un COMMAND --help`):\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (commands[i]->run)
			(void)fprintf(f, "  %-26s %s\n", commands[i]->name,
			    commands[i]->summary);
}

static int
answer(const struct un_call *call)
{
	if (call->global.version) {
		(void)printf("un %s\n", UNFARM_VERSION);
		return UN_OK;
	}
	if (call->global.help) {
		help(stdout, call->cmd);
		return UN_OK;
	}
	return call->cmd->run(call);
}

static int
run(const struct un_cmd *cmd, int argc, char **argv)
{
	struct un_call call = { .cmd = cmd,
		.global = { .account = UN_ACCOUNT_ANY } };
	auto_free void *options = xcalloc(1, cmd->options_size + 1);
	const struct un_opt_group groups[] = {
		{ cmd->opts, cmd->n_opts, options },
		{ global_opts, ARRAY_LEN(global_opts), &call.global },
	};
	int status;

	call.options = options;
	status = un_options_parse(
	    groups, ARRAY_LEN(groups), argc, argv, &call.words);
	if (status == 0)
		status = answer(&call);
	un_options_done(&groups[0]);
	un_options_done(&groups[1]);
	free(call.words.v);
	return status;
}

int
main(int argc, char **argv)
{
	const struct un_cmd *cmd;
	int status;

	if (argc < 2) {
		help(stderr, &un_cmd_execute);
		return UN_FAILED;
	}
	cmd = command_take(&argc, argv);
	if (!cmd->run)
		return un_output_refuse(UN_FAILED,
		    "un %s (%s) is not available in this version", cmd->name,
		    cmd->summary);
	/* A reader that went away is seen as a failed write, and cleanly. */
	(void)signal(SIGPIPE, SIG_IGN);
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return un_output_refuse(UN_FAILED, "libcurl does not start");
	status = run(cmd, argc, argv);
	curl_global_cleanup();
	return un_output_flush() || status != UN_OK ? status : UN_FAILED;
}
