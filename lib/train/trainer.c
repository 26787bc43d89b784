#include "train/trainer_priv.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "sys/clock.h"
#include "train/balance.h"
#include "train/schedule.h"
#include "train/teacher.h"

enum { WAITING_NBYTES = 8192 };   /* of a sample that waits to be mixed */

char *moe_train_path(const char *directory, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", directory, name) < 0 ? NULL : path;
}

void moe_trainer_note(struct moe_trainer *t, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (t->o->note)
		t->o->note(t->o->arg, text);
}

void moe_trainer_changed(const struct moe_trainer *t)
{
	if (t->net)
		moe_net_changed(t->net);
	else
		moe_quantise_changed(t->quantise);
}

/* ---- what a recipe means to the parts ---- */

struct moe_net_options moe_trainer_net_options(const struct moe_recipe *r, struct moe_pool *pool)
{
	struct moe_net_options o = {.unit = (enum moe_unit)r->precision, .pool = pool};

	for (size_t i = 0; i < r->n_stages; i++) {
		o.most_pictures = moe_max(o.most_pictures, r->stage[i].batch);
		o.most_text = moe_max(o.most_text, r->stage[i].text_tokens);
	}
	return o;
}

struct moe_loss_settings moe_trainer_losses(const struct moe_recipe_stage *s)
{
	return (struct moe_loss_settings){
		.text = s->text, .image = s->image, .patch = s->patch, .balance = s->balance, .z = s->z, .soft = s->soft, .match = s->match, .patch_layer = s->patch_layer,
		.balance_groups = s->balance_groups, .noise = s->noise, .aux = s->trains == MOE_TRAINS_AUX,
	};
}

enum moe_err moe_trainer_teacher(struct moe_net_teacher *t, const struct moe_model *m, struct moe_model *teacher, const struct moe_recipe *r,
				 const struct moe_net_options *o, struct moe_diag *d)
{
	struct moe_net_options its = *o;

	its.forward_only = true;
	its.teacher = NULL;
	MOE_TRY(moe_teacher_check(m, teacher, d));
	MOE_TRY(moe_teacher_read(t, r, m->spec, teacher->spec, d));
	return moe_net_new(&t->net, teacher, &its, d);
}

static struct moe_augment augment_of(int kind)
{
	static const struct moe_augment known[] = {
		[MOE_AUGMENT_TINT] = {.gain = 0.15, .offset = 12}, [MOE_AUGMENT_COLOUR] = {.permute = true, .invert = true, .gain = 0.3, .offset = 24},
	};

	return known[kind];
}

void moe_trainer_form(struct moe_loader_options *o, const struct moe_model *m, const struct moe_recipe *r, const struct moe_recipe_stage *s)
{
	bool quantiser = r->kind == MOE_RECIPE_KIND_QUANTISER;

	o->spec = m->spec;
	o->directory = m->directory;
	o->most_text = quantiser ? 0 : s->text_tokens;
	o->model = quantiser || !m->spec->image_tokens.count ? NULL : m;
	o->draw = quantiser ? 0 : s->draw;
	o->blank = s->blank;
}

static uint64_t step_samples(const struct moe_recipe_stage *s) { return s->batch * s->accumulate; }

static enum moe_err make_loader(struct moe_loader **out, const struct moe_recipe_stage *s, struct moe_loader_options *o, struct moe_diag *d)
{
	struct moe_mix_source source[MOE_MIX_SOURCES];
	struct moe_augment augment[MOE_MIX_SOURCES];
	struct moe_type_weight *weight = calloc(s->n_types + 1, sizeof *weight);
	enum moe_err err;

	if (!weight)
		return moe_trainer_no_memory(d);
	for (size_t i = 0; i < s->n_sources && i < MOE_MIX_SOURCES; i++) {
		const struct moe_recipe_source *from = &s->source[i];
		source[i] = (struct moe_mix_source){(const char *const *)from->data.item, from->data.n, from->weight};
		augment[i] = augment_of(from->augment);
	}
	for (size_t i = 0; i < s->n_types; i++)
		weight[i] = (struct moe_type_weight){s->type[i].type, s->type[i].weight};
	o->source = source;
	o->augment = augment;
	o->n_sources = s->n_sources;
	o->weight = weight;
	o->n_weights = s->n_types;
	err = s->n_sources > MOE_MIX_SOURCES ? moe_fail(d, MOE_EUSAGE, "a stage has more than %d sources", MOE_MIX_SOURCES) : moe_loader_new(out, o, d);
	free(weight);
	return err;
}

