/* Checked arithmetic, the bounded reader, memory, types, random numbers, errors. */
#include <errno.h>
#include <float.h>
#include <math.h>

#include "base/check.h"
#include "base/dtype.h"
#include "base/mem.h"
#include "base/rd.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "lib_data.h"

/* ---- arithmetic ---- */

static void test_checked(void **state)
{
	uint64_t v;

	(void)state;
	assert_true(moe_checked_add(UINT64_MAX - 1, 1, &v) && v == UINT64_MAX);
	assert_false(moe_checked_add(UINT64_MAX, 1, &v));
	assert_false(moe_checked_add(1, UINT64_MAX, &v));
	assert_true(moe_checked_add(0, 0, &v) && v == 0);
	assert_true(moe_checked_mul(0xffffffff, 0x100000001, &v) && v == UINT64_MAX);
	assert_false(moe_checked_mul(0x100000000, 0x100000000, &v));
	assert_true(moe_checked_mul(UINT64_MAX, 1, &v) && v == UINT64_MAX);
	assert_true(moe_checked_mul(UINT64_MAX, 0, &v) && v == 0);
	assert_false(moe_checked_mul(UINT64_MAX, 2, &v));
}

static void test_product(void **state)
{
	static const uint64_t cubes[] = {(uint64_t)1 << 21, (uint64_t)1 << 21, (uint64_t)1 << 21, 2}, zero[] = {UINT64_MAX, 0},
		late[] = {UINT64_MAX, 2, 0};
	uint64_t v;

	(void)state;
	assert_true(moe_product(NULL, 0, &v) && v == 1);
	assert_true(moe_product(cubes, 3, &v) && v == (uint64_t)1 << 63);
	assert_false(moe_product(cubes, 4, &v));
	assert_true(moe_product(zero, 2, &v) && v == 0);
	assert_false(moe_product(late, 3, &v));         /* as the reference implementation of safetensors */
}

static void test_rounding(void **state)
{
	(void)state;
	for (size_t n = 0; n < 300; n++)
		for (size_t unit = 1; unit < 70; unit++) {
			size_t up = moe_round_up(n, unit);
			assert_true(up % unit == 0 && up >= n && up - n < unit);
		}
	assert_int_equal(moe_min(3, 4), 3);
	assert_int_equal(moe_max(3, 4), 4);
}

/* ---- the bounded reader ---- */

static void test_reader(void **state)
{
	static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 0xff};
	struct moe_rd r;

	(void)state;
	moe_rd_init(&r, bytes, sizeof bytes);
	assert_true(moe_rd_le(&r, 8) == 0x0807060504030201);
	assert_int_equal(moe_rd_left(&r), 1);
	assert_int_equal(moe_rd_be(&r, 1), 0xff);
	assert_false(r.bad);
	assert_int_equal(moe_rd_le(&r, 0), 0);
	assert_false(r.bad);
	assert_int_equal(moe_rd_le(&r, 1), 0);
	assert_true(r.bad);
	moe_rd_init(&r, bytes, sizeof bytes);
	assert_int_equal(moe_rd_be(&r, 3), 0x010203);
	assert_int_equal(moe_rd_le(&r, 2), 0x0504);
	assert_ptr_equal(moe_rd_bytes(&r, 4), bytes + 5);
	assert_false(r.bad);
}

/* A failure stays: nothing more is given, though there were bytes left. */
static void test_reader_sticky(void **state)
{
	static const uint8_t bytes[4] = {1, 2, 3, 4};
	static const uint64_t wanted[] = {5, 8, SIZE_MAX, UINT64_MAX, (uint64_t)1 << 63};
	struct moe_rd r;

	(void)state;
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
		moe_rd_init(&r, bytes, 4);
		assert_null(moe_rd_bytes(&r, wanted[i]));
		assert_true(r.bad);
		assert_int_equal(moe_rd_left(&r), 0);
		assert_int_equal(moe_rd_be(&r, 1), 0);
		assert_null(moe_rd_bytes(&r, 1));
		assert_true(r.bad);
	}
	moe_rd_init(&r, bytes, 0);
	assert_non_null(moe_rd_bytes(&r, 0));
	assert_false(r.bad);
}

/* ---- memory ---- */

