#pragma once
/*
 * cleanup.h - scope-owned resources.
 *
 * A local declared with one of these owns its resource and releases it when
 * the scope ends.  To hand ownership on, steal_ptr() or steal_fd() it: the
 * local is left empty and its cleanup does nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void
cleanup_freep(void *p)
{
	free(*(void **)p);
}

static inline void
cleanup_fclosep(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

/* close(2) is never retried: on Linux the fd is gone even after EINTR. */
static inline void
cleanup_closep(const int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(*fd);
	errno = saved;
}

#define auto_free   __attribute__((cleanup(cleanup_freep)))
#define auto_fclose __attribute__((cleanup(cleanup_fclosep)))
#define auto_close  __attribute__((cleanup(cleanup_closep)))

/* Give a module's own type a scope owner: DEFINE_CLEANUP(job, job_free). */
#define DEFINE_CLEANUP(type, free_fn)                                          \
	static inline void cleanup_##type##p(struct type **p)                  \
	{                                                                      \
		if (*p)                                                        \
			free_fn(*p);                                           \
	}
#define auto_ref(type) __attribute__((cleanup(cleanup_##type##p))) struct type *

#define steal_ptr(pp)                                                          \
	__extension__({                                                        \
		__typeof__(pp) steal_p_ = (pp);                                \
		__typeof__(*steal_p_) steal_v_ = *steal_p_;                    \
		*steal_p_ = NULL;                                              \
		steal_v_;                                                      \
	})

static inline int
steal_fd(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}