enum moe_err moe_trainer_loader(struct moe_loader **out, const struct moe_model *m, const struct moe_recipe *r, size_t stage, bool ahead, bool no_sandbox,
				const struct moe_mix_position *from, struct moe_diag *d)
{
	const struct moe_recipe_stage *s = &r->stage[stage];
	struct moe_loader_options o = {
		.mix = {.seed = moe_random_u64(r->seed, STREAM_STAGE, stage), .shards.no_sandbox = no_sandbox},
		.batch = step_samples(s), .ahead = ahead, .from = from,
	};

	moe_trainer_form(&o, m, r, s);
	return make_loader(out, s, &o, d);
}

enum moe_err moe_trainer_nbytes(uint64_t *out, const struct moe_spec *s, const struct moe_spec *teacher, const struct moe_recipe *r, const struct moe_pool *pool,
				struct moe_diag *d)
{
	struct moe_net_options o = moe_trainer_net_options(r, NULL), its = o;
	struct moe_net_teacher matches;
	struct moe_sizes sizes;
	uint64_t side = (uint64_t)(s->hidden > s->expert_width ? s->hidden : s->expert_width), sources = 0, samples = 0;

	MOE_TRY(moe_spec_sizes(s, &sizes, d));
	for (size_t i = 0; i < r->n_stages; i++) {
		sources = moe_max(sources, r->stage[i].n_sources);
		samples = moe_max(samples, step_samples(&r->stage[i]));
	}
	its.forward_only = true;
	if (teacher) {
		MOE_TRY(moe_teacher_read(&matches, r, s, teacher, d));
		o.teacher = &matches;
	}
	*out = (r->kind == MOE_RECIPE_KIND_QUANTISER ? moe_quantise_nbytes(s, samples) : moe_net_nbytes(s, &o)) + (teacher ? moe_net_nbytes(teacher, &its) : 0) +
	       sizes.parameters * 8 + moe_pool_threads(pool) * 32 * side * side + moe_loader_nbytes(s, samples, o.most_text) +
	       sources * MOE_MIX_WINDOW * WAITING_NBYTES;
	return MOE_OK;
}

static enum moe_err open_log(struct moe_trainer *t, struct moe_diag *d)
{
	char *path = moe_train_path(t->o->directory, "log.jsonl");
	bool lost = false;
	enum moe_err err = path ? moe_trainlog_open(&t->log, path, t->at.log_nbytes, &lost, d) : moe_trainer_no_memory(d);

	if (!err && lost)
		moe_trainer_note(t, "%s is shorter than it was at the checkpoint: its end is missing", path);
	free(path);
	return err;
}

static enum moe_err write_recipe(struct moe_trainer *t, struct moe_diag *d)
{
	char *path = moe_train_path(t->o->directory, "recipe.json");
	enum moe_err err = path ? moe_recipe_save(t->recipe, path, d) : moe_trainer_no_memory(d);

	free(path);
	return err;
}

/* ---- beginning ---- */

static enum moe_err make_net(struct moe_trainer *t, struct moe_diag *d)
{
	struct moe_net_options o = moe_trainer_net_options(t->o->recipe, t->o->pool);

	if (t->o->recipe->kind == MOE_RECIPE_KIND_QUANTISER)
		return moe_quantise_new(&t->quantise, t->model, o.unit, t->o->pool, d);
	if (t->o->teacher && !t->teacher.net)
		MOE_TRY(moe_trainer_teacher(&t->teacher, t->model, t->o->teacher, t->o->recipe, &o, d));
	o.teacher = t->teacher.net ? &t->teacher : NULL;
	return moe_net_new(&t->net, t->model, &o, d);
}

/* A network with another rope base and the same weights. The tables of positions belong to it, so that it is made anew; the optimiser keeps a parameter table
 * that is equal, but not the old one. */