static void test_zeroed_memory(void **state)
{
	(void)state;
	for (size_t n = 0; n < 200; n++) {
		uint8_t *p = moe_calloc(n, 3);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % 64, 0);
		for (size_t i = 0; i < 3 * n; i++)
			assert_int_equal(p[i], 0);
		free(p);
	}
	assert_null(moe_calloc(SIZE_MAX, 2));
	assert_null(moe_calloc(SIZE_MAX / 2, 1 + SIZE_MAX / 2));
	assert_null(moe_calloc((size_t)PTRDIFF_MAX + 1, 1));
}

static void test_grow(void **state)
{
	struct moe_diag d = {0};
	uint32_t *p = NULL;
	size_t cap = 0, n_changes = 0;

	(void)state;
	for (size_t n = 0; n < 10000; n++) {
		size_t old = cap;
		expect_ok(&d, moe_grow(&p, &cap, n + 1, sizeof *p, &d));
		p[n] = (uint32_t)n;
		n_changes += cap != old;
	}
	for (size_t n = 0; n < 10000; n++)
		assert_int_equal(p[n], n);
	assert_in_range(n_changes, 1, 20);      /* doubled, not crept */
	expect_ok(&d, moe_grow(&p, &cap, 1, sizeof *p, &d));
	assert_int_equal(moe_grow(&p, &cap, SIZE_MAX / 2, sizeof *p, &d), MOE_ENOMEM);
	assert_int_equal(p[9999], 9999);        /* still the caller's */
	free(p);
}

static void test_arena(void **state)
{
	struct moe_arena a = {0};
	uint8_t *p[500], *again;
	uint64_t random = 3;
	size_t size[500];

	(void)state;
	for (unsigned i = 0; i < 500; i++) {
		size[i] = i % 50 == 49 ? 100000 : next_random(&random) % 2000;
		p[i] = moe_arena_get(&a, size[i], 1);
		assert_non_null(p[i]);
		assert_int_equal((uintptr_t)p[i] % 64, 0);
		memset(p[i], (int)i, size[i]);
	}
	for (unsigned i = 0; i < 500; i++)
		for (size_t k = 0; k < size[i]; k++)
			if (p[i][k] != (uint8_t)i)
				fail_msg("piece %u was written over", i);
	moe_arena_reset(&a);
	again = moe_arena_get(&a, 10, 1);
	assert_ptr_equal(again, p[0]);          /* the memory is kept */
	moe_arena_free(&a);
	moe_arena_free(&a);
}

/* A steady loop of the same requests uses the same memory. */
static void test_arena_is_steady(void **state)
{
	struct moe_arena a = {0};
	void *first[20], *p;

	(void)state;
	for (unsigned turn = 0; turn < 10; turn++) {
		moe_arena_reset(&a);
		for (size_t i = 0; i < 20; i++) {
			p = moe_arena_get(&a, 10000 * i, 1);
			if (turn == 1)
				first[i] = p;
			else if (turn > 1)
				assert_ptr_equal(p, first[i]);
		}
	}
	moe_arena_free(&a);
}

/* Kept blocks are used again only by what fits into them: other sizes in every turn, all pieces intact at its end. */
static void test_arena_reuse(void **state)
{
	struct moe_arena a = {0};
	uint64_t random = 9;
	uint8_t *p[40];
	size_t size[40];

	(void)state;
	for (unsigned turn = 0; turn < 50; turn++) {
		moe_arena_reset(&a);
		for (unsigned i = 0; i < 40; i++) {
			size[i] = next_random(&random) % (next_random(&random) % 4 ? 3000 : 300000);
			p[i] = moe_arena_get(&a, size[i], 1);
			assert_non_null(p[i]);
			memset(p[i], (int)(turn + i), size[i]);
		}
		for (unsigned i = 0; i < 40; i++)
			for (size_t k = 0; k < size[i]; k++)
				if (p[i][k] != (uint8_t)(turn + i))
					fail_msg("turn %u: piece %u was written over", turn, i);
	}
	moe_arena_free(&a);
}

static void test_arena_limits(void **state)
{
	struct moe_arena a = {0};
	char *zero;

	(void)state;
	assert_non_null(moe_arena_get(&a, 0, 0));
	assert_ptr_not_equal(moe_arena_get(&a, 0, 8), moe_arena_get(&a, 0, 8));
	assert_null(moe_arena_get(&a, SIZE_MAX, 1));
	assert_null(moe_arena_get(&a, SIZE_MAX / 2, 3));
	assert_null(moe_arena_zero(&a, (size_t)1 << 62, 4));
	assert_null(moe_arena_string(&a, "", SIZE_MAX));
	memset(moe_arena_get(&a, 1000, 1), 1, 1000);
	moe_arena_reset(&a);
	zero = moe_arena_zero(&a, 500, 2);
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(zero[i], 0);
	assert_string_equal(moe_arena_string(&a, "abcdef", 3), "abc");
	moe_arena_free(&a);
}

