/* Streams: what the writer makes the reader accepts, and every damage is noticed, with its place. */
#include <sys/mman.h>
#include <sys/wait.h>
#include <zlib.h>

#include "lib_data.h"
#include "stream/check.h"

#define STREAMS "tests/golden/streams/"

struct bytes {
	uint8_t *p;
	size_t n, cap;
};

static struct moe_reader *reader_on(const uint8_t *p, size_t n)
{
	struct moe_diag d = {0};
	struct moe_source *s;
	struct moe_reader *r;

	expect_ok(&d, moe_source_memory(&s, p, n, "memory", &d));
	expect_ok(&d, moe_reader_new(&r, s, &d));
	return r;
}

static enum moe_err check(const uint8_t *p, size_t n, uint64_t *frames, struct moe_diag *d)
{
	struct moe_reader *r = reader_on(p, n);
	enum moe_err err;

	memset(d, 0, sizeof *d);
	err = moe_stream_check(r, frames, d);
	moe_reader_free(r);
	return err;
}

static void expect_stream(const struct bytes *b, uint64_t n_frames)
{
	struct moe_diag d;
	uint64_t frames;

	expect_ok(&d, check(b->p, b->n, &frames, &d));
	assert_int_equal(frames, n_frames);
}

static void expect_refused(const uint8_t *p, size_t n, enum moe_err code, const char *part)
{
	struct moe_diag d;
	uint64_t frames;
	enum moe_err err = check(p, n, &frames, &d);

	expect_fail(&d, err, code, part);
}

/* ---- scripts: "head|tokens seq=0 more=1|end"; each key becomes moe.key. An `end` without keys is signed with the right counts. ---- */

static void add_script_frame(struct moe_frame *f, struct moe_account *a, char *line, struct moe_diag *d)
{
	char *rest, *word = strtok_r(line, " ", &rest), key[64];

	expect_ok(d, moe_frame_reset(f, moe_kind_find(word), d));
	expect_ok(d, moe_frame_set(f, "moe.kind", word, d));
	if (f->kind == MOE_KIND_HEAD)
		expect_ok(d, moe_frame_set(f, "moe.stream", MOE_STREAM_VERSION, d));
	if (f->kind == MOE_KIND_END)
		expect_ok(d, moe_account_sign(a, f, d));
	while ((word = strtok_r(NULL, " ", &rest))) {
		char *value = strchr(word, '=');
		snprintf(key, sizeof key, "moe.%.*s", (int)(value - word), word);
		if (value[1])
			expect_ok(d, moe_frame_set(f, key, value + 1, d));
		else
			moe_frame_unset(f, key);
	}
}

static struct bytes from_script(const char *script)
{
	struct moe_diag d = {0}, ignored = {0};
	struct moe_frame f = {0};
	struct moe_account a = {0};
	struct bytes b = {0};
	char *copy = strdup(script), *rest;

	for (char *line = strtok_r(copy, "|", &rest); line; line = strtok_r(NULL, "|", &rest)) {
		add_script_frame(&f, &a, line, &d);
		if (moe_account_frame(&a, &f, &ignored))
			moe_diag_clear(&ignored);       /* a script may be wrong on purpose */
		expect_ok(&d, moe_frame_format(&f, &b.p, &b.n, &b.cap, &d));
	}
	free(copy);
	moe_frame_free(&f);
	moe_account_free(&a);
	return b;
}

/* ---- raw frames: the header is given, the digits of "moe.crc32":"00000000" are filled in ---- */

static void add_raw(struct bytes *b, const char *header, size_t payload)
{
	size_t n = strlen(header);
	uint8_t *p = realloc(b->p, b->n + 8 + n + payload);
	char hex[9], *digits;

	b->p = p;
	p += b->n;
	for (unsigned i = 0; i < 8; i++)
		p[i] = (uint8_t)(n >> 8 * i);
	memcpy(p + 8, header, n);
	memset(p + 8 + n, 7, payload);
	digits = memmem(p + 8, n, "00000000", 8);
	snprintf(hex, sizeof hex, "%08lx", crc32(0, p, (uInt)(8 + n + payload)));
	if (digits)
		memcpy(digits, hex, 8);
	b->n += 8 + n + payload;
}

/* A raw frame in a proper member; the frame begins at *at, the end frame behind it at *behind. */
static struct bytes around_raw(const char *header, size_t payload, size_t *at, size_t *behind)
{
	struct bytes b = from_script("head"), whole = from_script("head|trace|end"), before = from_script("head|trace");
	size_t n_end = whole.n - before.n;

	*at = b.n;
	add_raw(&b, header, payload);
	*behind = b.n;
	b.p = realloc(b.p, b.n + n_end);
	memcpy(b.p + b.n, whole.p + before.n, n_end);
	b.n += n_end;
	free(whole.p);
	free(before.p);
	return b;
}

/* ---- a stream with a frame of every kind ---- */

enum { T = 3, H = 4, K = 2, E = 4, L = 2, V = 6 };

static const float reals[64] = {1, -2, 0.5f, 1e-30f};
static const int32_t ints[16] = {3, -1, 2, 1};
static const uint8_t small[64] = "small numbers, and the text of an answer";

struct maker {
	struct moe_writer *w;
	struct moe_account account;
	struct moe_frame f;
	struct moe_diag d;
	uint64_t n_frames, begin[16];   /* of each frame, measured by formatting it apart */
	uint64_t total;
};

static void start(struct maker *m, enum moe_kind kind, int seq)
{
	expect_ok(&m->d, moe_frame_reset(&m->f, kind, &m->d));
	if (seq >= 0)
		expect_ok(&m->d, moe_frame_set_number(&m->f, "moe.seq", (uint64_t)seq, &m->d));
}