static enum moe_err use_theta(struct moe_trainer *t, double theta, struct moe_diag *d)
{
	size_t total = moe_net_params(t->net)->total, n = moe_net_params(t->net)->n;
	struct moe_snapshot old = moe_trainer_snapshot(t);
	float *w = malloc(total * sizeof *w);
	struct moe_optimiser *optimiser;
	enum moe_err err;

	if (!w)
		return moe_trainer_no_memory(d);
	memcpy(w, old.weights, total * sizeof *w);
	moe_net_free(t->net);
	t->net = NULL;
	t->model->spec->attention.rope.theta = theta;
	err = make_net(t, d);
	if (!err)
		err = moe_optimiser_new(&optimiser, moe_net_params(t->net), (enum moe_unit)t->o->recipe->precision, t->o->pool, d);
	if (!err) {
		memcpy(moe_net_weights(t->net), w, total * sizeof *w);
		memcpy(moe_optimiser_first(optimiser), old.first, total * sizeof *w);
		memcpy(moe_optimiser_second(optimiser), old.second, total * sizeof *w);
		memcpy(moe_optimiser_steps(optimiser), old.steps, n * sizeof *old.steps);
		moe_optimiser_free(t->optimiser);
		t->optimiser = optimiser;
		moe_net_changed(t->net);
	}
	free(w);
	return err;
}

static bool is_aux(const struct moe_param *p) { return !strncmp(p->logical, "aux_", 4) || !strncmp(p->logical, "depth_aux_", 10); }

/* The model is trained without its auxiliary routers and the quantiser of its image tokens, and they without it. */
static void freeze_others(struct moe_trainer *t, bool aux)
{
	const struct moe_params *p = moe_trainer_params(t);

	for (size_t i = 0; i < p->n; i++)
		t->frozen.tensor[i] |= is_aux(&p->p[i]) != aux || moe_quantise_has(t->model->spec, &p->p[i]) != (t->quantise != NULL);
}

/* What a stage asks of the model is there. */
static enum moe_err check_stage(struct moe_trainer *t, const struct moe_recipe_stage *s, struct moe_diag *d)
{
	struct moe_loss_settings losses = moe_trainer_losses(s);

	if (t->quantise && (s->trains == MOE_TRAINS_AUX || t->o->teacher))
		return moe_fail(d, MOE_EUSAGE, "a quantiser is trained alone: without auxiliary routers (\"train\") and without a teacher");
	if (s->bias_rate > 0 && !moe_balance_possible(moe_trainer_params(t)))
		return moe_fail(d, MOE_EUSAGE, "bias_rate: the routers of this model have no choice bias");
	MOE_TRY(moe_net_check_losses(t->model->spec, &losses, d));
	if (s->patch_layer > t->model->spec->n_layers)
		return moe_fail(d, MOE_EUSAGE, "losses.patch_layer: the model has %lld layers", (long long)t->model->spec->n_layers);
	if (t->net && t->model->spec->image_tokens.count && s->image > 0 && t->model->spec->attention.mask == MOE_MASK_BIDIRECTIONAL_IMAGE)
		return moe_fail(d, MOE_EUSAGE, "losses.image: the patches of this model see each other, so that each image token is seen by the one that is to predict it: "
				"make the model with \"image_attention\": \"causal\", or set losses.image to 0");
	if (s->trains == MOE_TRAINS_AUX && s->freeze.n)
		return moe_fail(d, MOE_EUSAGE, "freeze: a stage of auxiliary routers trains nothing else");
	MOE_TRY(moe_freeze(&t->frozen, moe_trainer_params(t), s->freeze.item, s->freeze.n, d));
	freeze_others(t, s->trains == MOE_TRAINS_AUX);
	return MOE_OK;
}

/* Factors of the rates in a stage; t->factor is NULL where they are all 1. */
static enum moe_err set_factors(struct moe_trainer *t, const struct moe_recipe_stage *s, struct moe_diag *d)
{
	const struct moe_params *params = moe_trainer_params(t);

	free(t->factor);
	t->factor = s->vision_rate != 1 ? moe_calloc(params->n, sizeof *t->factor) : NULL;
	if (s->vision_rate != 1 && !t->factor)
		return moe_trainer_no_memory(d);
	for (size_t i = 0; t->factor && i < params->n; i++)
		t->factor[i] = params->p[i].part == MOE_PART_TOWER || params->p[i].part == MOE_PART_PROJECTOR ? (float)s->vision_rate : 1;
	return MOE_OK;
}

