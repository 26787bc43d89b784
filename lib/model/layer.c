#include "model/layer.h"

#include <stdio.h>
#include <string.h>

#include "image/fit.h"
#include "nn/quantiser.h"

enum moe_err moe_layer_attend(const struct moe_model *m, size_t layer, struct moe_batch *b, const struct moe_compute *work, struct moe_diag *d)
{
	return moe_attention_forward(b, layer, &m->layer[layer].attention, &m->spec->attention, (float)m->spec->norm_eps, work, d);
}

/* The norm of a span's rows before router and experts, into to [n][hidden]. */
static void norm_span(const struct moe_model *m, size_t layer, const struct moe_batch *b, const struct moe_span *s, float *to, float **normed)
{
	moe_norm_forward(to, b->hidden, s->x, b->hidden, &m->layer[layer].ffn.norm, s->n, b->hidden, (float)m->spec->norm_eps);
	for (size_t r = 0; r < s->n; r++)
		normed[s->first + r] = to + r * b->hidden;
}

/* The arrays of a routing of `rows` rows. */
static enum moe_err plan_routed(struct moe_routed *r, const struct moe_spec *s, size_t layer, size_t rows, struct moe_arena *a, struct moe_diag *d)
{
	size_t experts = (size_t)s->router.experts;
	bool compares = s->router.choice_bias || s->router.groups > 1, ok;

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

/* Adds the layer to what a failure says. */
static enum moe_err blame_layer(enum moe_err err, size_t layer, struct moe_diag *d)
{
	size_t n = err && d ? strlen(d->text) : 0;

	if (n && n + 24 < sizeof d->text)
		snprintf(d->text + n, sizeof d->text - n, " (layer %zu)", layer);
	return err;
}

enum moe_err moe_layer_route(const struct moe_model *m, size_t layer, const struct moe_batch *b, const struct moe_what_if_table *w, struct moe_routed *out,
			     const struct moe_compute *work, struct moe_diag *d)
{
	const struct moe_ffn_weights *ffn = &m->layer[layer].ffn;
	const struct moe_router_settings *s = &m->spec->router;
	struct moe_arena *a = work->scratch;
	float *normed = moe_arena_get(a, b->rows * b->hidden, sizeof *normed);

	if (!normed)
		return moe_fail(d, MOE_ENOMEM, "out of memory for %zu rows", b->rows);
	MOE_TRY(plan_routed(out, m->spec, layer, b->rows, a, d));
	for (size_t i = 0; i < b->spans; i++)
		norm_span(m, layer, b, &b->span[i], normed + b->span[i].first * b->hidden, out->normed);
	if (!out->top_k)
		return MOE_OK;
	moe_matmul(out->logit, (size_t)s->experts, normed, b->hidden, b->rows, &ffn->router, work->pool);
	for (size_t r = 0; ffn->router_bias && r < b->rows; r++)
		moe_add(out->logit + r * (size_t)s->experts, ffn->router_bias, (size_t)s->experts);
	if (w && w->by_modality && !b->modality)
		return moe_fail(d, MOE_EMATCH, "the settings differ by modality, but the rows do not say which they are of (tensor \"modality\")");
	return blame_layer(moe_router_choose(&(struct moe_router_choice){out->expert_id, out->weight, out->choice},
					     &(struct moe_router_rows){.rows = b->rows, .logit = out->logit, .choice_bias = ffn->choice_bias,
								       .modality = b->modality, .what_if = w ? w->row + layer * MOE_N_MODALITIES : NULL},
					     s, a, d), layer, d);
}

void moe_layer_keep(struct moe_batch *b, struct moe_routed *r)
{
	size_t at = 0, k = r->top_k;

	for (size_t i = 0; i < b->spans; i++) {
		struct moe_span *s = &b->span[i];
		size_t n = s->keep && s->keep < s->n ? s->keep : s->n, skipped = s->n - n, from = s->first + skipped;
		memmove(r->normed + at, r->normed + from, n * sizeof *r->normed);
		if (k) {
			memmove(r->expert_id + at * k, r->expert_id + from * k, n * k * sizeof *r->expert_id);
			memmove(r->weight + at * k, r->weight + from * k, n * k * sizeof *r->weight);
		}
		s->x += skipped * b->hidden;
		s->start += (uint32_t)skipped;
		s->first = at;
		s->n = n;
		at += n;
	}
	b->rows = at;
	r->logit = r->choice = NULL;    /* of all rows */
}

enum moe_err moe_layer_expert(const struct moe_model *m, size_t layer, struct moe_batch *b, struct moe_routed *r, const struct moe_compute *work,
			      struct moe_diag *d)
{
	size_t experts = (size_t)m->spec->router.experts;

	MOE_TRY(moe_router_check(r->expert_id, r->weight, b->rows, r->top_k, experts, d));
	for (size_t i = 0; i < b->spans; i++) {
		const struct moe_span *span = &b->span[i];
		float *normed;
		if (r->normed[span->first])
			continue;
		normed = moe_arena_get(work->scratch, span->n * b->hidden, sizeof *normed);
		if (!normed)
			return moe_fail(d, MOE_ENOMEM, "out of memory for %zu rows", span->n);
		norm_span(m, layer, b, span, normed, r->normed);
	}
	return moe_experts_forward(b, r->normed, r->expert_id, r->weight, r->top_k, &m->layer[layer].ffn, experts, work, d);
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
