/* Safetensors files: what the reference implementation refuses, where we are stricter, checkpoints in shards, and damage at random. */
#include <fcntl.h>
#include <sys/stat.h>

#include "format/checkpoint.h"
#include "lib_data.h"

#define STREAMS "tests/golden/streams/"

/* A file in memory of its own, so that a sanitizer sees a step beyond its end. */
struct file {
	uint8_t *p;
	size_t n;
};

static struct file make(const char *header, size_t payload)
{
	size_t n = strlen(header);
	struct file f = {malloc(8 + n + payload), 8 + n + payload};

	for (unsigned i = 0; i < 8; i++)
		f.p[i] = (uint8_t)(n >> 8 * i);
	memcpy(f.p + 8, header, n);
	memset(f.p + 8 + n, 7, payload);
	return f;
}

static enum moe_err parse(const struct file *f, struct moe_header *h, struct moe_diag *d)
{
	memset(d, 0, sizeof *d);
	return moe_safetensors_parse(h, f->p, f->n, d);
}

#define X(name, type, shape, from, to) "\"" name "\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":[" #from "," #to "]}"

static void test_accepted(void **state)
{
	static const struct { const char *header; size_t payload, n_tensors, n_meta; } cases[] = {
		{"{}", 0, 0, 0}, {" \t\r\n{ } \n", 0, 0, 0}, {"{\"__metadata__\":{}}", 0, 0, 0}, {"{\"__metadata__\":null}", 0, 0, 0},
		{"{\"__metadata__\":{\"a\":\"b\",\"\":\"\"}}", 0, 0, 2},
		{"{" X("a", "U8", "[]", 0, 1) "}", 1, 1, 0}, {"{" X("", "U8", "[1]", 0, 1) "}", 1, 1, 0},
		{"{" X("a", "F32", "[0]", 0, 0) "," X("b", "F32", "[3,0,7]", 0, 0) "}", 0, 2, 0},
		{"{" X("b", "U8", "[2]", 3, 5) "," X("z", "F64", "[0]", 3, 3) "," X("a", "U8", "[3]", 0, 3) "}", 5, 3, 0},
		{"{" X("a", "U8", "[1,1,1,1,1,1,1,1]", 0, 1) "}", 1, 1, 0},
		{"{" X("a", "F4", "[3,2]", 0, 3) "," X("b", "F6_E2M3", "[4]", 3, 6) "}", 6, 2, 0},
		{"{\"a\":{\"x\":{\"y\":[1,{}]},\"dtype\":\"U8\",\"data_offsets\":[0,1],\"shape\":[1]}}", 1, 1, 0},
		{"{\"\\u0061\":{\"\\u0064type\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, 1, 0},
	};
	struct moe_header h = {0};
	struct moe_diag d;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct file f = make(cases[i].header, cases[i].payload);
		enum moe_err err = parse(&f, &h, &d);
		if (err || h.n_tensors != cases[i].n_tensors || h.n_meta != cases[i].n_meta || h.payload_nbytes != cases[i].payload)
			fail_msg("%s: %d %s", cases[i].header, (int)err, say(&d));
		for (size_t t = 0; t < h.n_tensors; t++)
			assert_ptr_equal(h.tensor[t].data, f.p + f.n - cases[i].payload + h.tensor[t].begin);
		free(f.p);
	}
	moe_header_free(&h);
}

