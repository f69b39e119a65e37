#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "b64.h"
#include "cleanup.h"
#include "client.h"
#include "clock.h"
#include "exec.h"
#include "io.h"
#include "json.h"
#include "log.h"
#include "mem.h"
#include "out.h"
#include "viewer.h"

enum {
	MS = 1000,
	MIB_SHIFT = 20,
	VCPU_MAX = 8,
	FREEZE_MS = 2000,
	COLLECT_MS = 30000, /* for init to give out all files */
	WORDS_MAX = 64,
	CLIENTS_GONE = 16,
	FILES_MAX = 1000,
	ANSWER_REST = 64 << 10, /* what is not in files */
};

#define ARTIFACTS "/tmp/artifacts"
#define HISTORY   "/root/.bash_history"

const char *
session_state_name(enum session_state s)
{
	static const char *const names[] = {
#define STATE(name, doc) [SESSION_##name] = #name,
#include "session_states.def"
#undef STATE
	};

	return names[s];
}

/* ---- time ---- */

static int64_t
used_ms(const struct session *n)
{
	return n->used_ms +
	       (n->since_ms > 0 ? clock_mono_ms() - n->since_ms : 0);
}

static void
stop_time(struct session *n)
{
	n->used_ms = used_ms(n);
	n->since_ms = 0;
}

static bool
is_alive(const struct shim *s)
{
	return s->session.state == SESSION_running ||
	       s->session.state == SESSION_frozen;
}

static void end(struct shim *s, const char *reason);
static void set_clock(struct shim *s);

static int64_t
idle_left_ms(const struct shim *s)
{
	int64_t idle = clock_mono_ms() - s->session.touched_ms;

	return s->settings->sessiond_idle_seconds * MS - idle;
}

static void
on_clock(uv_timer_t *t)
{
	struct shim *s = t->data;

	if (s->session.state != SESSION_running)
		return;
	if (used_ms(&s->session) >= s->session.ttl_ms)
		end(s, "ttl");
	else if (s->settings->sessiond_idle_seconds > 0 && !exec_any(s) &&
		 idle_left_ms(s) <= 0)
		end(s, "idle");
	else
		set_clock(s);
}

/* The next of its two limits, or in a while when commands keep it busy. */
static void
set_clock(struct shim *s)
{
	int64_t ms = s->session.ttl_ms - used_ms(&s->session);

	if (s->session.state != SESSION_running) {
		(void)uv_timer_stop(&s->clock);
		return;
	}
	if (s->settings->sessiond_idle_seconds > 0) {
		int64_t idle = exec_any(s)
				   ? s->settings->sessiond_idle_seconds * MS
				   : idle_left_ms(s);

		if (idle < ms)
			ms = idle;
	}
	(void)uv_timer_start(&s->clock, on_clock, ms > 0 ? (uint64_t)ms : 1, 0);
}

void
session_touched(struct shim *s)
{
	s->session.activity_wall_ms = clock_wall_ms();
	s->session.touched_ms = clock_mono_ms();
}

/* For all who may be here at a time, and some who come back. */
uint64_t *
session_input_of(struct shim *s, const char *client)
{
	static struct known {
		char client[40];
		uint64_t n, used;
	} * known; /* one session a process */
	static uint64_t uses;
	size_t most = (size_t)s->settings->sessiond_viewers + CLIENTS_GONE;
	struct known *oldest;

	if (!known)
		known = xcalloc(most, sizeof(*known));
	oldest = known;
	for (struct known *k = known; k < known + most; k++) {
		if (k->used > 0 && strcmp(k->client, client) == 0) {
			k->used = ++uses;
			return &k->n;
		}
		if (k->used < oldest->used)
			oldest = k;
	}
	*oldest = (struct known){ .used = ++uses };
	(void)snprintf(oldest->client, sizeof(oldest->client), "%s", client);
	return &oldest->n;
}

/* ---- its record ---- */

