/*
 * plain, utf8, out, json_read, b64: what goes over each byte of a payload, many
 * bytes at a time, against loops that look at one byte at a time and against
 * jansson.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "b64.h"
#include "buf.h"
#include "cleanup.h"
#include "json.h"
#include "mem.h"
#include "out.h"
#include "plain.h"
#include "utf8.h"

enum { NEAR = 70, ROUNDS = 4000, LONG = 200000 };

/* Sizes around those of blocks, pieces, pages and pipes. */
static const size_t sizes[] = { 0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 3071, 3072,
	3073, 4095, 4096, 4097, 16383, 16384, 16385, 65535, 65536, 65537,
	LONG };

static uint64_t seed = 88172645463325252;

/* Below n; the same numbers in each run. */
static size_t
pick(size_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

/* ---- what is right, a byte at a time ---- */

static bool
ref_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* By the number that the bytes make. */
static size_t
ref_sequence(const unsigned char *s, size_t n)
{
	static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = s[0] < 0x80             ? 1
		     : (s[0] & 0xe0) == 0xc0 ? 2
		     : (s[0] & 0xf0) == 0xe0 ? 3
		     : (s[0] & 0xf8) == 0xf0 ? 4
					     : 0;
	uint32_t c = len > 1 ? s[0] & (0x7f >> len) : s[0];

	if (len == 0 || len > n)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	return c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)
		   ? 0
		   : len;
}

static char *
ref_sanitize(const char *s, size_t n, size_t *ret_len)
{
	char *to = xmalloc(3 * n + 1), *p = to;

	for (size_t i = 0; i < n;) {
		size_t len = ref_sequence((const unsigned char *)s + i, n - i);

		p = len > 0 ? mempcpy(p, s + i, len)
			    : mempcpy(p, "\xef\xbf\xbd", 3);
		i += len > 0 ? len : 1;
	}
	*ret_len = (size_t)(p - to);
	return to;
}

static char *
ref_json(const char *s, size_t n, size_t *ret_len)
{
	size_t len;
	auto_free char *clean = ref_sanitize(s, n, &len);
	char *to = xmalloc(6 * len + 3), *p = to;

	*p++ = '"';
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)clean[i];
		const char *at = strchr("\nn\rr\tt\"\"\\\\", c);

		if (c != '\0' && at && (c < 0x20 || c == '"' || c == '\\') &&
		    !(c == '\\' && i + 1 == len))
			p += sprintf(
			    p, "\\%c", c == '"' || c == '\\' ? c : at[1]);
		else if (c < 0x20 || c == '\\')
			p += sprintf(p, "\\u%04x", c);
		else
			*p++ = (char)c;
	}
	*p++ = '"';
	*ret_len = (size_t)(p - to);
	return to;
}

/* ---- data ---- */

/*
 * n bytes: runs of plain text, and between them quotes, control characters,
 * NULs, characters of all lengths, and bytes that are none.
 */
static char *
random_text(size_t n, bool valid)
{
	static const char *const odd[] = { "\"", "\\", "\n", "\t", "\x01",
		"\x1f", "\x7f", "\xc2\x80", "\xc3\xa9", "\xe0\xa0\x80",
		"\xed\x9f\xbf", "\xef\xbf\xbf", "\xf0\x90\x80\x80",
		"\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf", "\xff", "\x80",
		"\xc0\x80", "\xc3", "\xe2\x82", "\xed\xa0\x80", "\xf0\x9f\x98",
		"\xf4\x90\x80\x80", "\xe0\x80\x80" };
	const size_t n_odd = valid ? 15 : ARRAY_LEN(odd);
	size_t longest = pick(40) + 1, i = 0;
	char *s = xmalloc(n + 1);

	while (i < n) {
		const char *o = odd[pick(n_odd)];
		size_t len = pick(longest);

		for (size_t k = 0; k < len && i < n; k++)
			s[i++] = (char)('a' + k % 26);
		len = strlen(o);
		if (i < n && pick(20) == 0)
			s[i++] = '\0';
		else if (i + len <= n)
			i = (size_t)((char *)mempcpy(s + i, o, len) - s);
		else if (i < n)
			s[i++] = valid ? 'z' : o[0];
	}
	s[n] = '\0';
	return s;
}

static size_t
random_size(size_t round)
{
	return round < ARRAY_LEN(sizes) ? sizes[round] : pick(300);
}

/* ---- tests ---- */