static void test_refused(void **state)
{
	static const struct { const char *header; size_t payload; const char *part; } cases[] = {
		{"", 0, "expected an object"}, {"[]", 0, "expected an object"}, {"null", 0, "expected an object"}, {"\"\"", 0, "expected an object"},
		{"{", 0, "JSON"}, {"{}}", 0, "trailing"}, {"{}{}", 0, "trailing"}, {"{} x", 0, "trailing"}, {"{},", 0, "trailing"},
		{"{\"a\":1}", 0, "expected an object"}, {"{\"a\":[]}", 0, "expected an object"}, {"{\"a\":{}}", 0, "dtype, shape and data_offsets"},
		{"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "dtype, shape and data_offsets"},
		{"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "dtype, shape and data_offsets"},
		{"{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "dtype, shape and data_offsets"},
		{"{" X("a", "U8", "[4]", 0, 4) "," X("b", "U8", "[4]", 3, 7) "}", 7, "overlap"},
		{"{" X("a", "U8", "[4]", 0, 4) "," X("b", "U8", "[4]", 0, 4) "}", 4, "overlap"},
		{"{" X("a", "U8", "[4]", 0, 4) "," X("b", "U8", "[2]", 1, 3) "}", 4, "overlap"},
		{"{" X("a", "U8", "[4]", 0, 4) "," X("z", "U8", "[0]", 2, 2) "}", 4, "overlap"},
		{"{" X("a", "U8", "[4]", 0, 4) "," X("b", "U8", "[4]", 5, 9) "}", 9, "gap"},
		{"{" X("a", "U8", "[4]", 1, 5) "}", 5, "gap"}, {"{" X("a", "U8", "[0]", 9, 9) "}", 9, "gap"},
		{"{" X("a", "U8", "[4]", 0, 4) "}", 5, "trailing bytes"}, {"{}", 1, "trailing bytes"},
		{"{" X("a", "U8", "[4]", 0, 4) "}", 3, "truncated"}, {"{" X("a", "U8", "[4]", 0, 4) "}", 0, "truncated"},
		{"{" X("a", "U8", "[4]", 4, 0) "}", 4, "ascending order"}, {"{" X("a", "U8", "[4]", -1, 3) "}", 4, "unsigned integer"},
		{"{" X("a", "U8", "[4]", 0, 4.0) "}", 4, "unsigned integer"}, {"{" X("a", "U8", "[4]", 0, 4e0) "}", 4, "unsigned integer"},
		{"{" X("a", "U8", "[4]", 0, 04) "}", 4, "JSON"}, {"{" "\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,\"4\"]}" "}", 4,
		 "unsigned integer"},
		{"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4]}}", 4, "two integers"},
		{"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4,4]}}", 4, "two integers"},
		{"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":{}}}", 4, "expected an array"},
		{"{" X("a", "U8", "4", 0, 4) "}", 4, "expected an array"}, {"{" X("a", "U8", "[-4]", 0, 4) "}", 4, "unsigned integer"},
		{"{" X("a", "U8", "[4.5]", 0, 4) "}", 4, "unsigned integer"}, {"{" X("a", "U8", "[4,]", 0, 4) "}", 4, "JSON"},
		{"{" X("a", "U8", "[5]", 0, 4) "}", 4, "its shape needs 5 bytes, its offsets give 4"},
		{"{" X("a", "F32", "[]", 0, 1) "}", 1, "its shape needs 4 bytes"},
		{"{" X("a", "U8", "[]", 0, 0) "}", 0, "its shape needs 1 bytes"}, {"{" X("a", "U8", "[0]", 0, 1) "}", 1, "its shape needs 0 bytes"},
		{"{" X("a", "F4", "[3]", 0, 1) "}", 1, "its shape needs"}, {"{" X("a", "F4", "[3]", 0, 2) "}", 2, "its shape needs"},
		{"{" X("a", "U8", "[4294967296,4294967296]", 0, 0) "}", 0, "overflow"},
		{"{" X("a", "F64", "[1152921504606846976,2]", 0, 0) "}", 0, "overflow"},
		{"{" X("a", "F32", "[4611686018427387904]", 0, 0) "}", 0, "overflow"},
		{"{" X("a", "U8", "[18446744073709551615]", 0, 4) "}", 4, "overflow"},
		{"{" X("a", "U8", "[4294967296,4294967296,0]", 0, 0) "}", 0, "overflow"},
		{"{" X("a", "U8", "[18446744073709551616]", 0, 4) "}", 4, "64 bits"},
		{"{" X("a", "U8", "[2]", 18446744073709551614, 18446744073709551616) "}", 4, "64 bits"},
		{"{" X("a", "U8", "[1]", 18446744073709551614, 18446744073709551615) "}", 4, "gap"},
		{"{" X("a", "U8", "[1,1,1,1,1,1,1,1,1]", 0, 1) "}", 1, "more than 8 axes"},
		{"{" X("a", "F31", "[4]", 0, 4) "}", 4, "unknown dtype \"F31\""}, {"{" X("a", "", "[4]", 0, 4) "}", 4, "unknown dtype \"\""},
		{"{" X("a", "U8\\u0000", "[4]", 0, 4) "}", 4, "unknown dtype"},
		{"{" X("a", "\\u00558", "[4]", 0, 4) "}", 4, "unknown dtype"},        /* stricter: names of types are not escaped */
		{"{\"a\":{\"dtype\":8,\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "expected a string"},
		{"{" X("a", "U8", "[1]", 0, 1) "," X("a", "U8", "[1]", 1, 2) "}", 2, "tensor \"a\" stands twice"},
		{"{" X("a", "U8", "[0]", 0, 0) "," X("\\u0061", "U8", "[0]", 0, 0) "}", 0, "tensor \"a\" stands twice"},
		{"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "the same key twice"},
		{"{\"__metadata__\":{\"k\":\"1\",\"k\":\"1\"}}", 0, "metadata key \"k\" stands twice"},
		{"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "twice"},
		{"{\"__metadata__\":{\"k\":1}}", 0, "expected a string"}, {"{\"__metadata__\":{\"k\":null}}", 0, "expected a string"},
		{"{\"__metadata__\":{\"k\":{}}}", 0, "expected a string"}, {"{\"__metadata__\":[]}", 0, "expected an object"},
		{"{\"__metadata__\":{\"k\\u0000\":\"\"}}", 0, "NUL"},
		{"{\"a\xff\":1}", 0, "not UTF-8"}, {"{\"\xc3\":1}", 0, "not UTF-8"}, {"{\"\xed\xa0\x80\":1}", 0, "not UTF-8"},
		{"{\"\xc0\x80\":1}", 0, "not UTF-8"},
		{"{\"\xf4\x90\x80\x80\":1}", 0, "not UTF-8"}, {"{\"__metadata__\":{\"k\":\"\xff\"}}", 0, "not UTF-8"}, {"{\xff}", 0, "JSON"},
		{"{}\xff", 0, "trailing"},
		{"{\"\\ud800\":1}", 0, "escape"}, {"{\"\\x\":1}", 0, "escape"}, {"{\"a\nb\":1}", 0, "control character"},
		{"\xef\xbb\xbf{}", 0, "expected an object"},
	};
	struct moe_header h = {0};
	struct moe_diag d;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct file f = make(cases[i].header, cases[i].payload);
		enum moe_err err = parse(&f, &h, &d);
		if (err != MOE_EINPUT || !strstr(d.text, cases[i].part) || d.byte > (int64_t)f.n)
			fail_msg("%s: %d \"%s\", expected \"%s\"", cases[i].header, (int)err, say(&d), cases[i].part);
		free(f.p);
	}
	moe_header_free(&h);
}

/* Names with a NUL are refused, values keep theirs. */
static void test_nul_in_names(void **state)
{
	struct moe_header h = {0};
	struct moe_diag d;
	struct file f = make("{" X("a\\u0000b", "U8", "[1]", 0, 1) "}", 1), g = make("{\"__metadata__\":{\"k\":\"a\\u0000b\"}}", 0);

	(void)state;
	assert_int_equal(parse(&f, &h, &d), MOE_EINPUT);
	assert_non_null(strstr(d.text, "NUL"));
	assert_int_equal(parse(&g, &h, &d), MOE_OK);
	assert_int_equal(h.meta[0].value_nbytes, 3);
	assert_memory_equal(h.meta[0].value, "a\0b", 4);
	free(f.p);
	free(g.p);
	moe_header_free(&h);
}

/* The length of the header: too short, too long, overflowing. */
static void test_lengths(void **state)
{
	static const struct { uint64_t length; const char *part; } cases[] = {
		{3, "truncated: the header has 3 bytes"}, {100000000, "truncated: the header has"}, {100000001, "above the limit"},
		{UINT64_MAX, "above the limit"}, {UINT64_MAX - 7, "above the limit"}, {(uint64_t)1 << 63, "above the limit"},
	};
	struct moe_header h = {0};
	struct moe_diag d;
	struct file f = make("{}", 0);

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		memcpy(f.p, &cases[i].length, 8);
		expect_fail(&d, parse(&f, &h, &d), MOE_EINPUT, cases[i].part);
	}
	for (size_t n = 0; n < 8; n++) {
		struct file cut = {malloc(n + 1), n};
		memcpy(cut.p, f.p, n);
		expect_fail(&d, parse(&cut, &h, &d), MOE_EINPUT, "at least 8 bytes");
		free(cut.p);
	}
	free(f.p);
	moe_header_free(&h);
}

/* The files whose verdict the reference implementation gave; bad-14 (a name twice) it accepts. */
static void test_golden(void **state)
{
	static const char *const good[] = {
		"00-plain", "01-aligned", "02-end-frame", "03-metadata-only", "04-empty-object", "05-zero-size-mid", "06-header-order", "07-unicode",
		"08-escapes", "09-bf16-f8", "10-ints", "11-scalar", "12-whitespace", "13-extra-field", "14-misaligned-f64",
	};
	static const struct { const char *file, *part; } bad[] = {
		{"00-empty-file", "truncated"}, {"01-seven-bytes", "truncated"}, {"02-header-cut", "truncated"}, {"03-header-100mb", "above the limit"},
		{"04-header-2-64", "above the limit"}, {"05-header-zero", "expected an object"}, {"06-payload-cut", "truncated"},
		{"07-trailing", "trailing bytes"},
		{"08-overlap", "overlap"}, {"09-gap", "gap"}, {"10-shape-mismatch", "its shape needs"}, {"11-shape-overflow", "overflow"},
		{"12-not-utf8", "not UTF-8"}, {"13-metadata-number", "expected a string"}, {"14-duplicate-name", "twice"},
	};
	struct moe_header h = {0};
	struct moe_diag d;
	struct file f;
	char path[128];

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		snprintf(path, sizeof path, STREAMS "good-%s.safetensors", good[i]);
		f.p = read_bytes(path, &f.n);
		if (parse(&f, &h, &d))
			fail_msg("%s: %s", path, say(&d));
		free(f.p);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		snprintf(path, sizeof path, STREAMS "bad-%s.safetensors", bad[i].file);
		f.p = read_bytes(path, &f.n);
		expect_fail(&d, parse(&f, &h, &d), MOE_EINPUT, bad[i].part);
		free(f.p);
	}
	moe_header_free(&h);
}

static void test_escapes(void **state)
{
	struct moe_header h = {0};
	struct moe_diag d;
	struct file f;

	(void)state;
	f.p = read_bytes(STREAMS "good-08-escapes.safetensors", &f.n);
	expect_ok(&d, parse(&f, &h, &d));
	assert_string_equal(h.tensor[0].name, "a");
	assert_string_equal(h.meta[0].value, "\xf0\x9f\x98\x80 \xc3\xa9/\b\f");
	free(f.p);
	moe_header_free(&h);
}

/* A header that is accepted keeps its promises, whatever it was made from. */
static void check_promises(const struct file *f, const struct moe_header *h)
{
	uint64_t sum = 0;
	unsigned char read = 0;

	for (size_t i = 0; i < h->n_tensors; i++) {
		const struct moe_tensor *t = &h->tensor[i];
		assert_true(t->type < MOE_N_DTYPES && t->rank <= MOE_MAX_RANK);
		assert_true(t->data >= f->p + 8 && t->nbytes <= (size_t)(f->p + f->n - t->data));
		assert_int_equal(moe_tensor_count(t) * moe_dtype_nbits(t->type), 8 * t->nbytes);
		if (t->nbytes)
			read ^= t->data[0] ^ t->data[t->nbytes - 1];
		sum += t->nbytes;
	}
	(void)read;
	assert_int_equal(sum, h->payload_nbytes);
}

static const char *const seeds[] = {
	"{\"__metadata__\":{\"moe.kind\":\"trace\",\"k\":\"v\\u00e9\"}," X("a.b", "F32", "[2,3]", 0, 24) "," X("c", "U8", "[]", 24, 25)
	"," X("d", "F16", "[0,1]", 25, 25) "}",
	"{\"d\":{\"x\":[1,{}],\"dtype\":\"I64\",\"data_offsets\":[1,9],\"shape\":[1,1]}," X("a", "U8", "[1]", 0, 1) "}   ",
};

static void test_mutations(void **state)
{
	struct moe_header h = {0};
	struct moe_diag d;
	uint64_t random = 42;
	unsigned n_good = 0;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		struct file seed = make(seeds[i % 2], i % 2 ? 9 : 25), f = {malloc(2 * seed.n), seed.n};
		memcpy(f.p, seed.p, seed.n);
		f.n = mutate(f.p, seed.n, 2 * seed.n, &random);
		if (i % 4) {    /* mostly with a length that fits, so that the header is reached */
			uint64_t length = f.n > 8 + (i % 2 ? 9u : 25u) ? f.n - 8 - (i % 2 ? 9 : 25) : 0;
			if (f.n >= 8)
				memcpy(f.p, &length, 8);
		}
		f.p = realloc(f.p, f.n + !f.n);
		if (!parse(&f, &h, &d)) {
			check_promises(&f, &h);
			n_good++;
		} else if (d.code != MOE_EINPUT || !d.text[0] || d.byte > (int64_t)f.n) {
			fail_msg("mutation %u: %s", i, say(&d));
		}
		free(f.p);
		free(seed.p);
	}
	moe_header_free(&h);
	assert_in_range(n_good, 100, 15000);    /* else the loop tests nothing */
}

static void test_truncations(void **state)
{
	struct moe_header h = {0};
	struct moe_diag d;
	struct file f = make(seeds[0], 25);

	(void)state;
	for (size_t n = 0; n < f.n; n++) {
		struct file cut = {malloc(n + 1), n};
		memcpy(cut.p, f.p, n);
		expect_fail(&d, parse(&cut, &h, &d), MOE_EINPUT, "truncated");
		free(cut.p);
	}
	free(f.p);
	moe_header_free(&h);
}

/* ---- checkpoints ---- */

static void write_header(const char *name, const char *header, size_t payload)
{
	struct file f = make(header, payload);

	write_bytes(scratch(name), f.p, f.n);
	free(f.p);
}

static void write_text(const char *name, const char *text) { write_bytes(scratch(name), text, strlen(text)); }

#define A X("a", "U8", "[1]", 0, 1)
#define B X("b", "F32", "[2]", 1, 9)
#define C X("c", "U8", "[3]", 0, 3)
#define INDEX "model.safetensors.index.json"
#define MAP(entries) "{\"metadata\":{\"total_size\":12},\"weight_map\":{" entries "}}"

static void two_shards(void)
{
	write_header("one.safetensors", "{" A "," B "}", 9);
	write_header("two.safetensors", "{" C "}", 3);
}

static void test_shards(void **state)
{
	struct moe_checkpoint *c;
	struct moe_diag d = {0};
	size_t at = 9;

	(void)state;
	two_shards();
	write_text(INDEX, MAP("\"b\":\"one.safetensors\",\"c\":\"two.safetensors\",\"a\":\"one.safetensors\""));
	expect_ok(&d, moe_checkpoint_open(&c, scratch(""), &d));
	assert_int_equal(moe_checkpoint_count(c), 3);
	for (size_t i = 0; i < 3; i++)
		assert_string_equal(moe_checkpoint_get(c, i)->name, i == 0 ? "a" : i == 1 ? "b" : "c");
	assert_int_equal(moe_checkpoint_find(c, "b", &at)->nbytes, 8);
	assert_int_equal(at, 1);
	assert_int_equal(moe_checkpoint_find(c, "c", NULL)->data[2], 7);
	assert_null(moe_checkpoint_find(c, "d", NULL));
	moe_checkpoint_close(c);
	moe_checkpoint_close(NULL);
}

static void test_bad_index(void **state)
{
	static const struct { const char *index; enum moe_err code; const char *part, *file; } cases[] = {
		{MAP("\"a\":\"one.safetensors\",\"b\":\"one.safetensors\",\"c\":\"three.safetensors\""), MOE_EIO, "cannot open", "three.safetensors: "},
		{MAP("\"a\":\"two.safetensors\",\"b\":\"one.safetensors\",\"c\":\"two.safetensors\""), MOE_EINPUT, "\"a\" is not in two.safetensors",
		 INDEX},
		{MAP("\"a\":\"one.safetensors\",\"c\":\"two.safetensors\""), MOE_EINPUT, "tensor \"b\" is in a shard, but not in the index", INDEX},
		{MAP("\"a\":\"one.safetensors\",\"b\":\"one.safetensors\",\"c\":\"two.safetensors\",\"x\":\"two.safetensors\""), MOE_EINPUT,
		 "\"x\" is in no shard", INDEX},
		{MAP("\"a\":\"one.safetensors\",\"b\":\"one.safetensors\",\"c\":\"../two.safetensors\""), MOE_EINPUT, "plain file name", INDEX},
		{MAP("\"a\":\"\""), MOE_EINPUT, "plain file name", INDEX}, {MAP("\"a\":\"..\""), MOE_EINPUT, "plain file name", INDEX},
		{MAP("\"a\":\"/etc/passwd\""), MOE_EINPUT, "plain file name", INDEX}, {MAP("\"a\":1"), MOE_EINPUT, "expected a string", INDEX},
		{"{\"weight_map\":[]}", MOE_EINPUT, "expected an object", INDEX}, {"{}", MOE_EINPUT, "no weight_map", INDEX},
		{"", MOE_EINPUT, "JSON", INDEX},
		{"[", MOE_EINPUT, "JSON", INDEX}, {MAP("") " x", MOE_EINPUT, "trailing", INDEX},
		{MAP("\"a\":\"one.safetensors\\u0000x\""), MOE_EINPUT, "plain file name", INDEX},
		{MAP("\"a\\u0000\":\"one.safetensors\",\"b\":\"one.safetensors\",\"c\":\"two.safetensors\""), MOE_EINPUT, "is in no shard", INDEX},
		{"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"one.safetensors\"},\"weight_map\":{\"c\":\"two.safetensors\"}}", MOE_EINPUT,
		 "weight_map stands twice", INDEX},
	};
	char long_name[600];

	(void)state;
	two_shards();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct moe_checkpoint *c = NULL;
		struct moe_diag d = {0};
		enum moe_err err;
		write_text(INDEX, cases[i].index);
		err = moe_checkpoint_open(&c, scratch(""), &d);
		if (err != cases[i].code || !strstr(say(&d), cases[i].part) || !strstr(say(&d), cases[i].file)) {
			print_error("%s: %d \"%s\", expected \"%s\"\n", cases[i].index, (int)err, say(&d), cases[i].part);
			fail();
		}
	}
	snprintf(long_name, sizeof long_name, MAP("\"a\":\"%0300d\""), 0);
	write_text(INDEX, long_name);
	struct moe_checkpoint *c;
	struct moe_diag d = {0};
	expect_fail(&d, moe_checkpoint_open(&c, scratch(""), &d), MOE_EINPUT, "longer than 255 bytes");
}

