/* Several inputs as one: traces of different layers side by side, traces one after the other, frames between stages. */
#include <fcntl.h>

#include "lib_data.h"
#include "trace/trace_write.h"
#include "trace/traces.h"

enum { T = 3, K = 2, E = 4 };

static char folder[] = "/tmp/traces.XXXXXX";
static const int32_t token[T] = {7, 8, 9}, zero[T] = {0, 0, 0}, other[T] = {7, 8, 8};
static const uint8_t modality[T] = {0, 1, 1};

static const char *path_of(const char *name)
{
	static char text[8][80];
	static unsigned turn;

	snprintf(text[++turn % 8], sizeof text[0], "%s/%s", folder, name);
	return text[turn % 8];
}

static struct moe_writer *open_writer(const char *name, int *fd)
{
	struct moe_diag d = {0};
	struct moe_writer *w;

	*fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(*fd >= 0);
	expect_ok(&d, moe_writer_new(&w, *fd, &d));
	return w;
}

/* A trace of `blocks` blocks of these layers, whose row r of layer l has the experts l % E and (l + r + 1) % E, if those are two. */
static void write_trace(const char *name, size_t *layer, size_t n_layers, const char *model, const int32_t *tokens, size_t blocks)
{
	struct moe_trace_info info = {.layer = layer, .n_layers = n_layers, .experts = E, .k = K, .detail = MOE_TRACE_WEIGHTS};
	struct moe_diag d = {0};
	struct moe_trace_writer *t;
	uint16_t expert[8 * T * K];
	float weight[8 * T * K];
	uint8_t depth[8 * T];
	int fd;
	struct moe_writer *w = open_writer(name, &fd);

	for (size_t l = 0; l < n_layers; l++)
		for (size_t r = 0; r < T; r++) {
			size_t at = (l * T + r) * K, second = (layer[l] + r + 1) % E;
			expert[at] = (uint16_t)(layer[l] % E);
			expert[at + 1] = second == layer[l] % E ? MOE_NO_EXPERT : (uint16_t)second;
			weight[at] = (float)layer[l];
			weight[at + 1] = 0;
			depth[l * T + r] = 1;
		}
	snprintf(info.model, sizeof info.model, "%s", model);
	expect_ok(&d, moe_trace_writer_new(&t, w, NULL, &info, &d));
	for (size_t i = 0; i < blocks; i++) {
		struct moe_trace_block b = {.seq = i, .rows = T, .axes = 1, .token = tokens, .position = zero, .image = zero, .patch = zero,
					    .modality = modality, .choice = "token",
					    .expert = expert, .weight = weight, .depth = n_layers > 1 ? depth : NULL};
		expect_ok(&d, moe_trace_writer_put(t, &b, &d));
	}
	expect_ok(&d, moe_trace_writer_end(t, &d));
	moe_trace_writer_free(t);
	moe_writer_free(w);
	close(fd);
}

static struct moe_traces *open_all(const struct moe_traces_options *o, size_t n, const char *a, const char *b, const char *c)
{
	const char *path[3] = {path_of(a), b ? path_of(b) : NULL, c ? path_of(c) : NULL};
	struct moe_diag d = {0};
	struct moe_traces *t;

	expect_ok(&d, moe_traces_new(&t, o, path, n, &d));
	return t;
}

/* The failure of reading it all, which it must have. */
static void expect_refusal(struct moe_traces *t, enum moe_err code, const char *part)
{
	const struct moe_trace_info *info;
	struct moe_trace_block b;
	struct moe_diag d = {0};
	enum moe_err err;

	while (!(err = moe_traces_next(t, &info, &b, &d)))
		;
	expect_fail(&d, err, code, part);
	moe_traces_free(t);
}

static void side_by_side(void **state)
{
	struct moe_traces_options o = {0};
	const struct moe_trace_info *info;
	struct moe_trace_block b;
	struct moe_diag d = {0};
	struct moe_traces *t;

	(void)state;
	write_trace("odd", (size_t[]){1, 3}, 2, "m", token, 2);
	write_trace("two", (size_t[]){2}, 1, "m", token, 2);
	t = open_all(&o, 3, "odd", "two", "two");
	for (unsigned i = 0; i < 2; i++) {
		expect_ok(&d, moe_traces_next(t, &info, &b, &d));
		assert_true(info->n_layers == 3 && info->layer[0] == 1 && info->layer[1] == 2 && info->layer[2] == 3 && b.seq == i && b.rows == T);
		for (size_t l = 0; l < 3; l++)
			for (size_t r = 0; r < T; r++)
				assert_true(b.expert[(l * T + r) * K] == (l + 1) % E && b.weight[(l * T + r) * K] == (float)(l + 1) && b.depth[l * T + r] == 1);
		assert_true(!b.logit && !b.compared && moe_traces_input(t) == 0);
	}
	/* The third has a layer that was there: it comes behind. */
	for (unsigned i = 0; i < 2; i++) {
		expect_ok(&d, moe_traces_next(t, &info, &b, &d));
		assert_true(info->n_layers == 1 && info->layer[0] == 2 && !b.depth && moe_traces_input(t) == 2);
	}
	assert_int_equal(moe_traces_next(t, &info, &b, &d), MOE_END);
	moe_traces_free(t);
	o.apart = true;
	t = open_all(&o, 2, "odd", "two", NULL);
	for (unsigned i = 0; i < 4; i++) {
		expect_ok(&d, moe_traces_next(t, &info, &b, &d));
		assert_true(info->n_layers == (i < 2 ? 2 : 1) && moe_traces_input(t) == i / 2);
	}
	assert_int_equal(moe_traces_next(t, &info, &b, &d), MOE_END);
	moe_traces_free(t);
}

