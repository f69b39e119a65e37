/*
 * bench-load - load for a farm, and how long its answers take.
 *
 *	bench-load -m hello|get|sync|async -P PORT [OPTION]...
 *
 *	-p PATH     what is asked (default: the mode's usual call)
 *	-b FILE     body of a POST
 *	-k KEY -s SECRET   sign every request but hello's
 *	-c N        connections (1)
 *	-n N        operations
 *	-t SECONDS  or for how long
 *	-r N        operations a second, open loop; without it a closed one
 *	-w SECONDS  long polls of this length (20); 0: plain polls
 *	-g MS       pause between plain polls (5)
 *	-e TEXT     must be in the last answer, else it is an error
 *	-i SECONDS  a line for each interval
 *
 * client.h says what is measured.  Prints one line of JSON, times in
 * microseconds; the first error goes to standard error.  Exit status 1 when
 * any operation failed.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fcntl.h>

#include "attr.h"
#include "buf.h"
#include "client.h"
#include "io.h"

enum { BODY_MAX = 256 << 20, CONNECTIONS_MAX = 10000, MODE_UNSET = -1 };

static const struct {
	const char *name;
	const char *target;
} modes[] = {
	[MODE_HELLO] = { "hello", "/health" },
	[MODE_GET] = { "get", "/health" },
	[MODE_SYNC] = { "sync", "/execute" },
	[MODE_ASYNC] = { "async", "/execute/async" },
};

static void
usage(const char *what)
{
	(void)fprintf(stderr,
	    "bench-load: %s\n"
	    "usage: bench-load -m hello|get|sync|async -P PORT [-p PATH] "
	    "[-b FILE]\n"
	    "       [-k KEY -s SECRET] [-c N] [-n N] [-t SECONDS] [-r RATE] "
	    "[-w SECONDS]\n"
	    "       [-g MS] [-e TEXT] [-i SECONDS]\n",
	    what);
	exit(64);
}

static double
number(const char *text, double min, double max)
{
	char *end;
	double v = strtod(text, &end);

	if (*text == '\0' || *end != '\0' || !(v >= min && v <= max))
		usage(text);
	return v;
}

static enum mode
mode_from_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(modes); i++)
		if (strcmp(modes[i].name, name) == 0)
			return (enum mode)i;
	usage(name);
	return MODE__COUNT;
}

static void
on_interval(const struct plan *p, double at_s, const struct hist *h)
{
	(void)p;
	(void)printf("{\"at\":%.3f,\"us\":", at_s);
	hist_print(stdout, h);
	(void)printf("}\n");
	(void)fflush(stdout);
}

static void
report(const struct plan *p, const struct outcome *o)
{
	const char *comma = "";

	(void)printf("{\"mode\":\"%s\",\"connections\":%d,\"seconds\":%.6f,"
		     "\"operations\":%" PRIu64 ",\"errors\":%" PRIu64
		     ",\"requests\":%" PRIu64 ",\"rate\":%.3f,\"statuses\":{",
	    modes[p->mode].name, p->connections, o->seconds, o->hist.n,
	    o->errors, o->requests,
	    o->seconds > 0 ? (double)o->hist.n / o->seconds : 0);
	for (int i = 0; i < STATUS_MAX; i++) {
		if (o->statuses[i] == 0)
			continue;
		(void)printf("%s\"%d\":%" PRIu64, comma, i, o->statuses[i]);
		comma = ",";
	}
	(void)printf("},\"us\":");
	hist_print(stdout, &o->hist);
	(void)printf("}\n");
	if (o->errors > 0)
		(void)fprintf(stderr, "bench-load: %" PRIu64 " errors; %s\n",
		    o->errors, o->first_error);
}

static void
parse_options(int argc, char **argv, struct plan *p, const char **ret_body)
{
	const double many = 1e12;
	bool has_mode = false;
	int c;

	while ((c = getopt(argc, argv, "m:P:p:b:k:s:c:n:t:r:w:g:e:i:")) != -1) {
		switch (c) {
		case 'm':
			p->mode = mode_from_name(optarg);
			has_mode = true;
			break;
		case 'P':
			p->port = (int)number(optarg, 1, 65535);
			break;
		case 'p':
			p->target = optarg;
			break;
		case 'b':
			*ret_body = optarg;
			break;
		case 'k':
			p->public_key = optarg;
			break;
		case 's':
			p->secret = optarg;
			break;
		case 'c':
			p->connections = (int)number(
			    optarg, 1, CONNECTIONS_MAX);
			break;
		case 'n':
			p->operations = (uint64_t)number(optarg, 1, many);
			break;
		case 't':
			p->duration_ns = (int64_t)(number(optarg, 0.01, 1e6) *
						   1e9);
			break;
		case 'r':
			p->rate = number(optarg, 0.01, 1e6);
			break;
		case 'w':
			p->wait_s = (int)number(optarg, 0, 900);
			break;
		case 'g':
			p->pause_ns = (int64_t)(number(optarg, 0, 60000) * 1e6);
			break;
		case 'e':
			p->expect = optarg;
			break;
		case 'i':
			p->every_ns = (int64_t)(number(optarg, 0.1, 1e6) * 1e9);
			p->on_interval = on_interval;
			break;
		default:
			usage("unknown option");
		}
	}
	if (!has_mode || p->port == 0 || optind != argc)
		usage("-m and -P are needed");
	if (p->operations == 0 && p->duration_ns == 0)
		usage("-n or -t is needed");
	if (p->mode != MODE_HELLO && (!p->public_key || !p->secret))
		usage("-k and -s are needed");
	if (!p->target)
		p->target = modes[p->mode].target;
}

/* One descriptor for each connection. */
static void
raise_descriptors(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
		r.rlim_cur = r.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &r);
	}
}

int
main(int argc, char **argv)
{
	static struct outcome o;
	struct plan p = {
		.connections = 1, .wait_s = 20, .pause_ns = 5000000, .body = ""
	};
	const char *body_file = NULL;
	auto_buf struct buf body;
	struct err err;

	buf_init(&body, BODY_MAX);
	parse_options(argc, argv, &p, &body_file);
	if (body_file) {
		if (io_read_file(AT_FDCWD, body_file, &body, &err) < 0)
			die("bench-load", &err);
		p.body = body.data ? body.data : "";
		p.body_len = body.len;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	raise_descriptors();
	if (client_run(&p, &o, &err) < 0)
		die("bench-load", &err);
	report(&p, &o);
	return o.errors > 0;
}
