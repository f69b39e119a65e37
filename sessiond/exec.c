#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "b64.h"
#include "cleanup.h"
#include "client.h"
#include "clock.h"
#include "id.h"
#include "io.h"
#include "json.h"
#include "mem.h"
#include "out.h"
#include "session.h"
#include "utf8.h"

enum {
	PIECE = 16 << 10,
	PIPE_MAX = 1 << 20, /* the most room that a pipe can be given */
	QUIET_MS = 50,      /* for what it left to end, too */
	LATE_MS = 10000,    /* for init to say that it was killed */
	MS = 1000,
	SIGNALED = 128,
	TIMED_OUT = 124, /* as timeout(1) has it */
	WORDS_MAX = 256,
};

enum stream { OUT, ERR, STREAMS };

struct exec {
	TAILQ_ENTRY(exec) link;
	struct shim *shim;
	struct client *client; /* NULL: gone, or we asked ourselves */
	void (*done)(struct shim *s, int exit_code);
	uint32_t id;
	int pipes[STREAMS]; /* -1: none was made */
	uv_poll_t polls[STREAMS];
	bool at_end[STREAMS];
	bool held; /* not read: the client has no room */
	struct buf text[STREAMS];
	bool truncated[STREAMS];
	uv_timer_t timer;
	unsigned handles;
	int64_t began_ms, limit_ms;
	bool started, ended, over, timed_out, streams, dead;
	int exit_code;
	char job[ID_MAX];
};

static const char *const stream_names[STREAMS] = { "stdout", "stderr" };

/*
 * Not before: closing a handle takes the number of its descriptor out of epoll,
 * whoever has that number by then.
 */
static void
on_closed(uv_handle_t *h)
{
	struct exec *x = h->data;

	if (--x->handles > 0)
		return;
	for (int i = 0; i < STREAMS; i++) {
		cleanup_closep(&x->pipes[i]);
		buf_done(&x->text[i]);
	}
	free(x);
}

static void
bury(struct exec *x)
{
	if (x->dead)
		return;
	x->dead = true;
	TAILQ_REMOVE(&x->shim->execs, x, link);
	for (int i = 0; i < STREAMS; i++)
		uv_close((uv_handle_t *)&x->polls[i], on_closed);
	uv_close((uv_handle_t *)&x->timer, on_closed);
}

/* ---- its answer ---- */

static int64_t
wall_ms(const struct exec *x)
{
	return clock_mono_ms() - x->began_ms;
}

/* One server-sent event. */
static void
send_event(struct exec *x, const char *event, struct out *data)
{
	auto_buf struct buf text = { .cap = 8 << 20 };

	if (x->client && buf_addf(&text, "event: %s\ndata: %.*s\n\n", event,
			     (int)data->text.len, data->text.data) == 0)
		client_piece(x->client, text.data, text.len);
}

static void
say_end(struct exec *x, struct out *o)
{
	out_int(o, "exit_code", x->exit_code);
	out_bool(o, "success", x->exit_code == 0);
	out_str(o, "status", x->timed_out ? "timeout" : "completed");
	out_bool(o, "timed_out", x->timed_out);
	out_int(o, "wall_ms", wall_ms(x));
}

/* What it prints may be here before we are told that it began. */
static void
begin_stream(struct exec *x)
{
	if (x->client && x->streams && !x->client->answered)
		client_stream(x->client, "text/event-stream");
}

static void
stream_text(struct exec *x, enum stream k, size_t n)
{
	struct out o;

	if (n == 0)
		return;
	begin_stream(x);
	out_init(&o);
	out_open(&o, NULL, '{');
	out_text(&o, "data", x->text[k].data, n);
	out_close(&o, '}');
	send_event(x, stream_names[k], &o);
	out_done(&o);
	buf_consume(&x->text[k], n);
}

static void
answer(struct exec *x)
{
	struct out o;
	auto_free char *text = NULL;
	size_t n;

	for (int k = 0; x->streams && k < STREAMS; k++)
		stream_text(x, (enum stream)k, x->text[k].len);
	out_init(&o);
	out_open(&o, NULL, '{');
	say_end(x, &o);
	if (!x->streams) {
		out_str(&o, "job_id", x->job);
		out_text(&o, "stdout", x->text[OUT].data, x->text[OUT].len);
		out_text(&o, "stderr", x->text[ERR].data, x->text[ERR].len);
		out_joined(&o, "output", x->text[OUT].data, x->text[OUT].len,
		    x->text[ERR].data, x->text[ERR].len);
		out_bool(
		    &o, "truncated", x->truncated[OUT] || x->truncated[ERR]);
	}
	out_close(&o, '}');
	if (x->streams) {
		send_event(x, "exit", &o);
		if (x->client)
			client_end(x->client);
		out_done(&o);
		return;
	}
	text = out_steal(&o, &n);
	client_bytes(x->client, 200, "application/json", text, n);
}