static void
runs_end_at_the_first_odd_byte_wherever_it_is(void **state)
{
	char text[NEAR + 16], copy[NEAR];

	(void)state;
	for (size_t n = 0; n <= NEAR; n++) {
		for (size_t at = 0; at <= n; at++) {
			unsigned char c = (unsigned char)pick(256);
			char *s = text + pick(16);
			size_t plain = at < n && !ref_plain(c) ? at : n;
			size_t ascii = at < n && c >= 0x80 ? at : n;

			memset(text, 'x', sizeof(text));
			memset(copy, '-', sizeof(copy));
			if (at < n)
				s[at] = (char)c;
			assert_int_equal(plain_run(s, n), plain);
			assert_int_equal(ascii_run(s, n), ascii);
			assert_int_equal(plain_copy(copy, s, n), plain);
			assert_memory_equal(copy, s, plain);
			for (size_t i = n; i < NEAR; i++)
				assert_int_equal(copy[i], '-');
		}
	}
}

static void
every_byte_is_what_it_is(void **state)
{
	(void)state;
	for (int c = 0; c < 256; c++) {
		char s[16];

		memset(s, c, sizeof(s));
		assert_int_equal(
		    plain_run(s, 16), ref_plain((unsigned char)c) ? 16 : 0);
		assert_int_equal(plain_run(s, 1), ref_plain((unsigned char)c));
		assert_int_equal(ascii_run(s, 16), c < 0x80 ? 16 : 0);
	}
}

static void
utf8_agrees_with_one_character_at_a_time(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROUNDS; i++) {
		size_t n = random_size(i), want_len;
		auto_free char *s = random_text(n, pick(2) == 0);
		auto_free char *want = ref_sanitize(s, n, &want_len);
		auto_buf struct buf got = { .cap = SIZE_MAX / 4 };

		s[n] = (char)0x80; /* would complete what is cut off */
		assert_int_equal(utf8_sanitize(s, n, &got), 0);
		assert_int_equal(got.len, want_len);
		if (want_len > 0)
			assert_memory_equal(got.data, want, want_len);
		assert_int_equal(
		    utf8_valid(s, n), want_len == n && memcmp(s, want, n) == 0);
	}
}

static void
text_is_escaped_as_one_byte_at_a_time(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROUNDS; i++) {
		size_t n = random_size(i), want_len, len;
		auto_free char *s = random_text(n, pick(2) == 0);
		auto_free char *want = ref_json(s, n, &want_len);
		auto_free char *got = NULL;
		struct out o;

		out_init(&o);
		out_text(&o, NULL, s, n);
		got = out_steal(&o, &len);
		assert_int_equal(len, want_len);
		assert_memory_equal(
		    got, want, len + 1 > want_len ? want_len : len);
	}
}

/* A character that begins in one piece of the writer and ends in the next. */
static void
characters_may_lie_across_pieces(void **state)
{
	enum { PIECE = 16 << 10 };
	auto_free char *s = xmalloc(PIECE + 8);
	static const char *const wide[] = { "\xc3\xa9", "\xe2\x82\xac",
		"\xf0\x9f\x98\x80", "\xf0\x9f\x98", "\\", "\n" };

	(void)state;
	for (size_t k = 0; k < ARRAY_LEN(wide); k++) {
		for (size_t at = PIECE - 5; at <= PIECE; at++) {
			auto_free char *got = NULL, *want = NULL;
			size_t len, want_len;
			struct out o;

			memset(s, 'x', PIECE + 8);
			memcpy(s + at, wide[k], strlen(wide[k]));
			want = ref_json(s, PIECE + 8, &want_len);
			out_init(&o);
			out_text(&o, NULL, s, PIECE + 8);
			got = out_steal(&o, &len);
			assert_int_equal(len, want_len);
			assert_memory_equal(got, want, len);
		}
	}
}

/* What is written is read again, by both readers. */
static void
strings_come_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROUNDS; i++) {
		size_t n = random_size(i), len;
		auto_free char *s = random_text(n, true);
		auto_free char *text = NULL;
		json_auto_t *ours = NULL, *theirs = NULL;
		struct out o;

		out_init(&o);
		out_open(&o, NULL, '[');
		out_text(&o, NULL, s, n);
		out_joined(&o, NULL, s, n, s, n);
		out_close(&o, ']');
		text = out_steal(&o, &len);
		ours = json_read(text, len);
		theirs = json_loadb(text, len, JSON_ALLOW_NUL, NULL);
		assert_non_null(ours);
		assert_true(json_equal(ours, theirs));
		assert_int_equal(
		    json_string_length(json_array_get(ours, 0)), n);
		assert_memory_equal(
		    json_string_value(json_array_get(ours, 0)), s, n + 1);
	}
}

