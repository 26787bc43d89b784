/* The pull scanner of JSON: documents, numbers, strings, depth, truncation, and jansson's opinion on 100,000 mutations.
 *
 * Where the two differ on purpose: the scanner takes any value at the top, numbers of any size, and the same key twice (its callers
 * refuse that where it matters); it nests 64 levels deep, jansson 2048; jansson refuses an escaped NUL in a key,
 * and takes a NUL byte behind a document for its end. */
#include <jansson.h>

#include "base/utf8.h"
#include "format/json.h"
#include "lib_data.h"

/* Skips the whole document. */
static enum moe_err scan(const char *p, size_t n, struct moe_diag *d)
{
	struct moe_json j;
	enum moe_err err;

	memset(d, 0, sizeof *d);
	moe_json_init(&j, p, n, d);
	err = moe_json_skip(&j);
	return err ? err : moe_json_finish(&j);
}

static void test_valid(void **state)
{
	static const char *const cases[] = {
		"{}", "[]", " \t\r\n[ ] ", "[[]]", "{\"a\":{}}", "null", "true", "false", "0", "-0", "1", "-1", "10", "123456789012345678901234567890",
		"1.5",
		"-0.0", "1e5", "1E+5", "1e-05", "0e0", "0.000e000", "1.25E-300", "1e400", "\"\"", "\"a\"", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
		"\"\\u0000\"",
		"\"\\uD7FF\\uE000\\uffff\"", "\"\\ud800\\udc00\\uDBFF\\uDFFF\"",
		"\"\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\"",
		"\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"", "[1,2,3]", "[1 , \"a\",null , [true]]", "{\"a\":1,\"b\":[{}]}", "{\"\":\"\"}",
		"{\"a\":1,\"a\":2}",
		"[{\"a\":[{\"b\":[]}]}]", "[null,true,false]",
	};
	struct moe_diag d;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (scan(cases[i], strlen(cases[i]), &d))
			fail_msg("%s: %s", cases[i], say(&d));
}

static void test_invalid(void **state)
{
	static const struct { const char *text; int byte; } cases[] = {
		{"", 0}, {" ", 1}, {"{", 1}, {"[", 1}, {"}", 0}, {"]", 0}, {"{]", 1}, {"[}", 1}, {"[1", 2}, {"[1,", 3}, {"[1,]", 3}, {"[,1]", 1},
		{"[,]", 1},
		{"[1 2]", 3}, {"[1,,2]", 3}, {"{,}", 1}, {"{\"a\"}", 4}, {"{\"a\":}", 5}, {"{\"a\":1,}", 7}, {"{\"a\" 1}", 5}, {"{\"a\":1 \"b\":2}", 7},
		{"{a:1}", 1}, {"{1:1}", 1}, {"{'a':1}", 1}, {"{null:1}", 1}, {"[]]", 2}, {"{}{}", 2}, {"1 2", 2}, {"nul", 0}, {"nulL", 0}, {"True", 0},
		{"truefalse", 4}, {"tru", 0}, {"NaN", 0}, {"Infinity", 0}, {"-Infinity", 0}, {"+1", 0}, {"-", 0}, {"--1", 0}, {"01", 1}, {"-01", 2},
		{"00", 1},
		{"1.", 0}, {".5", 0}, {"1.e5", 0}, {"1e", 0}, {"1e+", 0}, {"1e5.5", 3}, {"0x10", 1}, {"1_000", 1}, {"1,", 1}, {"\"", 1}, {"\"a", 2},
		{"'a'", 0}, {"\"\\", 1}, {"\"\\\"", 3}, {"\"\\a\"", 1}, {"\"\\'\"", 1}, {"\"\\0\"", 1}, {"\"\\x41\"", 1}, {"\"\\U0041\"", 1},
		{"\"\\u\"", 1},
		{"\"\\u123\"", 1}, {"\"\\u12g4\"", 1}, {"\"\\u 123\"", 1}, {"\"\\u+123\"", 1}, {"\"\\ud800\"", 1}, {"\"\\ud800x\"", 1},
		{"\"\\ud800\\n12345\"", 1}, {"\"\\ud800\\ud800\"", 1}, {"\"\\ud800\\ue000\"", 1}, {"\"\\udc00\"", 1}, {"\"\\udc00\\ud800\"", 1},
		{"\"a\nb\"", 2}, {"\"\x1f\"", 1}, {"\"\t\"", 1}, {"\"\x80\"", 1}, {"\"\xbf\"", 1}, {"\"\xc0\x80\"", 1}, {"\"\xc1\xbf\"", 1},
		{"\"\xc2\"", 1},
		{"\"\xc2\x41\"", 1}, {"\"\xe0\x9f\xbf\"", 1}, {"\"\xe2\x82\"", 1}, {"\"\xed\xa0\x80\"", 1}, {"\"\xed\xbf\xbf\"", 1},
		{"\"\xf0\x8f\xbf\xbf\"", 1},
		{"\"\xf4\x90\x80\x80\"", 1}, {"\"\xf5\x80\x80\x80\"", 1}, {"\"\xff\"", 1}, {"\"\xf0\x9f\x98\"", 1}, {"\"ok\xf0\x9f\x98\xff\"", 3},
		{"\xef\xbb\xbf{}", 0}, {"\xff", 0}, {"[\xff]", 1}, {"/* c */ 1", 0}, {"[1]//", 3}, {"[1]\f", 3}, {"\v[1]", 0}, {"[1]\xc2\xa0", 3},
	};
	struct moe_diag d;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		enum moe_err err = scan(cases[i].text, strlen(cases[i].text), &d);
		if (err != MOE_EINPUT || d.byte != cases[i].byte)
			fail_msg("%s: %d at %lld, expected %d: %s", cases[i].text, (int)err, (long long)d.byte, cases[i].byte, say(&d));
	}
	expect_fail(&d, scan("[\0]", 3, &d), MOE_EINPUT, "byte 1");
	expect_fail(&d, scan("\"\0\"", 3, &d), MOE_EINPUT, "control character");
	expect_fail(&d, scan("\"\\\0\"", 4, &d), MOE_EINPUT, "escape");
	expect_fail(&d, scan("[]\0", 3, &d), MOE_EINPUT, "trailing");
}

