/* The client's half of unfarm.term.v1, "~.", names, and pauses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "attr.h"
#include "un_artifact.h"
#include "un_attach.h"
#include "un_column.h"
#include "un_escape.h"
#include "un_mute.h"
#include "un_session.h"
#include "un_term.h"

/* ---- the protocol ---- */

static struct err err;

static int
take(struct un_term *t, const char *bytes, size_t n)
{
	return un_term_take(t, (const uint8_t *)bytes, n, &err);
}
#define TAKE(t, s) take((t), (s), sizeof(s) - 1)

#define HELLO(input, since)                                                    \
	"\1\0\0\0{\"input\":" input ",\"since\":" since                        \
	",\"state\":\"running\"}"
#define U64(c) c "\0\0\0\0\0\0\0"

static int
setup(void **state)
{
	struct un_term *t = calloc(1, sizeof(*t));

	un_term_init(t);
	un_term_new_line(t);
	*state = t;
	return 0;
}

static int
teardown(void **state)
{
	un_term_done(*state);
	free(*state);
	return 0;
}

/* The next message is exactly this. */
static void
assert_next(struct un_term *t, const char *bytes, size_t n)
{
	uint8_t frame[UN_TERM_FRAME];

	assert_int_equal(un_term_next(t, frame), n);
	assert_memory_equal(frame, bytes, n);
}
#define NEXT(t, s) assert_next((t), (s), sizeof(s) - 1)

static void
output_goes_on_where_it_was(void **state)
{
	struct un_term *t = *state;

	assert_int_equal(TAKE(t, HELLO("0", "5")), 0);
	assert_int_equal(TAKE(t, "\2\0\0\0" U64("\5") "abc"), 0);
	un_term_written(t, 1);
	assert_int_equal(un_term_since(t), 8);
	un_term_new_line(t);
	assert_int_equal(TAKE(t, HELLO("0", "8")), 0);
	/* Some of it again, and more. */
	assert_int_equal(TAKE(t, "\2\0\0\0" U64("\7") "cde"), 0);
	assert_int_equal(t->out.len, 4);
	assert_memory_equal(t->out.data, "bcde", 4);
	un_term_written(t, 4);
	NEXT(t, "\203\0\0\0" U64("\12"));
	assert_int_equal(un_term_next(t, (uint8_t[UN_TERM_FRAME]){ 0 }), 0);
}

static void
input_is_sent_again_from_where_it_was_taken(void **state)
{
	struct un_term *t = *state;

	un_term_type(t, "hello", 5);
	assert_int_equal(un_term_next(t, (uint8_t[UN_TERM_FRAME]){ 0 }), 0);
	assert_int_equal(TAKE(t, HELLO("0", "0")), 0);
	NEXT(t, "\201\0\0\0" U64("\0") "hello");
	assert_int_equal(un_term_next(t, (uint8_t[UN_TERM_FRAME]){ 0 }), 0);
	assert_int_equal(TAKE(t, "\12\0\0\0" U64("\1")), 0);
	un_term_type(t, "!", 1);
	NEXT(t, "\201\0\0\0" U64("\5") "!");
	un_term_new_line(t);
	/* It had two more than it could tell us. */
	assert_int_equal(TAKE(t, HELLO("3", "0")), 0);
	NEXT(t, "\201\0\0\0" U64("\3") "lo!");
	assert_int_equal(TAKE(t, "\12\0\0\0" U64("\6")), 0);
	assert_int_equal(t->in.len, 0);
	un_term_new_line(t);
	assert_int_equal(TAKE(t, HELLO("6", "0")), 0);
	assert_int_equal(un_term_next(t, (uint8_t[UN_TERM_FRAME]){ 0 }), 0);
}

static void
what_was_not_sent_is_not_acknowledged(void **state)
{
	struct un_term *t = *state;

	un_term_type(t, "hello", 5);
	assert_int_equal(TAKE(t, HELLO("0", "0")), 0);
	assert_int_equal(TAKE(t, "\12\0\0\0" U64("\5")), -1);
	un_term_new_line(t);
	assert_int_equal(TAKE(t, HELLO("0", "0")), 0);
	NEXT(t, "\201\0\0\0" U64("\0") "hello");
}