/* ---- types ---- */

static void test_dtypes(void **state)
{
	static const struct { const char *name; enum moe_dtype type; unsigned nbits; } table[] = {
		{"BOOL", MOE_BOOL, 8}, {"F4", MOE_F4, 4}, {"F6_E2M3", MOE_F6_E2M3, 6}, {"F6_E3M2", MOE_F6_E3M2, 6}, {"U8", MOE_U8, 8}, {"I8", MOE_I8, 8},
		{"F8_E5M2", MOE_F8_E5M2, 8}, {"F8_E4M3", MOE_F8_E4M3, 8}, {"F8_E8M0", MOE_F8_E8M0, 8}, {"F8_E4M3FNUZ", MOE_F8_E4M3FNUZ, 8},
		{"F8_E5M2FNUZ", MOE_F8_E5M2FNUZ, 8}, {"I16", MOE_I16, 16}, {"U16", MOE_U16, 16}, {"F16", MOE_F16, 16}, {"BF16", MOE_BF16, 16},
		{"I32", MOE_I32, 32}, {"U32", MOE_U32, 32}, {"F32", MOE_F32, 32}, {"C64", MOE_C64, 64}, {"F64", MOE_F64, 64}, {"I64", MOE_I64, 64},
		{"U64", MOE_U64, 64},
	};

	(void)state;
	assert_int_equal(sizeof table / sizeof *table, MOE_N_DTYPES);
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		assert_int_equal(moe_dtype_find(table[i].name, strlen(table[i].name)), table[i].type);
		assert_int_equal(moe_dtype_find(table[i].name, strlen(table[i].name) - 1), MOE_N_DTYPES);
		assert_string_equal(moe_dtype_name(table[i].type), table[i].name);
		assert_int_equal(moe_dtype_nbits(table[i].type), table[i].nbits);
	}
	assert_int_equal(moe_dtype_find("F32\0", 4), MOE_N_DTYPES);
	assert_int_equal(moe_dtype_find("f32", 3), MOE_N_DTYPES);
	assert_int_equal(moe_dtype_find("", 0), MOE_N_DTYPES);
}

static uint32_t bits_of(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof u);
	return u;
}

/* A binary16 by its definition. */
static float half_by_definition(uint16_t h)
{
	int exponent = h >> 10 & 31, fraction = h & 0x3ff;
	double v = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);

	return (float)copysign(v, h & 0x8000 ? -1.0 : 1.0);
}

/* The binary16 of a value that has one: the inverse. */
static uint16_t half_of(float f)
{
	uint32_t u = bits_of(f);
	uint16_t sign = (uint16_t)(u >> 16 & 0x8000);

	if ((u & 0x7f800000) == 0x7f800000)
		return (uint16_t)(sign | 0x7c00 | (u >> 13 & 0x3ff));
	if (fabsf(f) < 0x1p-14f)
		return (uint16_t)(sign | (uint16_t)(fabsf(f) * 0x1p24f));
	return (uint16_t)(sign | ((u >> 23 & 255) - 112) << 10 | (u >> 13 & 0x3ff));
}

static void test_half(void **state)
{
	(void)state;
	for (unsigned h = 0; h < 65536; h++) {
		float f = moe_f32_from_f16((uint16_t)h);
		assert_int_equal(half_of(f), h);
		if ((h & 0x7c00) == 0x7c00)
			assert_true(h & 0x3ff ? isnan(f) : isinf(f));
		else
			assert_int_equal(bits_of(f), bits_of(half_by_definition((uint16_t)h)));
		if (isinf(f))
			assert_int_equal(signbit(f) != 0, h >> 15);
	}
}

static void test_bfloat(void **state)
{
	(void)state;
	for (unsigned h = 0; h < 65536; h++)
		assert_int_equal(bits_of(moe_f32_from_bf16((uint16_t)h)), h << 16);
}