static void
finish(struct exec *x)
{
	struct shim *s = x->shim;
	void (*done)(struct shim *, int) = x->done;
	int code = x->exit_code;

	if (x->dead)
		return;
	begin_stream(x); /* it may be late for that */
	if (x->client)
		answer(x);
	bury(x);
	session_touched(s);
	if (done)
		done(s, code);
}

/* It ended, and all that it wrote itself was read. */
static void
maybe_finish(struct exec *x)
{
	if (x->ended && !x->held && x->at_end[OUT] && x->at_end[ERR])
		finish(x);
}

/* ---- its output ---- */

/* A character that is cut by the end of a piece waits for the next one. */
static void
stream_piece(struct exec *x, enum stream k, const char *p, size_t n)
{
	struct buf *text = &x->text[k];

	if (buf_add(text, p, n) < 0)
		abort(); /* it has room for two of them */
	stream_text(x, k, utf8_whole(text->data, text->len));
}

/* What it prints waits in its pipes, and then so does it. */
static void
hold(struct exec *x)
{
	x->held = true;
	for (int i = 0; i < STREAMS; i++)
		(void)uv_poll_stop(&x->polls[i]);
}

static void
take_output(struct exec *x, enum stream k, const char *p, size_t n)
{
	if (x->streams) {
		stream_piece(x, k, p, n);
		if (x->client && client_is_full(x->client))
			hold(x);
	} else if (buf_add_some(&x->text[k], p, n) < n) {
		x->truncated[k] = true;
	}
}

/* False: there is nothing, now or any more. */
static bool
read_pipe(struct exec *x, enum stream k)
{
	char piece[PIECE];
	ssize_t n = read(x->pipes[k], piece, sizeof(piece));

	if (n > 0) {
		take_output(x, k, piece, (size_t)n);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		(void)uv_poll_stop(&x->polls[k]);
		x->at_end[k] = true;
	}
	return n > 0;
}

static void
on_pipe(uv_poll_t *poll, int status, int events)
{
	struct exec *x = poll->data;

	(void)status;
	(void)events;
	(void)read_pipe(x, poll == &x->polls[OUT] ? OUT : ERR);
	maybe_finish(x);
}

/*
 * Daemons that it left may hold the pipes open, and write on and on: no more is
 * read than they had room for when it ended.
 */
static void
on_quiet(uv_timer_t *t)
{
	struct exec *x = t->data;

	x->over = true;
	if (x->held)
		return; /* when the client has room */
	for (int k = 0; k < STREAMS; k++)
		for (int i = 0; i < PIPE_MAX / PIECE; i++)
			if (x->at_end[k] || !read_pipe(x, (enum stream)k))
				break;
	finish(x);
}

static void
read_on(struct exec *x)
{
	if (!x->held || x->dead)
		return;
	x->held = false;
	for (int i = 0; i < STREAMS; i++)
		if (!x->at_end[i])
			(void)uv_poll_start(
			    &x->polls[i], UV_READABLE | UV_DISCONNECT, on_pipe);
	if (x->over)
		(void)uv_timer_start(&x->timer, on_quiet, 0, 0);
}

static void
on_client_room(void *ctx)
{
	read_on(ctx);
}

/* ---- its begin ---- */

static void
on_limit(uv_timer_t *t)
{
	struct exec *x = t->data;
	struct err err;

	x->timed_out = true;
	x->exit_code = TIMED_OUT;
	(void)box_stop(x->shim->box, x->id, &err);
	(void)uv_timer_start(&x->timer, on_quiet, LATE_MS, 0);
}

/* Nobody wants the answer any more: the command goes on, as documented. */
static void
on_client_gone(void *ctx)
{
	struct exec *x = ctx;

	x->client = NULL;
	read_on(x);
}

