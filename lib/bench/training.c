#include "bench/training.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/rng.h"
#include "model/flops.h"
#include "sys/clock.h"
#include "train/net.h"
#include "train/optimiser.h"

const char moe_bench_description[] = "{\"hidden\": 128, \"layers\": 4, \"heads\": 4, \"experts\": 8, \"top_k\": 2, \"expert_width\": 192, \"stem\": [32, 64],"
				     " \"grids\": [[8, 8]], \"max_text\": 128}";

enum { SEED = 7, SHORTEST = 6, LONGEST = 12 };

/* The sequences, and what they point to. */
struct batch {
	struct moe_packed *packed;
	float *planes;
	int32_t *label, *token, *target, *segment;
};

static uint64_t below(uint64_t stream, uint64_t i, uint64_t n) { return moe_random_u64(SEED, stream, i) % n; }

/* Text of one sequence: questions of which the last third is the answer. */
static void fill_text(struct batch *b, size_t first, size_t n, int64_t vocab)
{
	size_t start = 0, length = SHORTEST;
	int32_t segment = 0;

	for (size_t t = 0; t < n; t++) {
		if (t == start + length) {
			start = t;
			length = SHORTEST + below(1, first + t, LONGEST - SHORTEST + 1);
			segment++;
		}
		b->token[first + t] = (int32_t)below(2, first + t, (uint64_t)vocab);
		b->target[first + t] = t - start >= length - length / 3 ? (int32_t)below(3, first + t, (uint64_t)vocab) : -1;
		b->segment[first + t] = segment;
	}
}

/* Of the grid that the pictures have. */
static size_t first_patches(const struct moe_spec *s)
{
	return s->tower.kind != MOE_TOWER_NONE && s->image.grids.n ? (size_t)(s->image.grids.v[0][0] * s->image.grids.v[0][1]) : 0;
}

static bool fill(struct batch *b, const struct moe_spec *s, size_t n, size_t text)
{
	bool sees = s->tower.kind != MOE_TOWER_NONE && s->image.grids.n;
	size_t rows = sees ? (size_t)s->image.grids.v[0][0] : 0, columns = sees ? (size_t)s->image.grids.v[0][1] : 0, patches = rows * columns;
	size_t pixels = patches * (size_t)(s->image.patch * s->image.patch * s->image.channels);

	b->packed = calloc(n, sizeof *b->packed);
	b->planes = malloc((n * pixels + 1) * sizeof *b->planes);
	b->label = malloc((n * patches + 1) * sizeof *b->label);
	b->token = malloc((n * text + 1) * sizeof *b->token);
	b->target = malloc((n * text + 1) * sizeof *b->target);
	b->segment = malloc((n * text + 1) * sizeof *b->segment);
	if (!b->packed || !b->planes || !b->label || !b->token || !b->target || !b->segment)
		return false;
	for (size_t i = 0; i < n * pixels; i++)
		b->planes[i] = (float)(2 * moe_random_unit(SEED, 4, i) - 1);
	for (size_t i = 0; i < n * patches; i++)
		b->label[i] = (int32_t)below(5, i, (uint64_t)s->vocab);
	for (size_t i = 0; i < n; i++) {
		fill_text(b, i * text, text, s->vocab);
		b->packed[i] = (struct moe_packed){
			.planes = b->planes + i * pixels, .rows = (uint32_t)rows, .columns = (uint32_t)columns, .label = patches ? b->label + i * patches : NULL,
			.n_text = text, .token = b->token + i * text, .target = b->target + i * text, .segment = b->segment + i * text,
		};
	}
	return true;
}

static void batch_free(struct batch *b)
{
	free(b->packed);
	free(b->planes);
	free(b->label);
	free(b->token);
	free(b->target);
	free(b->segment);
}

/* One step; the seconds of all of it, and of the optimiser. */
static enum moe_err step(struct moe_net *n, struct moe_optimiser *opt, const struct batch *b, const struct moe_bench_training_options *o, double seconds[2],
			 size_t *rows, struct moe_diag *d)
{
	static const struct moe_loss_settings loss = {.text = 1, .patch = 0.7, .balance = 0.01, .z = 0.001};
	struct moe_optimiser_step s = {.kind = o->adamw ? MOE_OPTIMISER_ADAMW : MOE_OPTIMISER_MUON, .muon_rate = 1e-4, .adamw_rate = 1e-5, .scale = 1};
	struct moe_step_result r;
	double start = moe_clock(), between;

	MOE_TRY(moe_net_step(n, b->packed, o->sequences, &loss, true, &r, d));
	between = moe_clock();
	moe_optimiser_norm(opt, moe_net_gradient(n), NULL);
	moe_optimiser_step(opt, &s, moe_net_weights(n), moe_net_gradient(n));
	moe_net_changed(n);
	seconds[1] = moe_clock() - between;
	seconds[0] = between - start + seconds[1];
	*rows = r.rows;
	return MOE_OK;
}

static enum moe_err measure(struct moe_bench_training *out, struct moe_net *n, struct moe_optimiser *opt, const struct batch *b,
			    const struct moe_bench_training_options *o, double *rate, struct moe_diag *d)
{
	double seconds[2], all[2] = {0, 0};

	for (size_t i = 0; i <= o->repeats; i++) {
		MOE_TRY(step(n, opt, b, o, seconds, &out->tokens, d));
		if (!i)
			continue;
		rate[i - 1] = (double)out->tokens / seconds[0];
		all[0] += seconds[0];
		all[1] += seconds[1];
	}
	out->rate = moe_spread_of(rate, o->repeats);
	out->optimiser = all[1] / all[0];
	return MOE_OK;
}

enum moe_err moe_bench_training_run(struct moe_bench_training *out, struct moe_model *m, const struct moe_bench_training_options *o, struct moe_pool *pool,
				    struct moe_diag *d)
{
	struct moe_net_options net = {.unit = o->unit, .most_pictures = o->sequences, .most_text = o->text, .pool = pool};
	double *rate = calloc(o->repeats, sizeof *rate);
	struct moe_optimiser *opt = NULL;
	struct moe_net *n = NULL;
	struct batch b = {0};
	struct moe_flops flops;
	enum moe_err err = moe_spec_flops(&flops, m->spec, first_patches(m->spec), o->text, d);

	*out = (struct moe_bench_training){.flops_per_token = err ? 0 : moe_flops_training(&flops, false)};
	if (!err && (!rate || !fill(&b, m->spec, o->sequences, o->text)))
		err = moe_fail(d, MOE_ENOMEM, "out of memory");
	if (!err)
		err = moe_net_new(&n, m, &net, d);
	if (!err)
		err = moe_optimiser_new(&opt, moe_net_params(n), o->unit, pool, d);
	if (!err)
		err = measure(out, n, opt, &b, o, rate, d);
	moe_optimiser_free(opt);
	moe_net_free(n);
	batch_free(&b);
	free(rate);
	return err;
}
