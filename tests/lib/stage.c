/* Stages in process, on the model of share/models/read: what they refuse, what a foreign program may leave out, and how a command in place of
 * a stage may end. */
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "lib_data.h"
#include "report/compare.h"
#include "run/exec.h"
#include "stage/decode.h"
#include "stage/embed.h"
#include "stage/layers.h"
#include "stream/check.h"

static struct moe_model *model;

static int open_model(void **state)
{
	struct moe_spec_options o = {.directory = "share/models/read", .families = "share/families"};
	struct moe_diag d = {0};

	(void)state;
	return moe_model_open(&model, &o, &d) != MOE_OK;
}

static int close_model(void **state)
{
	moe_model_close(model);
	return scratch_remove(state);
}

/* ---- streams in memory ---- */

struct bytes {
	uint8_t *p;
	size_t n, cap;
};

/* A stream that is being made: frames are changed in `f`, then added. */
struct maker {
	struct bytes b;
	struct moe_account account;
	struct moe_frame f;
	struct moe_diag d;
};

static void begin(struct maker *m, enum moe_kind kind)
{
	expect_ok(&m->d, moe_frame_reset(&m->f, kind, &m->d));
	if (kind == MOE_KIND_HEAD)
		expect_ok(&m->d, moe_frame_set(&m->f, "moe.stream", MOE_STREAM_VERSION, &m->d));
	else if (kind != MOE_KIND_END)
		expect_ok(&m->d, moe_frame_set(&m->f, "moe.seq", "0", &m->d));
}

static void add(struct maker *m)
{
	if (m->f.kind == MOE_KIND_END)
		expect_ok(&m->d, moe_account_sign(&m->account, &m->f, &m->d));
	expect_ok(&m->d, moe_account_frame(&m->account, &m->f, &m->d));
	expect_ok(&m->d, moe_frame_format(&m->f, &m->b.p, &m->b.n, &m->b.cap, &m->d));
}

/* Ends the stream and releases everything but its bytes. */
static struct bytes finish(struct maker *m)
{
	begin(m, MOE_KIND_END);
	add(m);
	moe_frame_free(&m->f);
	moe_account_free(&m->account);
	return m->b;
}

static void put_ints(struct maker *m, const char *name, uint64_t n, const int32_t *v)
{
	expect_ok(&m->d, moe_frame_put(&m->f, name, MOE_I32, 1, n, 0, v, &m->d));
}

static struct moe_reader *reader_on(const struct bytes *b)
{
	struct moe_diag d = {0};
	struct moe_source *s;
	struct moe_reader *r;

	expect_ok(&d, moe_source_memory(&s, b->p, b->n, "memory", &d));
	expect_ok(&d, moe_reader_new(&r, s, &d));
	return r;
}

/* Runs a stage over `in`, which is released; what it wrote. */
static enum moe_err run(struct moe_stage stage, struct bytes in, struct bytes *written, struct moe_diag *d)
{
	int fd = memfd_create("stream", MFD_CLOEXEC);
	struct moe_identity id = {.any_model = true};
	struct moe_output out = {0};
	struct moe_reader *r = reader_on(&in);
	enum moe_err err;

	memset(d, 0, sizeof *d);
	expect_ok(d, moe_writer_new(&out.writer, fd, d));
	err = moe_stage_loop(r, &out, &stage, &id, d);
	written->n = (size_t)lseek(fd, 0, SEEK_END);
	written->p = malloc(written->n + 1);
	assert_int_equal(pread(fd, written->p, written->n, 0), written->n);
	close(fd);
	moe_reader_free(r);
	moe_writer_free(out.writer);
	moe_account_free(&out.account);
	free(in.p);
	return err;
}

static struct bytes must_run(struct moe_stage stage, struct bytes in)
{
	struct bytes out;
	struct moe_diag d;

	expect_ok(&d, run(stage, in, &out, &d));
	return out;
}

static void must_fail(struct moe_stage stage, struct bytes in, enum moe_err code, const char *part)
{
	struct bytes out;
	struct moe_diag d;
	enum moe_err err = run(stage, in, &out, &d);

	expect_fail(&d, err, code, part);
	free(out.p);
}

/* A prompt of a picture and a token; its features have a grid of rows × columns. */
static struct bytes prompt(int32_t rows, int32_t columns, const char *more, const char *logits)
{
	static float feature[64 * 1024];
	const int32_t token[] = {(int32_t)model->spec->merge.placeholder, 5}, image[] = {0, -1}, grid[] = {rows, columns};
	struct maker m = {0};

