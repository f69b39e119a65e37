/* unfarm doctor - what this host can isolate, what is missing, how to get it. */
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "json.h"
#include "lang.h"
#include "sandbox.h"
#include "unfarm_op.h"

enum { CHECKS_MAX = 24 };

static const char usage[] =
    "Usage: unfarm doctor [--plan] [--json]\n"
    "Try everything that sandboxes need on this machine.  Exit status 0 when "
    "a\n"
    "worker can start here.\n\n"
    "  --plan  print how a sandbox is set up, step by step, and end\n"
    "  --json  the checks as JSON\n";

struct paths {
	char list[PATH_MAX], skeleton[PATH_MAX];
};

static void
fill_config(
    const struct settings *s, struct paths *p, struct sandbox_config *ret_cfg)
{
	(void)snprintf(
	    p->list, sizeof(p->list), "%s/sandbox.paths", s->farm_share_dir);
	(void)snprintf(p->skeleton, sizeof(p->skeleton), "%s/doctor-etc",
	    s->farm_data_dir);
	*ret_cfg = (struct sandbox_config){
		.cgroup = s->sandbox_cgroup,
		.paths = *s->sandbox_paths ? s->sandbox_paths : p->list,
		.skeleton = p->skeleton,
		.libexec = s->farm_libexec_dir,
		.uid_base = (uint32_t)s->sandbox_uid_base,
		.ranges = 1,
		.disk_mb = s->sandbox_disk_mb,
		.inodes = s->sandbox_inodes,
		.files = s->sandbox_files,
		.file_mb = s->sandbox_file_mb,
	};
}

static int
print_plan(const struct sandbox_config *cfg, struct err *err)
{
	struct sandbox_config trial = *cfg;
	struct sandbox_host *h;
	char group[SETTINGS_STR_MAX + 8];

	/* Not the farm's own group: it may be running. */
	(void)snprintf(group, sizeof(group), "%s-plan", cfg->cgroup);
	trial.cgroup = group;
	h = sandbox_host_open(&trial, err);

	if (!h)
		return -1;
	sandbox_host_print_plan(h, stdout);
	sandbox_host_close(h);
	sandbox_skeleton_remove(cfg->skeleton);
	return 0;
}

static void
print_languages(const struct settings *s)
{
	struct err err;
	struct lang_registry *reg = lang_load(s->farm_share_dir, &err);
	size_t n = 0;

	if (!reg) {
		(void)printf(
		    "%-8s %-16s %s\n", "MISSING", "languages", err.msg);
		return;
	}
	for (size_t i = 0; i < lang_count(reg); i++)
		n += lang_installed(lang_at(reg, i), NULL);
	(void)printf("%-8s %-16s %zu of %zu installed%s\n",
	    n ? "ok" : "MISSING", "languages", n, lang_count(reg),
	    n ? "" : "\n         scripts/languages install small");
	lang_free(reg);
}

static void
print_json(const struct sandbox_check *checks, size_t n)
{
	json_auto_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		json_t *o = json_object();

		json_set_str(o, "name", checks[i].name);
		json_set_bool(o, "ok", checks[i].ok);
		json_set_str(o, "found", checks[i].found);
		json_set_str(
		    o, "without", checks[i].ok ? "" : checks[i].without);
		json_set_str(o, "advice", checks[i].advice);
		if (json_array_append_new(list, o) < 0)
			abort();
	}
	op_print_json(list);
}

static int
examine(const struct settings *s, const struct sandbox_config *cfg, bool json)
{
	struct sandbox_check checks[CHECKS_MAX];
	size_t n = sandbox_host_check(cfg, checks, ARRAY_LEN(checks));
	bool well = true;

	for (size_t i = 0; i < n; i++)
		well = well && checks[i].ok;
	if (json) {
		print_json(checks, n);
		return well ? 0 : 1;
	}
	for (size_t i = 0; i < n; i++)
		sandbox_check_print(&checks[i], stdout);
	print_languages(s);
	(void)printf("\n%s\n",
	    well ? "A worker can start here."
		 : "A worker refuses to start here: nothing is weakened.");
	return well ? 0 : 1;
}

int
cmd_doctor(struct op *op, int argc, char **argv)
{
	static const struct option options[] = {
		{ "plan", no_argument, NULL, 'p' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	bool plan = false, json = false;
	struct sandbox_config cfg;
	static struct paths paths;
	struct err err;
	int o;

	optind = 0;
	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (o == 'p') {
			plan = true;
		} else if (o == 'j') {
			json = true;
		} else {
			(void)fputs(usage, o == 'h' ? stdout : stderr);
			return o == 'h' ? 0 : err_exit_status(ERR_INVALID);
		}
	}
	if (op_load(op, &err) < 0)
		return op_fail(&err, NULL);
	fill_config(&op->settings, &paths, &cfg);
	if (!plan)
		return examine(&op->settings, &cfg, json);
	if (print_plan(&cfg, &err) < 0)
		return op_fail(&err, "`unfarm doctor` tells what is missing.");
	return 0;
}
