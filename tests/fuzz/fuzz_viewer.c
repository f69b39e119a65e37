/*
 * A viewer of a session, of either protocol: what it sends and when it reads,
 * what the program prints and when that reads.  The input is a byte of how, and
 * steps.  As long as the viewer keeps to the protocol each byte that it types
 * arrives once, over all its lines; whatever it does, what is acknowledged only
 * grows, output has its place, and memory is bounded.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <termios.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "fuzz.h"
#include "json.h"
#include "log.h"
#include "session.h"
#include "shim.h"
#include "term_frame.h"
#include "viewer.h"

enum {
	NATIVE = 1,
	READONLY = 2,
	NAMELESS = 4,
	BEGUN = 8, /* the terminal is there */
	SCREEN = 16,
	ROOM = 4096,
	FRAME_MAX = 32 << 10,
	ALL_MAX = 1 << 20,
	WAITS = 30000, /* of a millisecond */
	/* viewer.c: what it may keep */
	TYPED_MAX = 80 << 10,
	QUEUED_MAX = 5000,
	INPUT_MAX = 64 << 10,
	PINGS_MAX = 8000,
};

static struct settings set;
static struct shim s;

static struct {
	unsigned how, lines;
	char name[40];
	int fd;    /* the client's side; -1: no line */
	int old;   /* one that is dead, and not closed */
	int slave; /* the program's; -1: it has not begun */
	struct buf heard, all;
	bool greeted;    /* on this line */
	bool honest;     /* it never broke the protocol */
	uint64_t at;     /* of the next byte that it types */
	uint64_t acked;  /* all before it */
	uint64_t read;   /* by the program */
	uint64_t output; /* where the next output belongs */
} run;

/* ---- bytes ---- */

static uint8_t
typed_at(uint64_t place)
{
	return (uint8_t)(place * 7 + place / 251);
}

/* ---- what the viewer hears ---- */

static void
hear_hello(const char *text, size_t n)
{
	struct err err;
	json_auto_t *o = json_parse(text, n, &err);
	json_int_t input = json_integer_value(json_object_get(o, "input"));

	must(json_is_object(o) && !run.greeted && input >= 0);
	run.greeted = true;
	run.output = (uint64_t)json_integer_value(json_object_get(o, "since"));
	if (run.how & NAMELESS)
		run.acked = 0;
	must((uint64_t)input >= run.acked);
	run.at = run.acked = (uint64_t)input;
}

static void
hear_native(const uint8_t *p, size_t n)
{
	const uint8_t *body = p + FRAME_HEAD;

	must(n >= FRAME_HEAD && p[1] == 0 && p[2] == 0 && p[3] == 0);
	n -= FRAME_HEAD;
	must(run.greeted || p[0] == FRAME_HELLO);
	switch (p[0]) {
	case FRAME_HELLO:
		hear_hello((const char *)body, n);
		break;
	case FRAME_OUT:
		must(n > FRAME_OFFSET && frame_get_u64(body) == run.output);
		n -= FRAME_OFFSET;
		must(run.output + n <= run.all.len);
		must(memcmp(body + FRAME_OFFSET, run.all.data + run.output,
			 n) == 0);
		run.output += n;
		break;
	case FRAME_TRUNC:
		must(n == (size_t)2 * FRAME_OFFSET &&
		     frame_get_u64(body) == run.output);
		must(frame_get_u64(body + FRAME_OFFSET) > run.output);
		run.output = frame_get_u64(body + FRAME_OFFSET);
		break;
	case FRAME_SCREEN:
		must(run.how & SCREEN);
		must(n > FRAME_OFFSET + 4 && frame_get_u64(body) == run.output);
		break;
	case FRAME_LIVE:
		must(n == FRAME_OFFSET && frame_get_u64(body) == run.output);
		break;
	case FRAME_INACK:
		must(n == FRAME_OFFSET && frame_get_u64(body) >= run.acked);
		run.acked = frame_get_u64(body);
		must(!run.honest || run.acked <= run.at);
		break;
	case FRAME_SIZE:
		must(n == 4);
		break;
	default:
		must(p[0] == FRAME_PEERS || p[0] == FRAME_STATE);
		must_be_json((const char *)body, n);
		break;
	}
}