json_t *
session_record(const struct shim *s)
{
	const struct session *n = &s->session;
	json_t *o = json_object();

	json_set_int(o, "serial", s->serial);
	json_set_str(o, "id", n->id);
	json_set_str(o, "key", n->key);
	json_set_str(o, "container", n->container);
	json_set_str(o, "state", session_state_name(n->state));
	json_set_str(o, "shell", n->shell);
	json_set_str(o, "net", n->net);
	json_set_int(o, "vcpu", n->vcpu);
	json_set_int(o, "base_vcpu", n->base_vcpu);
	json_set_int(o, "memory_mb", n->vcpu * s->settings->sessiond_memory_mb);
	json_set_str(o, "multiplexer", n->multiplexer);
	json_set_bool(o, "persist", n->persist);
	json_set_bool(o, "audit", n->audit);
	json_set_int(o, "created", n->created_wall_ms);
	json_set_int(o, "activity", n->activity_wall_ms);
	json_set_int(o, "ended", n->ended_wall_ms);
	json_set_int(o, "ttl_ms", n->ttl_ms);
	json_set_int(o, "idle_s", s->settings->sessiond_idle_seconds);
	json_set_int(o, "used_ms", used_ms(n));
	json_set_int(o, "counted_at", clock_wall_ms());
	json_set_str(o, "reason", n->reason);
	json_set_int(o, "viewers", (long long)term_viewers(&s->term));
	json_set_int(o, "exit_code", s->term.ended ? s->term.exit_code : -1);
	return o;
}

static void
set_state(struct shim *s, enum session_state state)
{
	struct viewer *v, *next;

	s->session.state = state;
	for (v = TAILQ_FIRST(&s->term.viewers); v; v = next) {
		next = TAILQ_NEXT(v, link);
		viewer_tell_state(v, session_state_name(state));
	}
	set_clock(s);
	shim_tell(s);
}

static void
answer_record(struct shim *s, struct client *c, int status)
{
	json_auto_t *o = session_record(s);

	client_json(c, status, o);
}

/* ---- its end ---- */

static void
on_farewell(uv_timer_t *t)
{
	shim_leave(t->data);
}

static void
say_exit(struct shim *s, enum viewer_finish how)
{
	struct viewer *v, *next;

	for (v = TAILQ_FIRST(&s->term.viewers); v; v = next) {
		next = TAILQ_NEXT(v, link);
		viewer_finish(v, how);
	}
}

static void answer_waiting(struct shim *s);

/* All inside is gone with its init; what was collected is ours. */
static void
terminated(struct shim *s)
{
	uint64_t keep = (uint64_t)s->settings->sessiond_keep_seconds * MS;

	(void)uv_poll_stop(&s->box_poll);
	/* No session knows of it: nothing is to be kept, or waited for. */
	if (s->session.state == SESSION_warm) {
		shim_leave(s);
		return;
	}
	s->collecting = false;
	exec_free_all(s);
	box_free(s->box);
	s->box = NULL;
	s->session.ended_wall_ms = clock_wall_ms();
	set_state(s, SESSION_terminated);
	say_exit(s, FINISH_EXIT);
	(void)uv_timer_start(&s->farewell, on_farewell, keep, 0);
	log_info(NULL, "session ended|session=%s reason=%s artifacts=%zu",
	    s->session.id, s->session.reason, s->n_artifacts);
}

static void
collect(struct shim *s, const char *path)
{
	uint64_t most = (uint64_t)s->settings->sessiond_artifacts_mb
			<< MIB_SHIFT;
	struct err err;

	if (box_collect(s->box, path, SHIM_FILES_MAX, most, &err) < 0) {
		log_err(NULL, "collect artifacts: %s", err.msg);
		terminated(s);
	}
}

/*
 * Init is not trusted to answer, and a program can keep it from it.  What does
 * not end by itself stands still until the master clears it away.
 */
static void
on_collect_late(uv_timer_t *t)
{
	struct shim *s = t->data;
	struct err err;

	log_warn(NULL, "artifacts are not given out|session=%s", s->session.id);
	if (box_freeze(s->box, FREEZE_MS, &err) < 0)
		log_err(NULL, "freeze: %s", err.msg);
	terminated(s);
	answer_waiting(s);
}

static void
thaw(struct shim *s)
{
	struct err err;

	if (s->session.state != SESSION_frozen)
		return;
	if (box_thaw(s->box, &err) < 0)
		log_err(NULL, "thaw: %s", err.msg);
	s->session.since_ms = clock_mono_ms();
}