static void meta(struct maker *m, const char *key, const char *value) { expect_ok(&m->d, moe_frame_set(&m->f, key, value, &m->d)); }

static void tensor(struct maker *m, const char *name, enum moe_dtype type, unsigned rank, uint64_t n0, uint64_t n1, const void *data)
{
	expect_ok(&m->d, moe_frame_put(&m->f, name, type, rank, n0, n1, data, &m->d));
}

static void cube(struct maker *m, const char *name, enum moe_dtype type, uint64_t n0, uint64_t n1, uint64_t n2, const void *data)
{
	struct moe_tensor *t;

	tensor(m, name, type, 1, n0 * n1 * n2, 0, data);
	t = &m->f.h.tensor[m->f.h.n_tensors - 1];
	t->rank = 3;
	t->shape[0] = n0;
	t->shape[1] = n1;
	t->shape[2] = n2;
}

static void finish(struct maker *m)
{
	struct bytes b = {0};

	if (m->f.kind == MOE_KIND_END)
		expect_ok(&m->d, moe_account_sign(&m->account, &m->f, &m->d));
	expect_ok(&m->d, moe_account_frame(&m->account, &m->f, &m->d));
	expect_ok(&m->d, moe_writer_put(m->w, &m->f, &m->d));
	expect_ok(&m->d, moe_frame_format(&m->f, &b.p, &b.n, &b.cap, &m->d));
	m->begin[m->n_frames++] = m->total;
	m->total += b.n;
	free(b.p);
}

static void put_rows(struct maker *m)
{
	tensor(m, "hidden", MOE_F32, 2, T, H, reals);
	tensor(m, "token", MOE_I32, 1, T, 0, ints);
	tensor(m, "position", MOE_I32, 2, 1, T, ints);
	tensor(m, "modality", MOE_U8, 1, T, 0, small);
	tensor(m, "image", MOE_I32, 1, T, 0, ints);
	tensor(m, "patch_index", MOE_I32, 1, T, 0, ints);
}

static void put_prompt(struct maker *m)
{
	start(m, MOE_KIND_HEAD, -1);
	meta(m, "moe.stream", MOE_STREAM_VERSION);
	meta(m, "moe.pg", "moe-tokenize \"quoted\"\n\\ and \xc3\xa9");
	finish(m);
	start(m, MOE_KIND_TOKENS, 0);
	meta(m, "moe.name", "one.png");
	tensor(m, "token", MOE_I32, 1, T, 0, ints);
	tensor(m, "image", MOE_I32, 1, T, 0, ints + 1);
	finish(m);
	start(m, MOE_KIND_PATCHES, 0);
	tensor(m, "pixel", MOE_F32, 2, 2, 8, reals);
	tensor(m, "grid", MOE_I32, 1, 2, 0, ints);
	tensor(m, "valid", MOE_I32, 1, 2, 0, ints);
	finish(m);
	start(m, MOE_KIND_FEATURES, 0);
	tensor(m, "feature", MOE_F32, 2, 2, H, reals);
	finish(m);
}

static void put_layers(struct maker *m)
{
	start(m, MOE_KIND_HIDDEN, 1);
	meta(m, "moe.at", "0.expert");
	meta(m, "moe.more", "1");
	put_rows(m);
	finish(m);
	start(m, MOE_KIND_HIDDEN, 1);   /* the second chunk of the same sequence */
	meta(m, "moe.at", "0.expert");
	meta(m, "moe.start", "3");
	put_rows(m);
	finish(m);
	start(m, MOE_KIND_ROUTED, 2);
	put_rows(m);
	tensor(m, "normed", MOE_F32, 2, T, H, reals);
	tensor(m, "expert_id", MOE_I32, 2, T, K, ints);
	tensor(m, "weight", MOE_F32, 2, T, K, reals);
	tensor(m, "router_logit", MOE_F32, 2, T, E, reals);
	finish(m);
	start(m, MOE_KIND_LOGITS, 3);
	tensor(m, "logit", MOE_F32, 2, 1, V, reals);
	tensor(m, "row", MOE_I32, 1, 1, 0, ints);
	finish(m);
}

static void put_answers(struct maker *m)
{
	start(m, MOE_KIND_TEXT, 4);
	tensor(m, "text", MOE_U8, 1, 5, 0, small);
	tensor(m, "token", MOE_I32, 1, 2, 0, ints);
	tensor(m, "logprob", MOE_F32, 1, 2, 0, reals);
	finish(m);
	start(m, MOE_KIND_TRACE, 4);
	cube(m, "expert_id", MOE_U8, L, T, K, small);
	cube(m, "weight", MOE_F16, L, T, K, small);
	finish(m);
	start(m, MOE_KIND_DROP, 4);
	finish(m);
	start(m, MOE_KIND_FAILED, 5);
	meta(m, "moe.error", "picture 0: not a picture");
	finish(m);
	start(m, MOE_KIND_END, -1);
	finish(m);
}

/* Written to a descriptor, as a stage does. */
static struct bytes every_kind(struct maker *m)
{
	int fd = memfd_create("stream", MFD_CLOEXEC);
	struct bytes b;

	memset(m, 0, sizeof *m);
	assert_true(fd >= 0);
	expect_ok(&m->d, moe_writer_new(&m->w, fd, &m->d));
	put_prompt(m);
	put_layers(m);
	put_answers(m);
	expect_ok(&m->d, moe_writer_flush(m->w, &m->d));
	moe_writer_free(m->w);
	moe_frame_free(&m->f);
	moe_account_free(&m->account);
	b.n = m->total;
	b.p = malloc(b.n);
	assert_int_equal(lseek(fd, 0, SEEK_END), b.n);
	assert_int_equal(pread(fd, b.p, b.n, 0), b.n);
	close(fd);
	return b;
}

