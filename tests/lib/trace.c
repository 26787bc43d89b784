/* Traces of routing: what is written is read back, and what a trace must not hold is refused with its byte. */
#include <math.h>
#include <sys/mman.h>

#include "lib_data.h"
#include "trace/collect.h"
#include "trace/pools.h"

enum { L = 2, T = 3, K = 2, E = 4 };

static size_t layers[L] = {1, 3};
static const int32_t token[T] = {7, 8, 9}, position[T] = {10, 11, 12}, image[T] = {-1, 0, 0}, patch[T] = {-1, 0, 1};
static const uint8_t modality[T] = {0, 1, 1};
static const uint16_t expert[L * T * K] = {0, 1, 2, 3, 3, MOE_NO_EXPERT, 1, 0, 1, 2, MOE_NO_EXPERT, MOE_NO_EXPERT};
static const float weight[L * T * K] = {0.75f, 0.25f, 0.5f, 0.5f, 1, 0, 0.625f, 0.375f, 0.5f, 0.25f, 0, 0};
static const float logit[L * T * E] = {2, 1, 0, -1, 0, 0, 1, 1, -INFINITY, -8, 0, 3, 1, 2, 0, 0, 0.5f, 4, 3, 1, 0, 0, 0, 0x1p-24f};
static const uint8_t depth[L * T] = {1, 1, 1, 1, 1, 0};

static const struct moe_trace_info info = {
	.model = "model", .layer = layers, .n_layers = L, .experts = E, .k = K, .score = MOE_TRACE_SIGMOID, .renormalise = true, .detail = MOE_TRACE_LOGITS,
};
static const struct moe_trace_block block = {
	.seq = 5, .start = 10, .name = "a.png", .rows = T, .axes = 1, .token = token, .position = position, .image = image, .patch = patch,
	.modality = modality, .expert = expert, .weight = weight, .logit = logit, .depth = depth,
};

struct bytes {
	uint8_t *p;
	size_t n;
};

/* A trace of one block. */
static enum moe_err make(struct bytes *out, const struct moe_trace_info *i, const struct moe_trace_block *b, struct moe_diag *d)
{
	int fd = memfd_create("trace", 0);
	struct moe_trace_writer *t;
	struct moe_writer *w;
	enum moe_err err;

	assert_true(fd >= 0);
	expect_ok(d, moe_writer_new(&w, fd, d));
	err = moe_trace_writer_new(&t, w, NULL, i, d);
	if (!err)
		err = moe_trace_writer_put(t, b, d);
	if (!err)
		err = moe_trace_writer_end(t, d);
	moe_trace_writer_free(t);
	moe_writer_free(w);
	out->n = (size_t)lseek(fd, 0, SEEK_END);
	out->p = malloc(out->n + 1);
	assert_int_equal(pread(fd, out->p, out->n, 0), out->n);
	close(fd);
	return err;
}

static enum moe_err open_bytes(struct moe_trace **t, const uint8_t *p, size_t n, struct moe_diag *d)
{
	struct moe_source *s;

	expect_ok(d, moe_source_memory(&s, p, n, "memory", d));
	return moe_trace_open(t, s, d);
}

/* What reading all of it ends with. */
static enum moe_err read_all(const uint8_t *p, size_t n, struct moe_diag *d)
{
	struct moe_trace_block b;
	struct moe_trace *t;
	enum moe_err err = open_bytes(&t, p, n, d);

	while (!err || err == MOE_AGAIN)
		err = moe_trace_next(t, &b, d);
	moe_trace_close(t);
	return err;
}