static void
hear_frame(unsigned head, const uint8_t *p, size_t n)
{
	unsigned opcode = head & 15;

	must((head & 0xf0) == 0x80); /* whole */
	must(opcode == WSLAY_TEXT_FRAME || opcode == WSLAY_BINARY_FRAME ||
	     opcode == WSLAY_CONNECTION_CLOSE || opcode == WSLAY_PING ||
	     opcode == WSLAY_PONG);
	if (opcode == WSLAY_TEXT_FRAME) {
		must(!(run.how & NATIVE));
		must_be_json((const char *)p, n);
	} else if (opcode == WSLAY_BINARY_FRAME && (run.how & NATIVE)) {
		hear_native(p, n);
	}
}

/* True: there was a whole one. */
static bool
hear_one(void)
{
	const uint8_t *p = (const uint8_t *)run.heard.data;
	size_t head = 2, n;

	if (run.heard.len < head)
		return false;
	must((p[1] & 0x80) == 0 && (p[1] & 0x7f) != 127);
	n = p[1] & 0x7f;
	if (n == 126) {
		head = 4;
		if (run.heard.len < head)
			return false;
		n = (size_t)p[2] << 8 | p[3];
	}
	if (run.heard.len < head + n)
		return false;
	hear_frame(p[0], p + head, n);
	buf_consume(&run.heard, head + n);
	return true;
}

static void
hear(size_t most)
{
	char piece[ROOM];
	ssize_t n = run.fd < 0
			? -1
			: recv(run.fd, piece, most < ROOM ? most : (size_t)ROOM,
			      MSG_DONTWAIT);

	if (n <= 0)
		return;
	must(buf_add(&run.heard, piece, (size_t)n) == 0);
	while (hear_one())
		;
}

/* ---- what it says ---- */

static void
hang_up(void)
{
	if (run.fd >= 0)
		(void)close(run.fd);
	run.fd = -1;
	run.greeted = false;
	buf_clear(&run.heard);
}

/* As when nobody is told that the line is dead. */
static void
forget_line(void)
{
	if (run.old >= 0)
		(void)close(run.old);
	run.old = run.fd;
	run.fd = -1;
	hang_up();
}