/* First byte of the frame that holds the byte `at`. */
static uint64_t frame_begin(const struct maker *m, uint64_t at)
{
	size_t i = m->n_frames;

	while (m->begin[--i] > at)
		;
	return m->begin[i];
}

static void test_every_kind(void **state)
{
	struct maker m;
	struct bytes b = every_kind(&m);
	struct moe_reader *r = reader_on(b.p, b.n);
	struct moe_frame f = {0};
	struct moe_diag d = {0};
	uint64_t n;

	(void)state;
	expect_stream(&b, 13);
	for (int i = 0; i < 13; i++) {
		expect_ok(&d, moe_reader_next(r, &f, true, &d));
		assert_int_equal(f.kind, i <= MOE_KIND_HIDDEN ? i : i - 1);     /* there are two chunks of hidden rows */
		assert_int_equal(f.at, m.begin[i]);
		assert_int_equal(f.nbytes % 64, 0);
		memcpy(&n, b.p + f.at, 8);
		assert_int_equal((n + 8) % 64, 0);
		assert_null(moe_frame_find(&f, "_pad"));
	}
	assert_int_equal(moe_reader_next(r, &f, true, &d), MOE_END);
	assert_int_equal(moe_reader_next(r, &f, true, &d), MOE_END);
	assert_int_equal(moe_reader_offset(r), b.n);
	moe_frame_free(&f);
	moe_reader_free(r);
	free(b.p);
}

static void test_truncation(void **state)
{
	struct maker m;
	struct bytes b = every_kind(&m);
	struct moe_diag d;
	uint64_t frames;

	(void)state;
	for (size_t n = 0; n < b.n; n++) {
		uint8_t *cut = malloc(n + 1);   /* of its own, so that a sanitizer sees a step beyond the end */
		enum moe_err err;
		memcpy(cut, b.p, n);
		err = check(cut, n, &frames, &d);
		free(cut);
		if (err != MOE_EINPUT || d.byte < (int64_t)frame_begin(&m, n) || d.byte > (int64_t)n || !strstr(say(&d), ": byte "))
			fail_msg("cut at %zu, in the frame at %llu: result %d, \"%s\"", n, (unsigned long long)frame_begin(&m, n), (int)err, say(&d));
	}
	free(b.p);
}

/* First byte behind the frame that holds the byte `at`. */
static uint64_t frame_end(const struct maker *m, uint64_t at)
{
	size_t i = 0;

	while (i < m->n_frames && m->begin[i] <= at)
		i++;
	return i < m->n_frames ? m->begin[i] : m->total;
}

/* Flips every bit, of the eight bytes of each frame's length or of the others; the byte that is named must lie in the damaged frame.
 * (It may lie behind the flipped bit, up to the end of the frame: the scanner of JSON names the byte where it stopped.) */
static void flip_bits(bool lengths)
{
	struct maker m;
	struct bytes b = every_kind(&m);
	unsigned n_silent = 0, n_elsewhere = 0;

	for (size_t bit = 0; bit < 8 * b.n; bit += SLOW ? 7 : 1) {
		uint64_t at = bit / 8, begin = frame_begin(&m, at);
		struct moe_diag d;
		uint64_t frames;
		enum moe_err err;
		if ((at - begin < 8) != lengths)
			continue;
		b.p[at] ^= (uint8_t)(1u << bit % 8);
		err = check(b.p, b.n, &frames, &d);
		b.p[at] ^= (uint8_t)(1u << bit % 8);
		if (err && d.byte >= (int64_t)begin && d.byte <= (int64_t)frame_end(&m, at) && strstr(say(&d), "byte "))
			continue;
		n_silent += !err;
		if (++n_elsewhere <= 10)
			print_error("bit %zu of byte %llu of the frame at %llu: result %d, \"%s\"\n", bit % 8, (unsigned long long)(at - begin),
				    (unsigned long long)begin, (int)err, say(&d));
	}
	free(b.p);
	if (n_elsewhere)
		fail_msg("%u flips are not noticed, %u more are named outside their frame", n_silent, n_elsewhere - n_silent);
}

static void test_bit_flips(void **state)
{
	(void)state;
	flip_bits(false);
}

/* A frame with a damaged length seems to end elsewhere; it is still the one to name. */
static void test_length_flips(void **state)
{
	(void)state;
	flip_bits(true);
}

/* Bursts that a CRC-32 must notice as well: any damage within 32 bits. */
static void test_bursts(void **state)
{
	struct maker m;
	struct bytes b = every_kind(&m);
	uint64_t random = 1;

	(void)state;
	for (unsigned i = 0; i < (SLOW ? 1000 : 10000); i++) {
		size_t at = next_random(&random) % (b.n - 4);
		uint32_t old, burst = (uint32_t)next_random(&random) | 1;
		struct moe_diag d;
		uint64_t frames;
		memcpy(&old, b.p + at, 4);
		burst ^= old;
		memcpy(b.p + at, &burst, 4);
		if (!check(b.p, b.n, &frames, &d))
			fail_msg("32 bits from byte %zu on are not noticed", at);
		memcpy(b.p + at, &old, 4);
	}
	free(b.p);
}

/* ---- what passes through a stage unchanged ---- */

static struct bytes copy_stream(const struct bytes *from)
{
	struct moe_reader *r = reader_on(from->p, from->n);
	struct moe_frame f = {0};
	struct moe_diag d = {0};
	struct bytes b = {0};
	enum moe_err err;

	while (!(err = moe_reader_next(r, &f, true, &d)))
		expect_ok(&d, moe_frame_format(&f, &b.p, &b.n, &b.cap, &d));
	if (err != MOE_END)
		fail_msg("%s", say(&d));
	moe_frame_free(&f);
	moe_reader_free(r);
	return b;
}