static void
what_is_lost_is_counted(void **state)
{
	struct un_term *t = *state;

	assert_int_equal(TAKE(t, HELLO("0", "0")), 0);
	assert_int_equal(TAKE(t, "\2\0\0\0" U64("\0") "ab"), 0);
	assert_int_equal(TAKE(t, "\5\0\0\0" U64("\2") U64("\11")), 0);
	assert_int_equal(TAKE(t, "\2\0\0\0" U64("\11") "c"), 0);
	assert_int_equal(t->lost, 7);
	assert_int_equal(t->out.len, 3);
	un_term_written(t, 3);
	assert_int_equal(un_term_since(t), 10);
}

static void
a_screen_comes_in_place_of_what_waits(void **state)
{
	struct un_term *t = *state;

	assert_int_equal(TAKE(t, HELLO("0", "0")), 0);
	assert_int_equal(TAKE(t, "\2\0\0\0" U64("\0") "abcd"), 0);
	un_term_written(t, 1);
	assert_int_equal(TAKE(t, "\5\0\0\0" U64("\4") U64("\11")), 0);
	assert_int_equal(TAKE(t, "\3\0\0\0" U64("\10") "\120\0\30\0CLEAR"), -1);
	assert_int_equal(TAKE(t, "\3\0\0\0" U64("\11") "\120\0\30\0CLEAR"), 0);
	assert_int_equal(TAKE(t, "\2\0\0\0" U64("\11") "ef"), 0);
	assert_int_equal(t->out.len, 7);
	assert_memory_equal(t->out.data, "CLEARef", 7);
	assert_int_equal(un_term_since(t), 11);
	/* What clears has no place in the output. */
	un_term_written(t, 3);
	assert_int_equal(un_term_since(t), 11);
	un_term_written(t, 3);
	assert_int_equal(un_term_since(t), 11);
	assert_int_equal(t->out_at, 10);
	un_term_written(t, 1);
	NEXT(t, "\203\0\0\0" U64("\13"));
}

static void
nonsense_is_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
	} bad[] = {
#define BAD(s) { s, sizeof(s) - 1 }
		BAD(""),
		BAD("\2\0\0"),
		BAD("\2\0\0\0\1\2\3"),               /* half an offset */
		BAD("\2\0\0\0" U64("\1") "x"),       /* a byte is missing */
		BAD("\5\0\0\0" U64("\1") U64("\2")), /* a gap elsewhere */
		BAD("\5\0\0\0" U64("\0")),           /* half a gap */
		BAD("\11\0\0\0" U64("\7") "{}"),     /* an end elsewhere */
		BAD("\1\0\0\0nothing"),              /* no JSON */
		BAD("\1\0\0\0{\"input\":-1,\"since\":0}"),
#undef BAD
	};
	struct un_term *t = *state;

	/* Nothing before its hello, either. */
	assert_int_equal(TAKE(t, "\2\0\0\0" U64("\0") "x"), -1);
	assert_int_equal(TAKE(t, HELLO("0", "0")), 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(take(t, bad[i].bytes, bad[i].n), -1);
	assert_int_equal(
	    TAKE(t, "\177\0\0\0later"), 0); /* of a later version */
	assert_int_equal(t->out.len, 0);
}

static void
ends_are_told_apart(void **state)
{
	struct un_term *t = *state;

	assert_int_equal(TAKE(t, HELLO("0", "0")), 0);
	assert_int_equal(TAKE(t, "\10\0\0\0{\"state\":\"detached\"}"), 0);
	assert_true(t->detached && !t->exited);
	assert_int_equal(
	    TAKE(t, "\11\0\0\0" U64("\0") "{\"code\":3,\"reason\":\"ttl\"}"),
	    0);
	assert_true(t->exited);
	assert_string_equal(t->reason, "ttl");
}