	for (size_t i = 0; i < 64 * 1024; i++)
		feature[i] = sinf((float)i);
	begin(&m, MOE_KIND_HEAD);
	add(&m);
	begin(&m, MOE_KIND_TOKENS);
	expect_ok(&m.d, moe_frame_set(&m.f, "moe.more", more, &m.d));
	expect_ok(&m.d, moe_frame_set(&m.f, "moe.logits", logits, &m.d));
	put_ints(&m, "token", 2, token);
	put_ints(&m, "image", 2, image);
	add(&m);
	begin(&m, MOE_KIND_FEATURES);
	expect_ok(&m.d, moe_frame_put(&m.f, "feature", MOE_F32, 2, (uint64_t)(rows * columns), (uint64_t)model->spec->hidden, feature, &m.d));
	put_ints(&m, "grid", 2, grid);
	add(&m);
	if (!strcmp(more, "1")) {
		begin(&m, MOE_KIND_DROP);
		add(&m);
	}
	return finish(&m);
}

static struct bytes embedded(const char *more, const char *logits)
{
	struct moe_embed e = {.model = model};
	struct bytes out = must_run(moe_embed_stage(&e), prompt(4, 16, more, logits));

	moe_embed_free(&e);
	return out;
}

static struct bytes through(struct bytes in, size_t first, size_t last)
{
	struct moe_layers l;
	struct bytes out;

	moe_layers_init(&l, model, first, last);
	out = must_run(moe_layers_stage(&l), in);
	moe_layers_free(&l);
	return out;
}

static struct bytes all_layers(struct bytes in) { return through(in, 0, (size_t)model->spec->n_layers * MOE_N_STEPS - 1); }

/* ---- tests ---- */

