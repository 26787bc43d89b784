#include "stage/layers.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "model/choosing.h"

#include "base/range.h"

const char *moe_step_name(enum moe_step s)
{
	static const char *const names[] = {"attend", "route", "expert"};

	return names[s];
}

void moe_layers_init(struct moe_layers *l, struct moe_model *m, size_t first, size_t last)
{
	*l = (struct moe_layers){.model = m, .first = first, .last = last};
	moe_sequences_init(&l->sequences, m);
}

void moe_layers_free(struct moe_layers *l)
{
	moe_sequences_free(&l->sequences);
	moe_arena_free(&l->scratch);
	moe_insight_free(&l->insight);
	free(l->seq);
}

bool moe_layers_parse(const char *text, size_t n, size_t n_layers, size_t *first, size_t *last)
{
	const char *p = text, *end = text + n;
	uint64_t a, b;

	if (!moe_range_read(&p, end, n_layers - 1, &a, &b) || p != end)
		return false;
	*first = (size_t)a;
	*last = (size_t)b;
	return true;
}

void moe_step_before(size_t n, char *at, size_t cap)
{
	if (!n)
		snprintf(at, cap, "embed");
	else
		snprintf(at, cap, "%zu.%s", (n - 1) / MOE_N_STEPS, moe_step_name((n - 1) % MOE_N_STEPS));
}

/* Must the router see all rows? */
static bool watched(const struct moe_layers *l) { return l->observe || l->tracing || l->group; }

/* Does the layer leave out rows that nobody wants? */
static bool cuts(const struct moe_layers *l, size_t layer) { return l->only_wanted && layer + 1 == (size_t)l->model->spec->n_layers; }

static enum moe_err attend_layer(struct moe_layers *l, struct moe_flow *flow, size_t layer, const struct moe_compute *work, struct moe_diag *d)
{
	MOE_TRY(moe_insight_attend(&l->insight, flow, l->model, d));
	MOE_TRY(moe_layer_attend(l->model, layer, &flow->batch, work, d));
	return moe_insight_attended(&l->insight, flow, l->model, layer, d);
}

static enum moe_err attend(struct moe_layers *l, struct moe_flow *flow, size_t layer, const struct moe_compute *work, struct moe_diag *d)
{
	MOE_TRY(moe_sequences_attach(&l->sequences, flow, layer, d));
	if (!cuts(l, layer) || watched(l))
		return attend_layer(l, flow, layer, work, d);
	MOE_TRY(moe_flow_keep(flow, d));
	MOE_TRY(attend_layer(l, flow, layer, work, d));
	return moe_flow_cut(flow, work->scratch, d);
}

/* Leaves out the rows that nobody wants, now that their choices have been seen. */
static enum moe_err cut(struct moe_layers *l, struct moe_flow *flow, size_t layer, const struct moe_compute *work, struct moe_diag *d)
{
	MOE_TRY(moe_flow_keep(flow, d));
	moe_layer_keep(&flow->batch, &flow->routed);
	MOE_TRY(moe_insight_cut(&l->insight, flow, layer, d));
	return moe_flow_cut(flow, work->scratch, d);
}

/* The choices are shown before rows are left out. */
static enum moe_err route(struct moe_layers *l, struct moe_flow *flow, size_t layer, const struct moe_compute *work, struct moe_diag *d)
{
	MOE_TRY(moe_layer_route(l->model, layer, &flow->batch, l->what_if, &flow->routed, work, d));
	if (l->observe && flow->routed.top_k)
		MOE_TRY(l->observe(l->observer, layer, flow, d));
	if (l->tracing && flow->routed.top_k)
		MOE_TRY(moe_tracing_flow(l->tracing, layer, flow, d));
	return cuts(l, layer) && watched(l) ? cut(l, flow, layer, work, d) : MOE_OK;
}

static enum moe_err run_step(struct moe_layers *l, struct moe_flow *flow, size_t step, const struct moe_compute *work, struct moe_diag *d)
{
	size_t layer = step / MOE_N_STEPS;

	switch ((enum moe_step)(step % MOE_N_STEPS)) {
	case MOE_STEP_ATTEND:
		return attend(l, flow, layer, work, d);
	case MOE_STEP_ROUTE:
		return route(l, flow, layer, work, d);
	case MOE_STEP_EXPERT:
		MOE_TRY(moe_insight_expert(&l->insight, flow, l->model, layer, d));
		MOE_TRY(moe_layer_expert(l->model, layer, &flow->batch, &flow->routed, work, d));
		return moe_insight_experted(&l->insight, flow, layer, d);
	default:
		return MOE_EUSAGE;
	}
}

/* Names the frame that a step's failure is about, where it is about values. */
static enum moe_err blame(const struct moe_flow *flow, enum moe_err err, struct moe_diag *d)
{
	const struct moe_span *s = err ? moe_batch_blame(&flow->batch, d) : NULL;

	return s ? moe_frame_blame(flow->frame[s - flow->span], err, d) : err;
}

/* Tells the trace which sequences are over. */
static enum moe_err end_traces(struct moe_layers *l, struct moe_frame **f, size_t n, struct moe_diag *d)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t seq, more;
		MOE_TRY(moe_frame_number(f[i], "moe.more", 0, &more, d));
		MOE_TRY(moe_frame_number(f[i], "moe.seq", UINT64_MAX, &seq, d));
		if (!more)
			MOE_TRY(moe_tracing_over(l->tracing, seq, d));
	}
	return MOE_OK;
}

/* Frames [from, from + n) with each sequence at most once go through all steps together. */
static enum moe_err run_some(struct moe_layers *l, struct moe_frame **f, size_t n, struct moe_output *out, struct moe_diag *d)
{
	struct moe_compute work = {&l->scratch, l->pool, &l->sequences.blocks};
	struct moe_arena_mark mark;
	struct moe_flow flow;