static void
a_size_is_said_on_each_line(void **state)
{
	struct un_term *t = *state;

	un_term_resize(t, 300, 2);
	assert_int_equal(TAKE(t, HELLO("0", "0")), 0);
	NEXT(t, "\202\0\0\0\54\1\2\0");
	un_term_new_line(t);
	assert_int_equal(TAKE(t, HELLO("0", "0")), 0);
	NEXT(t, "\202\0\0\0\54\1\2\0");
}

/* ---- "~." ---- */

static void
tilde_dot(void **state)
{
	static const struct {
		const char *typed, *kept;
		bool leave;
	} rows[] = {
		{ "~.", "", true }, { "ls\r~.x", "ls\r", true },
		{ "a~.", "a~.", false }, { "~/x", "~/x", false },
		{ "~~", "~", false }, { "~~.", "~.", false },
		{ "~\r~.", "~\r", true }, { "x\n~.", "x\n", true },
		{ "~", "", false }, /* it waits */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct un_escape whole = { false }, single = { false };
		char kept[16] = "", piece[2];
		size_t n = strlen(rows[i].typed), all = 0;
		bool leave = false;

		assert_int_equal(
		    un_escape_take(&whole, rows[i].typed, n, kept, &leave),
		    strlen(rows[i].kept));
		assert_memory_equal(kept, rows[i].kept, strlen(rows[i].kept));
		assert_int_equal(leave, rows[i].leave);
		/* The same, key by key. */
		leave = false;
		for (size_t k = 0; k < n && !leave; k++) {
			size_t m = un_escape_take(
			    &single, rows[i].typed + k, 1, piece, &leave);

			assert_memory_equal(piece, rows[i].kept + all, m);
			all += m;
		}
		assert_int_equal(all, strlen(rows[i].kept));
		assert_int_equal(leave, rows[i].leave);
	}
}

/* ---- old questions ---- */

static void
old_questions_are_muted(void **state)
{
#define ROW(a, b)                                                              \
	{                                                                      \
		a, b, sizeof(a) - 1                                            \
	}
	static const struct {
		const char *shown, *muted;
		size_t n;
	} rows[] = {
		ROW("a\33[cb", "a\33[\30b"),
		ROW("\33[>0c\33[6n\33[?6n", "\33[>0\30\33[6\30\33[?6\30"),
		ROW("\33[?2026$p\33[>q\33[?u", "\33[?2026$\30\33[>\30\33[?\30"),
		ROW("\33[18t\33[22;0t", "\33[18\30\33[22;0t"),
		ROW("\33[!p\33[2 q\33[4u\33[>4n\33[S",
		    "\33[!p\33[2 q\33[4u\33[>4n\33[S"),
		ROW("\33]11;?\7x", "\33]11;\30\0x"),
		ROW("\33]11;?\33\\x", "\33]11;\30\33\\x"),
		ROW("\33]0;what?\7x", "\33]0;what?\7x"),
		ROW("\33]52;c;?\7x", "\33]52;c;\30\0x"),
		ROW("\33P+q544e\33\\x", "\33P+\30\0\0\0\0\33\\x"),
		ROW("\33P$qm\33\\x", "\33P$\30\0\33\\x"),
		ROW("\33P1$r0m\33\\x", "\33P1$r0m\33\\x"),
		ROW("\33Z\5\33c\33[31mred", "\33\30\0\33c\33[31mred"),
	};
#undef ROW

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct un_mute whole = { 0 }, single = { 0 };
		char a[64], b[64];

		memcpy(a, rows[i].shown, rows[i].n);
		memcpy(b, rows[i].shown, rows[i].n);
		un_mute(&whole, a, rows[i].n);
		assert_memory_equal(a, rows[i].muted, rows[i].n);
		for (size_t k = 0; k < rows[i].n; k++)
			un_mute(&single, b + k, 1);
		assert_memory_equal(b, rows[i].muted, rows[i].n);
	}
}

static void
only_what_is_old_is_muted(void **state)
{
	struct un_term *t = *state;

	t->replay = true;
	assert_int_equal(TAKE(t, HELLO("0", "0")), 0);
	assert_int_equal(TAKE(t, "\2\0\0\0" U64("\0") "\33[c"), 0);
	assert_int_equal(TAKE(t, "\4\0\0\0" U64("\3")), 0);
	assert_int_equal(TAKE(t, "\2\0\0\0" U64("\3") "\33[c"), 0);
	assert_memory_equal(t->out.data, "\33[\30\33[c", 6);
}