/* The base of RoPE of the stage at hand. */
static enum moe_err stage_theta(struct moe_trainer *t, struct moe_diag *d)
{
	double theta = moe_trainer_stage(t)->rope_theta > 0 ? moe_trainer_stage(t)->rope_theta : t->theta;

	return !t->net || t->model->spec->attention.rope.theta == theta ? MOE_OK : use_theta(t, theta, d);
}

static enum moe_err begin_stage(struct moe_trainer *t, struct moe_diag *d)
{
	const struct moe_recipe_stage *s = moe_trainer_stage(t);

	MOE_TRY(stage_theta(t, d));
	MOE_TRY(check_stage(t, s, d));          /* it also sets what is frozen */
	MOE_TRY(set_factors(t, s, d));
	return moe_trainer_loader(&t->loader, t->model, t->o->recipe, t->at.stage, true, t->o->no_sandbox, t->at.has_data ? &t->at.data : NULL, d);
}

/* The stage at hand is done: on to the next, if there is one. */
static void next_stage(struct moe_trainer *t)
{
	int before = moe_trainer_stage(t)->optimiser;

	moe_loader_free(t->loader);
	t->loader = NULL;
	t->at.stage++;
	t->at.stage_tokens = 0;
	t->at.ended = t->at.has_data = false;
	if (moe_trainer_stage(t)->optimiser != before)
		moe_optimiser_forget_matrices(t->optimiser);
}

static bool stage_is_done(const struct moe_trainer *t) { return t->at.ended || t->at.stage_tokens >= moe_trainer_stage(t)->tokens; }

bool moe_trainer_finished(const struct moe_trainer *t) { return t->at.stage + 1 == t->o->recipe->n_stages && stage_is_done(t); }

const struct moe_run_position *moe_trainer_position(const struct moe_trainer *t) { return &t->at; }

/* A name that leads nowhere is a mistake, and not a sample that is passed over: it is told before the hours, for what is still to come. */
static enum moe_err check_list(const struct moe_recipe_list *l, struct moe_diag *d)
{
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->item[i], "-") && access(l->item[i], R_OK)) {
			moe_fail_errno(d, "cannot read");
			return moe_diag_path(d, l->item[i]);
		}
	return MOE_OK;
}

static enum moe_err check_data(const struct moe_trainer *t, struct moe_diag *d)
{
	const struct moe_recipe *r = t->o->recipe;

	if (moe_trainer_finished(t))
		return MOE_OK;
	for (size_t i = t->at.stage; i < r->n_stages; i++)
		for (size_t j = 0; j < r->stage[i].n_sources; j++)
			MOE_TRY(check_list(&r->stage[i].source[j].data, d));
	MOE_TRY(check_list(&r->calibrate.data, d));
	return check_list(&r->dev.data, d);
}

/* Thresholds are tensors of the model, and belong to routers that have learned. */
static enum moe_err check_calibration(const struct moe_trainer *t, struct moe_diag *d)
{
	const struct moe_recipe *r = t->o->recipe;

	if (!r->calibrate.data.n)
		return MOE_OK;
	if (t->model->spec->aux.threshold != MOE_AUX_STORED)
		return moe_fail(d, MOE_EUSAGE, "calibrate: the model has no thresholds of auxiliary routers (aux_threshold \"stored\")");
	if (r->stage[r->n_stages - 1].trains != MOE_TRAINS_AUX)
		return moe_fail(d, MOE_EUSAGE, "calibrate goes with a last stage that trains auxiliary routers");
	return MOE_OK;
}

static enum moe_err init(struct moe_trainer *t, struct moe_diag *d)
{
	const struct moe_spec *s = t->model->spec;

