#include "eval/loss_pairs.h"

#include <math.h>
#include <stdio.h>

#include "base/check.h"
#include "train/loader.h"

/* Sums of one kind of targets over the batches, of which each has a mean with its own pictures and one with others'. */
struct sums {
	double own, other, weight;
	double n, mean, squares;        /* of the differences of the batches (Welford) */
};

static void add(struct sums *s, double own, double other, double weight)
{
	double difference = other - own, before;

	if (weight <= 0)
		return;
	s->own += own * weight;
	s->other += other * weight;
	s->weight += weight;
	before = difference - s->mean;
	s->n++;
	s->mean += before / s->n;
	s->squares += before * (difference - s->mean);
}

static struct moe_loss_pair pair_of(const struct sums *s, uint64_t targets)
{
	struct moe_loss_pair p = {.targets = targets};

	if (s->weight > 0) {
		p.own = s->own / s->weight;
		p.other = s->other / s->weight;
	}
	if (s->n > 1)
		p.error = sqrt(s->squares / (s->n - 1) / s->n);
	return p;
}

static enum moe_err open_loader(struct moe_loader **out, const struct moe_model *m, const struct moe_losses_options *o, bool others, struct moe_diag *d)
{
	struct moe_mix_source source = {o->path, o->n_paths, 1};
	struct moe_loader_options l = {
		.spec = m->spec, .model = m->spec->image_tokens.count ? m : NULL, .draw = o->draw, .directory = m->directory, .source = &source, .n_sources = 1,
		.mix = {.window = 1, .ordered = true, .once = true, .shards.no_sandbox = o->no_sandbox}, .batch = o->batch, .most_text = o->text_tokens,
		.others = others, .ahead = true,
	};

	return moe_loader_new(out, &l, d);
}

static void tell(const struct moe_losses_options *o, const struct moe_loaded *b)
{
	for (size_t i = 0; o->failed && i < b->n_notes; i++)
		o->failed(o->self, &b->note[i]);
}

/* The same samples side by side, until one of the loaders is at its end. */
static enum moe_err walk(struct moe_losses *out, struct moe_net *net, struct moe_loader *own, struct moe_loader *other, const struct moe_loss_settings *s,
			 const struct moe_losses_options *o, bool first, struct moe_diag *d)
{
	struct sums text = {0}, image = {0};
	uint64_t left = o->limit ? o->limit : UINT64_MAX;
	enum moe_err err = MOE_OK;

	while (left && !err) {
		const struct moe_loaded *a, *b;
		struct moe_step_result is, were;
		size_t n;
		err = moe_loader_next(own, &a, d);
		if (first && !err)
			tell(o, a);
		if (err == MOE_END && !out->samples && a->n_notes)
			return *d = a->note[0], MOE_EINPUT;
		if (!err)
			err = moe_loader_next(other, &b, d);
		if (err)
			break;
		n = moe_min(moe_min(a->n, b->n), left);
		left -= n;
		out->samples += n;
		out->failed += a->failed;
		err = moe_net_step(net, a->packed, n, s, false, &is, d);
		if (!err)
			err = moe_net_step(net, b->packed, n, s, false, &were, d);
		if (err)
			break;
		add(&text, is.text, were.text, is.text_weight);
		add(&image, is.image, were.image, is.image_weight);
		out->text.targets += is.text_targets;
		out->image.targets += is.image_targets;
	}
	out->text = pair_of(&text, out->text.targets);
	out->image = pair_of(&image, out->image.targets);
	return err == MOE_END ? MOE_OK : err;
}

static enum moe_err run(struct moe_losses *out, struct moe_net *net, const struct moe_model *m, const struct moe_losses_options *o, enum moe_net_choice who,
			const char *choice, bool first, struct moe_diag *d)
{
	struct moe_loss_settings s = {.text = 1, .image = 1, .choice = who};
	struct moe_loader *own = NULL, *other = NULL;
	enum moe_err err = open_loader(&own, m, o, false, d);

	*out = (struct moe_losses){.choice = choice};
	if (!err)
		err = open_loader(&other, m, o, true, d);
	if (!err)
		err = walk(out, net, own, other, &s, o, first, d);
	moe_loader_free(own);
	moe_loader_free(other);
	return err || out->samples ? err : moe_fail(d, MOE_EUSAGE, "there is no sample to evaluate");
}

enum moe_err moe_losses_run(struct moe_losses out[MOE_MOST_LOSSES], size_t *n, struct moe_model *m, const struct moe_losses_options *o, struct moe_diag *d)
{
	static char batch[32];
	struct moe_net_options no = {.unit = MOE_UNIT_F32, .most_pictures = o->batch, .most_text = o->text_tokens, .pool = o->pool};
	bool together = moe_spec_chooses_rows(m->spec);
	struct moe_net *net = NULL;
	enum moe_err err = moe_net_new(&net, m, &no, d);

	snprintf(batch, sizeof batch, "batch:%lld", (long long)m->spec->router.batch);
	*n = 0;
	if (!err)
		err = run(&out[(*n)++], net, m, o, MOE_NET_BATCH, together ? batch : NULL, true, d);
	if (!err && m->spec->aux.routers)
		err = run(&out[(*n)++], net, m, o, MOE_NET_AUX, "causal:aux", false, d);
	if (!err && m->spec->aux.routers && m->spec->aux.threshold == MOE_AUX_STORED)
		err = run(&out[(*n)++], net, m, o, MOE_NET_THRESHOLD, "causal:threshold", false, d);
	moe_net_free(net);
	return err;
}