static void test_copy_is_equal(void **state)
{
	struct maker m;
	struct bytes b = every_kind(&m), c = copy_stream(&b), twice = copy_stream(&c);

	(void)state;
	expect_stream(&c, 13);
	assert_int_equal(c.n, b.n);
	assert_int_equal(twice.n, c.n);
	assert_memory_equal(twice.p, c.p, c.n);
	free(b.p);
	free(c.p);
	free(twice.p);
}

#define UNKNOWN \
	"{\"__metadata__\":{\"moe.crc32\":\"00000000\",\"moe.kind\":\"trace\",\"moe.new\":\"1\"," \
	"\"their key\":\"a \\\"\\\\\\n\\u0001\\u00e9\\ud83d\\ude00\"," \
	"\"\":\"\"},\"mine\":{\"dtype\":\"F8_E4M3\",\"shape\":[2,1,3],\"data_offsets\":[0,6]}," \
	"\"none\":{\"dtype\":\"BF16\",\"shape\":[0,2],\"data_offsets\":[6,6]}," \
	"\"scalar\":{\"dtype\":\"I16\",\"shape\":[],\"data_offsets\":[6,8]},\"_pad\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[8,11]}}"

static void test_unknown_passes(void **state)
{
	size_t at, behind;
	struct bytes b = around_raw(UNKNOWN, 11, &at, &behind), c;
	struct moe_reader *r;
	struct moe_frame f = {0};
	struct moe_diag d = {0};

	(void)state;
	c = copy_stream(&(struct bytes){b.p, b.n, 0});
	r = reader_on(c.p, c.n);
	moe_reader_open_end(r);
	expect_ok(&d, moe_reader_next(r, &f, true, &d));
	expect_ok(&d, moe_reader_next(r, &f, true, &d));
	assert_string_equal(moe_frame_meta(&f, "moe.new"), "1");
	assert_string_equal(moe_frame_meta(&f, "their key"), "a \"\\\n\1\xc3\xa9\xf0\x9f\x98\x80");
	assert_string_equal(moe_frame_meta(&f, ""), "");
	assert_int_equal(f.h.n_tensors, 3);
	assert_int_equal(f.h.n_meta, 5);        /* with moe.crc32 */
	assert_int_equal(moe_frame_find(&f, "mine")->rank, 3);
	assert_int_equal(moe_frame_find(&f, "mine")->type, MOE_F8_E4M3);
	assert_memory_equal(moe_frame_find(&f, "mine")->data, "\7\7\7\7\7\7", 6);
	assert_int_equal(moe_frame_find(&f, "none")->nbytes, 0);
	assert_int_equal(moe_frame_find(&f, "scalar")->rank, 0);
	assert_null(moe_frame_find(&f, "_pad"));
	assert_int_equal(f.nbytes % 64, 0);
	moe_frame_free(&f);
	moe_reader_free(r);
	free(b.p);
	free(c.p);
}

/* NUL is a character of JSON: what another program wrote is passed on whole, or refused, never cut. */
static void test_nul_is_not_cut(void **state)
{
	static const char *const headers[] = {
		"{\"__metadata__\":{\"moe.crc32\":\"00000000\",\"moe.kind\":\"trace\",\"their\":\"a\\u0000b\"}}",
		"{\"__metadata__\":{\"moe.crc32\":\"00000000\",\"moe.kind\":\"trace\",\"a\\u0000b\":\"c\"}}",
		("{\"__metadata__\":{\"moe.crc32\":\"00000000\",\"moe.kind\":\"trace\"},"
		 "\"a\\u0000b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}"),
	};
	size_t at, behind;

	(void)state;
	for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
		struct bytes b = around_raw(headers[i], i == 2, &at, &behind), c = {0};
		struct moe_reader *r = reader_on(b.p, b.n);
		struct moe_frame f = {0};
		struct moe_diag d = {0};
		expect_ok(&d, moe_reader_next(r, &f, true, &d));
		if (!moe_reader_next(r, &f, true, &d)) {
			expect_ok(&d, moe_frame_format(&f, &c.p, &c.n, &c.cap, &d));
			if (!memmem(c.p, c.n, "a\\u0000b", 8))
				fail_msg("header %zu: \"a\\u0000b\" was cut at its NUL", i);
		}
		moe_frame_free(&f);
		moe_reader_free(r);
		free(b.p);
		free(c.p);
	}
}

/* ---- accounts ---- */