static void
end(struct shim *s, const char *reason)
{
	struct session *n = &s->session;

	if (!is_alive(s))
		return;
	thaw(s);
	stop_time(n);
	(void)snprintf(n->reason, sizeof(n->reason), "%s", reason);
	(void)uv_timer_stop(&s->grace);
	set_state(s, SESSION_ending);
	s->collecting = true;
	s->has_history = false;
	(void)uv_timer_start(&s->farewell, on_collect_late, COLLECT_MS, 0);
	collect(s, ARTIFACTS);
}

static void
keep_file(struct shim *s, struct box_event *e)
{
	uint64_t most = (uint64_t)s->settings->sessiond_artifacts_mb
			<< MIB_SHIFT;
	struct artifact *a;

	/* Two collections, and none of what init says is sure. */
	if (s->n_artifacts >= SHIM_FILES_MAX + 1 ||
	    e->size > 2 * most - s->artifact_bytes)
		return;
	s->artifact_bytes += e->size;
	s->artifacts = xreallocarray(
	    s->artifacts, s->n_artifacts + 1, sizeof(*s->artifacts));
	a = &s->artifacts[s->n_artifacts++];
	/* Of the second question there is one file. */
	a->name = xstrdup(s->has_history ? "bash_history" : e->name);
	a->fd = steal_fd(&e->fd);
	a->size = e->size;
	if (!s->has_history)
		s->n_left = s->n_artifacts;
}

/* Artifacts first, then what bash remembers. */
static void
collected(struct shim *s, bool truncated)
{
	if (!s->has_history) {
		s->artifacts_cut = truncated;
		s->has_history = true;
		collect(s, HISTORY);
		return;
	}
	terminated(s);
}

/* ---- multiplexers ---- */

static int start_program(struct shim *s, struct err *err);

static void
on_multiplexer_asked(struct shim *s, int exit_code)
{
	struct err err;

	if (!is_alive(s) || !s->term.drained)
		return; /* somebody attached meanwhile */
	if (exit_code == 0 && !s->term.hung_up) {
		say_exit(s, FINISH_DETACHED);
		shim_tell(s);
		return;
	}
	if (exit_code != 0 ||
	    (term_viewers(&s->term) > 0 && start_program(s, &err) < 0))
		end(s, "exit");
}

static const struct {
	const char *name;
	const char *const *command; /* in front of the shell's words */
	const char *const *again;   /* after it let go of its viewers */
	const char *alive;          /* exit code 0: it goes on without us */
} multiplexers[] = {
	{ "tmux",
	    (const char *const[]){
		"tmux", "-u", "new-session", "-A", "-s", "main", "--", NULL },
	    (const char *const[]){
		"tmux", "-u", "attach-session", "-t", "main", NULL },
	    "tmux has-session -t main 2>/dev/null" },
	/* -ln: there is no utmp; it complains of that for five seconds. */
	{ "screen",
	    (const char *const[]){
		"screen", "-ln", "-U", "-S", "main", "--", NULL },
	    (const char *const[]){ "screen", "-U", "-x", "main", NULL },
	    "screen -ls main | grep -q '[.]main'" },
};

static int
find_multiplexer(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(multiplexers); i++)
		if (strcmp(multiplexers[i].name, name) == 0)
			return (int)i;
	return -1;
}

void
session_program_ended(struct shim *s)
{
	int k = find_multiplexer(s->session.multiplexer);
	struct err err;

	if (!is_alive(s))
		return;
	if (k < 0 ||
	    exec_ask(s, multiplexers[k].alive, on_multiplexer_asked, &err) < 0)
		end(s, "exit");
}

static int
start_program(struct shim *s, struct err *err)
{
	struct session *n = &s->session;
	int k = find_multiplexer(n->multiplexer);
	const char *words[2 * WORDS_MAX];
	bool again = k >= 0 && s->term.started;
	size_t i = 0;

	if (k >= 0)
		for (const char *const *w = again ? multiplexers[k].again
						  : multiplexers[k].command;
		     *w; w++)
			words[i++] = *w;
	for (char **w = n->argv; *w && !again && i < ARRAY_LEN(words) - 1; w++)
		words[i++] = *w;
	words[i] = NULL;
	return term_start(&s->term, words, (const char *const *)n->env, err);
}

/* ---- viewers ---- */

static bool
is_kept(const struct session *n)
{
	return n->persist || *n->multiplexer;
}

void
session_viewer_came(struct shim *s)
{
	(void)uv_timer_stop(&s->grace);
	session_touched(s);
	if (s->session.state == SESSION_frozen) {
		thaw(s);
		set_state(s, SESSION_running);
	}
}