static void test_layers_parse(void **state)
{
	static const struct { const char *text; bool ok; size_t first, last; } rows[] = {
		{"0", true, 0, 0}, {"3", true, 3, 3}, {"0-3", true, 0, 3}, {"2-", true, 2, 3}, {"4", false, 0, 0}, {"2-1", false, 0, 0}, {"", false, 0, 0},
		{"-", false, 0, 0}, {"-1", false, 0, 0}, {"1-4", false, 0, 0}, {" 1", false, 0, 0}, {"1 ", false, 0, 0}, {"1-+2", false, 0, 0}, {"1--", false, 0, 0},
		{"18446744073709551616", false, 0, 0}, {"1,2", false, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t first, last;
		bool ok = moe_layers_parse(rows[i].text, strlen(rows[i].text), 4, &first, &last);
		if (ok != rows[i].ok || (ok && (first != rows[i].first || last != rows[i].last)))
			fail_msg("\"%s\": %d, %zu to %zu", rows[i].text, ok, first, last);
	}
}

/* The tables of row and column embeddings end where the model's largest grid does. */
static void test_foreign_grid(void **state)
{
	static const int32_t grids[][2] = {{64, 1}, {1, 64}, {16, 4}, {4, 15}};

	(void)state;
	for (size_t i = 0; i < sizeof grids / sizeof *grids; i++) {
		struct moe_embed e = {.model = model};
		must_fail(moe_embed_stage(&e), prompt(grids[i][0], grids[i][1], "0", "last"), MOE_EINPUT, "the model has no such grid");
		moe_embed_free(&e);
	}
}

static void test_no_tokens(void **state)
{
	struct moe_embed e = {.model = model};
	struct maker m = {0};

	(void)state;
	begin(&m, MOE_KIND_HEAD);
	add(&m);
	begin(&m, MOE_KIND_TOKENS);
	expect_ok(&m.d, moe_frame_set(&m.f, "moe.step", "1", &m.d));
	put_ints(&m, "token", 0, (const int32_t *)"");
	add(&m);
	must_fail(moe_embed_stage(&e), finish(&m), MOE_EINPUT, "\"token\" is empty");
	moe_embed_free(&e);
}

/* A copy of a stream without some tensors, and with an unknown key, tensor and kind; `in` is released. */
static struct bytes edited(struct bytes in, const char *const *without)
{
	static const char extra[3] = "xyz";
	struct moe_reader *r = reader_on(&in);
	struct maker m = {0};
	enum moe_err err;

	while (!(err = moe_reader_next(r, &m.f, true, &m.d))) {
		for (const char *const *name = without; *name; name++)
			moe_frame_remove(&m.f, *name);
		if (m.f.kind == MOE_KIND_ROUTED) {
			expect_ok(&m.d, moe_frame_set(&m.f, "my.key", "kept", &m.d));
			expect_ok(&m.d, moe_frame_put(&m.f, "my_tensor", MOE_U8, 1, 3, 0, extra, &m.d));
		}
		if (m.f.kind == MOE_KIND_END)
			break;
		add(&m);
	}
	expect_ok(&m.d, err);
	begin(&m, MOE_KIND_OTHER);
	expect_ok(&m.d, moe_frame_set(&m.f, "moe.kind", "mine", &m.d));
	add(&m);
	moe_reader_free(r);
	free(in.p);
	return finish(&m);
}

/* The first frame of a kind (by name), which must be there. */
static void find_frame(const struct bytes *b, const char *kind, struct moe_frame *f)
{
	struct moe_reader *r = reader_on(b);
	struct moe_diag d = {0};

	do
		expect_ok(&d, moe_reader_next(r, f, true, &d));
	while (strcmp(moe_frame_kind(f), kind));
	moe_reader_free(r);
}

/* A foreign router gives expert_id and weight only; what else it says is passed on. */
static void test_foreign_router(void **state)
{
	static const char *const left_out[] = {"normed", "router_logit", NULL};
	struct bytes routed = through(through(embedded("0", "last"), 0, 0), 1, 1), again = {malloc(routed.n), routed.n, 0}, own, foreign;
	struct moe_frame a = {0}, b = {0};
	const struct moe_tensor *x, *y;

	(void)state;
	memcpy(again.p, routed.p, routed.n);
	own = through(routed, 2, 2);
	foreign = through(edited(again, left_out), 2, 2);
	find_frame(&own, "hidden", &a);
	find_frame(&foreign, "hidden", &b);
	x = moe_frame_find(&a, "hidden");
	y = moe_frame_find(&b, "hidden");
	assert_int_equal(x->nbytes, y->nbytes);
	assert_memory_equal(x->data, y->data, x->nbytes);
	assert_string_equal(moe_frame_meta(&b, "my.key"), "kept");
	assert_memory_equal(moe_frame_find(&b, "my_tensor")->data, "xyz", 3);
	assert_null(moe_frame_find(&b, "expert_id"));
	find_frame(&foreign, "mine", &b);
	moe_frame_free(&a);
	moe_frame_free(&b);
	free(own.p);
	free(foreign.p);
}

/* Logits that no router may give, whoever made them. */
static void test_bad_logits(void **state)
{
	static const float bad[] = {NAN, INFINITY};
	const char *const none[] = {NULL};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct bytes in = edited(through(embedded("0", "last"), 0, 1), none);
		struct moe_reader *r = reader_on(&in);
		struct maker m = {0};
		struct moe_layers l;
		float *logit;
		const uint64_t *shape;
		enum moe_err err;
		while (!(err = moe_reader_next(r, &m.f, true, &m.d)) && m.f.kind != MOE_KIND_END) {
			if (m.f.kind == MOE_KIND_ROUTED) {
				expect_ok(&m.d, moe_frame_tensor(&m.f, "router_logit", MOE_F32, 2, (const void **)&logit, &shape, &m.d));
				logit[1] = bad[i];
			}
			add(&m);
		}
		expect_ok(&m.d, err);
		moe_reader_free(r);
		free(in.p);
		moe_layers_init(&l, model, 2, 2);
		must_fail(moe_layers_stage(&l), finish(&m), MOE_EINPUT, i ? "row 0: router logit of expert 1 is +inf" : "row 0: router logit of expert 1 is NaN");
		moe_layers_free(&l);
	}
}

static struct moe_decode decoder(const char *loop)
{
	static struct moe_generation one;
	struct moe_decode dec = {.model = model, .generation = &one, .logits = true, .loop = loop};
	struct moe_diag d = {0};

	one.spec = model->spec;
	one.max_new = 1;
	if (!one.suppress)
		expect_ok(&d, moe_generation_init(&one, &d));
	moe_decode_init(&dec);
	return dec;
}

