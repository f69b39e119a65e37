/* unfarm config - what is in force, or a commented file to start from. */
#include <getopt.h>
#include <stdio.h>

#include "unfarm_op.h"

static void
usage(FILE *out)
{
	(void)fprintf(out,
	    "Usage: unfarm config [--sample]\n"
	    "\n"
	    "Prints every setting as it is in force, with the built-in "
	    "defaults.\n"
	    "\n"
	    "  --sample  a commented file with every setting, range and "
	    "default:\n"
	    "            unfarm config --sample > /etc/unfarm/unfarm.conf\n"
	    "  --help    print this\n");
}

int
cmd_config(struct op *op, int argc, char **argv)
{
	static const struct option options[] = {
		{ "sample", no_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	bool sample = false;
	struct err err;
	int o;

	optind = 0;
	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (o == 's') {
			sample = true;
			continue;
		}
		usage(o == 'h' ? stdout : stderr);
		return o == 'h' ? 0 : err_exit_status(ERR_INVALID);
	}
	if (optind < argc) {
		usage(stderr);
		return err_exit_status(ERR_INVALID);
	}
	if (sample) {
		settings_print_sample(stdout);
		return 0;
	}
	if (op_load(op, &err) < 0)
		return op_fail(&err,
		    "`unfarm config --sample` shows what each setting may be.");
	settings_print(&op->settings, stdout);
	return 0;
}