static int
watch_pipe(struct exec *x, enum stream k, int *ret_theirs, struct err *err)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_errno(err, "make a pipe");
	(void)fcntl(p[0], F_SETFL, O_NONBLOCK);
	x->pipes[k] = p[0];
	*ret_theirs = p[1];
	(void)uv_poll_init(&x->shim->loop, &x->polls[k], p[0]);
	x->polls[k].data = x;
	x->handles++;
	return uv_poll_start(
	    &x->polls[k], UV_READABLE | UV_DISCONNECT, on_pipe);
}

static struct exec *
exec_new(struct shim *s)
{
	struct exec *x = xcalloc(1, sizeof(*x));
	size_t most = (size_t)s->settings->sessiond_output_kb << 10;

	x->shim = s;
	x->id = s->next_exec++;
	x->began_ms = clock_mono_ms();
	x->pipes[OUT] = x->pipes[ERR] = -1;
	buf_init(&x->text[OUT], most);
	buf_init(&x->text[ERR], most);
	id_new_job(x->job);
	(void)uv_timer_init(&s->loop, &x->timer);
	x->timer.data = x;
	x->handles = 1;
	TAILQ_INSERT_TAIL(&s->execs, x, link);
	return x;
}

/* Gone before it began. */
static void
give_up(struct exec *x)
{
	x->dead = true;
	TAILQ_REMOVE(&x->shim->execs, x, link);
	for (int i = 0; i < STREAMS; i++)
		if (x->pipes[i] >= 0)
			uv_close((uv_handle_t *)&x->polls[i], on_closed);
	uv_close((uv_handle_t *)&x->timer, on_closed);
}

static int
launch(struct exec *x, const char *const *argv, const char *const *env,
    const char *dir, int in, struct err *err)
{
	auto_close int out = -1, error = -1;
	struct box_process p = { .argv = argv, .env = env, .dir = dir };

	if (watch_pipe(x, OUT, &out, err) < 0 ||
	    watch_pipe(x, ERR, &error, err) < 0)
		return -1;
	p.fds[0] = in;
	p.fds[1] = out;
	p.fds[2] = error;
	/* From here on: nothing inside is trusted to say that it began. */
	(void)uv_timer_start(&x->timer, on_limit, (uint64_t)x->limit_ms, 0);
	return box_start(x->shim->box, x->id, &p, err);
}