/* The program of a multiplexer ends with each detachment: it is started again. */
void
session_viewer_ready(struct shim *s, struct viewer *v)
{
	struct err err;

	if (s->session.state == SESSION_terminated) {
		viewer_finish(v, FINISH_EXIT);
		return;
	}
	if (*s->session.multiplexer && s->term.drained &&
	    start_program(s, &err) < 0)
		end(s, "exit");
}

static void
on_grace(uv_timer_t *t)
{
	end(t->data, "disconnected");
}

void
session_viewer_left(struct shim *s, bool clean)
{
	uint64_t wait = (uint64_t)s->settings->sessiond_grace_seconds * MS;

	session_touched(s);
	shim_tell(s);
	if (!is_alive(s) || term_viewers(&s->term) > 0)
		return;
	/* It paints its screen for each that attaches, and of its size. */
	if (*s->session.multiplexer)
		term_hang_up(&s->term);
	if (is_kept(&s->session))
		return;
	if (s->session.state == SESSION_frozen)
		return; /* it was put aside, and waits for somebody */
	(void)uv_timer_start(&s->grace, on_grace, clean ? 0 : wait, 0);
}

/* ---- calls ---- */

static int
set_vcpu(struct shim *s, long vcpu, struct err *err)
{
	const struct box_limits limits = {
		.memory_bytes = (uint64_t)vcpu *
				    (uint64_t)s->settings->sessiond_memory_mb
				<< MIB_SHIFT,
		.pids = s->settings->sessiond_pids,
		.vcpu = vcpu,
	};

	if (box_set_limits(s->box, &limits, err) < 0)
		return -1;
	s->session.vcpu = vcpu;
	return 0;
}

static char **
copy_words(const json_t *list, struct err *err)
{
	size_t n = json_array_size(list);
	char **words;

	if (n > WORDS_MAX) {
		(void)err_set(err, ERR_INVALID, 0, "too many words");
		return NULL;
	}
	words = xcalloc(n + 1, sizeof(*words));
	for (size_t i = 0; i < n; i++) {
		const char *w = json_string_value(json_array_get(list, i));

		words[i] = xstrdup(w ? w : "");
	}
	return words;
}

static int
put_file(struct shim *s, const json_t *f, struct err *err)
{
	const char *name = client_str(f, "name", "");
	const char *text = client_str(f, "content_base64", "");
	auto_buf struct buf bytes = { .cap = (size_t)64 << MIB_SHIFT };
	char path[600];

	if (!io_name_is_inside(name) ||
	    snprintf(path, sizeof(path), "/tmp/input/%s", name) >=
		(int)sizeof(path))
		return err_set(err, ERR_INVALID, 0,
		    "`input_files`: `%.100s` is no name of a file", name);
	if (b64_decode(text, strlen(text), &bytes, err) < 0)
		return -1;
	return box_put_file(
	    s->box, path, 0644, bytes.data ? bytes.data : "", bytes.len, err);
}

static int
put_files(struct shim *s, const json_t *list, struct err *err)
{
	const json_t *f;
	size_t i;

	if (json_array_size(list) > FILES_MAX)
		return err_set(err, ERR_INVALID, 0, "too many input files");
	json_array_foreach (list, i, f)
		if (put_file(s, f, err) < 0)
			return -1;
	return 0;
}

static void
copy_text(char *to, size_t size, const json_t *o, const char *name)
{
	(void)snprintf(to, size, "%s", client_str(o, name, ""));
}

static void
read_spec(struct session *n, const json_t *o)
{
	copy_text(n->id, sizeof(n->id), o, "id");
	copy_text(n->key, sizeof(n->key), o, "key");
	copy_text(n->shell, sizeof(n->shell), o, "shell");
	copy_text(n->net, sizeof(n->net), o, "net");
	copy_text(n->multiplexer, sizeof(n->multiplexer), o, "multiplexer");
	n->persist = json_is_true(json_object_get(o, "persist"));
	n->audit = json_is_true(json_object_get(o, "audit"));
	n->ttl_ms = client_int(o, "ttl_ms", 0);
	n->created_wall_ms = n->activity_wall_ms = clock_wall_ms();
	n->since_ms = n->touched_ms = clock_mono_ms();
}