static void test_depth(void **state)
{
	char text[512];
	struct moe_diag d;

	(void)state;
	for (unsigned depth = 1; depth < 200; depth++) {
		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		if (depth <= MOE_JSON_DEPTH)
			expect_ok(&d, scan(text, 2 * depth, &d));
		else
			expect_fail(&d, scan(text, 2 * depth, &d), MOE_EINPUT, "nested deeper than 64 levels");
	}
}

/* ---- strings ---- */

static void test_decode(void **state)
{
	static const struct { const char *raw; const char *text; size_t n; } cases[] = {
		{"\"\"", "", 0}, {"\"abc\"", "abc", 3}, {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8}, {"\"a\\u0000b\"", "a\0b", 3},
		{"\"\\u007f\\u0080\\u07ff\\u0800\\uffff\"", "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf", 11},
		{"\"\\ud83d\\ude00!\"", "\xf0\x9f\x98\x80!", 5},
		{"\"\\uDBFF\\uDFFF\\uD800\\uDC00\"", "\xf4\x8f\xbf\xbf\xf0\x90\x80\x80", 8}, {"\"\xc3\xa9\\u00E9\"", "\xc3\xa9\xc3\xa9", 4},
	};
	struct moe_json j;
	struct moe_diag d = {0};
	char buf[64], cut[64];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		moe_json_init(&j, cases[i].raw, strlen(cases[i].raw), &d);
		expect_ok(&d, moe_json_string(&j));
		assert_int_equal(moe_json_decode(&j, buf), cases[i].n);
		assert_memory_equal(buf, cases[i].text, cases[i].n + 1);
		if (memchr(cases[i].text, 0, cases[i].n))
			assert_false(moe_json_is(&j, "a"));
		else
			assert_true(moe_json_is(&j, cases[i].text));
		snprintf(cut, sizeof cut, "%sx", cases[i].text);
		assert_false(moe_json_is(&j, cut));
		if (cases[i].n)
			assert_false(moe_json_is(&j, ""));
		cut[cases[i].n ? cases[i].n - 1 : 0] = 0;
		if (cases[i].n && !memchr(cases[i].text, 0, cases[i].n))
			assert_false(moe_json_is(&j, cut));
		expect_ok(&d, moe_json_finish(&j));
	}
}

static bool valid_by_table(unsigned c)
{
	return c < 0xd800 || (c >= 0xe000 && c < 0x110000);
}