static void comes_back(void **state)
{
	struct moe_diag d = {0};
	struct moe_trace_block b;
	struct moe_trace *t;
	struct bytes s;

	(void)state;
	expect_ok(&d, make(&s, &info, &block, &d));
	expect_ok(&d, open_bytes(&t, s.p, s.n, &d));
	assert_string_equal(moe_trace_info(t)->model, "model");
	assert_int_equal(moe_trace_info(t)->n_layers, L);
	assert_memory_equal(moe_trace_info(t)->layer, layers, sizeof layers);
	assert_int_equal(moe_trace_info(t)->experts, E);
	assert_int_equal(moe_trace_info(t)->k, K);
	assert_int_equal(moe_trace_info(t)->score, MOE_TRACE_SIGMOID);
	assert_true(moe_trace_info(t)->renormalise);
	assert_int_equal(moe_trace_info(t)->detail, MOE_TRACE_LOGITS);
	expect_ok(&d, moe_trace_next(t, &b, &d));
	assert_int_equal(b.seq, 5);
	assert_int_equal(b.start, 10);
	assert_int_equal(b.step, 0);
	assert_string_equal(b.name, "a.png");
	assert_string_equal(b.choice, "token");
	assert_int_equal(b.rows, T);
	assert_int_equal(b.axes, 1);
	assert_memory_equal(b.token, token, sizeof token);
	assert_memory_equal(b.position, position, sizeof position);
	assert_memory_equal(b.image, image, sizeof image);
	assert_memory_equal(b.patch, patch, sizeof patch);
	assert_memory_equal(b.modality, modality, sizeof modality);
	assert_memory_equal(b.expert, expert, sizeof expert);
	assert_memory_equal(b.weight, weight, sizeof weight);
	assert_memory_equal(b.logit, logit, sizeof logit);
	assert_memory_equal(b.depth, depth, sizeof depth);
	assert_null(b.compared);
	assert_null(b.count);
	assert_int_equal(moe_trace_next(t, &b, &d), MOE_END);
	moe_trace_close(t);
	free(s.p);
}

/* ---- logits as binary16 ---- */

enum { ALL = 65536, WIDE = ALL / MOE_TRACE_ROWS };

/* Writes ALL logits as one block, and reads them back. */
static void there_and_back(const float *values, float *back)
{
	size_t one[1] = {0};
	struct moe_trace_info i = {.layer = one, .n_layers = 1, .experts = WIDE, .k = 1, .detail = MOE_TRACE_LOGITS};
	float w[MOE_TRACE_ROWS] = {0};
	int32_t zero[MOE_TRACE_ROWS] = {0};
	uint8_t text[MOE_TRACE_ROWS] = {0};
	uint16_t id[MOE_TRACE_ROWS] = {0};
	struct moe_trace_block b = {.rows = MOE_TRACE_ROWS, .axes = 1, .token = zero, .position = zero, .image = zero, .patch = zero, .modality = text,
				    .expert = id, .weight = w, .logit = values};
	struct moe_diag d = {0};
	struct moe_trace *t;
	struct bytes s;

	expect_ok(&d, make(&s, &i, &b, &d));
	expect_ok(&d, open_bytes(&t, s.p, s.n, &d));
	expect_ok(&d, moe_trace_next(t, &b, &d));
	memcpy(back, b.logit, ALL * sizeof *back);
	moe_trace_close(t);
	free(s.p);
}

/* Every binary16 that may stand in a trace is read as moe_f32_from_f16 reads it: the reader has a way of its own. */
static void halves(void **state)
{
	static float all[ALL], back[ALL];

	(void)state;
	for (unsigned h = 0; h < ALL; h++) {
		float f = moe_f32_from_f16((uint16_t)h);
		all[h] = isnan(f) || f == INFINITY ? 0 : f;
	}
	there_and_back(all, back);
	assert_memory_equal(back, all, sizeof all);
}

/* Numbers of all sizes are rounded as moe_f16_from_f32 rounds them: the writer has a way of its own, too. */
static void rounds(void **state)
{
	static float all[ALL], back[ALL];
	uint64_t random = 3;

	(void)state;
	for (unsigned n = 0; n < ALL; n++) {
		uint32_t u = (uint32_t)next_random(&random);
		if (n % 2)              /* around binary16: exponents from 2^-27 to 2^17 */
			u = (u & 0x80000fff) | (uint32_t)(next_random(&random) % (45 * 2048)) << 12;
		u += n % 2 ? (127u - 27) << 23 : 0;
		memcpy(&all[n], &u, sizeof u);
		if (isnan(all[n]) || all[n] == INFINITY)
			all[n] = (float)n / ALL;
	}
	there_and_back(all, back);
	for (unsigned n = 0; n < ALL; n++) {
		float want = moe_f32_from_f16(moe_f16_from_f32(all[n]));
		if (isinf(want) && !isinf(all[n]))
			want = copysignf(65504, want);
		if (back[n] != want || signbit(back[n]) != signbit(want))
			fail_msg("%a becomes %a, expected %a", (double)all[n], (double)back[n], (double)want);
	}
}

