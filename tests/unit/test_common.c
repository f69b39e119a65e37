/* buf, err, b64, utf8, id, clock, msg, json, io, log: the small modules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "b64.h"
#include "buf.h"
#include "cleanup.h"
#include "clock.h"
#include "err.h"
#include "id.h"
#include "io.h"
#include "json.h"
#include "log.h"
#include "msg.h"
#include "store.h"
#include "utf8.h"

/* ---- buf ---- */

static void
one_byte_past_the_cap_is_refused(void **state)
{
	auto_buf struct buf b;

	(void)state;
	buf_init(&b, 10);
	assert_int_equal(buf_add(&b, "hello", 5), 0);
	assert_int_equal(buf_addf(&b, "%d", 12345), 0);
	assert_int_equal(buf_add(&b, "x", 1), -ENOBUFS);
	assert_int_equal(buf_addf(&b, "%d", 1), -ENOBUFS);
	assert_int_equal(b.len, 10);
	assert_string_equal(b.data, "hello12345");
}

static void
add_some_takes_what_fits(void **state)
{
	auto_buf struct buf b;

	(void)state;
	buf_init(&b, 4);
	assert_int_equal(buf_add_some(&b, "abc", 3), 3);
	assert_int_equal(buf_add_some(&b, "def", 3), 1);
	assert_int_equal(buf_add_some(&b, "ghi", 3), 0);
	assert_string_equal(b.data, "abcd");
}

static void
consume_drops_the_front_and_steal_hands_over(void **state)
{
	auto_buf struct buf b;
	auto_free char *p = NULL;
	size_t n = 0;

	(void)state;
	buf_init(&b, 100);
	assert_int_equal(buf_adds(&b, "onetwo"), 0);
	buf_consume(&b, 3);
	assert_string_equal(b.data, "two");
	p = buf_steal(&b, &n);
	assert_string_equal(p, "two");
	assert_int_equal(n, 3);
	assert_null(b.data);
	assert_int_equal(b.cap, 100);
	assert_int_equal(buf_add(&b, NULL, 0), 0);
	assert_string_equal(b.data, "");
}

/* ---- err ---- */

static void
errors_read_outside_in_and_keep_errno(void **state)
{
	struct err e = { 0 };

	(void)state;
	assert_int_equal(err_set(&e, ERR_SYS, ENOENT, "open `%s`", "/x"), -1);
	assert_int_equal(err_wrap(&e, "store"), -1);
	assert_string_equal(
	    e.msg, "store: open `/x`: No such file or directory");
	assert_int_equal(e.sys, ENOENT);
	assert_int_equal(err_http_status(ERR_TOO_BIG), 413);
	assert_int_equal(err_exit_status(ERR_NOT_FOUND), 66);
	assert_string_equal(err_wire_code(ERR_RATE), "RATE_LIMIT_EXCEEDED");
}

static void
an_overlong_error_is_cut_and_terminated(void **state)
{
	struct err e = { 0 };
	char text[1000];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	(void)err_set(&e, ERR_SYS, ENOENT, "%s", text);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
	for (int i = 0; i < 5; i++)
		(void)err_wrap(&e, "%s", text);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
	(void)err_set(&e, ERR_SYS, 99999, "x");
	assert_string_equal(e.msg, "x: unknown error");
}

/* ---- b64 ---- */

static int
decode(const char *text, struct buf *ret, enum err_code *ret_code)
{
	struct err e = { 0 };
	int r;

	buf_clear(ret);
	r = b64_decode(text, strlen(text), ret, &e);
	*ret_code = e.code;
	return r;
}

static void
base64_of_every_length_comes_back_exactly(void **state)
{
	unsigned char raw[260];
	enum err_code code;

	(void)state;
	for (size_t i = 0; i < sizeof(raw); i++)
		raw[i] = (unsigned char)(i * 37);
	for (size_t n = 0; n <= sizeof(raw); n++) {
		auto_buf struct buf b = { .cap = n };
		auto_free char *text = b64_encode(raw, n);

		assert_int_equal(strlen(text), b64_encoded_len(n));
		assert_int_equal(decode(text, &b, &code), 0);
		assert_int_equal(b.len, n);
		assert_memory_equal(b.data, raw, n);
	}
}