/* All scalar values are well formed, all surrogates and what lies above are not. */
static void test_utf8(void **state)
{
	(void)state;
	for (unsigned c = 0; c < 0x120000; c++) {
		char s[4];
		size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
		for (size_t i = n; i-- > 1;)
			s[i] = (char)(0x80 | (c >> 6 * (n - 1 - i) & 0x3f));
		s[0] = (char)(n == 1 ? c : (0xf00u >> n & 0xff) | c >> 6 * (n - 1));
		if (moe_utf8_valid(s, n) != valid_by_table(c))
			fail_msg("U+%04X", c);
		if (n > 1 && (moe_utf8_valid(s, n - 1) || moe_utf8_valid(s + 1, n - 1)))
			fail_msg("a part of U+%04X", c);
	}
	assert_true(moe_utf8_valid("", 0));
	assert_true(moe_utf8_valid("a\0b", 3));
}

/* ---- numbers and words ---- */

static void test_u64(void **state)
{
	static const struct { const char *text; uint64_t v; } good[] = {
		{"0", 0}, {"7", 7}, {" 10", 10}, {"18446744073709551615", UINT64_MAX}, {"9223372036854775808", (uint64_t)1 << 63},
	};
	static const char *const bad[] = {"-0", "-1", "1.0", "1e2", "18446744073709551616", "99999999999999999999999", "\"1\"", "true", "", "[1]",
		"0.5", "+1"};
	struct moe_json j;
	uint64_t v;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		struct moe_diag d = {0};
		moe_json_init(&j, good[i].text, strlen(good[i].text), &d);
		expect_ok(&d, moe_json_u64(&j, &v));
		assert_true(v == good[i].v);
		expect_ok(&d, moe_json_finish(&j));
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct moe_diag d = {0};
		moe_json_init(&j, bad[i], strlen(bad[i]), &d);
		if (moe_json_u64(&j, &v) != MOE_EINPUT)
			fail_msg("%s is taken for a number", bad[i]);
		assert_int_equal(d.byte, 0);
	}
}

static void test_words(void **state)
{
	struct moe_json j;
	struct moe_diag d = {0};
	bool b = true;

	(void)state;
	moe_json_init(&j, "[true,false,null,1]", 19, &d);
	expect_ok(&d, moe_json_enter(&j, '['));
	assert_true(moe_json_element(&j));
	assert_false(moe_json_null(&j));
	assert_int_equal(moe_json_peek(&j), 't');
	expect_ok(&d, moe_json_bool(&j, &b));
	assert_true(b);
	assert_true(moe_json_element(&j));
	expect_ok(&d, moe_json_bool(&j, &b));
	assert_false(b);
	assert_true(moe_json_element(&j));
	assert_true(moe_json_null(&j));
	assert_true(moe_json_element(&j));
	assert_int_equal(moe_json_bool(&j, &b), MOE_EINPUT);
	assert_int_equal(d.byte, 17);
}

/* ---- walking ---- */

static void test_walk(void **state)
{
	static const char text[] = "{\"a\":[1,2,3],\"skip\":{\"x\":[[],{\"y\":null}]},\"s\":\"t\"} ";
	struct moe_json j;
	struct moe_diag d = {0};
	uint64_t v, sum = 0;
	unsigned n = 0;

	(void)state;
	moe_json_init(&j, text, sizeof text - 1, &d);
	expect_ok(&d, moe_json_enter(&j, '{'));
	for (; moe_json_key(&j); n++) {
		if (moe_json_is(&j, "a")) {
			expect_ok(&d, moe_json_enter(&j, '['));
			while (moe_json_element(&j)) {
				expect_ok(&d, moe_json_u64(&j, &v));
				sum += v;
			}
		} else if (moe_json_is(&j, "s")) {
			expect_ok(&d, moe_json_string(&j));
			assert_true(moe_json_is(&j, "t"));
		} else {
			expect_ok(&d, moe_json_skip(&j));
		}
	}
	expect_ok(&d, moe_json_finish(&j));
	assert_int_equal(sum, 6);
	assert_int_equal(n, 3);
}