/* All of it, or nothing; or a part, and the line breaks. */
static bool
say(const void *p, size_t n)
{
	ssize_t k = run.fd < 0
			? -1
			: send(run.fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (k >= 0 && (size_t)k < n)
		hang_up();
	return k == (ssize_t)n;
}

static bool
say_frame(unsigned head, const uint8_t *p, size_t n)
{
	uint8_t frame[8 + FRAME_MAX] = { (uint8_t)head };
	size_t at = 2;

	frame[1] = 0x80 | (uint8_t)(n < 126 ? n : 126);
	if (n >= 126) {
		frame[at++] = (uint8_t)(n >> 8);
		frame[at++] = (uint8_t)n;
	}
	at += 4; /* a mask of zeros */
	if (n > 0)
		memcpy(frame + at, p, n);
	return say(frame, at + n);
}

/* Typed where it belongs, or a little before that: it was sent twice. */
static void
type(size_t n, size_t again)
{
	uint8_t body[FRAME_HEAD + FRAME_OFFSET + ROOM] = { FRAME_IN };
	uint64_t at = run.at - (again < run.at ? again : run.at);

	if (!run.greeted || !(run.how & NATIVE) || n > ROOM)
		return;
	frame_put_u64(body + FRAME_HEAD, at);
	for (size_t i = 0; i < n; i++)
		body[FRAME_HEAD + FRAME_OFFSET + i] = typed_at(at + i);
	if (say_frame(0x82, body, FRAME_HEAD + FRAME_OFFSET + n) &&
	    run.at < at + n)
		run.at = at + n;
}

static void
say_any(struct feed *f)
{
	size_t n;
	const uint8_t *p = feed_bytes(f, feed_u16(f) % FRAME_MAX, &n);

	run.honest = false;
	(void)say(p, n);
}

static void
say_any_frame(struct feed *f)
{
	unsigned head = feed_u8(f);
	size_t n;
	const uint8_t *p = feed_bytes(f, feed_u16(f) % FRAME_MAX, &n);

	run.honest = false;
	(void)say_frame(head, p, n);
}

/* ---- lines ---- */

static void
attach(uint64_t since, unsigned cols)
{
	const struct viewer_wish w = {
		.native = run.how & NATIVE,
		.readonly = run.how & READONLY,
		.screen = run.how & SCREEN,
		.has_since = since != 0,
		.since = since,
		.client = run.how & NAMELESS ? "" : run.name,
		.cols = cols,
		.rows = cols,
	};
	const int room = ROOM;
	int sv[2];

	hang_up();
	/* It begins anew, and what it types is no row of bytes any more. */
	if ((run.how & NAMELESS) && run.lines++ > 0)
		run.honest = false;
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		 sv) == 0);
	(void)setsockopt(sv[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	run.fd = sv[0];
	viewer_attach(&s, sv[1], &w);
}

/* ---- the program ---- */

static void
begin_terminal(void)
{
	struct box_event e = { .kind = BOX_STARTED, .id = SHIM_TERM_ID };
	struct termios raw;
	char name[64];

	if (run.slave >= 0)
		return;
	e.fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	must(e.fd >= 0 && unlockpt(e.fd) == 0 &&
	     ptsname_r(e.fd, name, sizeof(name)) == 0);
	run.slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	must(run.slave >= 0 && tcgetattr(run.slave, &raw) == 0);
	cfmakeraw(&raw);
	must(tcsetattr(run.slave, TCSANOW, &raw) == 0);
	term_on_event(&s.term, &e);
}

static void
print(const uint8_t *p, size_t n)
{
	ssize_t k = (ssize_t)n;
	struct viewer *v, *next;

	if (run.all.len + n > ALL_MAX)
		return;
	if (run.slave >= 0)
		k = write(run.slave, p, n);
	if (k <= 0)
		return;
	must(buf_add(&run.all, p, (size_t)k) == 0);
	if (run.slave >= 0)
		return;
	/* Of a program that was here before. */
	ring_add(&s.term.ring, p, (size_t)k);
	for (v = TAILQ_FIRST(&s.term.viewers); v; v = next) {
		next = TAILQ_NEXT(v, link);
		viewer_feed(v);
	}
}

/* False: there is nothing now. */
static bool
read_typed(size_t most)
{
	uint8_t piece[ROOM];
	ssize_t n = run.slave < 0 ? -1
				  : read(run.slave, piece,
					most < ROOM ? most : (size_t)ROOM);

	for (ssize_t i = 0; i < n; i++)
		must(!run.honest || piece[i] == typed_at(run.read + (size_t)i));
	run.read += n > 0 ? (uint64_t)n : 0;
	return n > 0;
}

/* ---- steps ---- */

static void
check(void)
{
	const struct viewer *v;
	size_t n = 0;

	TAILQ_FOREACH (v, &s.term.viewers, link) {
		must(v->typed.len <= TYPED_MAX);
		must(wslay_event_get_queued_msg_count(v->ws) <= QUEUED_MAX);
		must(v->acked <= v->sent && v->sent <= s.term.ring.end);
		n++;
	}
	must(s.term.input.len <= INPUT_MAX);
	must((run.how & (NATIVE | NAMELESS)) != NATIVE || n <= 1);
}

static void
turn(void)
{
	check();
	(void)uv_run(&s.loop, UV_RUN_NOWAIT);
	check();
}

static void
step(struct feed *f)
{
	unsigned what = feed_u8(f);
	size_t n, times = what >> 4;
	const uint8_t *p;

	switch (what & 15) {
	case 0:
		say_any(f);
		break;
	case 1:
		say_any_frame(f);
		break;
	case 2:
	case 3:
		n = feed_u16(f) % ROOM;
		for (times++; times > 0; times--)
			type(n, what & 1 ? n / 2 : 0);
		break;
	case 4:
		p = feed_bytes(f, feed_u8(f), &n);
		for (times = 1 + times * times; times > 0; times--)
			print(p, n);
		break;
	case 5:
	case 6:
		hear(feed_u16(f));
		break;
	case 7:
	case 8:
		(void)read_typed(feed_u16(f));
		break;
	case 9:
		hang_up();
		break;
	case 10:
		n = feed_u16(f);
		if (times & 2)
			forget_line();
		attach((run.how & NATIVE) && (times & 1) ? run.output : times,
		    (unsigned)n);
		break;
	case 11:
		begin_terminal();
		break;
	case 12: /* pings */
		for (n = feed_u16(f) % PINGS_MAX; n > 0; n--)
			(void)say_frame(0x89, NULL, 0);
		break;
	default:
		break;
	}
	for (times = 1 + what % 3; times > 0; times--)
		turn();
}

/* A terminal's bytes are carried by the kernel in its own time. */
static void
wait_a_little(void)
{
	struct pollfd p = { .fd = run.slave, .events = POLLIN };

	(void)poll(&p, 1, 1);
	(void)read_typed(ROOM);
	turn();
}

/* Programs read all, viewers go: nobody is left. */
static void
finish(void)
{
	bool counted = run.honest && (run.how & NATIVE) &&
		       !(run.how & (NAMELESS | READONLY));

	begin_terminal();
	hear(ROOM);
	turn();
	forget_line();
	forget_line();
	turn();
	for (int i = 0; !TAILQ_EMPTY(&s.term.viewers); i++) {
		must(i < WAITS);
		wait_a_little();
	}
	for (int i = 0; counted && run.read < *session_input_of(&s, run.name);
	     i++) {
		must(i < WAITS);
		wait_a_little();
	}
	must(!counted || run.read == *session_input_of(&s, run.name));
}

static void
close_handle(uv_handle_t *h, void *ctx)
{
	(void)ctx;
	if (!uv_is_closing(h))
		uv_close(h, NULL);
}

static void
make_shim(void)
{
	static const char *dir;
	static unsigned long number;
	struct err err;

	if (!dir) {
		log_init("fuzz_viewer", LOG_CRIT);
		settings_default(&set);
		set.sessiond_ring_kb = 64;
		dir = fuzz_folder();
	}
	memset(&s, 0, sizeof(s));
	s.settings = &set;
	s.owner = s.listener = -1;
	(void)snprintf(s.dir, sizeof(s.dir), "%s", dir);
	must(uv_loop_init(&s.loop) == 0);
	session_init(&s);
	s.session.state = SESSION_running;
	s.session.persist = true;
	TAILQ_INIT(&s.clients);
	TAILQ_INIT(&s.execs);
	must(term_open(&s.term, &s, &err) == 0);
	memset(&run, 0, sizeof(run));
	run.fd = run.old = run.slave = -1;
	run.honest = true;
	(void)snprintf(run.name, sizeof(run.name), "c%lu", number++);
	buf_init(&run.heard, ALL_MAX);
	buf_init(&run.all, ALL_MAX);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, size };

	make_shim();
	run.how = feed_u8(&f);
	if (run.how & BEGUN)
		begin_terminal();
	attach(0, 0);
	while (f.left > 0)
		step(&f);
	finish();
	term_close(&s.term);
	(void)close(run.slave);
	uv_walk(&s.loop, close_handle, NULL);
	(void)uv_run(&s.loop, UV_RUN_NOWAIT);
	must(uv_loop_close(&s.loop) == 0);
	buf_done(&run.heard);
	buf_done(&run.all);
	return 0;
}
