/* The set-up of a sandbox as data: what must be in it, and in which order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msg.h"
#include "plan.h"

static const struct plan_tree trees[] = { { "/usr" }, { "/etc" } };
static const struct plan_link links[] = { { "/bin", "usr/bin" } };

static const struct plan_input input = {
	.trees = trees,
	.n_trees = 2,
	.links = links,
	.n_links = 1,
	.disk_mb = 64,
	.inodes = 1000,
	.files = 256,
	.file_mb = 16,
	.hostname = "unsb-vm-00042",
};

static void
build(struct plan *p)
{
	plan_build(p, &input);
}

/* Position of the first operation of that kind with that destination. */
static size_t
where(const struct plan *p, enum plan_op_kind kind, const char *dst)
{
	size_t i = 0;

	while (i < p->n &&
	       (p->ops[i].kind != kind || strcmp(p->ops[i].dst, dst) != 0))
		i++;
	return i;
}

static void
test_the_host_is_let_go_before_rights_are(void **state)
{
	struct plan p;
	size_t pivot, caps, filter;

	(void)state;
	build(&p);
	pivot = where(&p, OP_PIVOT, "/tmp/root");
	caps = where(&p, OP_CAPS, "");
	filter = where(&p, OP_FILTER, "");
	assert_true(pivot < caps && caps < filter && filter < p.n);
	assert_int_equal(p.ops[p.n - 1].kind, OP_FILTER);
	assert_true(where(&p, OP_NONEWPRIVS, "") < filter);
	plan_done(&p);
}

static void
test_each_tree_gets_a_layer_of_its_own(void **state)
{
	struct plan p;

	(void)state;
	build(&p);
	for (size_t i = 0; i < 2; i++) {
		char lower[48], upper[48], dst[32];
		size_t overlay;

		(void)snprintf(lower, sizeof(lower), "lowerdir=/lower/%zu,", i);
		(void)snprintf(
		    upper, sizeof(upper), "upperdir=/tmp/upper%zu,", i);
		(void)snprintf(dst, sizeof(dst), "/tmp/root%s", trees[i].dst);
		overlay = where(&p, OP_OVERLAY, dst);
		assert_true(overlay < where(&p, OP_PIVOT, "/tmp/root"));
		assert_non_null(strstr(p.ops[overlay].data, lower));
		assert_non_null(strstr(p.ops[overlay].data, upper));
	}
	plan_done(&p);
}

static void
test_a_nest_has_the_trees_and_a_whole_proc(void **state)
{
	struct plan p;
	struct plan_input in = input;

	(void)state;
	in.file = "main.py";
	plan_build_nest(&p, &in);
	for (size_t i = 0; i < 2; i++) {
		char lower[48], dst[32];
		size_t tree, bind;

		(void)snprintf(lower, sizeof(lower), "/tmp/root/lower/%zu", i);
		(void)snprintf(dst, sizeof(dst), "/tmp/root%s", trees[i].dst);
		tree = where(&p, OP_TREE, lower);
		bind = where(&p, OP_BIND, dst);
		assert_true(tree < bind && bind < p.n);
		assert_int_equal(p.ops[tree].fd, i);
		assert_string_equal(p.ops[bind].src, lower);
	}
	assert_true(where(&p, OP_FILE, "/tmp/root/tmp/main.py") < p.n);
	assert_true(where(&p, OP_PROC, "/tmp/root/proc") <
		    where(&p, OP_PIVOT, "/tmp/root"));
	assert_true(where(&p, OP_EMPTY, "/tmp/root/lower/empty") <
		    where(&p, OP_PIVOT, "/tmp/root"));
	/* A masked /proc would keep its sandboxes from having their own. */
	for (size_t i = 0; i < p.n; i++)
		assert_true(p.ops[i].kind != OP_MASK &&
			    p.ops[i].kind != OP_READONLY &&
			    p.ops[i].kind != OP_OVERLAY);
	assert_int_equal(p.ops[p.n - 2].kind, OP_NONEWPRIVS);
	assert_int_equal(p.ops[p.n - 1].kind, OP_FILTER);
	assert_int_equal(p.ops[p.n - 1].fd, 3); /* after trees and devices */
	plan_done(&p);
}