static void refusals(void **state)
{
	struct moe_traces_options o = {0};

	(void)state;
	write_trace("odd", (size_t[]){1, 3}, 2, "m", token, 2);
	write_trace("longer", (size_t[]){2}, 1, "m", token, 3);
	write_trace("other", (size_t[]){2}, 1, "m", other, 2);
	write_trace("foreign", (size_t[]){2}, 1, "n", token, 2);
	expect_refusal(open_all(&o, 2, "odd", "longer", NULL), MOE_EMATCH, "longer: it does not tell of as many tokens as");
	expect_refusal(open_all(&o, 2, "longer", "odd", NULL), MOE_EMATCH, "odd: it does not tell of as many tokens as");
	expect_refusal(open_all(&o, 2, "odd", "other", NULL), MOE_EMATCH, "other: it tells of other layers, but not of the same tokens");
	expect_refusal(open_all(&o, 2, "odd", "foreign", NULL), MOE_EMATCH, "it is of model n, what came before of m");
	o.any_model = true;
	expect_refusal(open_all(&o, 3, "odd", "foreign", "nothing"), MOE_EIO, "nothing");
}

/* A frame of 300 rows between stages, in two blocks. */
static void live(void **state)
{
	enum { ROWS = 300 };
	static int32_t id[ROWS * K], number[ROWS];
	static float weight[ROWS * K], z[ROWS * E];
	static uint8_t text[ROWS];
	struct moe_traces_options o = {.score = MOE_TRACE_SIGMOID};
	const struct moe_trace_info *info;
	struct moe_trace_block b;
	struct moe_frame f = {0};
	struct moe_diag d = {0};
	struct moe_traces *t;
	int fd;
	struct moe_writer *w = open_writer("live", &fd);

	(void)state;
	for (int32_t r = 0; r < ROWS; r++) {
		id[r * K] = r % E;
		id[r * K + 1] = -1;
		weight[r * K] = 1;
		number[r] = r;
	}
	expect_ok(&d, moe_frame_reset(&f, MOE_KIND_HEAD, &d));
	expect_ok(&d, moe_frame_set(&f, "moe.stream", MOE_STREAM_VERSION, &d));
	expect_ok(&d, moe_writer_put(w, &f, &d));
	expect_ok(&d, moe_frame_reset(&f, MOE_KIND_ROUTED, &d));
	expect_ok(&d, moe_frame_set(&f, "moe.at", "12.route", &d));
	expect_ok(&d, moe_frame_set(&f, "moe.seq", "0", &d));
	expect_ok(&d, moe_frame_put(&f, "expert_id", MOE_I32, 2, ROWS, K, id, &d));
	expect_ok(&d, moe_frame_put(&f, "weight", MOE_F32, 2, ROWS, K, weight, &d));
	expect_ok(&d, moe_frame_put(&f, "router_logit", MOE_F32, 2, ROWS, E, z, &d));
	expect_ok(&d, moe_frame_put(&f, "position", MOE_I32, 2, 1, ROWS, number, &d));
	expect_ok(&d, moe_frame_put(&f, "token", MOE_I32, 1, ROWS, 0, number, &d));
	expect_ok(&d, moe_frame_put(&f, "image", MOE_I32, 1, ROWS, 0, number, &d));
	expect_ok(&d, moe_frame_put(&f, "patch_index", MOE_I32, 1, ROWS, 0, number, &d));
	expect_ok(&d, moe_frame_put(&f, "modality", MOE_U8, 1, ROWS, 0, text, &d));
	expect_ok(&d, moe_writer_put(w, &f, &d));
	expect_ok(&d, moe_frame_reset(&f, MOE_KIND_END, &d));
	expect_ok(&d, moe_frame_set(&f, "moe.frames", "2", &d));
	expect_ok(&d, moe_frame_set(&f, "moe.sequences", "1", &d));
	expect_ok(&d, moe_frame_set(&f, "moe.failed", "0", &d));
	expect_ok(&d, moe_writer_put(w, &f, &d));
	expect_ok(&d, moe_writer_flush(w, &d));
	moe_frame_free(&f);
	moe_writer_free(w);
	close(fd);

	t = open_all(&o, 1, "live", NULL, NULL);
	expect_ok(&d, moe_traces_next(t, &info, &b, &d));
	assert_true(info->n_layers == 1 && info->layer[0] == 12 && info->experts == E && info->k == K && info->score == MOE_TRACE_SIGMOID &&
		    info->detail == MOE_TRACE_LOGITS);
	assert_true(b.rows == 256 && b.start == 0 && b.expert[2 * 255] == 3 && b.expert[1] == MOE_NO_EXPERT && b.position[255] == 255);
	expect_ok(&d, moe_traces_next(t, &info, &b, &d));
	assert_true(b.rows == 44 && b.start == 256 && b.position[0] == 256 && b.token[43] == 299 && b.expert[0] == 0 && b.weight[0] == 1 && b.logit);
	assert_int_equal(moe_traces_next(t, &info, &b, &d), MOE_END);
	moe_traces_free(t);
}

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	static const char *const name[] = {"odd", "two", "longer", "other", "foreign", "live"};

	(void)state;
	for (size_t i = 0; i < sizeof name / sizeof *name; i++)
		unlink(path_of(name[i]));
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(side_by_side), cmocka_unit_test(refusals), cmocka_unit_test(live)};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