	moe_arena_reset(&l->scratch);
	moe_insight_reset(&l->insight);
	MOE_TRY(moe_flow_open(&flow, f, n, l->model, l->first / MOE_N_STEPS, &l->scratch, d));
	if (l->partial)
		return blame(&flow, moe_partial_forward(l->partial, &flow, l->model, l->first / MOE_N_STEPS, &work, out, d), d);
	mark = moe_arena_mark(&l->scratch);
	for (size_t step = l->first; step <= l->last; step++) {
		if (step % MOE_N_STEPS == MOE_STEP_ROUTE)
			mark = moe_arena_mark(&l->scratch);
		MOE_TRY(blame(&flow, run_step(l, &flow, step, &work, d), d));
		if (step % MOE_N_STEPS == MOE_STEP_EXPERT)
			moe_arena_release(&l->scratch, mark);
	}
	MOE_TRY(moe_flow_close(&flow, l->model, l->last / MOE_N_STEPS, moe_step_name(l->last % MOE_N_STEPS), l->last % MOE_N_STEPS == MOE_STEP_ROUTE, out, d));
	moe_sequences_detach(&l->sequences, &flow);
	return l->tracing ? end_traces(l, f, n, d) : MOE_OK;
}

static enum moe_err run(void *self, struct moe_frame **f, size_t n, struct moe_output *out, struct moe_diag *d)
{
	struct moe_layers *l = self;
	enum moe_kind want = l->first % MOE_N_STEPS == MOE_STEP_EXPERT ? MOE_KIND_ROUTED : MOE_KIND_HIDDEN;
	char at[40];
	size_t from = 0;

	moe_step_before(l->first, at, sizeof at);
	MOE_TRY(moe_grow(&l->seq, &l->seq_cap, n, sizeof *l->seq, d));
	for (size_t i = 0; i < n; i++) {
		MOE_TRY(moe_at_check(f[i], at, l->any_order, d));
		if (f[i]->kind != want)
			return moe_frame_fail(f[i], d, MOE_EMATCH, "expected a frame of kind \"%s\"", moe_kind_name(want));
		MOE_TRY(moe_frame_number(f[i], "moe.seq", UINT64_MAX, &l->seq[i], d));
		for (size_t j = 0; l->group && j < i; j++)
			if (l->seq[i] == l->seq[j])
				return moe_frame_fail(f[i], d, MOE_EINPUT, "the sequence is in this batch twice");
		for (size_t j = from; j < i && !l->group; j++)
			if (l->seq[i] == l->seq[j] || moe_insight_adds(&l->insight)) {        /* a chunk of the same sequence waits for the one before it */
				MOE_TRY(run_some(l, f + from, i - from, out, d));
				from = i;
				break;
			}
	}
	return run_some(l, f + from, n - from, out, d);
}

static enum moe_err notice(void *self, struct moe_frame *f, struct moe_output *out, struct moe_diag *d)
{
	struct moe_layers *l = self;
	uint64_t seq;

	(void)out;
	if (l->tracing && f->kind == MOE_KIND_HEAD)
		return moe_tracing_begin(l->tracing, f, d);
	if (l->tracing && f->kind == MOE_KIND_END)
		return moe_tracing_end(l->tracing, d);
	if (f->kind == MOE_KIND_DROP || f->kind == MOE_KIND_FAILED) {
		MOE_TRY(moe_frame_number(f, "moe.seq", UINT64_MAX, &seq, d));
		moe_sequences_drop(&l->sequences, seq);
		if (l->tracing)
			MOE_TRY(moe_tracing_over(l->tracing, seq, d));
	}
	return MOE_OK;
}

static enum moe_err use_math(void *self, enum moe_math math, struct moe_diag *d)
{
	struct moe_layers *l = self;
	struct moe_math_range r = {.first = l->first / MOE_N_STEPS, .last = l->last / MOE_N_STEPS};

	for (size_t step = l->first; step <= l->last; step++) {
		r.attention |= step % MOE_N_STEPS == MOE_STEP_ATTEND;
		r.experts |= step % MOE_N_STEPS == MOE_STEP_EXPERT;
	}
	r.shared = r.experts && !l->partial;
	if (l->partial) {
		r.first_expert = l->partial->first;
		r.n_experts = l->partial->last - l->partial->first + 1;
	}
	return moe_model_use_math(l->model, math, &r, l->pool, d);
}

enum moe_err moe_layers_check(const struct moe_layers *l, struct moe_diag *d)
{
	bool chooses = false;

	for (size_t step = l->first; step <= l->last; step++) {
		size_t layer = step / MOE_N_STEPS;
		bool depth = moe_spec_has_depth(l->model->spec, layer), routes = step % MOE_N_STEPS == MOE_STEP_ROUTE;
		chooses |= routes || (depth && step % MOE_N_STEPS == MOE_STEP_ATTEND);
		if (depth && moe_insight_adds(&l->insight))
			return moe_fail(d, MOE_EUSAGE, "layer %zu is one that only some rows take (mixture-of-depths): --attention and --parts do not show such layers", layer);
	}
	if (l->insight.parts && l->model->spec->block == MOE_BLOCK_POST)
		return moe_fail(d, MOE_EUSAGE, "a norm stands behind the experts of this model: what --parts shows would not add up to the rows");
	return chooses ? moe_choosing_check(l->model, d) : MOE_OK;
}

struct moe_stage moe_layers_stage(struct moe_layers *l)
{
	return (struct moe_stage){.self = l, .kinds = 1u << MOE_KIND_HIDDEN | 1u << MOE_KIND_ROUTED, .group = l->group, .run = run, .notice = notice,
				  .math = use_math};
}