static int
begin(struct shim *s, const json_t *o, struct err *err)
{
	struct session *n = &s->session;
	long vcpu = (long)client_int(o, "vcpu", 1);

	read_spec(n, o);
	n->base_vcpu = vcpu;
	s->term.cols = (unsigned)client_int(o, "cols", s->term.cols);
	s->term.rows = (unsigned)client_int(o, "rows", s->term.rows);
	n->argv = copy_words(json_object_get(o, "argv"), err);
	n->env = copy_words(json_object_get(o, "env"), err);
	if (!n->argv || !n->argv[0] || !n->env)
		return err_set(err, ERR_INVALID, 0, "no program");
	if (n->audit)
		record_begin(&n->record,
		    (uint64_t)s->settings->sessiond_audit_mb << MIB_SHIFT,
		    n->shell, s->term.cols, s->term.rows);
	if (set_vcpu(s, vcpu, err) < 0 ||
	    put_files(s, json_object_get(o, "files"), err) < 0)
		return -1;
	return start_program(s, err);
}

static int
call_create(struct shim *s, struct client *c, struct err *err)
{
	json_auto_t *o = NULL;

	if (s->session.state != SESSION_warm)
		return err_set(err, ERR_CONFLICT, 0, "it has a session");
	o = json_parse(c->body.data, c->body.len, err);
	if (!o)
		return -1;
	if (begin(s, o, err) < 0) {
		client_err(c, err);
		shim_leave(s);
		return 0;
	}
	log_info(NULL, "session begins|session=%s container=%s shell=%s",
	    s->session.id, s->session.container, s->session.shell);
	set_state(s, SESSION_running);
	answer_record(s, c, 200);
	return 0;
}

static int
call_get(struct shim *s, struct client *c, struct err *err)
{
	(void)err;
	answer_record(s, c, 200);
	return 0;
}

static int
need_alive(const struct shim *s, struct err *err)
{
	if (is_alive(s))
		return 0;
	return err_set(err, ERR_NOT_FOUND, 0, "Session not found or ended");
}

static int
call_freeze(struct shim *s, struct client *c, struct err *err)
{
	int64_t began = clock_mono_us(), stopped = began;
	json_auto_t *o = NULL;

	if (need_alive(s, err) < 0)
		return -1;
	if (s->session.state == SESSION_running) {
		if (box_freeze(s->box, FREEZE_MS, err) < 0)
			return -1;
		stopped = clock_mono_us();
		stop_time(&s->session);
		(void)uv_timer_stop(&s->grace);
		record_add(&s->session.record, RECORD_MARK, "frozen", 6, false);
		set_state(s, SESSION_frozen);
	}
	session_touched(s);
	o = session_record(s);
	json_set_int(o, "freezer_us", stopped - began);
	client_json(c, 200, o);
	return 0;
}

static int
call_thaw(struct shim *s, struct client *c, struct err *err)
{
	int64_t began = clock_mono_us(), went_on = began;
	json_auto_t *o = NULL;

	if (need_alive(s, err) < 0)
		return -1;
	session_touched(s);
	if (s->session.state == SESSION_frozen) {
		thaw(s);
		went_on = clock_mono_us();
		record_add(&s->session.record, RECORD_MARK, "thawed", 6, false);
		set_state(s, SESSION_running);
	}
	o = session_record(s);
	json_set_int(o, "freezer_us", went_on - began);
	client_json(c, 200, o);
	return 0;
}

static int
call_boost(struct shim *s, struct client *c, struct err *err)
{
	long long vcpu = client_int(c->head, "vcpu", s->session.base_vcpu);

	if (need_alive(s, err) < 0)
		return -1;
	if (vcpu < 1 || vcpu > VCPU_MAX)
		return err_set(err, ERR_INVALID, 0, "`vcpu` must be 1 to 8");
	if (set_vcpu(s, (long)vcpu, err) < 0)
		return -1;
	session_touched(s);
	shim_tell(s);
	answer_record(s, c, 200);
	return 0;
}

static int
call_exec(struct shim *s, struct client *c, struct err *err)
{
	json_auto_t *o = NULL;

	if (need_alive(s, err) < 0)
		return -1;
	o = json_parse(c->body.data, c->body.len, err);
	if (!o)
		return -1;
	session_touched(s);
	if (s->session.state == SESSION_frozen) {
		thaw(s);
		set_state(s, SESSION_running);
	}
	return exec_start(s, c, o, err);
}