static void test_accounts(void **state)
{
	static const struct { const char *script, *part; } good[] = {
		{"head|end", "2"}, {"head|trace|end", "3"}, {"head|tokens seq=0|end", "3"}, {"head|tokens seq=0|end|head|tokens seq=0|end", "6"},
		{"head|tokens seq=7 more=1|tokens seq=7 step=1 start=3|end", "4"}, {"head|tokens seq=7 more=1|drop seq=7|end", "4"},
		{"head|tokens seq=7 more=1|failed seq=7|end", "4"}, {"head|tokens seq=2|tokens seq=0|tokens seq=1|end", "5"},
		{"head|tomorrow seq=1|end", "3"}, {"head|tokens seq=0 more=1|tokens seq=1 more=1|text seq=1|text seq=0|end", "6"},
		{"head stream=1.7|end", "2"}, {"head|failed seq=18446744073709551614|end", "3"},
	}, bad[] = {
		{"head|tokens seq=0 more=1|end", "sequence 0 was neither answered nor failed"},
		{"head|tokens seq=0|tokens seq=0|end", "used twice"},
		{"head|tokens seq=1|tokens seq=0|tokens seq=1|end", "used twice"},
		{"head|tokens seq=0 more=1|text seq=0|text seq=0 step=2|end", "goes on after its end"},
		{"head|tokens seq=0|end frames=1", "moe.frames is 1"}, {"head|tokens seq=0|end frames=", "moe.frames"},
		{"head|tokens seq=0|end sequences=0", "it counts 0 sequences"}, {"head|tokens seq=0|end failed=1", "(1 failed)"},
		{"head|failed seq=0|end failed=0", "(0 failed)"}, {"head|tokens seq=0|end frames=two", "expected a number"},
		{"head|tokens seq=0|end frames=18446744073709551616", "expected a number"}, {"head|tokens seq=-1|end", "expected a number"},
		{"head|tokens|end", "moe.seq is missing"}, {"head|text seq=|end", "moe.seq is missing"}, {"head|failed|end", "moe.seq is missing"},
		{"tokens seq=0|end", "does not begin with a head"}, {"end", "does not begin with a head"},
		{"head|end|tokens seq=0", "does not begin with a head"}, {"head|end|end", "does not begin with a head"},
		{"head|tokens seq=0", "without an end frame"}, {"head", "without an end frame"}, {"head|end|head", "without an end frame"},
		{"head|head|end", "the end frame before it is missing"}, {"head|tokens seq=0|head|end", "the end frame before it is missing"},
		{"head stream=|end", "does not say its version"}, {"head|trace kind=|end", "does not say its kind"},
	}, other[] = {
		{"head stream=2.0|end", "version \"2.0\""}, {"head stream=10.0|end", "version \"10.0\""}, {"head stream=0.9|end", "version \"0.9\""},
		{"head stream=1|end", "version \"1\""}, {"head|end|head stream=2.0|end", "version \"2.0\""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		struct bytes b = from_script(good[i].script);
		expect_stream(&b, strtoul(good[i].part, NULL, 10));
		free(b.p);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct bytes b = from_script(bad[i].script);
		expect_refused(b.p, b.n, MOE_EINPUT, bad[i].part);
		expect_refused(b.p, b.n, MOE_EINPUT, "byte ");
		free(b.p);
	}
	for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
		struct bytes b = from_script(other[i].script);
		expect_refused(b.p, b.n, MOE_EMATCH, other[i].part);
		free(b.p);
	}
}

static void test_two_members(void **state)
{
	struct maker m;
	struct bytes b = every_kind(&m), two = {malloc(2 * b.n), 2 * b.n, 0};

	(void)state;
	memcpy(two.p, b.p, b.n);
	memcpy(two.p + b.n, b.p, b.n);
	expect_stream(&two, 26);
	expect_refused(two.p, two.n - 1, MOE_EINPUT, "truncated");
	two.p[b.n + 200] ^= 1;
	expect_refused(two.p, two.n, MOE_EINPUT, "byte ");
	free(two.p);
	free(b.p);
}

/* A million numbers in order take constant memory, in any order they are still told apart. */
static void test_many_sequences(void **state)
{
	struct moe_account a = {0};
	struct moe_frame f = {0};
	struct moe_diag d = {0};

	(void)state;
	expect_ok(&d, moe_frame_reset(&f, MOE_KIND_TEXT, &d));
	for (uint64_t i = 0; i < 20000; i++) {
		moe_frame_free(&f);
		expect_ok(&d, moe_frame_reset(&f, MOE_KIND_TEXT, &d));
		expect_ok(&d, moe_frame_set_number(&f, "moe.seq", i * 7919 % 20000, &d));
		expect_ok(&d, moe_account_frame(&a, &f, &d));
	}
	assert_int_equal(a.n_seen, 1);
	assert_int_equal(a.sequences, 20000);
	assert_int_equal(moe_account_frame(&a, &f, &d), MOE_EINPUT);
	moe_frame_free(&f);
	moe_account_free(&a);
}

/* ---- frames that are wrong in themselves ---- */

#define M "\"__metadata__\":{\"moe.crc32\":\"00000000\",\"moe.kind\":\"trace\"}"
#define X(name, type, shape, from, to) "\"" name "\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":[" #from "," #to "]}"

static void test_bad_frames(void **state)
{
	static const struct { const char *header; size_t payload; const char *part; } cases[] = {
		{"{" M "," X("a", "U8", "[4]", 0, 4) "," X("a", "U8", "[4]", 4, 8) "}", 8, "tensor \"a\" stands twice"},
		{"{" M "," X("a", "U8", "[4]", 0, 4) "," X("\\u0061", "U8", "[4]", 4, 8) "}", 8, "tensor \"a\" stands twice"},
		{"{" M "," X("a", "U8", "[4]", 0, 4) "," X("b", "U8", "[4]", 3, 7) "}", 7, "overlap"},
		{"{" M "," X("a", "U8", "[4]", 0, 4) "," X("b", "U8", "[4]", 5, 9) "}", 9, "gap"},
		{"{" M "," X("a", "U8", "[4]", 1, 5) "}", 5, "gap"},
		{"{" M "," X("a", "F9", "[4]", 0, 4) "}", 4, "unknown dtype \"F9\""},
		{"{" M "," X("a", "u8", "[4]", 0, 4) "}", 4, "unknown dtype \"u8\""},
		{"{" M "," X("a", "F32", "[4]", 0, 4) "}", 4, "its shape needs 16 bytes"},
		{"{" M "," X("a", "U8", "[68719476737]", 0, 68719476737) "}", 4, "more than 64 GiB"},
		{"{" M "," X("a", "U8", "[18446744073709551615]", 0, 18446744073709551615) "}", 4, "overflow"},
		{"{\"__metadata__\":{\"moe.crc32\":\"00000000\",\"moe.kind\":\"trace\",\"moe.kind\":\"trace\"}}", 0, "\"moe.kind\" stands twice"},
		{"{\"__metadata__\":{\"moe.crc32\":\"00000000\",\"moe.kind\":\"trace\",\"moe.crc32\":\"00000000\"}}", 0, "stands twice"},
		{"{" M "," M "}", 0, "stands twice"},
		{"{\"__metadata__\":{\"moe.kind\":\"trace\"}}", 0, "no moe.crc32"},
		{"{\"__metadata__\":{\"moe.crc32\":\"0000000\",\"moe.kind\":\"trace\"}}", 0, "not eight lower-case hex digits"},
		{"{\"__metadata__\":{\"moe.crc32\":\"ABCDEF01\",\"moe.kind\":\"trace\"}}", 0, "not eight lower-case hex digits"},
		{"{\"__metadata__\":{\"moe.crc32\":\"12345678\",\"moe.kind\":\"trace\"}}", 0, "CRC-32 does not match"},
		{"{\"__metadata__\":{\"moe\\u002ecrc32\":\"00000000\",\"moe.kind\":\"trace\"}}", 0, "no moe.crc32"},
		{"{\"__metadata__\":{\"moe.kind\":1}}", 0, "expected a string"},
		{"{\"__metadata__\":{\"their\":\"\"}}", 0, "without any moe. key inside a stream"},
		{"{}", 0, "without any moe. key inside a stream"}, {"{", 0, "header length"}, {" {}", 0, "without any moe. key inside a stream"},
		{"[]", 0, "does not begin with '{'"}, {"{} x", 0, "trailing characters"}, {"{\"a\":}", 0, "JSON"},
	};
	size_t at, behind;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bytes b = around_raw(cases[i].header, cases[i].payload, &at, &behind);
		struct moe_diag d;
		uint64_t frames;
		enum moe_err err = check(b.p, b.n, &frames, &d);
		expect_fail(&d, err, MOE_EINPUT, cases[i].part);
		if (d.byte < (int64_t)at || d.byte > (int64_t)behind || frames != 1)
			fail_msg("%s: byte %lld, frame at %zu, after %llu frames", cases[i].header, (long long)d.byte, at, (unsigned long long)frames);
		free(b.p);
	}
}