static int
open_stdin(const json_t *body, struct err *err)
{
	const json_t *text = json_object_get(body, "stdin");
	const char *encoded = client_str(body, "stdin_base64", NULL);
	auto_buf struct buf bytes = { .cap = 64 << 20 };

	if (encoded) {
		if (b64_decode(encoded, strlen(encoded), &bytes, err) < 0)
			return -1;
		return io_memfd_sealed("stdin", bytes.data, bytes.len, err);
	}
	if (json_is_string(text))
		return io_memfd_sealed("stdin", json_string_value(text),
		    json_string_length(text), err);
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* The session's environment, and what the call adds. */
static const char **
build_env(const struct shim *s, const json_t *body, struct buf *texts)
{
	json_t *own = json_object_get(body, "env"), *value;
	size_t n = 0, most = json_object_size(own);
	const char **env, *name;

	while (s->session.env[n])
		n++;
	env = xcalloc(n + most + 1, sizeof(*env));
	memcpy(env, s->session.env, n * sizeof(*env));
	/* The buffer must not move while it is pointed into. */
	if (buf_reserve(texts, texts->cap) < 0)
		return env;
	json_object_foreach (own, name, value) {
		size_t at = texts->len;

		if (!json_is_string(value) ||
		    buf_addf(texts, "%s=%s", name, json_string_value(value)) <
			0 ||
		    buf_add(texts, "", 1) < 0)
			continue;
		env[n++] = texts->data + at;
	}
	return env;
}

/* argv, or `sh -c command`. */
static int
read_words(
    const json_t *body, const char *ret_words[WORDS_MAX + 1], struct err *err)
{
	const json_t *list = json_object_get(body, "argv");
	const char *command = client_str(body, "command", NULL);
	size_t n = json_array_size(list);

	if (n > WORDS_MAX)
		return err_set(
		    err, ERR_INVALID, 0, "`argv` has too many words");
	for (size_t i = 0; i < n; i++) {
		ret_words[i] = json_string_value(json_array_get(list, i));
		if (!ret_words[i])
			return err_set(
			    err, ERR_INVALID, 0, "`argv` must be texts");
	}
	if (n == 0) {
		if (!command || !*command)
			return err_set(
			    err, ERR_INVALID, 0, "`command` is missing");
		ret_words[0] = "sh";
		ret_words[1] = "-c";
		ret_words[2] = command;
		n = 3;
	}
	ret_words[n] = NULL;
	return 0;
}

static int
read_limit(
    const struct shim *s, const json_t *body, int64_t *ret_ms, struct err *err)
{
	long long most = s->settings->sessiond_max_exec_seconds, v;
	int r = json_get_int(body, "timeout", 1, most, &v, err);

	*ret_ms = MS * (r == 1 ? v : s->settings->sessiond_exec_seconds);
	return r < 0 ? -1 : 0;
}

int
exec_start(
    struct shim *s, struct client *c, const json_t *body, struct err *err)
{
	const char *words[WORDS_MAX + 1];
	auto_buf struct buf texts = { .cap = 128 << 10 };
	auto_free const char **env = NULL;
	auto_close int in = -1;
	int64_t limit_ms;
	struct exec *x;

	if (read_words(body, words, err) < 0 ||
	    read_limit(s, body, &limit_ms, err) < 0)
		return -1;
	in = open_stdin(body, err);
	if (in < 0)
		return -1;
	env = build_env(s, body, &texts);
	x = exec_new(s);
	x->client = c;
	x->limit_ms = limit_ms;
	x->streams = json_is_true(json_object_get(body, "stream"));
	for (int k = 0; x->streams && k < STREAMS; k++)
		buf_init(&x->text[k], (size_t)2 * PIECE);
	if (launch(x, words, env, client_str(body, "cwd", "/root"), in, err) <
	    0) {
		give_up(x);
		return -1;
	}
	c->on_gone = on_client_gone;
	c->on_room = on_client_room;
	c->ctx = x;
	return 0;
}

int
exec_ask(struct shim *s, const char *command,
    void (*done)(struct shim *s, int exit_code), struct err *err)
{
	const char *const words[] = { "sh", "-c", command, NULL };
	auto_close int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct exec *x = exec_new(s);

	x->done = done;
	x->limit_ms = s->settings->sessiond_exec_seconds * MS;
	if (launch(x, words, (const char *const *)s->session.env, "/root", null,
		err) < 0) {
		give_up(x);
		return -1;
	}
	return 0;
}

/* ---- what the box says ---- */

static void
refused(struct exec *x, const struct err *why)
{
	struct err err = *why;

	if (x->client) {
		(void)err_set(&err, ERR_INVALID, 0, "%.150s: %s", why->msg,
		    strerror(why->sys));
		client_err(x->client, &err);
		x->client = NULL;
	}
	x->exit_code = -1;
	finish(x);
}

static void
started(struct exec *x)
{
	x->started = true;
	begin_stream(x);
}

static void
ended(struct exec *x, int status)
{
	x->ended = true;
	x->exit_code = WIFEXITED(status) ? WEXITSTATUS(status)
					 : SIGNALED + WTERMSIG(status);
	if (x->timed_out)
		x->exit_code = TIMED_OUT;
	(void)uv_timer_start(&x->timer, on_quiet, QUIET_MS, 0);
	maybe_finish(x);
}

static struct exec *
find(const struct shim *s, uint32_t id)
{
	struct exec *x;

	TAILQ_FOREACH (x, &s->execs, link)
		if (x->id == id)
			return x;
	return NULL;
}

bool
exec_on_event(struct shim *s, struct box_event *e)
{
	struct exec *x = find(s, e->id);

	if (!x)
		return false;
	/* Each once, whatever init says. */
	if (e->kind == BOX_STARTED && !x->started)
		started(x);
	else if (e->kind == BOX_REFUSED && !x->started)
		refused(x, &e->failure);
	else if (e->kind == BOX_ENDED && !x->ended)
		ended(x, e->status);
	return true;
}

bool
exec_any(const struct shim *s)
{
	return !TAILQ_EMPTY(&s->execs);
}

void
exec_free_all(struct shim *s)
{
	struct exec *x;

	/* Killed with all of the sandbox; what they printed before is told. */
	while ((x = TAILQ_FIRST(&s->execs)) != NULL) {
		x->done = NULL;
		x->exit_code = SIGNALED + SIGKILL;
		finish(x);
	}
}