static int
call_attach(struct shim *s, struct client *c, struct err *err)
{
	const json_t *since = json_object_get(c->head, "since");
	const char *protocol = client_str(c->head, "protocol", "");
	char client[40];
	struct viewer_wish w = {
		.native = strcmp(protocol, "unfarm.term.v1") == 0,
		.readonly = json_is_true(json_object_get(c->head, "readonly")),
		.screen = json_is_true(json_object_get(c->head, "screen")),
		.has_since = json_is_integer(since),
		.since = (uint64_t)json_integer_value(since),
		.client = client,
		.cols = (unsigned)client_int(c->head, "cols", 0),
		.rows = (unsigned)client_int(c->head, "rows", 0),
	};

	if (s->session.state == SESSION_warm)
		return need_alive(s, err);
	if (s->session.deleted)
		return err_set(err, ERR_NOT_FOUND, 0, "Session not found");
	if (term_viewers(&s->term) >= (size_t)s->settings->sessiond_viewers)
		return err_set(err, ERR_BUSY, 0, "too many are attached");
	copy_text(client, sizeof(client), c->head, "client");
	viewer_attach(s, client_upgrade(c), &w);
	return 0;
}

/* How much of it there is, at most size: others may cut it at any moment. */
static size_t
read_file(int fd, char *p, size_t size)
{
	size_t at = 0;
	ssize_t n;

	while (at < size && (n = pread(fd, p + at, size - at, (off_t)at)) > 0)
		at += (size_t)n;
	return at;
}

/* False: an answer has no room for it. */
static bool
add_file(struct out *o, const char *name, int fd, size_t size)
{
	auto_free char *p = NULL;
	size_t n;

	if (o->text.len + size / 3 * 4 + ANSWER_REST > CLIENT_ANSWER_MAX)
		return false;
	p = xmalloc(size + 1);
	n = read_file(fd, p, size);
	out_open(o, NULL, '{');
	out_str(o, "filename", name);
	out_base64(o, "content_base64", p, n);
	out_close(o, '}');
	return true;
}

static bool
add_export(struct out *o, const char *name, int fd, const struct err *err)
{
	off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;

	if (size >= 0)
		return add_file(o, name, fd, (size_t)size);
	log_err(NULL, "%s: %s", name, fd < 0 ? err->msg : "no file");
	return false;
}

static bool
add_artifact(struct out *o, const struct artifact *a)
{
	return add_file(o, a->name, a->fd, a->size);
}

/*
 * ret_head: of the chain, by which a change of these files is found.  False
 * when one of them has no room; the first two have all of it, and are never as
 * large.
 */
static bool
add_recording(
    struct out *o, const struct shim *s, char ret_head[SECRET_SIG_LEN + 1])
{
	static const struct {
		const char *name;
		record_export *export;
	} parts[] = {
		{ "session.log.gz", record_typescript },
		{ "session.timing", record_timing },
		{ "session.cast", record_asciicast },
	};
	struct record_file files[ARRAY_LEN(parts)];
	auto_close int chain = -1;
	bool all = true;
	struct err err;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		int fd = parts[i].export(&s->session.record, &err);

		if (add_export(o, parts[i].name, fd, &err)) {
			files[n++] = (struct record_file){ parts[i].name, fd };
			continue;
		}
		cleanup_closep(&fd);
		all = false;
	}
	chain = record_chain(files, n, ret_head, &err);
	all &= add_export(o, "session.chain", chain, &err);
	while (n > 0)
		cleanup_closep(&files[--n].fd);
	return all;
}

/* The log keeps the head, too: who changes files cannot change that. */
static void
say_recorded(struct out *o, const struct shim *s, const char *head)
{
	bool intact = record_intact(&s->session.record);

	out_str(o, "audit_chain", head);
	out_bool(o, "audit_intact", intact);
	log_info(NULL, "a recording is handed out|session=%s chain=%s%s",
	    s->session.id, head, intact ? "" : " damaged=yes");
}

/*
 * What the user left, the recording, bash's history.  Files are as large as
 * init told, which keep_file() has checked.
 */