/* ---- kinds of traces ---- */

/* Many experts need 16 bits; weights beyond binary16 stay finite; a trace of ids has nothing else. */
static void wide_and_narrow(void **state)
{
	static const uint16_t many[L * T * K] = {0, 999, 255, 3, 300, MOE_NO_EXPERT, 1, 0, 1, 2, 256, MOE_NO_EXPERT};
	static const float heavy[L * T * K] = {1e30f, 0.25f, -1e30f, 0.5f, 1e-30f, 0, 0.625f, 0.375f, 0.5f, 0.25f, 0, 0};
	struct moe_trace_info i = info;
	struct moe_trace_block b = block;
	struct moe_diag d = {0};
	struct moe_trace *t;
	struct bytes s;

	(void)state;
	i.experts = 1000;
	b.expert = many;
	b.weight = heavy;
	b.depth = NULL;
	for (i.detail = MOE_TRACE_IDS; i.detail <= MOE_TRACE_WEIGHTS; i.detail++) {
		struct moe_trace_block back;
		expect_ok(&d, make(&s, &i, &b, &d));
		expect_ok(&d, open_bytes(&t, s.p, s.n, &d));
		expect_ok(&d, moe_trace_next(t, &back, &d));
		assert_memory_equal(back.expert, many, sizeof many);
		assert_null(back.logit);
		assert_null(back.depth);
		assert_int_equal(back.weight == NULL, i.detail == MOE_TRACE_IDS);
		if (back.weight) {
			assert_true(back.weight[0] == 65504 && back.weight[2] == -65504);
			assert_true(back.weight[4] == 0);
		}
		moe_trace_close(t);
		free(s.p);
	}
}

static void counts(void **state)
{
	static const uint64_t count[L * E] = {1, 2, 3, 1ull << 40, 0, 0, 9, 8};
	struct moe_trace_info i = info;
	struct moe_trace_block b = {.count = count}, back;
	struct moe_diag d = {0};
	struct moe_trace *t;
	struct bytes s;

	(void)state;
	i.detail = MOE_TRACE_COUNTS;
	i.k = 0;
	i.score = MOE_TRACE_UNKNOWN;
	expect_ok(&d, make(&s, &i, &b, &d));
	expect_ok(&d, open_bytes(&t, s.p, s.n, &d));
	assert_int_equal(moe_trace_info(t)->k, 0);
	expect_ok(&d, moe_trace_next(t, &back, &d));
	assert_int_equal(back.rows, 0);
	assert_memory_equal(back.count, count, sizeof count);
	moe_trace_close(t);
	free(s.p);
}

/* Two members: info changes between them. */
static void members(void **state)
{
	struct moe_trace_info i = info;
	struct moe_diag d = {0};
	struct moe_trace_block b;
	struct moe_trace *t;
	struct bytes x, y;

	(void)state;
	i.detail = MOE_TRACE_IDS;
	expect_ok(&d, make(&x, &info, &block, &d));
	expect_ok(&d, make(&y, &i, &block, &d));
	x.p = realloc(x.p, x.n + y.n);
	memcpy(x.p + x.n, y.p, y.n);
	expect_ok(&d, open_bytes(&t, x.p, x.n + y.n, &d));
	expect_ok(&d, moe_trace_next(t, &b, &d));
	assert_int_equal(moe_trace_next(t, &b, &d), MOE_AGAIN);
	assert_int_equal(moe_trace_info(t)->detail, MOE_TRACE_IDS);
	expect_ok(&d, moe_trace_next(t, &b, &d));
	assert_int_equal(moe_trace_next(t, &b, &d), MOE_END);
	moe_trace_close(t);
	free(x.p);
	free(y.p);
}

/* What the writer does not check, so that this can be made. */
static void refuse_block(const struct moe_trace_block *b, const char *part)
{
	struct moe_diag d = {0};
	struct bytes s;

	expect_ok(&d, make(&s, &info, b, &d));
	expect_fail(&d, read_all(s.p, s.n, &d), MOE_EINPUT, part);
	assert_non_null(strstr(say(&d), "memory: byte "));
	free(s.p);
}