static void
a_large_block_is_not_cut_at_a_step(void **state)
{
	enum { BIG = (3 << 20) + 5000 };
	auto_buf struct buf b = { .cap = BIG };
	auto_free unsigned char *raw = malloc(BIG);
	auto_free char *text = NULL;
	enum err_code code;

	(void)state;
	for (size_t i = 0; i < BIG; i++)
		raw[i] = (unsigned char)(i * i >> 3);
	text = b64_encode(raw, BIG);
	assert_int_equal(decode(text, &b, &code), 0);
	assert_int_equal(b.len, BIG);
	assert_memory_equal(b.data, raw, BIG);
	b.cap = BIG - 1;
	assert_int_equal(decode(text, &b, &code), -1);
	assert_int_equal(code, ERR_TOO_BIG);
}

static void
base64_with_line_breaks_or_without_padding_is_taken(void **state)
{
	static const char *const same[] = { "aGVsbG8=", "aGVsbG8",
		"aGVs\r\nbG8=\n", " a G V s b G 8 = " };
	auto_buf struct buf b = { .cap = 100 };
	enum err_code code;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(same); i++) {
		assert_int_equal(decode(same[i], &b, &code), 0);
		assert_string_equal(b.data, "hello");
	}
}

static void
what_is_not_base64_is_refused(void **state)
{
	static const char *const bad[] = { "a", "aGVsb", "aGV=sbG8",
		"aGVs====", "aGVsbG8==", "a===", "aGVs!", "aGVs_-", "=",
		"\x80\x81\x82\x83" };
	auto_buf struct buf b = { .cap = 100 };
	enum err_code code;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(decode(bad[i], &b, &code), -1);
		assert_int_equal(code, ERR_INVALID);
	}
}

/* ---- utf8 ---- */