/* The blanks that the pattern of the digits allows, and a stock writer's order of tensors and alignment. */
static void test_foreign_writer(void **state)
{
	size_t at, behind;
	struct bytes b = around_raw("{ \"z\" : {\"shape\":[1],\"dtype\":\"U8\",\"data_offsets\":[8,9]}, "
				    "\"__metadata__\" :\t{\"moe.kind\":\"trace\","
				    "\"moe.crc32\" \n:\t \"00000000\"},"
				    "\"a\":{\"data_offsets\":[0,8],\"dtype\":\"F64\",\"shape\":[1],\"more\":{\"x\":[1e5,null]}} }", 9, &at, &behind);
	struct moe_reader *r = reader_on(b.p, b.n);
	struct moe_frame f = {0};
	struct moe_diag d = {0};
	const void *data;

	(void)state;
	expect_stream(&b, 3);
	expect_ok(&d, moe_reader_next(r, &f, true, &d));
	expect_ok(&d, moe_reader_next(r, &f, true, &d));
	expect_ok(&d, moe_frame_tensor(&f, "a", MOE_F64, 1, &data, NULL, &d));
	assert_int_equal((uintptr_t)data % 16, 0);
	assert_memory_equal(data, "\7\7\7\7\7\7\7\7", 8);
	assert_int_equal(moe_frame_tensor(&f, "a", MOE_F32, 1, &data, NULL, &d), MOE_EINPUT);
	moe_diag_clear(&d);
	assert_int_equal(moe_frame_tensor(&f, "b", MOE_F32, 1, &data, NULL, &d), MOE_EINPUT);
	moe_frame_free(&f);
	moe_reader_free(r);
	free(b.p);
}

static void test_bare(void **state)
{
	struct bytes b = {0};
	struct moe_reader *r;
	struct moe_frame f = {0};
	struct moe_diag d = {0};

	(void)state;
	add_raw(&b, "{" X("x", "U8", "[4]", 0, 4) "}", 4);
	expect_stream(&b, 1);
	r = reader_on(b.p, b.n);
	expect_ok(&d, moe_reader_next(r, &f, true, &d));
	assert_int_equal(f.kind, MOE_KIND_BARE);
	assert_non_null(moe_frame_find(&f, "x"));
	assert_int_equal(moe_reader_next(r, &f, true, &d), MOE_END);
	moe_reader_free(r);
	moe_frame_free(&f);
	expect_refused(b.p, b.n - 1, MOE_EINPUT, "truncated");
	add_raw(&b, "{}", 0);
	expect_refused(b.p, b.n, MOE_EINPUT, "without any moe. key inside a stream");
	b.n -= 10;
	add_raw(&b, "{" M "}", 0);
	expect_refused(b.p, b.n, MOE_EINPUT, "bytes follow a bare");
	free(b.p);
}

/* ---- the files of the reference implementation ---- */

static void test_golden(void **state)
{
	static const struct { const char *file; const char *part; } cases[] = {
		{"good-00-plain", NULL}, {"good-01-aligned", "no moe.crc32"}, {"good-02-end-frame", "no moe.crc32"}, {"good-03-metadata-only", NULL},
		{"good-04-empty-object", NULL}, {"good-05-zero-size-mid", NULL}, {"good-06-header-order", NULL}, {"good-07-unicode", NULL},
		{"good-08-escapes", NULL}, {"good-09-bf16-f8", NULL}, {"good-10-ints", NULL}, {"good-11-scalar", NULL},
		{"good-12-whitespace", NULL}, {"good-13-extra-field", NULL}, {"good-14-misaligned-f64", NULL}, {"bad-00-empty-file", "empty"}, {"bad-01-seven-bytes", "truncated"},
		{"bad-02-header-cut", "truncated"}, {"bad-03-header-100mb", "header length"}, {"bad-04-header-2-64", "header length"},
		{"bad-05-header-zero", "header length"}, {"bad-06-payload-cut", "truncated"}, {"bad-07-trailing", "byte 127"},
		{"bad-08-overlap", "overlap"},
		{"bad-09-gap", "gap"}, {"bad-10-shape-mismatch", "its shape needs"}, {"bad-11-shape-overflow", "overflow"},
		{"bad-12-not-utf8", "not UTF-8"},
		{"bad-13-metadata-number", "expected a string"}, {"bad-14-duplicate-name", "twice"},
	};
	char path[128];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bytes b;
		snprintf(path, sizeof path, STREAMS "%s.safetensors", cases[i].file);
		b.p = read_bytes(path, &b.n);
		if (cases[i].part)
			expect_refused(b.p, b.n, MOE_EINPUT, cases[i].part);
		else
			expect_stream(&b, 1);
		free(b.p);
	}
}