static void wrong_blocks(void **state)
{
	uint16_t id[L * T * K];
	float w[L * T * K], z[L * T * E];
	uint8_t took[L * T];
	struct moe_trace_block b = block;

	(void)state;
	b.expert = memcpy(id, expert, sizeof id);
	id[0] = E;
	refuse_block(&b, "layer 1, row 0: expert 4 of 4");
	id[0] = 1;
	refuse_block(&b, "layer 1, row 0: expert 1 twice");
	id[0] = 0;
	id[8] = MOE_NO_EXPERT;
	refuse_block(&b, "layer 3, row 1: an expert behind \"none\"");
	b = block;
	b.weight = memcpy(w, weight, sizeof w);
	w[3] = NAN;
	refuse_block(&b, "\"weight\" has a value that is not finite");
	w[3] = -INFINITY;
	refuse_block(&b, "\"weight\" has a value that is not finite");
	b = block;
	b.logit = memcpy(z, logit, sizeof z);
	z[L * T * E - 1] = NAN;
	refuse_block(&b, "\"router_logit\" has a value that is NaN or +inf");
	b = block;
	b.depth = memcpy(took, depth, sizeof took);
	took[0] = 0;
	refuse_block(&b, "layer 1, row 0: depth is 0, but the row has experts");
	took[0] = 2;
	refuse_block(&b, "expected 0 or 1");
	b = block;
	b.choice = "0123456789012345678901234567890123456789";
	refuse_block(&b, "longer than 39 bytes");
}

static void refuse_info(const char *json, const char *part)
{
	struct moe_frame head = {0};
	struct moe_trace_info i;
	struct moe_diag d = {0};

	expect_ok(&d, moe_frame_reset(&head, MOE_KIND_HEAD, &d));
	expect_ok(&d, moe_frame_set(&head, "moe.trace", json, &d));
	expect_fail(&d, moe_trace_info_read(&i, &head, &d), MOE_EINPUT, part);
	moe_frame_free(&head);
}

static void wrong_heads(void **state)
{
	(void)state;
	refuse_info("[]", "moe.trace: JSON: expected an object");
	refuse_info("{}", "names no layers");
	refuse_info("{\"layers\": [], \"experts\": 2, \"k\": 1}", "names no layers");
	refuse_info("{\"layers\": [0], \"experts\": 0, \"k\": 1}", "1 to 65535 experts");
	refuse_info("{\"layers\": [0], \"experts\": 65536, \"k\": 1}", "1 to 65535 experts");
	refuse_info("{\"layers\": [0], \"experts\": 2, \"k\": 3}", "\"k\" is not from 1 to the 2 experts");
	refuse_info("{\"layers\": [0], \"experts\": 2}", "\"k\" is not from 1");
	refuse_info("{\"layers\": [1, 1], \"experts\": 2, \"k\": 1}", "ascending");
	refuse_info("{\"layers\": [65536], \"experts\": 2, \"k\": 1}", "ascending");
	refuse_info("{\"layers\": [0], \"layers\": [1], \"experts\": 2, \"k\": 1}", "twice");
	refuse_info("{\"layers\": [0], \"experts\": 2, \"k\": 1, \"detail\": \"all\"}", "does not know, at its byte");
	refuse_info("{\"layers\": [0], \"experts\": 2, \"k\": 1", "at its byte");
}

/* Streams of other things are named. */
static void foreign(void **state)
{
	struct moe_diag d = {0};
	struct moe_frame f = {0};
	struct bytes s = {0};
	size_t cap = 0;

	(void)state;
	expect_ok(&d, moe_frame_reset(&f, MOE_KIND_HEAD, &d));
	expect_ok(&d, moe_frame_set(&f, "moe.stream", MOE_STREAM_VERSION, &d));
	expect_ok(&d, moe_frame_format(&f, &s.p, &s.n, &cap, &d));
	expect_ok(&d, moe_frame_reset(&f, MOE_KIND_TOKENS, &d));
	expect_ok(&d, moe_frame_set(&f, "moe.seq", "0", &d));
	expect_ok(&d, moe_frame_format(&f, &s.p, &s.n, &cap, &d));
	expect_fail(&d, read_all(s.p, s.n, &d), MOE_EINPUT, "a stream of \"tokens\" frames, not a trace of routing");
	moe_frame_free(&f);
	free(s.p);
	moe_diag_clear(&d);
	expect_fail(&d, read_all((const uint8_t *)"", 0, &d), MOE_EINPUT, "memory: byte 0: the input is empty");
	moe_diag_clear(&d);
	expect_fail(&d, read_all((const uint8_t *)"step,loss\n1,2\n34567890", 22, &d), MOE_EINPUT, "not a tensor stream");
}

