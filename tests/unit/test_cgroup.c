/*
 * Control groups on v1, v2 and hybrid hosts, on a made-up tree: directories and
 * files that look like the kernel's, so that each kind of host is tested on any.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup.h"

static char root[] = "/tmp/test-cgroup-XXXXXX";

static void
write_file(const char *dir, const char *name, const char *text)
{
	char path[2 * PATH_MAX];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "we");
	assert_non_null(f);
	(void)fputs(text, f);
	(void)fclose(f);
}

static char *
read_file(const char *dir, const char *name)
{
	static char text[256];
	char path[2 * PATH_MAX];
	size_t n;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "re");
	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	(void)fclose(f);
	return text;
}

/* A tree with the group "g" and its files, as the kernel would make them. */
static char *
tree(const char *name, const char *const *files)
{
	static char paths[8][PATH_MAX];
	static unsigned next;
	char *path = paths[next++ % 8], group[PATH_MAX];

	(void)snprintf(path, PATH_MAX, "%s/%s", root, name);
	(void)mkdir(path, 0755);
	(void)snprintf(group, sizeof(group), "%s/%s/g", root, name);
	(void)mkdir(group, 0755);
	for (; *files; files++)
		write_file(group, *files, "0\n");
	return path;
}

static char *
group_of(const char *tree_path)
{
	static char path[PATH_MAX + 8];

	(void)snprintf(path, sizeof(path), "%s/g", tree_path);
	return path;
}

static const char *const v1_memory[] = { "memory.limit_in_bytes",
	"memory.memsw.limit_in_bytes", "memory.max_usage_in_bytes",
	"memory.oom_control", "memory.usage_in_bytes", "cgroup.procs", NULL };
static const char *const v1_pids[] = { "pids.max", "pids.events",
	"cgroup.procs", NULL };
static const char *const v1_cpu[] = { "cpu.cfs_quota_us", "cgroup.procs",
	NULL };
static const char *const v1_cpuacct[] = { "cpuacct.usage", "cgroup.procs",
	NULL };
static const char *const bare_v2[] = { "cgroup.procs", NULL };
static const char *const full_v2[] = { "memory.max", "memory.swap.max",
	"memory.peak", "memory.events", "memory.current", "pids.max",
	"pids.events", "cpu.max", "cpu.stat", "cgroup.procs", NULL };

static void
open_group(struct cg_layout *l, struct cg_group *g,
    const char *const dirs[CG__COUNT], const int versions[CG__COUNT])
{
	struct err err;

	assert_int_equal(cg_layout_open_dirs(l, dirs, versions, &err), 0);
	assert_int_equal(cg_group_make(l, "g", g, &err), 0);
}

static void
test_v1_controllers_are_written_in_their_own_words(void **state)
{
	const char *memory = tree("memory", v1_memory);
	const char *pids = tree("pids", v1_pids);
	const char *cpu = tree("cpu", v1_cpu);
	const char *acct = tree("cpuacct", v1_cpuacct);
	const char *const dirs[CG__COUNT] = { memory, pids, cpu, acct, NULL };
	const int versions[CG__COUNT] = { 1, 1, 1, 1, 0 };
	struct cg_layout l;
	struct cg_group g;
	struct err err;

	(void)state;
	open_group(&l, &g, dirs, versions);
	assert_int_equal(cg_set_memory(&g.files, 1 << 20, &err), 0);
	assert_int_equal(cg_set_pids(&g.files, 12, &err), 0);
	assert_int_equal(cg_set_cpu(&g.files, 2, &err), 0);
	assert_string_equal(
	    read_file(group_of(memory), "memory.limit_in_bytes"), "1048576");
	assert_string_equal(
	    read_file(group_of(memory), "memory.memsw.limit_in_bytes"),
	    "1048576");
	assert_memory_equal(read_file(group_of(pids), "pids.max"), "12", 2);
	assert_string_equal(
	    read_file(group_of(cpu), "cpu.cfs_quota_us"), "200000");
	write_file(group_of(memory), "memory.usage_in_bytes", "4096\n");
	assert_int_equal(cg_memory_usage(&g.files), 4096);
	assert_int_equal(cg_unlimit(&g.files, &err), 0);
	assert_memory_equal(
	    read_file(group_of(memory), "memory.limit_in_bytes"), "-1", 2);
	assert_memory_equal(
	    read_file(group_of(memory), "memory.memsw.limit_in_bytes"), "-1",
	    2);
	assert_memory_equal(
	    read_file(group_of(cpu), "cpu.cfs_quota_us"), "-1", 2);
	cg_files_close(&g.files);
	cg_layout_close(&l);
}