static void
utf8_knows_good_from_bad(void **state)
{
	static const struct {
		const char *text;
		bool good;
	} rows[] = {
		{ "", true },
		{ "plain", true },
		{ "\xc3\xa9", true },
		{ "\xe2\x82\xac", true },
		{ "\xf0\x9f\x98\x80", true },
		{ "\xf4\x8f\xbf\xbf", true },  /* the last character */
		{ "\xf4\x90\x80\x80", false }, /* past it */
		{ "\xed\x9f\xbf", true },
		{ "\xed\xa0\x80", false }, /* surrogate */
		{ "\xc0\x80", false },     /* overlong */
		{ "\xc1\xbf", false },
		{ "\xe0\x9f\xbf", false },
		{ "\xe0\xa0\x80", true },
		{ "\xf0\x8f\xbf\xbf", false },
		{ "\xf0\x90\x80\x80", true },
		{ "\x80", false },
		{ "\xc3", false },
		{ "\xe2\x82", false },
		{ "a\xff", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(utf8_valid(rows[i].text, strlen(rows[i].text)),
		    rows[i].good);
	assert_true(utf8_valid("a\0b", 3));
}

static void
sanitizing_replaces_each_bad_byte_only(void **state)
{
	auto_buf struct buf b = { .cap = 100 };

	(void)state;
	assert_int_equal(utf8_sanitize("a\xff\xc3\xa9\xe2\x82", 6, &b), 0);
	assert_string_equal(
	    b.data, "a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd");
	b.cap = b.len + 2;
	assert_int_equal(utf8_sanitize("\xff", 1, &b), -ENOBUFS);
}

/* ---- id, clock ---- */

static void
job_ids_are_recognized_and_sort_by_time(void **state)
{
	static const char *const bad[] = { "", "job_", "job_123_abc",
		"job_1234567890123_00112233445566778g",
		"job_1234567890123_0011223344556677889",
		"job_1234567890123-001122334455667788",
		"Job_1234567890123_001122334455667788",
		"job_1234567890123_00112233445566778A" };
	char a[ID_MAX], b[ID_MAX];
	int64_t ms;

	(void)state;
	id_new_job(a);
	ms = clock_wall_ms();
	while (clock_wall_ms() == ms)
		;
	id_new_job(b);
	assert_int_equal(strlen(a), ID_MAX - 1);
	assert_true(id_is_job(a) && id_is_job(b));
	assert_true(strcmp(a, b) < 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(id_is_job(bad[i]));
}

static void
keys_have_the_documents_shape(void **state)
{
	char pk[ID_MAX], sk[ID_MAX], other[ID_MAX];

	(void)state;
	id_new_public_key(pk);
	id_new_public_key(other);
	id_new_secret_key(sk);
	assert_int_equal(strlen(pk), strlen("unsb-pk-xxxx-xxxx-xxxx-xxxx"));
	assert_int_equal(strlen(sk), strlen("unsb-sk-xxxxx-xxxxx-xxxxx-xxxxx"));
	assert_string_not_equal(pk, other);
	assert_true(id_is_public_key(pk));
	assert_false(id_is_public_key(sk));
	assert_true(id_is_public_key("unsb-pk-test-0000-0000-0001"));
	assert_false(id_is_public_key("unsb-pk-"));
	assert_false(id_is_public_key("unsb-pk-a b"));
	assert_false(id_is_public_key("unsb-pk-a}:x"));
	assert_false(id_is_public_key(
	    "unsb-pk-12345678901234567890123456789012345678901"));
}

static void
iso_time_goes_both_ways(void **state)
{
	char text[CLOCK_ISO_LEN];

	(void)state;
	assert_int_equal(
	    clock_from_iso8601("2026-01-14T12:00:00Z"), 1768392000000);
	clock_iso8601(1768392000999, text);
	assert_string_equal(text, "2026-01-14T12:00:00Z");
	assert_int_equal(clock_from_iso8601("2026-01-14"), -1);
	assert_int_equal(clock_from_iso8601("2026-01-14T12:00:00Zx"), -1);
	assert_int_equal(clock_from_iso8601(""), -1);
}

/* ---- msg ---- */

struct wire {
	int fds[2];
	unsigned char data[MSG_MAX];
	struct msg in;
};

static int
wire_open(void **state)
{
	struct wire *w = calloc(1, sizeof(*w));

	*state = w;
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, w->fds);
}

static int
wire_close(void **state)
{
	struct wire *w = *state;

	cleanup_closep(&w->fds[0]);
	cleanup_closep(&w->fds[1]);
	free(w);
	return 0;
}

static void
a_message_arrives_with_its_descriptor(void **state)
{
	struct wire *w = *state;
	struct msg_out o = { .data = w->data };
	struct msg_in in;
	struct err e = { 0 };
	size_t n;
	int fd = STDERR_FILENO;

	msg_put_u32(&o, 7);
	msg_put_u64(&o, UINT64_MAX);
	msg_put_str(&o, "name");
	msg_put_bytes(&o, "a\0b", 3);
	assert_int_equal(msg_send(w->fds[0], 42, &o, &fd, 1, &e), 0);
	assert_int_equal(msg_recv(w->fds[1], &w->in, &e), 1);
	assert_int_equal(w->in.hdr.type, 42);
	assert_int_equal(w->in.n_fds, 1);
	assert_true(fcntl(w->in.fds[0], F_GETFD) & FD_CLOEXEC);
	msg_close_fds(&w->in);
	msg_in_init(&in, &w->in);
	assert_int_equal(msg_get_u32(&in), 7);
	assert_true(msg_get_u64(&in) == UINT64_MAX);
	assert_string_equal(msg_get_str(&in), "name");
	assert_false(msg_in_done(&in));
	assert_memory_equal(msg_get_bytes(&in, &n), "a\0b", 4);
	assert_int_equal(n, 3);
	assert_true(msg_in_done(&in));
	assert_int_equal(msg_get_u32(&in), 0);
	assert_false(msg_in_done(&in));
}

static void
a_peer_that_left_reads_as_zero(void **state)
{
	struct wire *w = *state;
	struct err e = { 0 };

	cleanup_closep(&w->fds[0]);
	w->fds[0] = -1;
	assert_int_equal(msg_recv(w->fds[1], &w->in, &e), 0);
}

static void
malformed_packets_are_refused(void **state)
{
	struct wire *w = *state;
	struct msg_hdr bad[] = {
		{ .version = MSG_VERSION + 1, .type = 1, .len = 0 },
		{ .version = MSG_VERSION, .type = 1, .len = 1 },
	};
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(send(w->fds[0], &bad[i], sizeof(bad[i]), 0),
		    sizeof(bad[i]));
		assert_int_equal(msg_recv(w->fds[1], &w->in, &e), -1);
		assert_int_equal(e.code, ERR_INVALID);
	}
	assert_int_equal(send(w->fds[0], "x", 1, 0), 1);
	assert_int_equal(msg_recv(w->fds[1], &w->in, &e), -1);
}

static void
a_message_over_the_limit_is_not_sent(void **state)
{
	struct wire *w = *state;
	struct msg_out o = { .data = w->data };
	struct err e = { 0 };

	msg_put_bytes(&o, w->in.body, MSG_MAX - 5);
	assert_false(o.overflow);
	msg_put_u32(&o, 1);
	assert_true(o.overflow);
	assert_int_equal(msg_send(w->fds[0], 1, &o, NULL, 0, &e), -1);
	assert_int_equal(e.code, ERR_TOO_BIG);
}

static void
lying_lengths_do_not_read_past_the_message(void **state)
{
	static const unsigned char bytes[] = { 0xff, 0xff, 0xff, 0xff, 'a', 0 };
	static const unsigned char unterminated[] = { 1, 0, 0, 0, 'a', 'b' };
	static const unsigned char nul[] = { 2, 0, 0, 0, 'a', 0, 0 };
	struct msg_in in = { .p = bytes, .left = sizeof(bytes) };

	(void)state;
	assert_string_equal(msg_get_str(&in), "");
	assert_true(in.bad);
	in = (struct msg_in){ .p = unterminated, .left = sizeof(unterminated) };
	assert_string_equal(msg_get_str(&in), "");
	assert_true(in.bad);
	in = (struct msg_in){ .p = nul, .left = sizeof(nul) };
	assert_string_equal(msg_get_str(&in), "");
	assert_true(in.bad);
}

/* ---- json ---- */

static void
numbers_and_booleans_may_be_strings(void **state)
{
	static const char text[] =
	    "{\"a\":5,\"b\":\"5\",\"c\":\"5x\",\"d\":true,\"e\":\"false\","
	    "\"f\":1,\"g\":2,\"h\":null,\"i\":\"99999999999999999999\"}";
	struct err e = { 0 };
	json_auto_t *o = json_parse(text, strlen(text), &e);
	long long n = 0;
	bool b = false;

	(void)state;
	assert_int_equal(json_get_int(o, "a", 0, 9, &n, &e), 1);
	assert_int_equal(n, 5);
	assert_int_equal(json_get_int(o, "b", 0, 9, &n, &e), 1);
	assert_int_equal(json_get_int(o, "b", 6, 9, &n, &e), -1);
	assert_string_equal(e.msg, "`b` must be between 6 and 9");
	assert_int_equal(json_get_int(o, "c", 0, 9, &n, &e), -1);
	assert_int_equal(json_get_int(o, "d", 0, 9, &n, &e), -1);
	assert_int_equal(json_get_int(o, "h", 0, 9, &n, &e), 0);
	assert_int_equal(json_get_int(o, "i", 0, 9, &n, &e), -1);
	assert_int_equal(json_get_int(o, "none", 0, 9, &n, &e), 0);
	assert_int_equal(json_get_bool(o, "d", &b, &e), 1);
	assert_true(b);
	assert_int_equal(json_get_bool(o, "e", &b, &e), 1);
	assert_false(b);
	assert_int_equal(json_get_bool(o, "f", &b, &e), 1);
	assert_true(b);
	assert_int_equal(json_get_bool(o, "g", &b, &e), -1);
	assert_int_equal(json_get_bool(o, "b", &b, &e), -1);
}

static void
json_says_where_it_is_wrong(void **state)
{
	static const char *const bad[] = { "", "{", "{\"a\":1,\"a\":2}", "1 2",
		"{\"a\":\n}", "\"\xff\"" };
	struct err e = { 0 };
	const char *s = NULL;
	json_auto_t *o = json_parse("{\"a\":\"x\\u0000y\"}", 16, &e);
	size_t n;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_null(json_parse(bad[i], strlen(bad[i]), &e));
	assert_null(json_parse("{\n\"a\":}", 7, &e));
	assert_non_null(strstr(e.msg, "line 2"));
	assert_int_equal(json_get_str(o, "a", &s, &n, &e), 1);
	assert_int_equal(n, 3);
	assert_int_equal(json_get_str(o, "a", &s, NULL, &e), -1);
}

static void
json_text_is_valid_whatever_went_in(void **state)
{
	json_auto_t *o = json_object();
	auto_free char *text = NULL;

	(void)state;
	json_set_text(o, "t", "a\xff\0b", 4);
	json_set_bool(o, "b", true);
	json_set_int(o, "i", -1);
	text = json_text(o);
	assert_string_equal(
	    text, "{\"t\":\"a\xef\xbf\xbd\\u0000b\",\"b\":true,\"i\":-1}");
}

/* ---- io, log, store ---- */

static void
a_file_is_replaced_in_one_step(void **state)
{
	char dir[] = "/tmp/unfarm-io-XXXXXX", path[64];
	auto_buf struct buf b = { .cap = 5 };
	struct err e = { 0 };
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/a/b/c", dir);
	assert_int_equal(io_mkdir_all(path, 0700, &e), 0);
	assert_int_equal(io_mkdir_all(path, 0700, &e), 0);
	(void)snprintf(path, sizeof(path), "%s/f", dir);
	assert_int_equal(
	    io_write_file(AT_FDCWD, path, "first", 5, 0600, &e), 0);
	assert_int_equal(
	    io_write_file(AT_FDCWD, path, "again", 5, 0640, &e), 0);
	assert_int_equal(io_read_file(AT_FDCWD, path, &b, &e), 0);
	assert_string_equal(b.data, "again");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	b.cap = 4;
	buf_clear(&b);
	assert_int_equal(io_read_file(AT_FDCWD, path, &b, &e), -1);
	assert_int_equal(e.code, ERR_TOO_BIG);
	assert_int_equal(unlink(path), 0);
	(void)snprintf(path, sizeof(path), "%s/a/b/c", dir);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(rmdir(path), 0);
		*strrchr(path, '/') = '\0';
	}
}

