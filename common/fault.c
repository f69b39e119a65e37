#include "fault.h"

#ifdef UNFARM_FAULTS
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "cleanup.h"

static struct fault *faults; /* FAULT__COUNT of them, or NULL */

/* Before main(): later the file may be out of this process's reach. */
__attribute__((constructor)) static void
map_faults(void)
{
	const char *path = getenv("UNFARM_FAULTS");
	auto_close int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *p;

	if (fd < 0)
		return;
	p = mmap(NULL, FAULT__COUNT * sizeof(*faults), PROT_READ | PROT_WRITE,
	    MAP_SHARED, fd, 0);
	if (p != MAP_FAILED)
		faults = p;
}

void
fault_pass(enum fault_point point)
{
	uint32_t *left;
	uint32_t n;

	if (!faults)
		return;
	(void)__atomic_add_fetch(&faults[point].passed, 1, __ATOMIC_SEQ_CST);
	left = &faults[point].countdown;
	n = __atomic_load_n(left, __ATOMIC_SEQ_CST);
	while (n > 0 && !__atomic_compare_exchange_n(left, &n, n - 1, false,
			    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
	if (n == 1)
		(void)raise(SIGKILL);
}
#endif