/* An entry that stands twice must not make up for one that is missing. */
static void test_index_entry_twice(void **state)
{
	struct moe_checkpoint *c;
	struct moe_diag d = {0};

	(void)state;
	two_shards();
	write_text(INDEX, MAP("\"a\":\"one.safetensors\",\"a\":\"one.safetensors\",\"c\":\"two.safetensors\""));
	if (!moe_checkpoint_open(&c, scratch(""), &d)) {
		moe_checkpoint_close(c);
		fail_msg("\"a\" stands twice, \"b\" is not listed, and the index is accepted");
	}
}

static void test_tensor_in_two_shards(void **state)
{
	struct moe_checkpoint *c;
	struct moe_diag d = {0};

	(void)state;
	two_shards();
	write_header("two.safetensors", "{" A "}", 1);
	write_text(INDEX, MAP("\"a\":\"one.safetensors\",\"b\":\"one.safetensors\",\"c\":\"two.safetensors\""));
	expect_fail(&d, moe_checkpoint_open(&c, scratch(""), &d), MOE_EINPUT, "\"a\" is in two shards");
}

/* A damaged shard is named, not the index. */
static void test_damaged_shard(void **state)
{
	struct moe_checkpoint *c;
	struct moe_diag d = {0};

	(void)state;
	two_shards();
	write_header("two.safetensors", "{" C "}", 2);
	write_text(INDEX, MAP("\"a\":\"one.safetensors\",\"b\":\"one.safetensors\",\"c\":\"two.safetensors\""));
	expect_fail(&d, moe_checkpoint_open(&c, scratch(""), &d), MOE_EINPUT, "/two.safetensors: truncated");
	write_bytes(scratch("two.safetensors"), "", 0);
	moe_diag_clear(&d);
	expect_fail(&d, moe_checkpoint_open(&c, scratch(""), &d), MOE_EINPUT, "/two.safetensors: truncated");
}