	t->theta = s->attention.rope.theta;
	t->recipe = moe_recipe_resolved(t->o->recipe);
	if (!t->recipe)
		return moe_trainer_no_memory(d);
	MOE_TRY(make_net(t, d));
	MOE_TRY(moe_optimiser_new(&t->optimiser, moe_trainer_params(t), (enum moe_unit)t->o->recipe->precision, t->o->pool, d));
	for (size_t i = 0; i < t->o->recipe->n_stages; i++)     /* told now, and not after the stages before it */
		MOE_TRY(check_stage(t, &t->o->recipe->stage[i], d));
	MOE_TRY(check_calibration(t, d));
	if (t->o->recipe->dev.flips)
		MOE_TRY(moe_net_check_losses(t->model->spec, &(struct moe_loss_settings){.flips = 1}, d));
	MOE_TRY(moe_trainer_resume(t, d));
	MOE_TRY(check_data(t, d));
	MOE_TRY(open_log(t, d));
	return write_recipe(t, d);
}

enum moe_err moe_trainer_new(struct moe_trainer **out, struct moe_model *m, const struct moe_trainer_options *o, struct moe_diag *d)
{
	struct moe_trainer *t = calloc(1, sizeof *t);
	enum moe_err err;

	if (!t)
		return moe_trainer_no_memory(d);
	t->o = o;
	t->model = m;
	err = init(t, d);
	if (err)
		moe_trainer_free(t);
	else
		*out = t;
	return err;
}

void moe_trainer_free(struct moe_trainer *t)
{
	if (!t)
		return;
	moe_loader_free(t->loader);
	moe_optimiser_free(t->optimiser);
	moe_net_free(t->net);
	moe_net_free(t->teacher.net);
	moe_quantise_free(t->quantise);
	moe_trainlog_close(t->log);
	json_decref(t->recipe);
	moe_frozen_free(&t->frozen);
	free(t->factor);
	free(t);
}

enum moe_err moe_trainer_export(struct moe_trainer *t, const char *directory, const char *families, enum moe_dtype type, struct moe_diag *d)
{
	struct moe_export e = {.families = families, .params = moe_trainer_params(t), .weights = moe_trainer_weights(t), .type = type, .pool = t->o->pool};

	return moe_export_model(directory, t->model, &e, d);
}

/* ---- a step ---- */

static void tell_failed(struct moe_trainer *t, const struct moe_loaded *b)
{
	char text[700];

	for (size_t i = 0; i < b->n_notes; i++)
		moe_trainer_note(t, "passed over: %s", moe_diag_string(&b->note[i], text, sizeof text));
	if (b->failed > b->n_notes)
		moe_trainer_note(t, "passed over: %" PRIu64 " more samples beside these", b->failed - b->n_notes);
	t->at.failed += b->failed;
}

/* What a step computed: the one or the other. */
struct computed {
	struct moe_step_result net;
	struct moe_quantise_result quantise;
	bool finite;
	uint64_t rows;
	size_t samples;
};

/* Losses and gradient of the next batch. No rows: the data have ended. */
static enum moe_err compute(struct moe_trainer *t, struct computed *c, struct moe_diag *d)
{
	struct moe_loss_settings losses = moe_trainer_losses(moe_trainer_stage(t));
	const struct moe_loaded *b;
	enum moe_err err = moe_loader_next(t->loader, &b, d);

	*c = (struct computed){0};
	if (err == MOE_END) {
		t->at.ended = true;
		moe_trainer_note(t, "the data of stage %" PRIu64 " have ended after %" PRIu64 " of its %" PRIu64 " tokens", t->at.stage + 1, t->at.stage_tokens, moe_trainer_stage(t)->tokens);
		return MOE_OK;
	}
	MOE_TRY(err);
	tell_failed(t, b);
	losses.noise_seed = moe_random_u64(t->o->recipe->seed, STREAM_NOISE, t->at.step);
	if (t->net)
		MOE_TRY(moe_net_step(t->net, b->packed, b->n, &losses, true, &c->net, d));
	else
		MOE_TRY(moe_quantise_step(t->quantise, b->packed, b->n, moe_trainer_stage(t)->commitment, true, &c->quantise, d));
	c->finite = t->net ? c->net.finite : c->quantise.finite;
	c->rows = t->net ? c->net.rows : c->quantise.patches;
	c->samples = b->n;
	t->at.data = b->after;
	t->at.has_data = true;
	return MOE_OK;
}