/* From an odd address too. */
static void test_widen(void **state)
{
	static const double wide[] = {0.1, -1e300, 1e-320, 3};
	static uint8_t bytes[2 * 65536 + 1];
	static float out[65536];

	(void)state;
	for (unsigned shift = 0; shift < 2; shift++) {
		for (unsigned h = 0; h < 65536; h++)
			memcpy(bytes + shift + 2 * h, &(uint16_t){(uint16_t)h}, 2);
		assert_true(moe_widen(out, bytes + shift, 65536, MOE_F16));
		for (unsigned h = 0; h < 65536; h++)
			assert_int_equal(bits_of(out[h]), bits_of(moe_f32_from_f16((uint16_t)h)));
		assert_true(moe_widen(out, bytes + shift, 65536, MOE_BF16));
		for (unsigned h = 0; h < 65536; h++)
			assert_int_equal(bits_of(out[h]), h << 16);
		assert_true(moe_widen(out, bytes + shift, 32768, MOE_F32));
		assert_memory_equal(out, bytes + shift, 4 * 32768);
		memcpy(bytes + shift, wide, sizeof wide);
		assert_true(moe_widen(out, bytes + shift, 4, MOE_F64));
		assert_true(out[0] == 0.1f && out[1] == -INFINITY && out[2] == 0 && out[3] == 3);
	}
	for (int t = 0; t < MOE_N_DTYPES; t++)
		if (t != MOE_F32 && t != MOE_F16 && t != MOE_BF16 && t != MOE_F64)
			assert_false(moe_widen(out, bytes, 1, (enum moe_dtype)t));
}

/* ---- random numbers: the known answers of Random123 (kat_vectors, philox4x32 10) ---- */

static void test_philox(void **state)
{
	static const struct { uint32_t counter[4], key[2], out[4]; } cases[] = {
		{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	};
	uint32_t out[4];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		moe_philox(cases[i].counter, cases[i].key, out);
		assert_memory_equal(out, cases[i].out, sizeof out);
	}
	assert_true(moe_random_u64(0, 0, 0) == 0xe169c58d6627e8d5);
}

/* Each of the three arguments counts, with all of its bits. */
static void test_random(void **state)
{
	double sum = 0;

	(void)state;
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t one = (uint64_t)1 << bit, a = moe_random_u64(one, 0, 0), b = moe_random_u64(0, one, 0), c = moe_random_u64(0, 0, one);
		assert_true(a != b && b != c && a != c && a != moe_random_u64(0, 0, 0) && b != moe_random_u64(0, 0, 0) && c != moe_random_u64(0, 0, 0));
	}
	for (uint64_t i = 0; i < 100000; i++) {
		double u = moe_random_unit(1, 2, i);
		assert_true(u >= 0 && u < 1);
		sum += u;
	}
	assert_true(fabs(sum / 100000 - 0.5) < 0.005);  /* five standard deviations */
}

/* ---- errors ---- */

static void test_first_error_wins(void **state)
{
	struct moe_diag d = {0};

	(void)state;
	assert_int_equal(moe_diag_path(&d, "early"), MOE_OK);
	assert_string_equal(d.path, "");
	assert_int_equal(moe_fail_at(&d, MOE_EINPUT, 17, "first %d", 1), MOE_EINPUT);
	assert_int_equal(moe_fail(&d, MOE_ENOMEM, "second"), MOE_ENOMEM);
	errno = ENOENT;
	assert_int_equal(moe_fail_errno(&d, "third"), MOE_EIO);
	assert_int_equal(moe_diag_path(&d, "a.bin"), MOE_EINPUT);
	assert_int_equal(moe_diag_path(&d, "b.bin"), MOE_EINPUT);
	assert_string_equal(say(&d), "a.bin: byte 17: first 1");
	moe_diag_clear(&d);
	assert_int_equal(d.code, MOE_OK);
	assert_int_equal(moe_fail(&d, MOE_EUSAGE, "next"), MOE_EUSAGE);
	assert_string_equal(say(&d), "next");
	assert_int_equal(moe_fail(NULL, MOE_EIO, "nobody listens"), MOE_EIO);
	assert_int_equal(moe_diag_path(NULL, "x"), MOE_OK);
}