static void test_single_file(void **state)
{
	struct moe_checkpoint *c;
	struct moe_diag d = {0};

	(void)state;
	unlink(scratch(INDEX));
	expect_fail(&d, moe_checkpoint_open(&c, scratch(""), &d), MOE_EIO, "no weights");
	moe_diag_clear(&d);
	expect_fail(&d, moe_checkpoint_open(&c, scratch("nowhere"), &d), MOE_EIO, "nowhere");
	moe_diag_clear(&d);
	write_header("model.safetensors", "{" A "," B "}", 9);
	expect_ok(&d, moe_checkpoint_open(&c, scratch(""), &d));
	assert_int_equal(moe_checkpoint_count(c), 2);
	moe_checkpoint_close(c);
	write_header("model.safetensors", "{" A "," B "}", 8);
	expect_fail(&d, moe_checkpoint_open(&c, scratch(""), &d), MOE_EINPUT, "/model.safetensors: truncated");
	assert_int_equal(unlink(scratch("model.safetensors")), 0);
	assert_int_equal(mkdir(scratch("model.safetensors"), 0700), 0);
	moe_diag_clear(&d);
	expect_fail(&d, moe_checkpoint_open(&c, scratch(""), &d), MOE_EIO, "is not a regular file");
}

/* What is remembered of the last header helps only where the text of the tensors is the same, and then says the same. */
static void test_tail(void **state)
{
	static const char one[] = "{\"__metadata__\":{\"k\":\"1\"}," X("ab", "F32", "[2,3]", 0, 24) "}";
	static const char blanks[] = "{\"__metadata__\":{\"longer\":\"12\"}," X("ab", "F32", "[2,3]", 0, 24) "}    ";
	static const char *const others[] = {
		"{\"__metadata__\":{\"k\":\"1\"}," X("ab", "F32", "[3,2]", 0, 24) "}", "{\"__metadata__\":{\"k\":\"1\"}," X("ac", "I32", "[2,3]", 0, 24) "}",
	};
	struct moe_header_tail tail = {0};
	struct moe_header h = {0}, fresh = {0};
	struct moe_diag d = {0};

	(void)state;
	expect_ok(&d, moe_header_parse(&h, one, sizeof one - 1, &tail, &d));
	assert_false(tail.same);
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		expect_ok(&d, moe_header_parse(&h, blanks, sizeof blanks - 1, &tail, &d));
		assert_int_equal(tail.same, !i);
		assert_string_equal(h.tensor[0].name, "ab");
		assert_int_equal(h.payload_nbytes, 24);
		assert_string_equal(h.meta[0].key, "longer");
		expect_ok(&d, moe_header_parse(&h, others[i], strlen(others[i]), &tail, &d));
		expect_ok(&d, moe_header_parse(&fresh, others[i], strlen(others[i]), NULL, &d));
		assert_false(tail.same);
		assert_int_equal(h.n_tensors, 1);
		assert_string_equal(h.tensor[0].name, fresh.tensor[0].name);
		assert_int_equal(h.tensor[0].type, fresh.tensor[0].type);
		assert_int_equal(h.tensor[0].shape[0], fresh.tensor[0].shape[0]);
	}
	moe_header_free(&h);
	moe_header_free(&fresh);
	moe_header_tail_free(&tail);
}

static void test_shape_string(void **state)
{
	static const uint64_t shape[8] = {1, 2, UINT64_MAX, 0, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
	char buf[48];

	(void)state;
	assert_string_equal(moe_shape_string(shape, 0, buf, sizeof buf), "[]");
	assert_string_equal(moe_shape_string(shape, 3, buf, sizeof buf), "[1, 2, 18446744073709551615]");
	for (size_t cap = 1; cap <= sizeof buf; cap++)
		assert_true(strlen(moe_shape_string(shape, 8, buf, cap)) < cap);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepted), cmocka_unit_test(test_refused), cmocka_unit_test(test_nul_in_names), cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_golden), cmocka_unit_test(test_escapes), cmocka_unit_test(test_mutations), cmocka_unit_test(test_truncations),
		cmocka_unit_test(test_shards), cmocka_unit_test(test_bad_index), cmocka_unit_test(test_index_entry_twice),
		cmocka_unit_test(test_tensor_in_two_shards),
		cmocka_unit_test(test_damaged_shard), cmocka_unit_test(test_single_file), cmocka_unit_test(test_shape_string), cmocka_unit_test(test_tail),
	};

	return cmocka_run_group_tests(tests, NULL, scratch_remove);
}