/* Inside the ring, the frame of a sequence's last logits says that it is the last, because its `drop` goes no further. */
static void test_logits_in_ring(void **state)
{
	const char *loop = scratch("loop");
	struct moe_decode dec;
	struct bytes out;
	struct moe_frame f = {0};
	struct moe_reader *r;
	struct moe_diag d = {0};
	uint64_t frames;
	int fd;

	(void)state;
	assert_int_equal(mkfifo(loop, 0600), 0);
	fd = open(loop, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	dec = decoder(loop);
	out = must_run(moe_decode_stage(&dec), all_layers(embedded("1", "last")));
	r = reader_on(&out);
	expect_ok(&d, moe_stream_check(r, &frames, &d));
	moe_reader_free(r);
	find_frame(&out, "logits", &f);
	assert_string_equal(moe_frame_meta(&f, "moe.more"), "0");
	moe_frame_free(&f);
	moe_decode_free(&dec);
	free(out.p);
	close(fd);
}

/* A sequence whose logits nobody wants has no answer; as logits it is simply over. */
static void test_no_logits_wanted(void **state)
{
	struct moe_decode dec = decoder(NULL);

	(void)state;
	free(must_run(moe_decode_stage(&dec), all_layers(embedded("0", "none"))).p);
	assert_null(dec.first);
	dec.logits = false;
	must_fail(moe_decode_stage(&dec), all_layers(embedded("0", "none")), MOE_EINPUT, "moe.logits = none");
	moe_decode_free(&dec);
}

static enum moe_err swallow(void *self, struct moe_frame **f, size_t n, struct moe_output *out, struct moe_diag *d)
{
	(void)self, (void)f, (void)n, (void)out, (void)d;
	return MOE_OK;
}

/* A stage that loses a sequence does not end its stream. */
static void test_lost_sequence(void **state)
{
	const struct moe_stage stage = {.kinds = 1u << MOE_KIND_HIDDEN, .run = swallow};

	(void)state;
	must_fail(stage, embedded("0", "last"), MOE_EINPUT, "1 sequences came, but 0 went on");
}

/* Waiting for input ends when nobody reads the output. */
static void test_wait(void **state)
{
	struct moe_writer *w;
	struct moe_diag d = {0};
	int in[2], out[2];

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe(in) + pipe(out), 0);
	expect_ok(&d, moe_writer_new(&w, out[1], &d));
	close(out[0]);
	expect_fail(&d, moe_writer_wait(w, in[0], &d), MOE_EIO, "nobody reads the output");
	moe_diag_clear(&d);
	assert_int_equal(write(in[1], "", 1), 1);       /* what has come is worked on first */
	expect_ok(&d, moe_writer_wait(w, in[0], &d));
	moe_writer_free(w);
	close(in[0]);
	close(in[1]);
	close(out[1]);
	signal(SIGPIPE, SIG_DFL);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Commands in place of a stage: how they may fail to start, to answer, and to end. Nothing waits longer than it was told to. */
static void test_exec(void **state)
{
	static const struct { const char *text; double timeout; enum moe_err code; const char *part; } bad[] = {
		{"attend:0", 1, MOE_EUSAGE, "expected STAGE:LAYERS=COMMAND"}, {"attend=cat", 1, MOE_EUSAGE, "expected STAGE:LAYERS=COMMAND"},
		{"attend:0=", 1, MOE_EUSAGE, "expected STAGE:LAYERS=COMMAND"}, {"embed:0=cat", 1, MOE_EUSAGE, "a stage is attend, route or expert"},
		{"route:0-9=cat", 1, MOE_EUSAGE, "layers go from 0 to 3"}, {"route:x=cat", 1, MOE_EUSAGE, "layers go from 0 to 3"},
		{"route:0=true", 1, MOE_EIO, "\"true\" "}, {"route:0=sleep 9", 0.2, MOE_EIO, "\"sleep 9\" was silent for 0.2 s"},
		{"route:0=head -c 64", 1, MOE_EINPUT, "truncated"}, {"route:0=echo", 1, MOE_EINPUT, "truncated"},
	};
	struct moe_diag d = {0};
	struct moe_exec *x;
	double start = seconds();

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		enum moe_err err = moe_exec_start(&x, bad[i].text, bad[i].timeout, model, &d);
		expect_fail(&d, err, bad[i].code, bad[i].part);
		moe_diag_clear(&d);
	}
	expect_ok(&d, moe_exec_start(&x, "attend:0-=cat /dev/stdin", 5, model, &d));
	expect_ok(&d, moe_exec_stop(x, false, &d));
	expect_ok(&d, moe_exec_start(&x, "attend:0=cat; exit 3", 5, model, &d));
	expect_fail(&d, moe_exec_stop(x, false, &d), MOE_EIO, "ended with status 3");
	moe_diag_clear(&d);
	expect_ok(&d, moe_exec_start(&x, "attend:0=cat; exec sleep 9", 0.3, model, &d));
	expect_fail(&d, moe_exec_stop(x, false, &d), MOE_EIO, "did not end within 0.3 s of the end of its input");
	assert_true(seconds() - start < 5);
}