/* ---- json_read ---- */

static json_t *
jansson(const char *text, size_t n)
{
	return json_loadb(text, n,
	    JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

static void
must_agree(const char *text, size_t n)
{
	/* An exact copy, so that a sanitizer sees who reads behind it. */
	auto_free char *copy = xmalloc(n ? n : 1);
	json_auto_t *ours = NULL, *theirs = jansson(text, n);

	memcpy(copy, text, n);
	ours = json_read(copy, n);
	if (ours && !(theirs && json_equal(ours, theirs)))
		fail_msg("json_read takes %.*s", (int)n, text);
}

static void
plain_documents_are_read_without_jansson(void **state)
{
	static const char *const good[] = { "{}", "[]", "\"\"", "0", "-0",
		"-12", "999999999999999999", "true", "false", "null",
		" {\t\"a\" :\r\n[ 1 , {} ,\"b\" ] } ",
		"\"\\u0000\\ud83d\\ude00\"",
		"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uFFFF\"",
		"{\"\":{\"\":[[[[]]]]}}", "\"\x7f\xc3\xa9\"" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		json_auto_t *v = json_read(good[i], strlen(good[i]));
		json_auto_t *w = jansson(good[i], strlen(good[i]));

		assert_non_null(v);
		assert_true(json_equal(v, w));
	}
}

static void
what_is_wrong_or_rare_is_left_to_jansson(void **state)
{
	static const char *const left[] = { "", " ", "{", "}", "[", "[1", "[1,",
		"[1,]", "[,]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}",
		"{\"a\":1,\"a\":2}", "{\"a\\u0000\":1}", "\"", "\"\\", "\"\\\"",
		"\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\ud800\"",
		"\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\\ud800x\"", "\"\n\"",
		"\"\x1f\"", "\"\xff\"", "\"\xed\xa0\x80\"", "\"\xc3\"", "01",
		"-", "-a", "1.5", "1e5", "1E5", "9999999999999999999", "tru",
		"nul", "truE", "1 2", "[] x", "\"a\" \"b\"", "'a'", "NaN",
		"\xef\xbb\xbf{}" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(left); i++) {
		json_auto_t *v = json_read(left[i], strlen(left[i]));

		assert_null(v);
		must_agree(left[i], strlen(left[i]));
	}
	assert_null(json_read("\"a\0b\"", 5));
}

static void
deep_documents_are_left_to_jansson(void **state)
{
	char text[400];

	(void)state;
	for (size_t depth = 60; depth < 70; depth++) {
		json_auto_t *v = NULL;

		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		v = json_read(text, 2 * depth);
		assert_int_equal(v != NULL, depth <= 64);
	}
}

static void
add_random_value(struct buf *b, int depth)
{
	static const char *const scalars[] = { "0", "-7", "123456", "true",
		"false", "null", "1.5", "\"\"", "\"\\u00e9\"",
		"\"\\ud83d\\ude00\"", "\"\\n\\\\\\\"\"", "\"\xe2\x82\xac\"",
		" 5 ", "\"plain text, longer than sixteen\"" };
	size_t n = pick(4), kind = depth > 4 ? 0 : pick(3);

	if (kind == 0) {
		assert_int_equal(
		    buf_adds(b, scalars[pick(ARRAY_LEN(scalars))]), 0);
		return;
	}
	assert_int_equal(buf_adds(b, kind == 1 ? "[" : "{"), 0);
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			assert_int_equal(
			    buf_adds(b, pick(2) ? "," : " ,\n"), 0);
		if (kind == 2)
			assert_int_equal(buf_addf(b, "\"k%zu\":", pick(9)), 0);
		add_random_value(b, depth + 1);
	}
	assert_int_equal(buf_adds(b, kind == 1 ? "]" : "}"), 0);
}

/* Documents, and documents with a few bytes changed. */
static void
what_is_taken_is_what_jansson_takes(void **state)
{
	static const char bytes[] = "\"\\{}[]:,0-u.e \n\x01\xc3\xa9\xff";
	size_t taken = 0;

	(void)state;
	for (size_t i = 0; i < ROUNDS; i++) {
		auto_buf struct buf b = { .cap = 1 << 20 };
		json_auto_t *v = NULL;

		add_random_value(&b, 0);
		v = json_read(b.data, b.len);
		taken += v != NULL;
		must_agree(b.data, b.len);
		for (int k = 0; k < 4; k++) {
			b.data[pick(b.len)] = bytes[pick(sizeof(bytes) - 1)];
			must_agree(b.data, b.len);
			must_agree(b.data, pick(b.len + 1));
		}
	}
	assert_true(taken > ROUNDS / 4);
}

static void
values_are_written_as_jansson_reads_them(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROUNDS / 4; i++) {
		auto_buf struct buf b = { .cap = 1 << 20 };
		json_auto_t *v = NULL, *again = NULL;
		auto_free char *text = NULL;
		struct out o;
		size_t n;

		add_random_value(&b, 0);
		v = json_loadb(b.data, b.len, JSON_DECODE_ANY, NULL);
		assert_non_null(v);
		out_init(&o);
		out_value(&o, NULL, v);
		text = out_steal(&o, &n);
		again = jansson(text, n);
		assert_true(json_equal(v, again));
	}
}