static void
test_the_writable_space_is_limited(void **state)
{
	struct plan p;
	size_t i;

	(void)state;
	build(&p);
	i = where(&p, OP_TMPFS, "/tmp");
	assert_true(i < p.n);
	assert_string_equal(p.ops[i].data, "size=64m,nr_inodes=1000,mode=0700");
	plan_done(&p);
}

static void
test_secrets_of_proc_are_masked(void **state)
{
	static const char *const masked[] = { "kcore", "keys", "kmsg",
		"sysrq-trigger", "timer_list", "kallsyms" };
	struct plan p;

	(void)state;
	build(&p);
	for (size_t i = 0; i < sizeof(masked) / sizeof(masked[0]); i++) {
		char path[64];

		(void)snprintf(
		    path, sizeof(path), "/tmp/root/proc/%s", masked[i]);
		assert_true(where(&p, OP_MASK, path) < p.n);
		assert_string_equal(
		    p.ops[where(&p, OP_MASK, path)].src, "/lower/empty");
	}
	assert_true(where(&p, OP_READONLY, "/tmp/root/proc/sys") < p.n);
	plan_done(&p);
}

static void
test_only_harmless_devices_are_there(void **state)
{
	struct plan p;
	size_t n = 0;

	(void)state;
	build(&p);
	for (size_t i = 0; i < p.n; i++)
		n += p.ops[i].kind == OP_BIND &&
		     strncmp(p.ops[i].src, "/dev/", 5) == 0;
	assert_int_equal(n, 6);
	plan_done(&p);
}

static void
test_what_is_printed_names_every_step(void **state)
{
	char *text = NULL;
	size_t len = 0, lines = 0;
	FILE *f = open_memstream(&text, &len);
	struct plan p;

	(void)state;
	build(&p);
	plan_print(&p, f);
	(void)fclose(f);
	for (const char *s = text; *s; s++)
		lines += *s == '\n';
	assert_int_equal(lines, p.n);
	assert_non_null(strstr(text, "HOSTNAME"));
	assert_non_null(strstr(text, "unsb-vm-00042"));
	free(text);
	plan_done(&p);
}

static void
test_it_fits_one_message(void **state)
{
	unsigned char *body = malloc(MSG_MAX);
	struct msg_out o = { .data = body };
	struct msg_in in;
	struct plan p;
	uint32_t n;

	(void)state;
	build(&p);
	plan_encode(&p, &o);
	assert_false(o.overflow);
	in = (struct msg_in){ .p = body, .left = o.len };
	n = msg_get_u32(&in);
	assert_int_equal(n, p.n);
	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(msg_get_u32(&in), p.ops[i].kind);
		assert_string_equal(msg_get_str(&in), p.ops[i].src);
		assert_string_equal(msg_get_str(&in), p.ops[i].dst);
		assert_string_equal(msg_get_str(&in), p.ops[i].data);
		assert_int_equal(msg_get_u32(&in), p.ops[i].mode);
		assert_int_equal(msg_get_u32(&in), p.ops[i].flags);
		assert_int_equal(msg_get_u32(&in), p.ops[i].fd);
		assert_true(msg_get_u64(&in) == p.ops[i].value);
	}
	assert_true(msg_in_done(&in));
	plan_done(&p);
	free(body);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_host_is_let_go_before_rights_are),
		cmocka_unit_test(test_each_tree_gets_a_layer_of_its_own),
		cmocka_unit_test(test_a_nest_has_the_trees_and_a_whole_proc),
		cmocka_unit_test(test_the_writable_space_is_limited),
		cmocka_unit_test(test_secrets_of_proc_are_masked),
		cmocka_unit_test(test_only_harmless_devices_are_there),
		cmocka_unit_test(test_what_is_printed_names_every_step),
		cmocka_unit_test(test_it_fits_one_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
