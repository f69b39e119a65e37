/* collect.c - artifacts: what is below /tmp/artifacts, then the built program. */
#include "mem.h"
#include "task.h"

#include <stdlib.h>
#include <unistd.h>

#include "cleanup.h"
#include "fault.h"
#include "lang.h"
#include "sandbox.h"
#include "worker.h"

static uint64_t
bytes_left(const struct task *t)
{
	uint64_t limit = (uint64_t)t->worker->settings.job_artifacts_kb << 10;
	uint64_t used = 0;

	for (size_t i = 0; i < t->result.n_artifacts; i++)
		used += t->result.artifacts[i].content.len;
	return used < limit ? limit - used : 0;
}

bool
collect_next(struct task *t)
{
	const char *const places[] = { "/tmp/artifacts", t->lang->artifact };
	size_t most = (size_t)t->worker->settings.job_artifacts;
	struct err err;

	if (!t->spec->return_artifact || t->gone)
		return false;
	while (t->collecting < ARRAY_LEN(places)) {
		const char *place = places[t->collecting++];

		if (place && box_collect(t->slot->box, place,
				 (unsigned)(most - t->result.n_artifacts),
				 bytes_left(t), &err) == 0)
			return true;
	}
	return false;
}

/* init is not believed: neither about size nor about how many. */
void
collect_file(struct task *t, struct box_event *e)
{
	auto_close int fd = steal_fd(&e->fd);
	auto_free char *data = NULL;
	size_t most = (size_t)t->worker->settings.job_artifacts, len = 0;

	FAULT(worker_collecting);
	if (t->result.n_artifacts >= most || e->size > bytes_left(t)) {
		t->result.artifacts_truncated = true;
		return;
	}
	data = xmalloc(e->size + 1);
	while (len < e->size) {
		ssize_t n = pread(fd, data + len, e->size - len, (off_t)len);

		if (n <= 0)
			break;
		len += (size_t)n;
	}
	job_result_add_artifact(&t->result, e->name, data, len);
}