/* Changes the weights; false: the gradient is not finite, and nothing was changed. */
static bool update(struct moe_trainer *t, const struct computed *c, struct moe_trainlog_step *line)
{
	const struct moe_recipe_stage *stage = moe_trainer_stage(t);
	const struct moe_schedule schedule = {.tokens = stage->tokens, .warmup = stage->warmup, .decay = stage->decay, .floor = stage->floor};
	double factor = moe_schedule_factor(&schedule, t->at.stage_tokens, c->rows);
	float *gradient = moe_trainer_gradient(t), *weights = moe_trainer_weights(t);
	struct moe_optimiser_step step = {
		.kind = (enum moe_optimiser_kind)stage->optimiser, .muon_rate = stage->muon_rate * factor, .adamw_rate = stage->adamw_rate * factor,
		.weight_decay = stage->weight_decay, .scale = 1, .frozen = t->frozen.tensor, .factor = t->factor,
	};

	line->muon_rate = step.kind == MOE_OPTIMISER_MUON ? step.muon_rate : 0;
	line->adamw_rate = step.adamw_rate;
	moe_frozen_hold(&t->frozen, weights, gradient);
	line->grad_norm = moe_optimiser_norm(t->optimiser, gradient, t->frozen.tensor);
	if (!c->finite || !isfinite(line->grad_norm))
		return false;
	if (stage->clip > 0 && line->grad_norm > stage->clip)
		step.scale = stage->clip / line->grad_norm;
	moe_optimiser_step(t->optimiser, &step, weights, gradient);
	if (t->quantise)
		moe_quantise_move(t->quantise, stage->code_decay, moe_random_u64(t->o->recipe->seed, STREAM_CODES, 0), t->at.step);
	if (t->net && stage->bias_rate > 0)
		moe_balance_update(moe_trainer_params(t), weights, c->net.load, &t->model->spec->router, stage->bias_rate, t->frozen.tensor);
	moe_frozen_restore(&t->frozen, weights);
	moe_trainer_changed(t);
	return true;
}

/* Shown means forget with a half-life of some ten steps. */
static double blend(double old, double new) { return old > 0 && isfinite(new) ? 0.93 * old + 0.07 * new : isfinite(new) ? new : old; }

static void show(struct moe_trainer *t, const struct computed *c, double seconds)
{
	struct moe_train_progress *p = &t->shown;

	p->step = t->at.step;
	p->tokens = t->at.tokens;
	p->all_tokens = moe_recipe_tokens(t->o->recipe);
	p->stage = moe_trainer_stage(t)->name;
	p->quantiser = t->quantise;
	p->text = blend(p->text, c->net.text);
	p->image = blend(p->image, c->net.image);
	p->patch = blend(p->patch, c->net.patch);
	p->psnr = blend(p->psnr, c->quantise.psnr);
	p->codes = c->quantise.codes;
	p->tokens_per_second = blend(p->tokens_per_second, (double)c->rows / seconds);
	p->busiest = c->net.busiest;
	p->seconds_left = p->all_tokens > p->tokens ? (double)(p->all_tokens - p->tokens) / p->tokens_per_second : 0;
	p->failed = t->at.failed;
	p->skipped = t->at.skipped;
	if (t->o->progress)
		t->o->progress(t->o->arg, p);
}

static enum moe_err count_skipped(struct moe_trainer *t, bool good, struct moe_diag *d)
{
	t->at.in_a_row = good ? 0 : t->at.in_a_row + 1;
	if (good)
		return MOE_OK;
	t->at.skipped++;
	moe_trainer_note(t, "step %" PRIu64 " is skipped: its loss or gradient is not finite", t->at.step);
	if (t->at.in_a_row < MOE_TRAIN_MOST_SKIPPED)
		return MOE_OK;
	return moe_fail(d, MOE_EINPUT, "loss or gradient were not finite in %d steps in a row (to step %" PRIu64 "): a lower learning rate or clip may help; the last checkpoint "
			"stays as it is", MOE_TRAIN_MOST_SKIPPED, t->at.step);
}