/* A cut anywhere is noticed, and so is a changed bit. */
static void damage(void **state)
{
	struct moe_diag d = {0};
	struct bytes s;

	(void)state;
	expect_ok(&d, make(&s, &info, &block, &d));
	for (size_t n = 0; n < s.n; n += SLOW ? 7 : 1) {
		moe_diag_clear(&d);
		assert_int_equal(read_all(s.p, n, &d), MOE_EINPUT);
	}
	for (size_t at = 0; at < s.n; at += SLOW ? 13 : 3) {
		moe_diag_clear(&d);
		s.p[at] ^= (uint8_t)(1 << at % 8);
		assert_true(read_all(s.p, s.n, &d) == MOE_EINPUT || d.code == MOE_EMATCH);
		s.p[at] ^= (uint8_t)(1 << at % 8);
	}
	free(s.p);
}

/* The caller's mistakes. */
static void misuse(void **state)
{
	struct moe_trace_info i = info;
	struct moe_trace_block b = block;
	struct moe_diag d = {0};
	struct bytes s;

	(void)state;
	i.n_layers = 0;
	expect_fail(&d, make(&s, &i, &b, &d), MOE_EUSAGE, "none of these layers has a router");
	free(s.p);
	moe_diag_clear(&d);
	b.logit = NULL;
	expect_fail(&d, make(&s, &info, &b, &d), MOE_EUSAGE, "without router logits");
	free(s.p);
	moe_diag_clear(&d);
	b = block;
	b.rows = 0;
	expect_fail(&d, make(&s, &info, &b, &d), MOE_EUSAGE, "1 to 256 rows");
	free(s.p);
}

/* ---- the collector ---- */

/* A pass of n rows, whose tokens are numbered through and go to expert token % E and, with half the weight, none. */
static void pass(struct moe_collector *c, uint64_t seq, size_t start, size_t n, uint64_t step)
{
	int32_t number[300], zero[600] = {0}, id[600];
	uint8_t text[300] = {0};
	float w[600], z[300 * E];
	struct moe_trace_rows r = {.seq = seq, .step = step, .start = start, .n = n, .token = number, .image = zero, .patch = zero, .modality = text,
				   .position = zero, .axes = 2, .stride = n};
	struct moe_trace_choice choice = {.expert_id = id, .weight = w, .logit = z};
	struct moe_diag d = {0};

	for (size_t i = 0; i < n; i++) {
		number[i] = (int32_t)(start + i);
		id[2 * i] = number[i] % E;
		id[2 * i + 1] = -1;
		w[2 * i] = 0.5f;
		w[2 * i + 1] = 0;
		for (size_t e = 0; e < E; e++)
			z[i * E + e] = (float)e;
	}
	for (size_t l = 0; l < 5; l++)  /* only layers 1 and 3 are traced */
		expect_ok(&d, moe_collect(c, l, &r, &choice, &d));
}

/* Sequence 0: 290 given tokens in passes of 100, 150 and 40, then 2 generated ones; sequence 1: 10; sequence 2: none. They alternate, and 1 is over first. */
static void feed(struct moe_collector *c, struct moe_diag *d)
{
	pass(c, 0, 0, 100, 0);
	pass(c, 1, 0, 10, 0);
	pass(c, 0, 100, 150, 0);
	expect_ok(d, moe_collect_over(c, 2, d));
	expect_ok(d, moe_collect_over(c, 1, d));
	pass(c, 0, 250, 40, 0);
	pass(c, 0, 290, 1, 1);
	pass(c, 0, 291, 1, 2);
	expect_ok(d, moe_collect_over(c, 0, d));
	expect_ok(d, moe_collect_rest(c, d));
}