/* A dozen lines of Python write frames without CRCs: sealed, they are a stream. */
static void test_golden_written(void **state)
{
	struct bytes b;
	struct moe_reader *r;
	struct moe_frame f = {0};
	struct moe_diag d = {0};
	const void *x;
	const uint64_t *shape;

	(void)state;
	b.p = read_bytes(STREAMS "written.stream", &b.n);
	r = reader_on(b.p, b.n);
	moe_reader_any_crc(r, true);
	moe_reader_open_end(r);
	expect_ok(&d, moe_reader_next(r, &f, true, &d));
	assert_int_equal(f.kind, MOE_KIND_OTHER);
	expect_ok(&d, moe_frame_tensor(&f, "x", MOE_F32, 2, &x, &shape, &d));
	assert_int_equal(shape[0], 2);
	assert_int_equal(shape[1], 3);
	for (int i = 0; i < 6; i++)
		assert_true(((const float *)x)[i] == (float)i);
	expect_ok(&d, moe_reader_next(r, &f, true, &d));
	assert_int_equal(f.kind, MOE_KIND_END);
	assert_int_equal(moe_reader_next(r, &f, true, &d), MOE_END);
	moe_frame_free(&f);
	moe_reader_free(r);
	free(b.p);
}

/* ---- sealing ---- */

static enum moe_err seal(const struct bytes *in, const struct bytes *head, bool assume, struct bytes *out, struct moe_diag *d)
{
	int fd = memfd_create("sealed", MFD_CLOEXEC);
	struct moe_reader *r = reader_on(in->p, in->n);
	struct moe_seal o = {head ? reader_on(head->p, head->n) : NULL, assume};
	struct moe_writer *w;
	enum moe_err err;

	memset(d, 0, sizeof *d);
	expect_ok(d, moe_writer_new(&w, fd, d));
	err = moe_stream_seal(r, w, &o, d);
	out->n = (size_t)lseek(fd, 0, SEEK_END);
	out->p = malloc(out->n + 1);
	assert_int_equal(pread(fd, out->p, out->n, 0), out->n);
	close(fd);
	moe_writer_free(w);
	moe_reader_free(r);
	moe_reader_free(o.head);
	return err;
}

/* Sealed, `in` must be a stream of n frames, or the failure must say `part`. */
static void expect_seal(const char *script, const char *head_script, bool assume, uint64_t n_frames, const char *part)
{
	struct bytes in = from_script(script), head = {0}, out;
	struct moe_diag d;
	enum moe_err err;

	if (head_script)
		head = from_script(head_script);
	for (uint8_t *p = in.p; p && (p = memmem(p, (size_t)(in.p + in.n - p), "\"moe.crc32\":\"", 13)); p += 13)
		memcpy(p + 13, "deadbeef", 8);
	err = seal(&in, head_script ? &head : NULL, assume, &out, &d);
	if (part) {
		expect_fail(&d, err, MOE_EINPUT, part);
	} else {
		if (err)
			fail_msg("%s: %s", script, say(&d));
		expect_stream(&out, n_frames);
	}
	free(in.p);
	free(head.p);
	free(out.p);
}

static void test_seal(void **state)
{
	(void)state;
	expect_seal("head|tokens seq=0|end", NULL, false, 3, NULL);
	expect_seal("head|tokens seq=0|end frames=9 sequences=9 failed=", NULL, false, 3, NULL);
	expect_seal("head|tokens seq=0|end|head|end", NULL, false, 5, NULL);
	expect_seal("head|tokens seq=0", NULL, true, 3, NULL);
	expect_seal("tokens seq=0", "head|end", true, 3, NULL);
	expect_seal("tokens seq=0|end", "head|end", false, 3, NULL);
	expect_seal("head|tokens seq=0|end", "head|end", false, 3, NULL);
	expect_seal("head|tokens seq=0", NULL, false, 0, "the end frame is missing");
	expect_seal("head|end|head", NULL, false, 0, "the end frame is missing");
	expect_seal("tokens seq=0|end", NULL, true, 0, "the head frame is missing");
	expect_seal("head|end|tokens seq=0", NULL, true, 0, "the head frame is missing");
	expect_seal("tokens seq=0|end", "text seq=0|end", true, 0, "does not begin with a head");
	expect_seal("head|tokens seq=0 more=1|end", NULL, false, 0, "neither answered nor failed");
	expect_seal("head|tokens seq=0 more=1", NULL, true, 0, "neither answered nor failed");
	expect_seal("head|tokens seq=0|tokens seq=0|end", NULL, false, 0, "used twice");
	expect_seal("head|tokens|end", NULL, false, 0, "moe.seq is missing");
	expect_seal("head|head|end", NULL, false, 0, "the end frame before it is missing");
}