static void test_errno(void **state)
{
	struct moe_diag d = {0};

	(void)state;
	errno = ENOENT;
	assert_int_equal(moe_fail_errno(&d, "cannot open %s", "x"), MOE_EIO);
	assert_string_equal(say(&d), "cannot open x: No such file or directory");
	moe_diag_clear(&d);
	errno = ENOMEM;
	assert_int_equal(moe_fail_errno(&d, "cannot map"), MOE_ENOMEM);
}

/* A name cannot fake a second line, and no length writes beyond the buffer. */
static void test_diag_string(void **state)
{
	struct moe_diag d = {0};
	char long_text[2000], *buf;

	(void)state;
	moe_fail_at(&d, MOE_EINPUT, 0, "tensor \"a\nb\x7f\x1b[31m\xc3\xa9\"");
	moe_diag_path(&d, "x\ny\r");
	assert_string_equal(say(&d), "x\\x0ay\\x0d: byte 0: tensor \"a\\x0ab\\x7f\\x1b[31m\xc3\xa9\"");
	moe_diag_clear(&d);
	/* C1 controls, line separators and turned writing; bytes that are no UTF-8 */
	moe_fail(&d, MOE_EINPUT, "\xc2\x9b" "1m \xe2\x80\xa8 \xe2\x80\xae \x80 \xf0\x9f\x98 \xf0\x9f\x98\x80 \xed\xa0\x80");
	assert_string_equal(say(&d), "\\xc2\\x9b1m \\xe2\\x80\\xa8 \\xe2\\x80\\xae \\x80 \\xf0\\x9f\\x98 \xf0\x9f\x98\x80 \\xed\\xa0\\x80");
	moe_diag_clear(&d);
	memset(long_text, '\n', sizeof long_text - 1);
	long_text[sizeof long_text - 1] = 0;
	moe_fail_at(&d, MOE_EINPUT, INT64_MAX, "%s", long_text);
	moe_diag_path(&d, long_text);
	assert_int_equal(strlen(d.text), sizeof d.text - 1);
	assert_int_equal(strlen(d.path), sizeof d.path - 1);
	for (unsigned cap = 1; cap < 1000; cap++) {
		buf = malloc(cap);
		assert_true(strlen(moe_diag_string(&d, buf, cap)) < cap);
		assert_null(strchr(buf, '\n'));
		free(buf);
	}
	moe_diag_clear(&d);
	memset(long_text, 'x', 600);
	errno = ENOENT;
	long_text[600] = 0;
	assert_int_equal(moe_fail_errno(&d, "%s", long_text), MOE_EIO);
	assert_int_equal(strlen(d.text), sizeof d.text - 1);
}

/* Every character there and back; every pair of bytes is a character, two of them, or the longest piece of one. */
static void test_utf8(void **state)
{
	char s[4];
	bool good;

	(void)state;
	for (unsigned u = 0; u < 0x110000; u++) {
		size_t n = moe_utf8_put(s, u);
		assert_int_equal(moe_utf8_step(s, n, &good), u >= 0xd800 && u < 0xe000 ? 1 : n);
		assert_int_equal(good, u < 0xd800 || u >= 0xe000);
		assert_int_equal(moe_utf8_get(s, n), u);
		for (size_t k = 1; good && k < n; k++) {
			assert_int_equal(moe_utf8_step(s, k, &good), k);
			assert_false(good);
			good = true;
		}
	}
	assert_int_equal(moe_utf8_step("\xe2\x28\xa1", 3, &good), 1);
	assert_int_equal(moe_utf8_step("\xf0\x9f\x28\x80", 4, &good), 2);
	assert_int_equal(moe_utf8_step("\xc0\x80", 2, &good), 1);
	assert_false(good);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_checked), cmocka_unit_test(test_product), cmocka_unit_test(test_rounding), cmocka_unit_test(test_reader),
		cmocka_unit_test(test_reader_sticky), cmocka_unit_test(test_zeroed_memory), cmocka_unit_test(test_grow), cmocka_unit_test(test_arena),
		cmocka_unit_test(test_arena_is_steady), cmocka_unit_test(test_arena_reuse), cmocka_unit_test(test_arena_limits),
		cmocka_unit_test(test_dtypes), cmocka_unit_test(test_half),
		cmocka_unit_test(test_bfloat), cmocka_unit_test(test_widen), cmocka_unit_test(test_philox), cmocka_unit_test(test_random),
		cmocka_unit_test(test_first_error_wins), cmocka_unit_test(test_errno), cmocka_unit_test(test_diag_string), cmocka_unit_test(test_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