/* The trace of feed() as text: "seq:start+rows(step)" of each block. */
static void collected(bool in_order, char text[200])
{
	int fd = memfd_create("trace", 0);
	struct moe_trace_writer *t;
	struct moe_collector *c;
	struct moe_writer *w;
	struct moe_source *s;
	struct moe_trace *back;
	struct moe_trace_block b;
	struct moe_diag d = {0};

	expect_ok(&d, moe_writer_new(&w, fd, &d));
	expect_ok(&d, moe_trace_writer_new(&t, w, NULL, &info, &d));
	expect_ok(&d, moe_collector_new(&c, t, &info, in_order, false, &d));
	feed(c, &d);
	expect_ok(&d, moe_trace_writer_end(t, &d));
	moe_collector_free(c);
	moe_trace_writer_free(t);
	moe_writer_free(w);
	lseek(fd, 0, SEEK_SET);
	expect_ok(&d, moe_source_fd(&s, fd, "trace", &d));
	expect_ok(&d, moe_trace_open(&back, s, &d));
	for (*text = 0; !moe_trace_next(back, &b, &d);) {
		sprintf(text + strlen(text), "%d:%d+%zu(%d) ", (int)b.seq, (int)b.start, b.rows, (int)b.step);
		for (size_t i = 0; i < L * b.rows; i++) {
			assert_int_equal(b.token[i % b.rows], b.start + i % b.rows);
			assert_int_equal(b.expert[i * K], (b.start + i % b.rows) % E);
			assert_int_equal(b.expert[i * K + 1], MOE_NO_EXPERT);
			assert_true(b.logit[i * E + 3] == 3);
		}
	}
	expect_ok(&d, d.code);
	moe_trace_close(back);
	close(fd);
}

static void collects(void **state)
{
	char text[200];

	(void)state;
	collected(true, text);
	assert_string_equal(text, "0:0+256(0) 0:256+34(0) 0:290+2(1) 1:0+10(0) ");
	collected(false, text);
	assert_string_equal(text, "1:0+10(0) 0:0+256(0) 0:256+34(0) 0:290+2(1) ");
}

/* moe.pools, as it is written and as others may write it. */
static void pools(void **state)
{
	static const struct { const char *text, *message; } bad[] = {
		{"[[0], [1]]", "moe.pools"}, {"{\"image\": [0, 1, 2]}", "in this order"}, {"{\"text\": [0, 1], \"image\": [1]}", "an expert is there twice"},
		{"{\"text\": [0], \"image\": [1]}", "hold 2 experts, and there are 3"}, {"{\"text\": [0, 1, 3]}", "each must be in one of them"},
		{"{\"text\": [0, 1, 2, 70000]}", "too large"}, {"{}", "hold 0 experts"},
	};
	struct moe_pools p = {.n = 2, .size = {1, 2}, .of = {1, 0, 1}}, back;
	struct moe_frame head = {0};
	struct moe_diag d = {0};

	(void)state;
	expect_ok(&d, moe_frame_reset(&head, MOE_KIND_HEAD, &d));
	expect_ok(&d, moe_pools_check(&head, &p, 3, &d));       /* a head that does not say has the same */
	expect_ok(&d, moe_pools_write(&head, &p, 3, &d));
	assert_string_equal(moe_frame_meta(&head, "moe.pools"), "{\"text\": [1], \"image\": [0, 2]}");
	expect_ok(&d, moe_pools_read(&back, &head, 3, &d));
	assert_true(back.n == 2 && back.size[0] == 1 && back.size[1] == 2 && !memcmp(back.of, p.of, 3));
	expect_ok(&d, moe_pools_check(&head, &p, 3, &d));
	p.of[0] = 0;
	assert_int_equal(moe_pools_check(&head, &p, 3, &d), MOE_EMATCH);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct moe_diag why = {0};
		expect_ok(&d, moe_frame_set(&head, "moe.pools", bad[i].text, &d));
		assert_int_equal(moe_pools_read(&back, &head, 3, &why), MOE_EINPUT);
		assert_non_null(strstr(why.text, bad[i].message));
		assert_int_equal(back.n, 0);
	}
	moe_frame_free(&head);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comes_back), cmocka_unit_test(halves), cmocka_unit_test(rounds), cmocka_unit_test(wide_and_narrow), cmocka_unit_test(counts),
		cmocka_unit_test(members), cmocka_unit_test(wrong_blocks), cmocka_unit_test(wrong_heads), cmocka_unit_test(foreign),
		cmocka_unit_test(damage), cmocka_unit_test(misuse), cmocka_unit_test(collects), cmocka_unit_test(pools),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
