/*
 * Asks the sandbox's seccomp filter about system calls without making them.
 *
 * A filter of our own hands every call whose sixth argument is MAGIC to a
 * thread of ours, which answers EDOM.  The kernel takes the strictest answer
 * of all filters, so a call that the sandbox refuses fails with the sandbox's
 * error, and one that it allows with EDOM: nothing is ever executed, and an
 * error of the kernel's own cannot pass for one of the filter.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAGIC 0x5afe5afeL

static int listener = -1;

static void *
answer(void *unused)
{
	(void)unused;
	for (;;) {
		struct seccomp_notif req = { .id = 0 };
		struct seccomp_notif_resp resp = { .error = -EDOM };

		if (__atomic_load_n(&listener, __ATOMIC_ACQUIRE) < 0) {
			usleep(100);
			continue;
		}
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &req) < 0)
			continue;
		resp.id = req.id;
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp);
	}
	return NULL;
}

static void
start(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
		    offsetof(struct seccomp_data, args[5])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MAGIC, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };
	pthread_t thread;
	int fd;

	if (pthread_create(&thread, NULL, answer, NULL) != 0)
		exit(3);
	fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
	    SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
	if (fd < 0)
		exit(4);
	__atomic_store_n(&listener, fd, __ATOMIC_RELEASE);
}

static void
ask(const char *name, long nr, long a, long b, long c, long d)
{
	long r;

	errno = 0;
	r = syscall(nr, a, b, c, d, 0L, MAGIC);
	printf("%s %d\n", name, r < 0 ? errno : 0);
}

#if defined(__x86_64__)
/* The old gate into the kernel; the number means another call there. */
static long
gate32(long nr)
{
	long r;

	__asm__ volatile("int $0x80"
			 : "=a"(r)
			 : "a"(nr), "b"(0), "c"(0), "d"(0), "S"(0), "D"(0)
			 : "memory", "r8", "r9", "r10", "r11");
	return r;
}
#endif

int
main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	start();
	/*ASK*/
	fflush(stdout);
	_exit(0);
}
