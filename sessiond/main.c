/*
 * unfarm-sessiond - sandboxes that live long: sessions.
 *
 * Theory of operation.  Three kinds of process, so that no byte of a client is
 * read by one that has rights, and no session is lost with the one that
 * manages it:
 *
 *   master   root with the capabilities of procs.def (master.c).  Forks a shim
 *            for each sandbox, buries it, and keeps the server running.
 *   server   an ordinary account (server.c).  Hears gateways, tells Redis which
 *            sessions are here, and hands each connection to its shim.
 *   shim     an ordinary account (shim.c).  Holds one sandbox: its terminal,
 *            what it printed, who looks at it, its clocks.
 *
 * SIGTERM ends master and server; shims and sessions live on, and the next
 * master finds them.  SIGQUIT ends the sessions, too.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "err.h"
#include "log.h"
#include "proc.h"
#include "sessiond.h"
#include "wire.h"

#define PROGRAM      "unfarm-sessiond"
#define DEFAULT_CONF "/etc/unfarm/unfarm.conf"

static int
usage(void)
{
	(void)printf("usage: " PROGRAM " [-c FILE]\n"
		     "  -c FILE    configuration (default " DEFAULT_CONF ")\n"
		     "  --version  print the version\n"
		     "  --help     print this\n"
		     "Signals: TERM stops it and keeps the sessions, QUIT ends "
		     "them, too.\n");
	return 0;
}

static void
load(struct settings *s, const char *path, const char *name)
{
	struct err err = { .code = ERR_OK };

	if (strcmp(path, DEFAULT_CONF) == 0 && access(path, F_OK) < 0)
		settings_default(s);
	else if (settings_load(s, path, &err) < 0)
		die(PROGRAM, &err);
	log_init(name, log_level_from_name(s->farm_log_level));
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "child", no_argument, NULL, 'C' },
		{ "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	static struct settings s;
	const char *path = DEFAULT_CONF;
	struct err err = { .code = ERR_OK };
	bool child = false;
	int c;

	while ((c = getopt_long(argc, argv, "c:", options, NULL)) != -1) {
		if (c == 'h')
			return usage();
		if (c == 'v')
			return printf(PROGRAM " " UNFARM_VERSION "\n") < 0;
		if (c == 'C')
			child = true;
		else if (c == 'c')
			path = optarg;
		else
			return err_exit_status(ERR_INVALID);
	}
	if (optind < argc)
		return err_exit_status(ERR_INVALID);
	if (proc_only_std_fds(child ? SHIM_CHILD_FD : -1, &err) < 0 ||
	    proc_hide_memory(&err) < 0)
		die(PROGRAM, &err);
	load(&s, path, child ? "session-server" : "session-master");
	return child ? server_main(&s) : master_main(&s, path);
}