/* Whatever comes in, what goes out as a success is a stream. */
static void test_seal_of_nothing(void **state)
{
	struct bytes nothing = {(uint8_t *)"", 0, 0}, head = from_script("head|end"), out;
	struct moe_diag d;
	uint64_t frames;

	(void)state;
	for (int with_head = 0; with_head < 2; with_head++)
		for (int assume = 0; assume < 2; assume++) {
			enum moe_err err = seal(&nothing, with_head ? &head : NULL, assume, &out, &d);
			if (!err && check(out.p, out.n, &frames, &d))
				fail_msg("nothing (%s head, %s) sealed is not a stream: %s", with_head ? "with" : "without",
					 assume ? "assumed complete" : "not assumed complete", say(&d));
			free(out.p);
		}
	free(head.p);
}

/* Truncated input is never completed: a cut inside a frame is not an end. */
static void test_seal_truncated(void **state)
{
	struct bytes in = from_script("head|tokens seq=0|tokens seq=1"), out;
	struct moe_diag d;

	(void)state;
	for (size_t n = 1; n < in.n; n++) {
		struct bytes cut = {in.p, n, 0};
		enum moe_err err = seal(&cut, NULL, true, &out, &d);
		uint64_t frames;
		if (err ? !strstr(d.text, "truncated") : check(out.p, out.n, &frames, &d) || n % 64)
			fail_msg("cut at %zu: result %d, %s", n, (int)err, say(&d));
		free(out.p);
	}
	free(in.p);
}

/* ---- reading without waiting ---- */

/* Writes the stream in pieces; between them the reader is asked, and must not wait. Returns the number of frames, -1 on a failure. */
static int read_pieces(const struct bytes *b, size_t piece)
{
	struct moe_source *s;
	struct moe_reader *r;
	struct moe_frame f = {0};
	struct moe_diag d = {0};
	int pipes[2], n = 0;

	if (pipe(pipes) || moe_source_fd(&s, pipes[0], "pipe", &d) || moe_reader_new(&r, s, &d) || moe_reader_descriptor(r) != pipes[0])
		return -1;
	for (size_t i = 0; i <= b->n; i += piece) {
		enum moe_err err = moe_reader_next(r, &f, false, &d);
		if (err && err != MOE_AGAIN)
			return -1;
		n += !err;
		if (i < b->n && write(pipes[1], b->p + i, piece) != (ssize_t)piece)
			return -1;
	}
	if (moe_reader_next(r, &f, false, &d) != MOE_AGAIN)
		return -1;
	close(pipes[1]);
	if (moe_reader_next(r, &f, false, &d) != MOE_END)
		return -1;
	moe_reader_free(r);
	close(pipes[0]);
	moe_frame_free(&f);
	return n;
}

/* In a child with an alarm: a reader that waits would wait for ever. */
static void test_no_wait(void **state)
{
	static const size_t pieces[] = {64, 2, 1};
	struct bytes b = from_script("head|tokens seq=0|end");
	int status;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		pid_t pid = fork();
		if (!pid) {
			alarm(SLOW ? 20 : 2);
			_exit(read_pieces(&b, pieces[i]) == 3 ? 0 : 1);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (status)
			fail_msg("pieces of %zu: %s", pieces[i], WIFSIGNALED(status) ? "the reader waits" : "the wrong frames");
	}
	free(b.p);
}

/* ---- frames as values ---- */

static void test_frame_copy(void **state)
{
	struct maker m = {0};
	struct moe_frame copy = {0};
	struct bytes a = {0}, b = {0};

	(void)state;
	start(&m, MOE_KIND_TRACE, 4);
	cube(&m, "expert_id", MOE_U8, L, T, K, small);
	tensor(&m, "none", MOE_F32, 2, 0, 4, reals);
	meta(&m, "their", "key");
	expect_ok(&m.d, moe_frame_copy(&copy, &m.f, &m.d));
	expect_ok(&m.d, moe_frame_format(&m.f, &a.p, &a.n, &a.cap, &m.d));
	moe_frame_free(&m.f);
	expect_ok(&m.d, moe_frame_format(&copy, &b.p, &b.n, &b.cap, &m.d));
	assert_int_equal(a.n, b.n);
	assert_memory_equal(a.p, b.p, a.n);
	moe_frame_unset(&copy, "their");
	moe_frame_remove(&copy, "none");
	moe_frame_remove(&copy, "none");
	assert_null(moe_frame_meta(&copy, "their"));
	assert_int_equal(copy.h.n_tensors, 1);
	moe_frame_free(&copy);
	free(a.p);
	free(b.p);
}

/* A full disk is an error of the flush, not silence. */
static void test_full(void **state)
{
	struct maker m = {0};
	FILE *full = fopen("/dev/full", "w");

	(void)state;
	if (!full)
		skip();
	expect_ok(&m.d, moe_writer_new(&m.w, fileno(full), &m.d));
	start(&m, MOE_KIND_DROP, 1);
	expect_ok(&m.d, moe_writer_put(m.w, &m.f, &m.d));
	assert_int_equal(moe_writer_flush(m.w, &m.d), MOE_EIO);
	moe_writer_free(m.w);
	moe_frame_free(&m.f);
	fclose(full);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_kind), cmocka_unit_test(test_truncation), cmocka_unit_test(test_bit_flips),
		cmocka_unit_test(test_length_flips),
		cmocka_unit_test(test_bursts),
		cmocka_unit_test(test_copy_is_equal), cmocka_unit_test(test_unknown_passes), cmocka_unit_test(test_nul_is_not_cut),
		cmocka_unit_test(test_accounts), cmocka_unit_test(test_two_members), cmocka_unit_test(test_many_sequences),
		cmocka_unit_test(test_bad_frames), cmocka_unit_test(test_foreign_writer), cmocka_unit_test(test_bare), cmocka_unit_test(test_golden),
		cmocka_unit_test(test_golden_written), cmocka_unit_test(test_seal), cmocka_unit_test(test_seal_of_nothing),
		cmocka_unit_test(test_seal_truncated), cmocka_unit_test(test_no_wait), cmocka_unit_test(test_frame_copy), cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