static void
a_sealed_memory_file_cannot_be_written(void **state)
{
	struct err e = { 0 };
	auto_close int fd = io_memfd_sealed("t", "data", 4, &e);
	char text[8] = "";

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(read(fd, text, sizeof(text)), 4);
	assert_string_equal(text, "data");
	assert_int_equal(write(fd, "x", 1), -1);
	assert_int_equal(ftruncate(fd, 1), -1);
}

static void
a_log_line_is_one_line_whatever_it_says(void **state)
{
	auto_close int saved = dup(STDERR_FILENO);
	char line[4096] = "";
	int p[2];
	ssize_t n;

	(void)state;
	assert_int_equal(pipe(p), 0);
	assert_true(dup2(p[1], STDERR_FILENO) >= 0);
	log_init("test", LOG_INFO);
	log_debug(NULL, "not shown");
	log_info("job=a\nb", "said \"x\"\n|why=%s", "a\nb");
	n = read(p[0], line, sizeof(line) - 1);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	cleanup_closep(&p[0]);
	cleanup_closep(&p[1]);
	assert_true(n > 0);
	assert_ptr_equal(strchr(line, '\n'), line + n - 1);
	assert_memory_equal(line, "<6>ts=", 6);
	assert_non_null(strstr(line, " prog=test pid="));
	assert_non_null(
	    strstr(line, " job=a_b msg=\"said \\\"x\\\"\\x0a\" why=a_b src="));
	assert_int_equal(log_level_from_name("debug"), LOG_DEBUG);
	assert_int_equal(log_level_from_name("loud"), -1);
}

