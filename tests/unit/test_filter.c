/* What each daemon's list of system calls refuses, and what it leaves. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cleanup.h"
#include "filter.h"

static const struct {
	const char *name, *calls;
} procs[] = {
#define PROC(name, caps, calls, doc) { #name, calls },
#include "procs.def"
#undef PROC
};

static bool
loads(const char *calls)
{
	struct err err;

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       filter_load(calls, &err) == 0;
}

#ifndef UNFARM_INSTRUMENTED
static const char *
calls_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(procs); i++)
		if (strcmp(procs[i].name, name) == 0)
			return procs[i].calls;
	fail_msg("no process `%s`", name);
	return NULL;
}

static bool
missing(long r)
{
	return r == -1 && errno == ENOSYS;
}

/* 0, or the number of the first one that went through. */
static int
try_forbidden(void)
{
	static char *const argv[] = { (char *)(uintptr_t) "true", NULL };
	const long tries[] = {
		execve("/bin/true", argv, argv),
		syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0),
		syscall(SYS_fork),
		syscall(SYS_vfork),
		syscall(SYS_clone3, NULL, 0),
		ptrace(PTRACE_TRACEME, 0, NULL, NULL),
		kill(getppid(), 0),
		mount("none", "/nowhere", "tmpfs", 0, NULL),
		unshare(CLONE_NEWUSER),
		setresuid(0, 0, 0),
		chroot("/"),
		open("/tmp/unfarm-no", O_WRONLY | O_CREAT, 0600),
		open("/dev/null", O_RDWR),
		unlink("/tmp/unfarm-no"),
		rename("/tmp/unfarm-no", "/tmp/unfarm-no2"),
		listen(0, 1),
		syscall(SYS_bpf, 0, NULL, 0),
		syscall(SYS_io_uring_setup, 1, NULL),
		syscall(SYS_process_vm_readv, 1, NULL, 0, NULL, 0, 0),
		syscall(SYS_init_module, NULL, 0, ""),
		syscall(SYS_keyctl, 0, 0, 0, 0, 0),
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0),
	};

	for (size_t i = 0; i < ARRAY_LEN(tries); i++)
		if (tries[i] != -1)
			return (int)i + 1;
	/* Refused by the list, not for another reason. */
	if (!missing(execve("/bin/true", argv, argv)) ||
	    !missing(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0)) ||
	    !missing(open("/dev/null", O_RDWR)) || !missing(listen(0, 1)) ||
	    !missing(kill(getppid(), 0)))
		return 99;
	return 0;
}
#endif

static void *
thread(void *arg)
{
	*(bool *)arg = true;
	return NULL;
}

static int
try_needed(void)
{
	bool ran = false;
	char text[16];
	pthread_t t;
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, text, sizeof(text)) < 1 || close(fd) < 0)
		return 1;
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0 || close(fd) < 0)
		return 2;
	if (pthread_create(&t, NULL, thread, &ran) != 0 ||
	    pthread_join(t, NULL) != 0 || !ran)
		return 3;
	return 0;
}

/* In a child: a filter stays for ever. */
static int
in_child(const char *calls, int (*test)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(loads(calls) ? test() : 100);
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

#ifndef UNFARM_INSTRUMENTED
/* Bits: a new file, a file that may be there, renaming, removing. */
static int
try_writing(void)
{
	const char *path = "/nowhere/unfarm";
	int got = 0;

	got |= !missing(open(path, O_WRONLY | O_CREAT | O_EXCL, 0600)) << 0;
	got |= !missing(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600)) << 1;
	got |= !missing(open(path, O_RDWR | O_CREAT | O_EXCL, 0600)) << 1;
	got |= !missing(open(path, O_WRONLY)) << 1;
	got |= !missing(renameat(AT_FDCWD, path, AT_FDCWD, path)) << 2;
	got |= !missing(unlinkat(AT_FDCWD, path, 0)) << 3;
	return got;
}

static void
one_list_lets_new_files_be_made(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(procs); i++)
		if (*procs[i].calls)
			assert_int_equal(in_child(procs[i].calls, try_writing),
			    strcmp(procs[i].name, "caching_worker") == 0
				? 1 | 4 | 8
				: 0);
}

/* It forks, and its fork loads another list: nothing else is its own. */
static int
try_forbidden_parent(void)
{
	static char *const argv[] = { (char *)(uintptr_t) "true", NULL };
	int status;
	pid_t pid;

	if (!missing(execve("/bin/true", argv, argv)) ||
	    !missing(syscall(
		SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, 0)) ||
	    !missing(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0)) ||
	    !missing(syscall(SYS_vfork)) || !missing(unshare(CLONE_NEWUSER)) ||
	    !missing(ptrace(PTRACE_TRACEME, 0, NULL, NULL)) ||
	    !missing(open("/dev/null", O_RDWR)) || !missing(listen(0, 1)) ||
	    !missing(setresuid(0, 0, 0)) || !missing(chroot("/")))
		return 1;
	pid = fork();
	if (pid == 0)
		_exit(loads(calls_of("gateway")) ? try_forbidden() : 100);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 2;
	return WEXITSTATUS(status);
}

static void
a_parent_only_forks(void **state)
{
	(void)state;
	assert_int_equal(
	    in_child(calls_of("gateway_parent"), try_forbidden_parent), 0);
}
#endif

static void
every_list_refuses_and_leaves(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(procs); i++) {
		if (*procs[i].calls == '\0')
			continue; /* the sandbox library has its list */
		assert_int_equal(in_child(procs[i].calls, try_needed), 0);
#ifndef UNFARM_INSTRUMENTED
		if (strcmp(procs[i].name, "gateway_parent") != 0)
			assert_int_equal(
			    in_child(procs[i].calls, try_forbidden), 0);
#endif
	}
}

static void
unknown_names_are_refused(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(filter_load("memory nonsense", &err), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_list_refuses_and_leaves),
#ifndef UNFARM_INSTRUMENTED
		cmocka_unit_test(one_list_lets_new_files_be_made),
		cmocka_unit_test(a_parent_only_forks),
#endif
		cmocka_unit_test(unknown_names_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