/* After an error nothing more is given, and the first message stays. */
static void test_sticky(void **state)
{
	struct moe_json j;
	struct moe_diag d = {0};
	uint64_t v;
	bool b;

	(void)state;
	moe_json_init(&j, "[x,1,true]", 10, &d);
	expect_ok(&d, moe_json_enter(&j, '['));
	assert_true(moe_json_element(&j));
	assert_int_equal(moe_json_u64(&j, &v), MOE_EINPUT);
	assert_false(moe_json_element(&j));
	assert_false(moe_json_key(&j));
	assert_false(moe_json_null(&j));
	assert_int_equal(moe_json_peek(&j), 0);
	assert_int_equal(moe_json_u64(&j, &v), MOE_EINPUT);
	assert_int_equal(moe_json_bool(&j, &b), MOE_EINPUT);
	assert_int_equal(moe_json_string(&j), MOE_EINPUT);
	assert_int_equal(moe_json_skip(&j), MOE_EINPUT);
	assert_int_equal(moe_json_enter(&j, '['), MOE_EINPUT);
	assert_int_equal(moe_json_finish(&j), MOE_EINPUT);
	assert_int_equal(moe_json_fail(&j, "later"), MOE_EINPUT);
	assert_int_equal(d.byte, 1);
	assert_non_null(strstr(d.text, "expected an unsigned integer"));
}

/* Without a diagnostic it fails all the same. */
static void test_no_diagnostic(void **state)
{
	struct moe_json j;

	(void)state;
	moe_json_init(&j, "[1,", 3, NULL);
	assert_int_equal(moe_json_skip(&j), MOE_EINPUT);
}

static const char document[] = "{\"__metadata__\":{\"k\":\"v\\u00e9\\ud83d\\ude00\xc3\xa9\",\"\":\"\"},"
	"\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
	"\"n\":[-1.5e+3,0,10,true,false,null,[[]],{}]}";

/* Every truncation is noticed, at the last byte at the latest, and no byte behind it is read. */
static void test_truncation(void **state)
{
	struct moe_diag d;

	(void)state;
	expect_ok(&d, scan(document, sizeof document - 1, &d));
	for (size_t n = 0; n < sizeof document - 1; n++) {
		char *cut = malloc(n + 1), *tight = n ? realloc(cut, n) : cut;
		memcpy(tight, document, n);
		if (scan(tight, n, &d) != MOE_EINPUT || d.byte > (int64_t)n)
			fail_msg("cut at %zu: %s", n, say(&d));
		free(tight);
	}
}

/* ---- jansson ---- */

/* What jansson does not do as RFC 8259 would have it, or where the scanner has a limit. */
static bool differ_on_purpose(const char *p, size_t n, const json_error_t *e, const struct moe_diag *d)
{
	enum json_error_code code = json_error_code(e);

	if (d->code && (size_t)d->byte < n && !p[d->byte])
		return true;
	return code == json_error_numeric_overflow || code == json_error_null_byte_in_key || strstr(d->text, "deeper than 64");
}

static void compare(const char *p, size_t n, unsigned *n_valid)
{
	struct moe_diag d;
	json_error_t e;
	json_t *doc = json_loadb(p, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
	enum moe_err err = scan(p, n, &d);

	if (!doc != !!err && !differ_on_purpose(p, n, &e, &d))
		fail_msg("%.*s: the scanner says \"%s\", jansson says \"%s\"", (int)n, p, err ? say(&d) : "good", doc ? "good" : e.text);
	*n_valid += !err;
	json_decref(doc);
}

static void test_jansson(void **state)
{
	static const char *const seeds[] = {
		document, "[-0.5e-7,\"\\ud800\\udc00\\n\",{\"a\":[true,null]},1]", "\"\xf0\x9f\x98\x80\xe2\x82\xac\xc3\xa9 \\u20ac\\\\\"",
		"{\"a\":{\"b\":[1,2.5,3e4]},\"c\":false}",
		"-12.5e+10", "[[[[\"\"]]],[],{}]",
	};
	uint64_t random = 7;
	unsigned n_valid = 0, runs = SLOW ? 10000 : 100000;

	(void)state;
	for (unsigned i = 0; i < runs; i++) {
		const char *seed = seeds[i % 6];
		size_t n = strlen(seed);
		uint8_t *p = malloc(2 * n);
		memcpy(p, seed, n);
		n = mutate(p, n, 2 * n, &random);
		compare((const char *)p, n, &n_valid);
		free(p);
	}
	assert_in_range(n_valid, runs / 50, runs / 2);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_valid), cmocka_unit_test(test_invalid), cmocka_unit_test(test_depth), cmocka_unit_test(test_decode),
		cmocka_unit_test(test_utf8), cmocka_unit_test(test_u64), cmocka_unit_test(test_words), cmocka_unit_test(test_walk),
		cmocka_unit_test(test_sticky), cmocka_unit_test(test_no_diagnostic), cmocka_unit_test(test_truncation), cmocka_unit_test(test_jansson),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