static void
malformed_redis_urls_are_refused_before_connecting(void **state)
{
	static const char *const bad[] = { "", "redis", "http://h", "redis://",
		"redis://:1", "redis://h:0", "redis://h:65536", "redis://h:1x",
		"redis://h:1/x", "redis://h:1/", "redis://h:/1",
		"unix:", "unix:relative", "redis://h:99999999999999999999" };
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		e.code = ERR_OK;
		assert_null(store_connect_sync(bad[i], &e));
		assert_int_equal(e.code, ERR_INVALID);
	}
	assert_null(store_connect_sync("unix:/nonexistent/sock", &e));
	assert_int_equal(e.code, ERR_UNAVAILABLE);
	assert_null(store_connect_sync("redis://:pw@127.0.0.1:1/2", &e));
	assert_int_equal(e.code, ERR_UNAVAILABLE);
	assert_null(strstr(e.msg, "pw"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_byte_past_the_cap_is_refused),
		cmocka_unit_test(add_some_takes_what_fits),
		cmocka_unit_test(consume_drops_the_front_and_steal_hands_over),
		cmocka_unit_test(errors_read_outside_in_and_keep_errno),
		cmocka_unit_test(an_overlong_error_is_cut_and_terminated),
		cmocka_unit_test(base64_of_every_length_comes_back_exactly),
		cmocka_unit_test(a_large_block_is_not_cut_at_a_step),
		cmocka_unit_test(
		    base64_with_line_breaks_or_without_padding_is_taken),
		cmocka_unit_test(what_is_not_base64_is_refused),
		cmocka_unit_test(utf8_knows_good_from_bad),
		cmocka_unit_test(sanitizing_replaces_each_bad_byte_only),
		cmocka_unit_test(job_ids_are_recognized_and_sort_by_time),
		cmocka_unit_test(keys_have_the_documents_shape),
		cmocka_unit_test(iso_time_goes_both_ways),
		cmocka_unit_test_setup_teardown(
		    a_message_arrives_with_its_descriptor, wire_open,
		    wire_close),
		cmocka_unit_test_setup_teardown(
		    a_peer_that_left_reads_as_zero, wire_open, wire_close),
		cmocka_unit_test_setup_teardown(
		    malformed_packets_are_refused, wire_open, wire_close),
		cmocka_unit_test_setup_teardown(
		    a_message_over_the_limit_is_not_sent, wire_open,
		    wire_close),
		cmocka_unit_test(lying_lengths_do_not_read_past_the_message),
		cmocka_unit_test(numbers_and_booleans_may_be_strings),
		cmocka_unit_test(json_says_where_it_is_wrong),
		cmocka_unit_test(json_text_is_valid_whatever_went_in),
		cmocka_unit_test(a_file_is_replaced_in_one_step),
		cmocka_unit_test(a_sealed_memory_file_cannot_be_written),
		cmocka_unit_test(a_log_line_is_one_line_whatever_it_says),
		cmocka_unit_test(
		    malformed_redis_urls_are_refused_before_connecting),
	};

	return cmocka_run_group_tests_name("common", tests, NULL, NULL);
}
