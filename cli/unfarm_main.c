/*
 * unfarm - the operator's command: keys, status, configuration.
 *
 * It talks to Redis directly, with the scripts the daemons use, and reads the
 * master key; it is run by root or by who may read both.  One row of the table
 * below is one command.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "unfarm_op.h"

static const struct command {
	const char *name;
	int (*run)(struct op *op, int argc, char **argv);
	const char *doc;
} commands[] = {
	{ "key", cmd_key, "create, list, change, suspend and delete API keys" },
	{ "status", cmd_status, "workers, queue, leader: is the farm well?" },
	{ "config", cmd_config, "the settings in force, or a sample file" },
	{ "doctor", cmd_doctor,
	    "what this host can isolate, and what is missing" },
};

static void
usage(FILE *out)
{
	(void)fprintf(out, "Usage: unfarm [-c FILE] COMMAND ...\n"
			   "\n"
			   "Commands (each with --help):\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		(void)fprintf(
		    out, "  %-8s %s\n", commands[i].name, commands[i].doc);
	(void)fprintf(out,
	    "\n"
	    "Options:\n"
	    "  -c, --config FILE  configuration (/etc/unfarm/unfarm.conf, or "
	    "the\n"
	    "                     built-in defaults when that is missing)\n"
	    "      --version      print the version\n"
	    "      --help         print this\n");
}

static int
run_command(struct op *op, int argc, char **argv)
{
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (strcmp(commands[i].name, argv[0]) == 0)
			return commands[i].run(op, argc, argv);
	(void)err_set(
	    &err, ERR_INVALID, 0, "there is no command `%s`", argv[0]);
	return op_fail(&err, "`unfarm --help` lists the commands.");
}

/* A full disk or a closed pipe must not look like success. */
static int
flushed(int status)
{
	struct err err;

	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	(void)err_set(&err, ERR_SYS, 0, "standard output could not be written");
	return op_fail(&err, NULL);
}

int
main(int argc, char **argv)
{
	enum { OPT_VERSION = 256, OPT_HELP };
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ "help", no_argument, NULL, OPT_HELP },
		{ NULL, 0, NULL, 0 },
	};
	struct op op = { .conf = NULL };
	int o, status;

	log_init("unfarm", LOG_ERR);
	while ((o = getopt_long(argc, argv, "+c:", options, NULL)) != -1) {
		switch (o) {
		case 'c':
			op.conf = optarg;
			break;
		case OPT_VERSION:
			(void)puts("unfarm " UNFARM_VERSION);
			return flushed(0);
		case OPT_HELP:
			usage(stdout);
			return flushed(0);
		default:
			usage(stderr);
			return err_exit_status(ERR_INVALID);
		}
	}
	if (optind == argc) {
		usage(stderr);
		return err_exit_status(ERR_INVALID);
	}
	status = run_command(&op, argc - optind, argv + optind);
	op_done(&op);
	return flushed(status);
}