/* ---- base64 ---- */

/* White space where shells put it, and anywhere. */
static char *
spread(const char *text, size_t n, size_t *ret_len)
{
	char *to = xmalloc(2 * n + 1), *p = to;
	size_t width = pick(3) == 0 ? 76 : 1 + pick(200);

	for (size_t i = 0; i < n; i++) {
		*p++ = text[i];
		if ((i + 1) % width == 0)
			*p++ = " \n\r\t"[pick(4)];
	}
	*ret_len = (size_t)(p - to);
	return to;
}

static void
base64_of_any_size_comes_back_whole_and_spread(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROUNDS / 4; i++) {
		size_t n = random_size(i), len = 0, spread_len;
		auto_free char *raw = random_text(n, false);
		auto_free char *text = b64_encode(raw, n);
		auto_free char *wide = NULL;
		auto_buf struct buf back = { .cap = n };
		auto_buf struct buf less = { .cap = n ? n - 1 : 0 };
		struct err e = { 0 };

		len = strlen(text);
		assert_int_equal(len, b64_encoded_len(n));
		wide = spread(text, len, &spread_len);
		assert_int_equal(b64_decode(wide, spread_len, &back, &e), 0);
		assert_int_equal(back.len, n);
		if (n > 0)
			assert_memory_equal(back.data, raw, n);
		while (len > 0 && text[len - 1] == '=')
			len--; /* padding may be missing */
		buf_clear(&back);
		assert_int_equal(b64_decode(text, len, &back, &e), 0);
		assert_int_equal(back.len, n);
		if (n > 0)
			assert_int_equal(b64_decode(text, len, &less, &e), -1);
	}
}

static void
a_byte_that_is_no_digit_is_found_wherever_it_is(void **state)
{
	(void)state;
	for (size_t at = 0; at < 9000; at += 1 + pick(50)) {
		auto_free char *text = xmalloc(9001);
		auto_buf struct buf b = { .cap = SIZE_MAX / 4 };
		struct err e = { 0 };
		char where[40];

		memset(text, 'A', 9000);
		text[at] = "-_.\x80\xff"[pick(5)];
		assert_int_equal(b64_decode(text, 9000, &b, &e), -1);
		(void)snprintf(where, sizeof(where), "at byte %zu", at);
		assert_non_null(strstr(e.msg, where));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_end_at_the_first_odd_byte_wherever_it_is),
		cmocka_unit_test(every_byte_is_what_it_is),
		cmocka_unit_test(utf8_agrees_with_one_character_at_a_time),
		cmocka_unit_test(text_is_escaped_as_one_byte_at_a_time),
		cmocka_unit_test(characters_may_lie_across_pieces),
		cmocka_unit_test(strings_come_back),
		cmocka_unit_test(plain_documents_are_read_without_jansson),
		cmocka_unit_test(what_is_wrong_or_rare_is_left_to_jansson),
		cmocka_unit_test(deep_documents_are_left_to_jansson),
		cmocka_unit_test(what_is_taken_is_what_jansson_takes),
		cmocka_unit_test(values_are_written_as_jansson_reads_them),
		cmocka_unit_test(
		    base64_of_any_size_comes_back_whole_and_spread),
		cmocka_unit_test(
		    a_byte_that_is_no_digit_is_found_wherever_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
