#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "train/devset.h"
#include "train/trainer_priv.h"

/* Samples that are not trained on, in their order, once. */
static enum moe_err held_out(struct moe_loader **out, const struct moe_trainer *t, const struct moe_recipe_list *data, uint64_t samples, struct moe_diag *d)
{
	const struct moe_recipe_stage *s = moe_trainer_stage(t);
	struct moe_mix_source source = {(const char *const *)data->item, data->n, 1};
	struct moe_loader_options o = {
		.source = &source, .n_sources = 1,
		.mix = {.seed = moe_random_u64(t->o->recipe->seed, STREAM_DEV, 0), .window = 1, .ordered = true, .once = true, .shards.no_sandbox = t->o->no_sandbox},
		.batch = moe_min(s->batch, samples), .ahead = true,
	};

	moe_trainer_form(&o, t->model, t->o->recipe, s);
	o.blank = 0;            /* how well pictures follow captions is measured with captions */
	return moe_loader_new(out, &o, d);
}

static void tell_failed_dev(struct moe_trainer *t, uint64_t n)
{
	if (n)
		moe_trainer_note(t, "%" PRIu64 " samples of dev are no good, and passed over", n);
}

/* One line of the log, of one who chooses. */
static enum moe_err evaluate_as(struct moe_trainer *t, enum moe_net_choice who, const char *choice, double flips, struct moe_diag *d)
{
	const struct moe_recipe *r = t->o->recipe;
	struct moe_loss_settings losses = moe_trainer_losses(moe_trainer_stage(t));
	struct moe_devset v = {0};
	struct moe_loader *loader;
	enum moe_err err;

	losses.noise = losses.aux = 0;
	losses.choice = who;
	losses.flips = flips;
	MOE_TRY(held_out(&loader, t, &r->dev.data, r->dev.samples, d));
	err = moe_devset_run(&v, t->net, loader, r->dev.samples, &losses, d);
	tell_failed_dev(t, v.failed);
	if (!err)
		err = moe_trainlog_write_dev(t->log, &(struct moe_trainlog_dev){
			.step = t->at.step, .tokens = t->at.tokens, .questions = v.questions, .exact = v.exact, .type = v.type, .n_types = v.n_types, .choice = choice, .flips = flips,
			.text = v.text_targets ? v.text / (double)v.text_targets : 0, .patch = v.patch_targets ? v.patch / (double)v.patch_targets : 0,
			.image = v.image_targets ? v.image / (double)v.image_targets : 0, .has_image = v.image_targets,
		}, d);
	moe_devset_clear(&v);
	moe_loader_free(loader);
	return err;
}

/* How well the quantiser stands for pictures. */
static enum moe_err evaluate_quantiser(struct moe_trainer *t, struct moe_diag *d)
{
	const struct moe_recipe *r = t->o->recipe;
	struct moe_quantise_sums s = {0};
	struct moe_loader *loader;
	const struct moe_loaded *b;
	enum moe_err err = MOE_OK;

	MOE_TRY(held_out(&loader, t, &r->dev.data, r->dev.samples, d));
	for (uint64_t left = r->dev.samples; left && !err && !(err = moe_loader_next(loader, &b, d));) {
		struct moe_quantise_result result;
		size_t n = moe_min(b->n, left);
		left -= n;
		s.failed += b->failed;
		err = moe_quantise_step(t->quantise, b->packed, n, 0, false, &result, d);
		if (!err)
			err = moe_quantise_count(t->quantise, &s, d);
	}
	err = err == MOE_END ? MOE_OK : err;
	tell_failed_dev(t, s.failed);
	if (!err && s.pictures)
		err = moe_trainlog_write_quantiser(t->log, &(struct moe_trainlog_quantiser){
			.dev = true, .step = t->at.step, .tokens = t->at.tokens, .psnr = moe_quantise_psnr(s.squares, s.numbers),
			.codes = moe_quantise_codes(t->quantise, s.chosen),
		}, d);
	free(s.chosen);
	moe_loader_free(loader);
	return err;
}

enum moe_err moe_trainer_evaluate(struct moe_trainer *t, struct moe_diag *d)
{
	const struct moe_spec *s = t->model->spec;
	bool together = moe_spec_chooses_rows(s), last = moe_trainer_finished(t);
	static const double shares[] = {0.001, 0.0025, 0.005, 0.01, 0.02, 0.05};       /* MoMa, section 4.6 */
	char choice[32];

	if (t->quantise)
		return evaluate_quantiser(t, d);
	snprintf(choice, sizeof choice, "batch:%lld", (long long)s->router.batch);
	MOE_TRY(evaluate_as(t, MOE_NET_BATCH, together ? choice : NULL, 0, d));
	for (size_t i = 0; last && t->o->recipe->dev.flips && i < sizeof shares / sizeof *shares; i++)
		MOE_TRY(evaluate_as(t, MOE_NET_BATCH, choice, shares[i], d));
	if (moe_trainer_stage(t)->trains != MOE_TRAINS_AUX)
		return MOE_OK;
	MOE_TRY(evaluate_as(t, MOE_NET_AUX, "causal:aux", 0, d));
	return last && t->o->recipe->calibrate.data.n ? evaluate_as(t, MOE_NET_THRESHOLD, "causal:threshold", 0, d) : MOE_OK;
}

enum moe_err moe_trainer_calibrate(struct moe_trainer *t, struct moe_diag *d)
{
	const struct moe_recipe *r = t->o->recipe;
	uint64_t left = r->calibrate.samples;
	struct moe_loader *loader;
	enum moe_err err;

	MOE_TRY(held_out(&loader, t, &r->calibrate.data, left, d));
	do {
		const struct moe_loaded *b;
		size_t n;
		err = moe_loader_next(loader, &b, d);
		if (err)
			break;
		n = moe_min(b->n, left);
		left -= n;
		err = moe_net_calibrate(t->net, b->packed, n, d);
	} while (left && !err);
	moe_loader_free(loader);
	return err && err != MOE_END ? err : moe_net_calibrated(t->net, d);
}