static bool
add_artifacts(struct out *o, const struct shim *s, bool history)
{
	char head[SECRET_SIG_LEN + 1] = "";
	bool all = true;

	out_open(o, "artifacts", '[');
	for (size_t i = 0; i < s->n_left; i++)
		all &= add_artifact(o, &s->artifacts[i]);
	if (s->session.audit)
		all &= add_recording(o, s, head);
	for (size_t i = s->n_left; i < s->n_artifacts && history; i++)
		all &= add_artifact(o, &s->artifacts[i]);
	out_close(o, ']');
	if (s->session.audit)
		say_recorded(o, s, head);
	return all;
}

/* Calls to end it that wait until it is over. */
static void
answer_end(struct shim *s, struct client *c)
{
	bool history = json_is_true(json_object_get(c->head, "audit"));
	auto_free char *text = NULL;
	struct out o;
	size_t n;
	bool all;

	out_init(&o);
	out_open(&o, NULL, '{');
	out_bool(&o, "success", true);
	out_str(&o, "id", s->session.id);
	out_str(&o, "session_id", s->session.id);
	out_str(&o, "status", "terminated");
	out_str(&o, "message", "Session terminated");
	out_str(&o, "container_name", s->session.container);
	out_str(&o, "reason", s->session.reason);
	all = add_artifacts(&o, s, history);
	out_bool(&o, "artifacts_truncated", s->artifacts_cut || !all);
	out_close(&o, '}');
	text = out_steal(&o, &n);
	c->on_taken = shim_leave; /* else it is there for another try */
	client_bytes(c, 200, "application/json", text, n);
}

static int
call_end(struct shim *s, struct client *c, struct err *err)
{
	if (s->session.state == SESSION_warm || s->leaving)
		return need_alive(s, err) < 0 ? -1
					      : err_set(err, ERR_NOT_FOUND, 0,
						    "Session not found");
	s->session.deleted = true;
	end(s, "terminated");
	if (s->session.state == SESSION_terminated)
		answer_end(s, c);
	/* Else when artifacts are there. */
	return 0;
}

static const struct {
	const char *name;
	int (*handle)(struct shim *s, struct client *c, struct err *err);
} calls[] = {
	{ "create", call_create },
	{ "get", call_get },
	{ "end", call_end },
	{ "freeze", call_freeze },
	{ "thaw", call_thaw },
	{ "boost", call_boost },
	{ "exec", call_exec },
	{ "attach", call_attach },
};

int
session_call(struct shim *s, struct client *c, struct err *err)
{
	const char *name = client_str(c->head, "call", "");

	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		if (strcmp(calls[i].name, name) == 0)
			return calls[i].handle(s, c, err);
	return err_set(err, ERR_NOT_FOUND, 0, "no call `%.40s`", name);
}

/* ---- what init says ---- */

static void
answer_waiting(struct shim *s)
{
	struct client *c, *next;

	for (c = TAILQ_FIRST(&s->clients); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (c->called && !c->answered &&
		    strcmp(client_str(c->head, "call", ""), "end") == 0)
			answer_end(s, c);
	}
}

void
session_on_event(struct shim *s, struct box_event *e)
{
	switch (e->kind) {
	case BOX_STARTED:
	case BOX_REFUSED:
	case BOX_ENDED:
		if (!exec_on_event(s, e) && e->id == SHIM_TERM_ID)
			term_on_event(&s->term, e);
		break;
	case BOX_FILE:
		if (s->collecting)
			keep_file(s, e);
		break;
	case BOX_COLLECTED:
		if (s->collecting)
			collected(s, e->truncated);
		break;
	case BOX_FAILED: /* there is no such file or folder */
		if (s->collecting)
			collected(s, false);
		break;
	case BOX_GONE:
		if (is_alive(s))
			(void)snprintf(s->session.reason,
			    sizeof(s->session.reason), "killed");
		terminated(s);
		break;
	default:
		break;
	}
	cleanup_closep(&e->fd);
	if (s->session.state == SESSION_terminated)
		answer_waiting(s);
}

void
session_init(struct shim *s)
{
	s->session.state = SESSION_warm;
	(void)snprintf(s->session.container, sizeof(s->session.container),
	    "unsb-vm-%05u", s->serial);
	(void)uv_timer_init(&s->loop, &s->clock);
	(void)uv_timer_init(&s->loop, &s->grace);
	(void)uv_timer_init(&s->loop, &s->farewell);
	s->clock.data = s->grace.data = s->farewell.data = s;
}
