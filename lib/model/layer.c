#include "model/layer.h"

#include <stdio.h>
#include <string.h>

#include "image/fit.h"

enum moe_err moe_layer_attend(const struct moe_model *m, size_t layer, struct moe_batch *b, const struct moe_compute *work, struct moe_diag *d)
{
	return moe_attention_forward(b, layer, &m->layer[layer].attention, &m->spec->attention, (float)m->spec->norm_eps, work, d);
}

/* The norm of a span's rows before router and experts, into to [n][hidden]. */
static void norm_span(const struct moe_model *m, size_t layer, const struct moe_batch *b, const struct moe_span *s, float *to, float **normed)
{
	moe_rms_norm(to, b->hidden, s->x, b->hidden, m->layer[layer].ffn.norm, s->n, b->hidden, (float)m->spec->norm_eps);
	for (size_t r = 0; r < s->n; r++)
		normed[s->first + r] = to + r * b->hidden;
}

enum moe_err moe_layer_route(const struct moe_model *m, size_t layer, const struct moe_batch *b, const struct moe_what_if *w, struct moe_routed *out,
			     const struct moe_compute *work, struct moe_diag *d)
{
	const struct moe_ffn_weights *ffn = &m->layer[layer].ffn;
	const struct moe_router_settings *s = &m->spec->router;
	struct moe_arena *a = work->scratch;
	float *normed = moe_arena_get(a, b->rows * b->hidden, sizeof *normed);

	out->normed = moe_arena_get(a, b->rows, sizeof *out->normed);
	out->logit = moe_arena_get(a, b->rows * (size_t)s->experts, sizeof(float));
	out->expert_id = moe_arena_get(a, b->rows * (size_t)s->top_k, sizeof(int32_t));
	out->weight = moe_arena_get(a, b->rows * (size_t)s->top_k, sizeof(float));
	if (!normed || !out->normed || !out->logit || !out->expert_id || !out->weight)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the router of %zu rows", b->rows);
	for (size_t i = 0; i < b->spans; i++)
		norm_span(m, layer, b, &b->span[i], normed + b->span[i].first * b->hidden, out->normed);
	moe_matmul(out->logit, (size_t)s->experts, normed, b->hidden, b->rows, &ffn->router, work->pool);
	if (moe_router_choose(out->logit, b->rows, s, w, a, out->expert_id, out->weight, d)) {
		size_t n = d ? strlen(d->text) : 0;
		if (d && n + 24 < sizeof d->text)
			snprintf(d->text + n, sizeof d->text - n, " (layer %zu)", layer);
		return d ? d->code : MOE_EINPUT;
	}
	return MOE_OK;
}

enum moe_err moe_layer_expert(const struct moe_model *m, size_t layer, struct moe_batch *b, struct moe_routed *r, const struct moe_compute *work,
			      struct moe_diag *d)
{
	const struct moe_spec *s = m->spec;

	MOE_TRY(moe_router_check(r->expert_id, r->weight, b->rows, (size_t)s->router.top_k, (size_t)s->router.experts, d));
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
	return moe_experts_forward(b, r->normed, r->expert_id, r->weight, (size_t)s->router.top_k, m->layer[layer].ffn.expert, (size_t)s->router.experts,
				   (size_t)s->expert_width, work, d);
}

enum moe_err moe_embed_forward(const struct moe_model *m, const int32_t *token, size_t n, float *x, struct moe_diag *d)
{
	size_t hidden = (size_t)m->spec->hidden, nbytes = moe_dtype_nbits(m->embed.type) / 8;

	for (size_t i = 0; i < n; i++) {
		if (token[i] < 0 || token[i] >= m->spec->vocab)
			return moe_fail(d, MOE_EINPUT, "token %d at row %zu is outside the vocabulary of %lld", token[i], i, (long long)m->spec->vocab);
		moe_widen(x + i * hidden, (const uint8_t *)m->embed.data + (size_t)token[i] * m->embed.stride * nbytes, hidden, m->embed.type);
	}
	return MOE_OK;
}

enum moe_err moe_tower_forward(const struct moe_model *m, const float *pixel, size_t rows, size_t columns, float *feature, const struct moe_compute *work,
			       struct moe_diag *d)
{
	const struct moe_spec *s = m->spec;
	size_t p = (size_t)s->image.patch, channels = (size_t)s->image.channels;
	struct moe_patching cut = {(uint32_t)rows, (uint32_t)columns, (uint32_t)channels, (uint32_t)p, (uint32_t)p};
	struct moe_arena_mark mark = moe_arena_mark(work->scratch);
	float *planes;

	MOE_TRY(moe_spec_check_grid(s, rows, columns, d));
	planes = moe_arena_get(work->scratch, rows * columns * p * p * channels, sizeof *planes);
	if (!planes)
		return moe_fail(d, MOE_ENOMEM, "out of memory for a picture of %zux%zu patches", rows, columns);
	moe_planes_from_patches(planes, pixel, &cut);
	MOE_TRY(moe_stem_forward(feature, rows, columns, planes, rows * p, columns * p, s->tower.conv, m->conv, s->tower.n_conv, work, d));
	moe_arena_release(work->scratch, mark);
	return MOE_OK;
}

void moe_place_forward(const struct moe_model *m, const float *feature, size_t rows, size_t columns, float *x)
{
	size_t hidden = (size_t)m->spec->hidden;

	memmove(x, feature, rows * columns * hidden * sizeof *x);
	if (!m->row_embed)
		return;
	for (size_t i = 0; i < rows * columns; i++) {
		const float *r = m->row_embed + i / columns * hidden, *c = m->col_embed + i % columns * hidden;
		for (size_t j = 0; j < hidden; j++)
			x[i * hidden + j] += r[j] + c[j];
	}
}

enum moe_err moe_head_forward(const struct moe_model *m, const float *x, size_t n, float *logit, const struct moe_compute *work, struct moe_diag *d)
{
	size_t hidden = (size_t)m->spec->hidden;
	struct moe_arena_mark mark = moe_arena_mark(work->scratch);
	float *normed = moe_arena_get(work->scratch, n * hidden, sizeof *normed);

	if (!normed)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the head of %zu rows", n);
	moe_rms_norm(normed, hidden, x, hidden, m->final_norm, n, hidden, (float)m->spec->norm_eps);
	moe_matmul(logit, (size_t)m->spec->vocab, normed, hidden, n, &m->lm_head, work->pool);
	moe_arena_release(work->scratch, mark);
	return MOE_OK;
}
