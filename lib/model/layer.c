#include "model/layer.h"

#include <stdio.h>
#include <string.h>

#include "image/fit.h"
#include "model/choosing.h"
#include "nn/depth.h"
#include "nn/quantiser.h"

/* Adds the layer to what a failure says. */
static enum moe_err blame_layer(enum moe_err err, size_t layer, struct moe_diag *d)
{
	size_t n = err && d ? strlen(d->text) : 0;

	if (n && n + 24 < sizeof d->text)
		snprintf(d->text + n, sizeof d->text - n, " (layer %zu)", layer);
	return err;
}

static enum moe_err no_memory(size_t rows, struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory for %zu rows", rows); }

/* ---- rows that go on ---- */

/* Moves the rows that spans keep together, in an array of `nbytes` for each row (NULL: nothing). */
static void move_kept(const struct moe_batch *b, void *array, size_t nbytes)
{
	char *p = array;
	size_t at = 0;

	for (size_t i = 0; p && i < b->spans; i++) {
		const struct moe_span *s = &b->span[i];
		size_t n = moe_span_kept(s);
		memmove(p + at * nbytes, p + (s->first + s->n - n) * nbytes, n * nbytes);
		at += n;
	}
}

/* The same for what is known of mixture-of-depths, and of the spans themselves. */
static void cut_spans(struct moe_batch *b)
{
	size_t at = 0;

	if (b->depth.on) {
		move_kept(b, b->depth.taken, 1);
		move_kept(b, b->depth.entry, b->hidden * sizeof(float));
		move_kept(b, b->depth.logit, sizeof(float));
	}
	for (size_t i = 0; i < b->spans; i++) {
		moe_span_trim(&b->span[i], at, b->hidden);
		at += b->span[i].n;
	}
	b->rows = at;
}

/* ---- mixture-of-depths ---- */

/* The rows x of the batch, to `to` [rows][hidden]. */
static void copy_rows(float *to, const struct moe_batch *b)
{
	for (size_t i = 0; i < b->spans; i++)
		memcpy(to + b->span[i].first * b->hidden, b->span[i].x, b->span[i].n * b->hidden * sizeof *to);
}

/* The arrays are made once for a batch. */
enum moe_err moe_layer_enter(struct moe_batch *b, const struct moe_compute *work, struct moe_diag *d)
{
	struct moe_batch_depth *p = &b->depth;

	if (!p->entry) {
		p->taken = moe_arena_get(work->scratch, b->rows, 1);
		p->logit = moe_arena_get(work->scratch, b->rows, sizeof *p->logit);
		p->entry = moe_arena_get(work->scratch, b->rows * b->hidden, sizeof *p->entry);
	}
	if (!p->taken || !p->logit || !p->entry)
		return no_memory(b->rows, d);
	p->on = true;
	copy_rows(p->entry, b);
	return MOE_OK;
}

/* Who takes the layer. */
static enum moe_err decide(const struct moe_model *m, size_t layer, struct moe_batch *b, const struct moe_compute *work, struct moe_diag *d)
{
	const struct moe_layer *l = &m->layer[layer];
	struct moe_batch_depth *p = &b->depth;
	struct moe_arena_mark mark;
	float *foretold;
	enum moe_err err;

	MOE_TRY(moe_layer_enter(b, work, d));
	moe_matmul(p->logit, 1, p->entry, b->hidden, b->rows, &l->depth, work->pool);
	if (m->choosing == MOE_CHOOSING_BATCH)
		return moe_depth_choose(p->taken, p->logit, b->rows, m->spec->depth.capacity, work->scratch, d);
	MOE_TRY(moe_choosing_check(m, d));
	mark = moe_arena_mark(work->scratch);
	foretold = moe_arena_get(work->scratch, b->rows, sizeof *foretold);
	if (!foretold)
		return no_memory(b->rows, d);
	MOE_TRY(moe_aux_forward(foretold, p->entry, b->rows, &l->depth_aux, work, d));
	err = moe_depth_predict(p->taken, foretold, b->rows, m->choosing == MOE_CHOOSING_THRESHOLD ? *l->depth_threshold : 0, d);
	moe_arena_release(work->scratch, mark);
	return err;
}

/* The taken rows as a batch of their own, with a copy of x, for attention. */
static enum moe_err gather_taken(struct moe_batch *out, const struct moe_batch *b, size_t layer, struct moe_arena *a, struct moe_diag *d)
{
	float *x = moe_arena_get(a, b->rows * b->hidden, sizeof *x);
	int32_t *position = moe_arena_get(a, b->rows * b->axes, sizeof *position), *image = moe_arena_get(a, b->rows, sizeof *image);
	struct moe_span *span = moe_arena_zero(a, b->spans, sizeof *span);
	size_t n = 0, at = 0;

	if (!x || !position || !image || !span)
		return no_memory(b->rows, d);
	for (size_t r = 0; r < b->rows; r++)
		n += b->depth.taken[r];
	for (size_t i = 0; i < b->spans; i++) {
		const struct moe_span *s = &b->span[i];
		size_t slot;
		MOE_TRY(moe_cache_see(&s->cache[layer], s->start, b->depth.taken + s->first, s->n, &slot, d));
		span[i] = (struct moe_span){.first = at, .x = x + at * b->hidden, .start = (uint32_t)slot, .cache = s->cache};
		for (size_t r = s->first; r < s->first + s->n; r++) {
			if (!b->depth.taken[r])
				continue;
			memcpy(x + at * b->hidden, b->depth.entry + r * b->hidden, b->hidden * sizeof *x);
			for (size_t axis = 0; axis < b->axes; axis++)
				position[axis * n + at] = b->position[axis * b->rows + r];
			image[at++] = b->image[r];
		}
		span[i].n = at - span[i].first;
	}
	*out = (struct moe_batch){.rows = n, .hidden = b->hidden, .axes = b->axes, .position = position, .image = image, .span = span, .spans = b->spans};
	return MOE_OK;
}

/* The attention of those who take the layer, in which the others are as they were. */
static enum moe_err attend_taken(const struct moe_model *m, size_t layer, struct moe_batch *b, const struct moe_compute *work, struct moe_diag *d)
{
	struct moe_arena_mark mark;
	struct moe_batch taken;

	MOE_TRY(blame_layer(decide(m, layer, b, work, d), layer, d));
	mark = moe_arena_mark(work->scratch);
	MOE_TRY(gather_taken(&taken, b, layer, work->scratch, d));
	if (taken.rows)
		MOE_TRY(moe_attention_forward(&taken, layer, &m->layer[layer].attention, &m->spec->attention, (float)m->spec->norm_eps, work, d));
	for (size_t i = 0; i < b->spans; i++) {
		const struct moe_span *s = &b->span[i];
		const float *x = taken.span[i].x;
		s->cache[layer].n_slots = taken.span[i].start + taken.span[i].n;
		for (size_t r = 0; r < s->n; r++)
			if (b->depth.taken[s->first + r]) {
				memcpy(s->x + r * b->hidden, x, b->hidden * sizeof *x);
				x += b->hidden;
			}
	}
	moe_arena_release(work->scratch, mark);
	move_kept(b, b->modality, 1);
	cut_spans(b);
	return MOE_OK;
}

enum moe_err moe_layer_attend(const struct moe_model *m, size_t layer, struct moe_batch *b, const struct moe_compute *work, struct moe_diag *d)
{
	b->depth.on = false;
	if (m->layer[layer].depth.data)
		MOE_TRY(attend_taken(m, layer, b, work, d));
	else
		MOE_TRY(moe_attention_forward(b, layer, &m->layer[layer].attention, &m->spec->attention, (float)m->spec->norm_eps, work, d));
	for (size_t i = 0; i < b->spans; i++)
		b->span[i].cache[layer].n_rows = b->span[i].start + b->span[i].n;
	return MOE_OK;
}

/* Behind attention, a batch in a layer with mixture-of-depths knows who took it. */
static enum moe_err check_depth(const struct moe_model *m, size_t layer, const struct moe_batch *b, struct moe_diag *d)
{
	if (!m->layer[layer].depth.data || b->depth.on)
		return MOE_OK;
	return moe_fail(d, MOE_EMATCH, "only some rows take layer %zu, and nobody said which (tensors \"depth\", \"depth_logit\" and \"entry\" of moe-attend)", layer);
}

static bool skips(const struct moe_batch *b, size_t row) { return b->depth.on && !b->depth.taken[row]; }

/* ---- router ---- */

/* What router and experts read of a span, into to [n][hidden]. */
static void norm_span(const struct moe_model *m, size_t layer, const struct moe_batch *b, const struct moe_span *s, float *to, float **normed)
{
	const struct moe_ffn_weights *ffn = &m->layer[layer].ffn;

	if (ffn->post)
		memcpy(to, s->x, s->n * b->hidden * sizeof *to);
	else
		moe_norm_forward(to, b->hidden, s->x, b->hidden, &ffn->norm, s->n, b->hidden, (float)m->spec->norm_eps);
	for (size_t r = 0; r < s->n; r++) {
		normed[s->first + r] = to + r * b->hidden;
		if (skips(b, s->first + r))
			memset(to + r * b->hidden, 0, b->hidden * sizeof *to);
	}
}

/* The arrays of a routing of `rows` rows. */
static enum moe_err plan_routed(struct moe_routed *r, const struct moe_spec *s, size_t layer, size_t rows, struct moe_arena *a, struct moe_diag *d)
{
	size_t experts = (size_t)s->router.experts;
	bool compares = s->router.choice_bias || s->router.groups > 1 || s->router.chooses == MOE_CHOICE_EXPERT, ok;

	*r = (struct moe_routed){.top_k = moe_spec_top_k(s, layer), .normed = moe_arena_get(a, rows, sizeof *r->normed)};
	ok = r->normed;
	if (r->top_k) {
		r->logit = moe_arena_get(a, rows * experts, sizeof(float));
		r->choice = compares ? moe_arena_get(a, rows * experts, sizeof(float)) : NULL;
		r->expert_id = moe_arena_get(a, rows * r->top_k, sizeof(int32_t));
		r->weight = moe_arena_get(a, rows * r->top_k, sizeof(float));
		ok = ok && r->logit && (r->choice || !compares) && r->expert_id && r->weight;
	}
	return ok ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory for the router of %zu rows", rows);
}

/* The choice of a layer whose experts choose, or are foretold to. */
static enum moe_err choose_rows(const struct moe_model *m, size_t layer, const float *normed, const struct moe_router_rows *in, struct moe_router_choice *out,
				const struct moe_compute *work, struct moe_diag *d)
{
	const struct moe_router_settings *s = &m->spec->router;
	const struct moe_layer *l = &m->layer[layer];
	struct moe_arena_mark mark = moe_arena_mark(work->scratch);
	float *foretold;
	enum moe_err err;

	if (m->choosing == MOE_CHOOSING_BATCH)
		return moe_router_choose_rows(out, in, s, work->scratch, d);
	MOE_TRY(moe_choosing_check(m, d));
	foretold = moe_arena_get(work->scratch, in->rows * (size_t)s->experts, sizeof *foretold);
	if (!foretold)
		return no_memory(in->rows, d);
	MOE_TRY(moe_aux_predict(foretold, normed, in->rows, l->aux, s, in->modality, work, d));
	err = moe_router_choose_predicted(out, in, foretold, m->choosing == MOE_CHOOSING_THRESHOLD ? l->aux_threshold : NULL, s, work->scratch, d);
	moe_arena_release(work->scratch, mark);
	return err;
}

/* The choice by logits, of which those of others than the eligible experts are taken out first. */
static enum moe_err choose(const struct moe_model *m, size_t layer, const struct moe_batch *b, const float *normed, const struct moe_what_if *w,
			   struct moe_routed *r, const struct moe_compute *work, struct moe_diag *d)
{
	const struct moe_router_settings *s = &m->spec->router;
	struct moe_router_choice out = {r->expert_id, r->weight, r->choice};
	struct moe_router_rows in = {.rows = b->rows, .logit = r->logit, .choice_bias = m->layer[layer].ffn.choice_bias, .modality = b->modality,
				     .taken = b->depth.on ? b->depth.taken : NULL, .what_if = w};

	if (s->pools.n || in.taken)
		MOE_TRY(moe_router_mask(r->logit, b->rows, s, b->modality, in.taken, d));
	return s->chooses == MOE_CHOICE_EXPERT ? choose_rows(m, layer, normed, &in, &out, work, d) : moe_router_choose(&out, &in, s, work->scratch, d);
}

enum moe_err moe_layer_route(const struct moe_model *m, size_t layer, const struct moe_batch *b, const struct moe_what_if_table *w, struct moe_routed *out,
			     const struct moe_compute *work, struct moe_diag *d)
{
	const struct moe_ffn_weights *ffn = &m->layer[layer].ffn;
	size_t experts = (size_t)m->spec->router.experts;
	float *normed = moe_arena_get(work->scratch, b->rows * b->hidden, sizeof *normed);

	MOE_TRY(check_depth(m, layer, b, d));
	if (!normed)
		return no_memory(b->rows, d);
	MOE_TRY(plan_routed(out, m->spec, layer, b->rows, work->scratch, d));
	for (size_t i = 0; i < b->spans; i++)
		norm_span(m, layer, b, &b->span[i], normed + b->span[i].first * b->hidden, out->normed);
	if (!out->top_k)
		return MOE_OK;
	moe_matmul(out->logit, experts, normed, b->hidden, b->rows, &ffn->router, work->pool);
	for (size_t r = 0; ffn->router_bias && r < b->rows; r++)
		moe_add(out->logit + r * experts, ffn->router_bias, experts);
	if (!b->modality && (m->spec->router.pools.n || m->spec->router.choice_biases > 1 || (w && w->by_modality)))
		return moe_fail(d, MOE_EMATCH, "the %s by modality, but the rows do not say which they are of (tensor \"modality\")",
				w && w->by_modality ? "settings differ" : "experts are chosen");
	return blame_layer(choose(m, layer, b, normed, w ? w->row + layer * MOE_N_MODALITIES : NULL, out, work, d), layer, d);
}

void moe_layer_keep(struct moe_batch *b, struct moe_routed *r)
{
	move_kept(b, b->modality, 1);
	move_kept(b, r->normed, sizeof *r->normed);
	if (r->top_k) {
		move_kept(b, r->expert_id, r->top_k * sizeof *r->expert_id);
		move_kept(b, r->weight, r->top_k * sizeof *r->weight);
	}
	cut_spans(b);
	r->logit = r->choice = NULL;    /* of all rows */
}

/* ---- experts ---- */

/* Nobody works on a row that skips the layer, and only those of its pool on another. */
static enum moe_err check_eligible(const struct moe_model *m, const struct moe_batch *b, const struct moe_routed *r, struct moe_diag *d)
{
	const struct moe_pools *p = &m->spec->router.pools;

	for (size_t row = 0; row < b->rows; row++)
		for (size_t i = row * r->top_k; i < (row + 1) * r->top_k && r->expert_id[i] >= 0; i++) {
			if (skips(b, row))
				return moe_fail_row(d, MOE_EINPUT, row, "the row skips the layer (tensor \"depth\"), but has expert %d", r->expert_id[i]);
			if (p->n && b->modality && p->of[r->expert_id[i]] != b->modality[row])
				return moe_fail_row(d, MOE_EINPUT, row, "expert %d is not in the pool of modality %u (%s)", r->expert_id[i], b->modality[row],
						    moe_modality_name(b->modality[row]));
		}
	return MOE_OK;
}

/* The experts' results that are given, or that are made now. */
static enum moe_err add_experts(const struct moe_model *m, size_t layer, const struct moe_batch *b, const struct moe_routed *r, const float *const *result,
				const struct moe_compute *work, struct moe_diag *d)
{
	const struct moe_ffn_weights *w = &m->layer[layer].ffn;

	if (result)
		return moe_experts_add(b, r->normed, r->expert_id, r->weight, r->top_k, result, w, work, d);
	return moe_experts_forward(b, r->normed, r->expert_id, r->weight, r->top_k, w, (size_t)m->spec->router.experts, work, d);
}

/* The taken rows as one span of x - entry, how they were routed, and results that are given: *each [rows · top_k], or NULL. */
static enum moe_err gather_routed(struct moe_batch *out, struct moe_routed *to, const float ***each, const struct moe_batch *b, const struct moe_routed *r,
				  const float *const *result, struct moe_arena *a, struct moe_diag *d)
{
	size_t n = 0, k = r->top_k, h = b->hidden;
	const float **given = result ? moe_arena_get(a, b->rows * k, sizeof *given) : NULL;
	struct moe_span *span = moe_arena_zero(a, 1, sizeof *span);
	float *x = moe_arena_get(a, b->rows * h, sizeof *x);

	*to = (struct moe_routed){.top_k = k, .normed = moe_arena_get(a, b->rows, sizeof *to->normed), .expert_id = moe_arena_get(a, b->rows * k, sizeof(int32_t)),
				  .weight = moe_arena_get(a, b->rows * k, sizeof(float))};
	if (!span || !x || !to->normed || !to->expert_id || !to->weight || (result && !given))
		return no_memory(b->rows, d);
	*each = given;
	for (size_t i = 0; i < b->spans; i++)
		for (size_t s = 0, row = b->span[i].first; s < b->span[i].n; s++, row++) {
			if (!b->depth.taken[row])
				continue;
			for (size_t j = 0; j < h; j++)
				x[n * h + j] = b->span[i].x[s * h + j] - b->depth.entry[row * h + j];
			to->normed[n] = r->normed[row];
			if (given)
				memcpy(given + n * k, result + row * k, k * sizeof(float *));
			memcpy(to->expert_id + n * k, r->expert_id + row * k, k * sizeof *to->expert_id);
			memcpy(to->weight + n++ * k, r->weight + row * k, k * sizeof *to->weight);
		}
	*span = (struct moe_span){.n = n, .x = x};
	*out = (struct moe_batch){.rows = n, .hidden = h, .span = span, .spans = 1};
	return MOE_OK;
}

/* The experts of those who took the layer, and with them all that it adds to what they were before it. */
static enum moe_err expert_taken(const struct moe_model *m, size_t layer, struct moe_batch *b, const struct moe_routed *r, const float *const *result,
				 const struct moe_compute *work, struct moe_diag *d)
{
	struct moe_arena_mark mark = moe_arena_mark(work->scratch);
	struct moe_batch taken;
	struct moe_routed routed;
	const float *delta, **each;

	MOE_TRY(gather_routed(&taken, &routed, &each, b, r, result, work->scratch, d));
	delta = taken.span->x;
	if (taken.rows)
		MOE_TRY(add_experts(m, layer, &taken, &routed, each, work, d));
	for (size_t i = 0; i < b->spans; i++)
		for (size_t s = 0, row = b->span[i].first; s < b->span[i].n; s++, row++) {
			float *x = b->span[i].x + s * b->hidden;
			if (!b->depth.taken[row])
				continue;
			memcpy(x, b->depth.entry + row * b->hidden, b->hidden * sizeof *x);
			moe_depth_apply(x, delta, b->depth.logit[row], b->hidden);
			delta += b->hidden;
		}
	moe_arena_release(work->scratch, mark);
	b->depth.on = false;
	return MOE_OK;
}

/* Checks the choices, and makes the normed rows that are not there. */
static enum moe_err prepare_experts(const struct moe_model *m, size_t layer, const struct moe_batch *b, struct moe_routed *r, const struct moe_compute *work,
				    struct moe_diag *d)
{
	MOE_TRY(check_depth(m, layer, b, d));
	MOE_TRY(moe_router_check(r->expert_id, r->weight, b->rows, r->top_k, (size_t)m->spec->router.experts, d));
	if (b->depth.on || m->spec->router.pools.n)
		MOE_TRY(check_eligible(m, b, r, d));
	for (size_t i = 0; i < b->spans; i++) {
		const struct moe_span *span = &b->span[i];
		float *normed;
		if (r->normed[span->first])
			continue;
		normed = moe_arena_get(work->scratch, span->n * b->hidden, sizeof *normed);
		if (!normed)
			return no_memory(span->n, d);
		norm_span(m, layer, b, span, normed, r->normed);
	}
	return MOE_OK;
}

enum moe_err moe_layer_each(const struct moe_model *m, size_t layer, const struct moe_batch *b, struct moe_routed *r, size_t first, size_t last,
			    const float ***result, const struct moe_compute *work, struct moe_diag *d)
{
	size_t n = b->rows * r->top_k;
	int32_t *id = moe_arena_get(work->scratch, n, sizeof *id);
	const float **each = moe_arena_get(work->scratch, n, sizeof *each);

	if (!id || !each)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the experts of %zu rows", b->rows);
	*result = each;
	MOE_TRY(prepare_experts(m, layer, b, r, work, d));
	for (size_t i = 0; i < n; i++)
		id[i] = r->expert_id[i] >= 0 && (size_t)r->expert_id[i] >= first && (size_t)r->expert_id[i] <= last ? r->expert_id[i] : -1;
	return n ? moe_experts_each(each, b, r->normed, id, r->top_k, m->layer[layer].ffn.expert, (size_t)m->spec->router.experts, work, d) : MOE_OK;
}

enum moe_err moe_layer_add(const struct moe_model *m, size_t layer, struct moe_batch *b, struct moe_routed *r, const float *const *result,
			   const struct moe_compute *work, struct moe_diag *d)
{
	MOE_TRY(prepare_experts(m, layer, b, r, work, d));
	return b->depth.on ? expert_taken(m, layer, b, r, result, work, d) : add_experts(m, layer, b, r, result, work, d);
}

enum moe_err moe_layer_expert(const struct moe_model *m, size_t layer, struct moe_batch *b, struct moe_routed *r, const struct moe_compute *work,
			      struct moe_diag *d)
{
	return moe_layer_add(m, layer, b, r, NULL, work, d);
}

enum moe_err moe_embed_forward(const struct moe_model *m, const int32_t *token, size_t n, float *x, struct moe_diag *d)
{
	size_t hidden = (size_t)m->spec->hidden;

	for (size_t i = 0; i < n; i++) {
		if (token[i] < 0 || token[i] >= m->spec->vocab)
			return moe_fail(d, MOE_EINPUT, "token %d at row %zu is outside the vocabulary of %lld", token[i], i, (long long)m->spec->vocab);
		moe_mat_row(x + i * hidden, &m->embed, (size_t)token[i]);
	}
	return MOE_OK;
}

enum moe_err moe_codes_forward(const struct moe_model *m, const float *planes, size_t rows, size_t columns, int32_t *code, const struct moe_compute *work,
			       struct moe_diag *d)
{
	const struct moe_spec *s = m->spec;
	size_t p = (size_t)s->image.patch, width = (size_t)s->image_tokens.width;
	struct moe_arena_mark mark = moe_arena_mark(work->scratch);
	float *z = moe_arena_get(work->scratch, rows * columns * width, sizeof *z);

	if (!z)
		return moe_fail(d, MOE_ENOMEM, "out of memory for a picture of %zux%zu codes", rows, columns);
	MOE_TRY(moe_stem_forward(z, rows, columns, planes, rows * p, columns * p, s->tower.conv, m->conv, s->tower.n_conv, work, d));
	moe_codes_nearest(code, z, rows * columns, m->code, (size_t)s->image_tokens.count, width);
	moe_arena_release(work->scratch, mark);
	return MOE_OK;
}

enum moe_err moe_codes_decode(const struct moe_model *m, const int32_t *code, size_t rows, size_t columns, uint8_t *rgb, const struct moe_compute *work,
			      struct moe_diag *d)
{
	const struct moe_spec *s = m->spec;
	size_t p = (size_t)s->image.patch, channels = (size_t)s->image.channels, n = rows * columns * p * p;
	struct moe_picture_decoder q = {s->image_tokens.decoder, m->decoder, s->image_tokens.n_decoder, m->code, (size_t)s->image_tokens.count,
					(size_t)s->image_tokens.width};
	struct moe_patching cut = {(uint32_t)rows, (uint32_t)columns, (uint32_t)channels, (uint32_t)p, (uint32_t)p};
	struct moe_arena_mark mark = moe_arena_mark(work->scratch);
	float *pixel = moe_arena_get(work->scratch, n * channels, sizeof *pixel), *planes = moe_arena_get(work->scratch, n * channels, sizeof *planes);

	if (!pixel || !planes)
		return moe_fail(d, MOE_ENOMEM, "out of memory for a picture of %zux%zu codes", rows, columns);
	MOE_TRY(moe_picture_decode(pixel, code, rows, columns, &q, work, d));
	moe_planes_from_patches(planes, pixel, &cut);
	for (size_t c = 0; c < channels; c++)
		for (size_t i = 0; i < n; i++) {
			double v = (double)planes[c * n + i] * s->image.std[c] + s->image.mean[c];
			rgb[i * channels + c] = v > 0 ? v < 255 ? (uint8_t)(v + 0.5) : 255 : 0;
		}
	moe_arena_release(work->scratch, mark);
	return MOE_OK;
}

/* x[i] += row_embed[i / columns] + col_embed[i % columns], n rows of the tower's width; nothing where the model has no such. */
static void add_row_col(const struct moe_model *m, float *x, size_t n, size_t columns)
{
	size_t width = (size_t)moe_spec_tower_width(m->spec);

	for (size_t i = 0; m->row_embed && i < n; i++) {
		const float *r = m->row_embed + i / columns * width, *c = m->col_embed + i % columns * width;
		for (size_t j = 0; j < width; j++)
			x[i * width + j] += r[j] + c[j];
	}
}

static enum moe_err stem_forward(const struct moe_model *m, const float *pixel, size_t rows, size_t columns, float *feature, const struct moe_compute *work,
				 struct moe_diag *d)
{
	const struct moe_spec *s = m->spec;
	size_t p = (size_t)s->image.patch, channels = (size_t)s->image.channels;
	struct moe_patching cut = {(uint32_t)rows, (uint32_t)columns, (uint32_t)channels, (uint32_t)p, (uint32_t)p};
	struct moe_arena_mark mark = moe_arena_mark(work->scratch);
	float *planes = moe_arena_get(work->scratch, rows * columns * p * p * channels, sizeof *planes);
	int32_t *code = s->image_tokens.count ? moe_arena_get(work->scratch, rows * columns, sizeof *code) : NULL;

	if (!planes || (!code && s->image_tokens.count))
		return moe_fail(d, MOE_ENOMEM, "out of memory for a picture of %zux%zu patches", rows, columns);
	moe_planes_from_patches(planes, pixel, &cut);
	if (!code) {
		MOE_TRY(moe_stem_forward(feature, rows, columns, planes, rows * p, columns * p, s->tower.conv, m->conv, s->tower.n_conv, work, d));
	} else {
		MOE_TRY(moe_codes_forward(m, planes, rows, columns, code, work, d));
		for (size_t i = 0; i < rows * columns; i++)
			moe_mat_row(feature + i * (size_t)s->hidden, &m->embed, (size_t)(s->image_tokens.first + code[i]));
	}
	moe_arena_release(work->scratch, mark);
	return MOE_OK;
}

/* feature = mlp_out(silu(mlp_in x)), or project x; x [n][width of the tower]. */
static enum moe_err project(const struct moe_model *m, const float *x, size_t n, float *feature, const struct moe_compute *work, struct moe_diag *d)
{
	size_t hidden = (size_t)m->spec->hidden, width = (size_t)m->spec->tower.vit.hidden, inner = (size_t)m->spec->projector.query.width;
	struct moe_arena_mark mark = moe_arena_mark(work->scratch);
	float *between;

	if (m->spec->projector.kind == MOE_PROJECTOR_LINEAR) {
		moe_linear_forward(feature, hidden, x, width, n, &m->project, work->pool);
		return MOE_OK;
	}
	between = moe_arena_get(work->scratch, n * inner, sizeof *between);
	if (!between)
		return moe_fail(d, MOE_ENOMEM, "out of memory for %zu patches", n);
	moe_linear_forward(between, inner, x, width, n, &m->projector.mlp_in, work->pool);
	moe_silu(between, between, n * inner);
	moe_linear_forward(feature, hidden, between, inner, n, &m->projector.mlp_out, work->pool);
	moe_arena_release(work->scratch, mark);
	return MOE_OK;
}

/* What the convolutions give through the layers, the norm and the projector of an encoder. */
static enum moe_err encoder_forward(const struct moe_model *m, const float *pixel, size_t rows, size_t columns, float *feature, const struct moe_compute *work,
				    struct moe_diag *d)
{
	const struct moe_vit_settings *s = &m->spec->tower.vit;
	size_t n = rows * columns, width = (size_t)s->hidden;
	struct moe_arena_mark mark = moe_arena_mark(work->scratch);
	float *x = moe_arena_get(work->scratch, n * width, sizeof *x);

	if (!x)
		return moe_fail(d, MOE_ENOMEM, "out of memory for a picture of %zux%zu patches", rows, columns);
	MOE_TRY(stem_forward(m, pixel, rows, columns, x, work, d));
	add_row_col(m, x, n, columns);
	MOE_TRY(moe_vit_forward(x, n, s, &m->vit, work, d));
	moe_norm_forward(x, width, x, width, &m->vit_norm, n, width, (float)s->eps);
	MOE_TRY(project(m, x, n, feature, work, d));
	moe_arena_release(work->scratch, mark);
	return MOE_OK;
}

static enum moe_err vit_forward(const struct moe_model *m, const float *pixel, size_t rows, size_t columns, float *feature, const struct moe_compute *work,
				struct moe_diag *d)
{
	const struct moe_spec *s = m->spec;
	struct moe_arena_mark mark = moe_arena_mark(work->scratch);
	float *x = moe_arena_get(work->scratch, rows * columns * (size_t)s->tower.vit.hidden, sizeof *x);

	if (!x)
		return moe_fail(d, MOE_ENOMEM, "out of memory for a picture of %zux%zu patches", rows, columns);
	moe_vit_embed(x, pixel, rows, columns, &s->tower.vit, &m->vit, work->pool);
	MOE_TRY(moe_vit_forward(x, rows * columns, &s->tower.vit, &m->vit, work, d));
	MOE_TRY(moe_query_attention_forward(feature, moe_spec_features(s, rows, columns), x, rows * columns, &s->projector.query, &m->projector, work, d));
	moe_arena_release(work->scratch, mark);
	return MOE_OK;
}

enum moe_err moe_tower_forward(const struct moe_model *m, const float *pixel, size_t rows, size_t columns, float *feature, const struct moe_compute *work,
			       struct moe_diag *d)
{
	MOE_TRY(moe_spec_check_grid(m->spec, rows, columns, d));
	if (moe_spec_encodes(m->spec))
		return encoder_forward(m, pixel, rows, columns, feature, work, d);
	return m->spec->tower.kind == MOE_TOWER_VIT ? vit_forward(m, pixel, rows, columns, feature, work, d)
						    : stem_forward(m, pixel, rows, columns, feature, work, d);
}

void moe_place_forward(const struct moe_model *m, const float *feature, const struct moe_patch_grid *g, float *x)
{
	memmove(x, feature, g->features * (size_t)m->spec->hidden * sizeof *x);
	if (!moe_spec_encodes(m->spec))         /* an encoder has read them */
		add_row_col(m, x, g->features, g->columns);
}

void moe_place_token(const struct moe_model *m, size_t place, float *x)
{
	size_t columns = (size_t)m->spec->image.grids.v[0][1], hidden = (size_t)m->spec->hidden;

	for (size_t j = 0; m->row_embed && j < hidden; j++)
		x[j] += m->row_embed[place / columns * hidden + j] + m->col_embed[place % columns * hidden + j];
}

enum moe_err moe_head_forward(const struct moe_model *m, const float *x, size_t n, float *logit, const struct moe_compute *work, struct moe_diag *d)
{
	size_t hidden = (size_t)m->spec->hidden;
	struct moe_arena_mark mark = moe_arena_mark(work->scratch);
	float *normed = moe_arena_get(work->scratch, n * hidden, sizeof *normed);

	if (!normed)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the head of %zu rows", n);
	moe_norm_forward(normed, hidden, x, hidden, &m->final_norm, n, hidden, (float)m->spec->norm_eps);
	moe_matmul(logit, (size_t)m->spec->vocab, normed, hidden, n, &m->lm_head, work->pool);
	moe_arena_release(work->scratch, mark);
	return MOE_OK;
}