/* ---- comparing ---- */

static struct moe_tensor tensor(enum moe_dtype type, uint64_t n0, uint64_t n1, const void *data)
{
	struct moe_tensor t = {.type = type, .rank = 2, .shape = {n0, n1}, .nbytes = n0 * n1 * moe_dtype_nbits(type) / 8, .data = data};

	return t;
}

/* Values that differ by less than a float, or a double, or that are no numbers here at all. */
static void test_compare_types(void **state)
{
	static const double doubles[] = {1, 1 + 1e-12};
	static const int64_t integers[] = {1ll << 60, (1ll << 60) + 1};
	static const uint8_t bytes[] = {7, 8};
	static const struct { enum moe_dtype type; const void *a, *b; } rows[] = {
		{MOE_F64, doubles, doubles + 1}, {MOE_I64, integers, integers + 1}, {MOE_U64, integers, integers + 1}, {MOE_F8_E4M3, bytes, bytes + 1},
		{MOE_F8_E5M2, bytes, bytes + 1}, {MOE_U8, bytes, bytes + 1},
	};
	const struct moe_tolerance none = {0};
	struct moe_difference diff;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct moe_tensor a = tensor(rows[i].type, 1, 1, rows[i].a), b = tensor(rows[i].type, 1, 1, rows[i].b);
		assert_true(moe_tensor_compare(&a, &b, &none, NULL, &diff));
		if (diff.differing != 1)
			fail_msg("%s: %d differ", moe_dtype_name(rows[i].type), (int)diff.differing);
		assert_true(moe_tensor_compare(&a, &a, &none, NULL, &diff));
		assert_int_equal(diff.differing, 0);
	}
}

/* Another expert, or another order, is a tie only where the router logits of all experts concerned lie close together. */
static void test_compare_routing(void **state)
{
	static const float logit[] = {1.0f, 1.00001f, 2.0f, NAN};
	static const struct { int32_t a[2], b[2]; bool differs, tie; } rows[] = {
		{{2, 0}, {2, 0}, false, false}, {{2, 0}, {2, 1}, true, true}, {{0, 1}, {1, 0}, true, true}, {{2, 0}, {0, 2}, true, false},
		{{2, 0}, {2, -1}, true, false}, {{2, 0}, {2, 3}, true, false}, {{2, 0}, {2, 9}, true, false},
	};
	struct moe_diag d = {0};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct moe_frame a = {0}, b = {0};
		uint64_t differing, ties;
		bool is_tie;
		expect_ok(&d, moe_frame_put(&a, "expert_id", MOE_I32, 2, 1, 2, rows[i].a, &d));
		expect_ok(&d, moe_frame_put(&b, "expert_id", MOE_I32, 2, 1, 2, rows[i].b, &d));
		expect_ok(&d, moe_frame_put(&b, "router_logit", MOE_F32, 2, 1, 4, logit, &d));
		assert_true(moe_routing_compare(&a, &b, 1e-4, &is_tie, &differing, &ties));
		if (differing != rows[i].differs || ties != rows[i].tie || is_tie != rows[i].tie)
			fail_msg("row %zu: %d differ, %d ties", i, (int)differing, (int)ties);
		moe_frame_free(&a);
		moe_frame_free(&b);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layers_parse),
		cmocka_unit_test(test_foreign_grid),
		cmocka_unit_test(test_no_tokens),
		cmocka_unit_test(test_foreign_router),
		cmocka_unit_test(test_bad_logits),
		cmocka_unit_test(test_logits_in_ring),
		cmocka_unit_test(test_no_logits_wanted),
		cmocka_unit_test(test_lost_sequence),
		cmocka_unit_test(test_wait),
		cmocka_unit_test(test_exec),
		cmocka_unit_test(test_compare_types),
		cmocka_unit_test(test_compare_routing),
	};

	return cmocka_run_group_tests(tests, open_model, close_model);
}
