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
	size_t most = (size_t)t->worker->settings.job_artifacts;
	auto_buf struct buf data = { .cap = e->size };

	FAULT(worker_collecting);
	if (t->result.n_artifacts >= most || e->size > bytes_left(t)) {
		t->result.artifacts_truncated = true;
		return;
	}
	if (buf_reserve(&data, e->size) < 0)
		abort();
	while (data.len < e->size) {
		ssize_t n = pread(fd, data.data + data.len, e->size - data.len,
		    (off_t)data.len);

		if (n <= 0)
			break;
		buf_grew(&data, (size_t)n);
	}
	job_result_add_artifact(&t->result, e->name, &data);
}