/* The step's line; `line` has what the update found. */
static enum moe_err write_line(struct moe_trainer *t, struct moe_trainlog_step *line, const struct computed *c, struct moe_diag *d)
{
	if (t->quantise)
		return moe_trainlog_write_quantiser(t->log, &(struct moe_trainlog_quantiser){
			.step = line->step, .tokens = line->tokens, .stage = line->stage, .loss = c->quantise.total, .picture = c->quantise.picture,
			.commitment = c->quantise.commitment, .psnr = c->quantise.psnr, .codes = c->quantise.codes, .grad_norm = line->grad_norm,
			.rate = line->adamw_rate, .skipped = line->skipped, .seconds = line->seconds, .patches = c->rows,
		}, d);
	line->loss = c->net.total;
	line->text = c->net.text;
	line->image = c->net.image;
	line->has_image = c->net.image_targets;
	line->patch = c->net.patch;
	line->balance = c->net.balance;
	line->z = c->net.z;
	line->taught = t->o->teacher;
	line->soft = c->net.soft;
	line->match = c->net.match;
	line->experts_choose = t->model->spec->router.chooses == MOE_CHOICE_EXPERT;
	line->unserved = c->net.unserved;
	line->of_aux = moe_trainer_stage(t)->trains == MOE_TRAINS_AUX;
	line->aux = c->net.aux;
	line->right = c->net.aux_right;
	line->foretold = c->net.aux_foretold;
	line->taken = c->net.aux_taken;
	line->busiest = c->net.busiest;
	line->rows = c->rows;
	return moe_trainlog_write_step(t->log, line, d);
}

static enum moe_err take_step(struct moe_trainer *t, struct moe_diag *d)
{
	struct moe_trainlog_step line = {.stage = moe_trainer_stage(t)->name};
	struct computed c;
	double seconds;
	bool good;

	t->began = moe_clock();
	MOE_TRY(compute(t, &c, d));
	if (!c.rows && !t->at.stage_tokens)
		return moe_fail(d, MOE_EINPUT, "stage %" PRIu64 ": there is no sample in its data", t->at.stage + 1);
	if (!c.rows)
		return MOE_OK;
	good = update(t, &c, &line);
	t->at.step++;
	t->at.tokens += c.rows;
	t->at.stage_tokens += c.rows;
	t->at.samples += c.samples;
	seconds = fmax(moe_clock() - t->began, 1e-9);
	line.step = t->at.step;
	line.tokens = t->at.tokens;
	line.skipped = !good;
	line.seconds = t->o->timings ? seconds : 0;
	MOE_TRY(write_line(t, &line, &c, d));
	show(t, &c, seconds);
	return count_skipped(t, good, d);
}

/* ---- between steps ---- */

/* Lies a multiple of `every` in (before, after]? */
static bool passed(uint64_t before, uint64_t after, uint64_t every) { return before / every != after / every; }

static bool to_keep(const struct moe_recipe *r, uint64_t before, uint64_t after)
{
	for (size_t i = 0; i < r->checkpoint.n_keep; i++)
		if (r->checkpoint.keep[i] > before && r->checkpoint.keep[i] <= after)
			return true;
	return false;
}

static enum moe_err after_step(struct moe_trainer *t, uint64_t before, bool stop, struct moe_diag *d)
{
	const struct moe_recipe *r = t->o->recipe;
	uint64_t after = t->at.tokens;
	bool last = moe_trainer_finished(t), keep = to_keep(r, before, after);

	if (last && r->calibrate.data.n)
		MOE_TRY(moe_trainer_calibrate(t, d));
	if (r->dev.data.n && (last || passed(before, after, r->dev.every)))
		MOE_TRY(moe_trainer_evaluate(t, d));
	return last || stop || keep || passed(before, after, r->checkpoint.every) ? moe_trainer_save(t, keep, last || stop, d) : MOE_OK;
}

enum moe_err moe_trainer_run(struct moe_trainer *t, enum moe_train_end *end, struct moe_diag *d)
{
	while (!moe_trainer_finished(t)) {
		uint64_t before = t->at.tokens;
		bool stop;
		if (stage_is_done(t))
			next_stage(t);
		if (!t->loader)
			MOE_TRY(begin_stage(t, d));
		MOE_TRY(take_step(t, d));
		stop = t->o->stop && *t->o->stop;
		MOE_TRY(after_step(t, before, stop, d));
		if (stop && !moe_trainer_finished(t)) {
			*end = MOE_TRAIN_STOPPED;
			return MOE_OK;
		}
	}
	*end = MOE_TRAIN_FINISHED;
	return stage_theta(t, d);       /* a run that was stopped behind its last step has begun no stage here */
}