/* ---- where the cursor is ---- */

static void
a_line_has_begun(void **state)
{
	static const struct {
		const char *printed;
		bool inside;
	} rows[] = { { "", false }, { "a", true }, { "a\n", false },
		{ "a\nb\r", true }, { "exit\r\n\33[?2004l\r", false },
		{ "\303\274", true }, { "\a\b\177", false },
		{ "\33[1;31m", false }, { "\33[Kx", true }, { "\33(B", false },
		{ "\33(Bx", true }, { "\33=x", true },
		{ "\33]0;title\a", false }, { "\33]0;title\ax", true },
		{ "\33P+q544e\33\\", false }, { "\33P+q\33\\x", true },
		{ "\33]0;cut", false }, { "\33]0;cut\nx", true } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct un_column whole = { 0 }, single = { 0 };
		size_t n = strlen(rows[i].printed);

		un_column_take(&whole, rows[i].printed, n);
		assert_int_equal(whole.inside, rows[i].inside);
		for (size_t k = 0; k < n; k++)
			un_column_take(&single, rows[i].printed + k, 1);
		assert_int_equal(single.inside, rows[i].inside);
	}
}

/* ---- the rest ---- */

static void
pauses_grow_and_differ(void **state)
{
	(void)state;
	assert_int_equal(un_attach_pause_ms(0, 12345), 250);
	for (unsigned n = 1; n < 40; n++) {
		int64_t full = n < 5 ? 250 << n : 8000;

		assert_int_equal(un_attach_pause_ms(n, 0), full / 2);
		assert_int_equal(
		    un_attach_pause_ms(n, (unsigned)full / 2), full);
	}
}

static void
names_get_a_postfix(void **state)
{
	static const char *const rows[][2] = {
		{ "a.txt", "a-vm.txt" },
		{ "session.log.gz", "session.log-vm.gz" },
		{ "bash_history", "bash_history-vm" },
		{ ".profile", ".profile-vm" },
		{ "d.e/f", "d.e/f-vm" },
		{ "d/.x.y", "d/.x-vm.y" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *name = un_artifact_postfix(rows[i][0], "vm");

		assert_string_equal(name, rows[i][1]);
		free(name);
	}
}

static void
times_are_short(void **state)
{
	static const struct {
		long long seconds;
		const char *text;
	} rows[] = { { -5, "0s" }, { 12, "12s" }, { 59, "59s" }, { 60, "1m0s" },
		{ 2730, "45m30s" }, { 3600, "1h0m" }, { 3725, "1h2m" },
		{ 86400, "24h0m" } };
	char text[UN_SESSION_TTL];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		un_session_ttl(rows[i].seconds, text);
		assert_string_equal(text, rows[i].text);
	}
}

static void
names_stay_names(void **state)
{
	static const char *const bad[] = { "", "..", ".x", "a/b", "a?b", "a b",
		"a%2f" };

	(void)state;
	assert_true(un_session_name_valid("unsb-vm-12345"));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(un_session_name_valid(bad[i]));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define ON_TERM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		ON_TERM(output_goes_on_where_it_was),
		ON_TERM(input_is_sent_again_from_where_it_was_taken),
		ON_TERM(what_was_not_sent_is_not_acknowledged),
		ON_TERM(what_is_lost_is_counted),
		ON_TERM(a_screen_comes_in_place_of_what_waits),
		ON_TERM(nonsense_is_refused),
		ON_TERM(ends_are_told_apart),
		ON_TERM(a_size_is_said_on_each_line),
		ON_TERM(only_what_is_old_is_muted),
		cmocka_unit_test(old_questions_are_muted),
		cmocka_unit_test(tilde_dot),
		cmocka_unit_test(a_line_has_begun),
		cmocka_unit_test(pauses_grow_and_differ),
		cmocka_unit_test(names_get_a_postfix),
		cmocka_unit_test(times_are_short),
		cmocka_unit_test(names_stay_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