static void
test_v1_figures_are_read_with_their_units(void **state)
{
	const char *memory = tree("memory", v1_memory);
	const char *acct = tree("cpuacct", v1_cpuacct);
	const char *const dirs[CG__COUNT] = { memory, tree("pids", v1_pids),
		tree("cpu", v1_cpu), acct, NULL };
	const int versions[CG__COUNT] = { 1, 1, 1, 1, 0 };
	struct cg_layout l;
	struct cg_group g;

	(void)state;
	open_group(&l, &g, dirs, versions);
	write_file(group_of(acct), "cpuacct.usage", "5000999\n");
	write_file(group_of(memory), "memory.max_usage_in_bytes", "777\n");
	write_file(group_of(memory), "memory.oom_control",
	    "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
	assert_int_equal(cg_cpu_us(&g.files), 5000);
	assert_int_equal(cg_memory_peak(&g.files), 777);
	assert_int_equal(cg_oom_kills(&g.files), 3);
	cg_files_close(&g.files);
	cg_layout_close(&l);
}

static void
test_v2_has_one_tree_for_all(void **state)
{
	const char *all = tree("v2", full_v2);
	const char *const dirs[CG__COUNT] = { all, all, all, all, all };
	const int versions[CG__COUNT] = { 2, 2, 2, 2, 2 };
	struct cg_layout l;
	struct cg_group g;
	struct err err;

	(void)state;
	open_group(&l, &g, dirs, versions);
	assert_int_equal(cg_set_memory(&g.files, 4096, &err), 0);
	assert_int_equal(cg_set_cpu(&g.files, 1, &err), 0);
	assert_memory_equal(
	    read_file(group_of(all), "memory.swap.max"), "0", 1);
	assert_memory_equal(read_file(group_of(all), "memory.max"), "4096", 4);
	assert_string_equal(
	    read_file(group_of(all), "cpu.max"), "100000 100000");
	write_file(group_of(all), "cpu.stat",
	    "usage_usec 42\nuser_usec 40\nsystem_usec 2\n");
	write_file(group_of(all), "memory.events",
	    "low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\n");
	write_file(group_of(all), "pids.events", "max 8\n");
	assert_int_equal(cg_cpu_us(&g.files), 42);
	assert_int_equal(cg_oom_kills(&g.files), 1);
	assert_int_equal(cg_pids_refused(&g.files), 8);
	assert_int_equal(cg_unlimit(&g.files, &err), 0);
	assert_memory_equal(read_file(group_of(all), "memory.max"), "max", 3);
	assert_memory_equal(read_file(group_of(all), "cpu.max"), "max", 3);
	cg_files_close(&g.files);
	cg_layout_close(&l);
}

static void
test_hybrid_takes_limits_from_v1(void **state)
{
	const char *bare = tree("unified", bare_v2);
	const char *const dirs[CG__COUNT] = { tree("memory", v1_memory),
		tree("pids", v1_pids), tree("cpu", v1_cpu),
		tree("cpuacct", v1_cpuacct), bare };
	const int versions[CG__COUNT] = { 1, 1, 1, 1, 2 };
	struct cg_layout l;
	struct cg_group g;
	struct err err;

	(void)state;
	open_group(&l, &g, dirs, versions);
	assert_int_equal(cg_set_memory(&g.files, 8192, &err), 0);
	/* The clone put it there already; v1 trees are always entered. */
	assert_int_equal(cg_group_add_pid(&l, &g, 123, true, &err), 0);
	assert_memory_equal(
	    read_file(group_of(dirs[CG_PIDS]), "cgroup.procs"), "123", 3);
	assert_memory_equal(read_file(group_of(bare), "cgroup.procs"), "0", 1);
	cg_files_close(&g.files);
	cg_layout_close(&l);
}

static void
test_a_missing_controller_is_named(void **state)
{
	const char *const dirs[CG__COUNT] = { tree("memory", v1_memory), NULL,
		tree("cpu", v1_cpu), tree("cpuacct", v1_cpuacct), NULL };
	const int versions[CG__COUNT] = { 1, 0, 1, 1, 0 };
	struct cg_layout l;
	struct err err;

	(void)state;
	assert_int_equal(cg_layout_open_dirs(&l, dirs, versions, &err), -1);
	assert_int_equal(err.code, ERR_SANDBOX);
	assert_non_null(strstr(err.msg, "pids"));
}

static void
test_a_group_without_a_needed_file_is_an_error(void **state)
{
	static const char *const no_limit[] = { "memory.oom_control", NULL };
	const char *const dirs[CG__COUNT] = { tree("nolimit", no_limit),
		tree("pids", v1_pids), tree("cpu", v1_cpu),
		tree("cpuacct", v1_cpuacct), NULL };
	const int versions[CG__COUNT] = { 1, 1, 1, 1, 0 };
	struct cg_layout l;
	struct cg_group g;
	struct err err;

	(void)state;
	assert_int_equal(cg_layout_open_dirs(&l, dirs, versions, &err), 0);
	assert_int_equal(cg_group_make(&l, "g", &g, &err), -1);
	assert_non_null(strstr(err.msg, "memory.limit_in_bytes"));
	cg_layout_close(&l);
}

/* Files keep a made-up group as a task that is not accounted keeps a real one. */
static void
test_a_group_that_lingers_is_removed_later_and_not_waited_for(void **state)
{
	const char *memory = tree("linger", v1_memory);
	const char *const dirs[CG__COUNT] = { memory, tree("pids", v1_pids),
		tree("cpu", v1_cpu), tree("cpuacct", v1_cpuacct), NULL };
	const int versions[CG__COUNT] = { 1, 1, 1, 1, 0 };
	const char *const *const files[] = { v1_memory, v1_pids, v1_cpu,
		v1_cpuacct };
	struct rusage before, after;
	struct cg_layout l;
	struct cg_group g;

	(void)state;
	open_group(&l, &g, dirs, versions);
	assert_true(cg_remove_leaving(&l));
	(void)getrusage(RUSAGE_SELF, &before);
	cg_group_remove_soon(&l, &g);
	(void)getrusage(RUSAGE_SELF, &after);
	assert_true(after.ru_nvcsw - before.ru_nvcsw < 10); /* no pauses */
	assert_false(cg_remove_leaving(&l));
	assert_int_equal(access(group_of(memory), F_OK), 0);
	for (int k = 0; dirs[k]; k++) {
		int fd = open(group_of(dirs[k]), O_RDONLY | O_DIRECTORY);

		for (const char *const *f = files[k]; *f; f++)
			assert_int_equal(unlinkat(fd, *f, 0), 0);
		(void)close(fd);
	}
	assert_true(cg_remove_leaving(&l));
	for (int k = 0; dirs[k]; k++)
		assert_int_equal(access(group_of(dirs[k]), F_OK), -1);
	cg_layout_close(&l);
}

/* Some use no share of the period in which they begin, and all of the next two
 * at once: nobody may be looked at later than that. */
static void
test_a_share_can_be_used_by_all_cores_at_once(void **state)
{
	static const struct {
		long vcpu, cores;
		int64_t cpu_ms, earliest_ms;
	} rows[] = {
		{ 1, 1, 1000, 1000 }, /* one cannot be faster than time */
		{ 1, 2, 0, 0 },
		{ 1, 2, 40, 20 },
		{ 1, 2, 199, 99 },
		{ 1, 2, 1000, 900 },
		{ 1, 64, 128, 2 },
		{ 1, 64, 1050, 900 },
		{ 4, 64, 1000, 100 },
		{ 4, 2, 1000, 500 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(cg_cpu_earliest_us(rows[i].vcpu, rows[i].cores,
				     rows[i].cpu_ms * 1000) /
				     1000,
		    rows[i].earliest_ms);
}

static int
setup(void **state)
{
	(void)state;
	return mkdtemp(root) ? 0 : -1;
}

static int
teardown(void **state)
{
	char command[128];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf %s", root);
	return system(command);
}

/* A worker without a limit for swap starts only where there is none. */
static void
test_swap_is_seen_where_there_is_some(void **state)
{
	static const char heading[] =
	    "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
	char path[PATH_MAX], text[256];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/swaps", root);
	assert_false(cg_swap_is_on(path)); /* a kernel without it */
	write_file(root, "swaps", heading);
	assert_false(cg_swap_is_on(path));
	(void)snprintf(
	    text, sizeof(text), "%s/dev/sda2 partition 1 0 -2\n", heading);
	write_file(root, "swaps", text);
	assert_true(cg_swap_is_on(path));
	write_file(root, "swaps", "");
	assert_true(cg_swap_is_on(path)); /* not what it should be */
	assert_int_equal(unlink(path), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    test_v1_controllers_are_written_in_their_own_words),
		cmocka_unit_test(test_v1_figures_are_read_with_their_units),
		cmocka_unit_test(test_v2_has_one_tree_for_all),
		cmocka_unit_test(test_a_share_can_be_used_by_all_cores_at_once),
		cmocka_unit_test(test_swap_is_seen_where_there_is_some),
		cmocka_unit_test(test_hybrid_takes_limits_from_v1),
		cmocka_unit_test(test_a_missing_controller_is_named),
		cmocka_unit_test(
		    test_a_group_without_a_needed_file_is_an_error),
		cmocka_unit_test(
		    test_a_group_that_lingers_is_removed_later_and_not_waited_for),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
