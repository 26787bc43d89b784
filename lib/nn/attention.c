#include "nn/attention.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "nn/attention_weights.h"

/* Pairs of a head that turn. */
static size_t rope_pairs(const struct moe_attention_settings *s) { return (size_t)(s->rope.dim ? s->rope.dim : s->head_dim) / 2; }

static void clamp(float *x, size_t n, float limit)
{
	for (size_t i = 0; i < n; i++)
		x[i] = x[i] < -limit ? -limit : x[i] > limit ? limit : x[i];
}

static void add_bias(float *x, size_t rows, size_t width, const float *bias)
{
	for (size_t r = 0; bias && r < rows; r++)
		moe_add(x + r * width, bias, width);
}

/* What q and k pass between the projection and the rotation. */
static void norm_heads(float *x, size_t rows, size_t heads, size_t dim, const float *weight, int kind, float eps)
{
	size_t width = heads * dim;

	if (kind == MOE_QK_NORM_FULL)
		moe_rms_norm(x, width, x, width, weight, rows, width, eps);
	else if (kind == MOE_QK_NORM_HEAD)
		moe_rms_norm(x, dim, x, dim, weight, rows * heads, dim, eps);
}

/* The slots [first, limit) that each row of a span sees: up to itself or, for a bidirectional image, to the end of its image; from the
 * beginning or, with a window, from so many slots before its own end. */
static enum moe_err set_slots(const struct moe_batch *b, const struct moe_span *s, const struct moe_attention_settings *set, uint32_t *first,
			      uint32_t *limit, struct moe_diag *d)
{
	for (size_t i = s->n; i-- > 0;) {
		size_t r = s->first + i;
		bool same = set->mask == MOE_MASK_BIDIRECTIONAL_IMAGE && i + 1 < s->n && b->image[r] >= 0 && b->image[r + 1] == b->image[r];
		uint32_t end = s->start + (uint32_t)i + 1;
		limit[r] = same ? limit[r + 1] : end;
		first[r] = set->window && end > (uint64_t)set->window ? end - (uint32_t)set->window : 0;
	}
	if (s->n && s->start + (uint64_t)s->n > UINT32_MAX / 2)
		return moe_fail(d, MOE_EINPUT, "the sequence is too long");
	return MOE_OK;
}

/* Attention of one span, whose rows of `q`, `out`, `first` and `limit` these are. */
static void attend_span(const struct moe_span *s, const struct moe_cache *c, const struct moe_attention_settings *set, const float *q, float *out,
			const uint32_t *first, const uint32_t *limit, struct moe_pool *pool)
{
	struct moe_attention a = {
		.q = q, .out = out, .rows = s->n, .heads = (size_t)set->heads, .kv_heads = (size_t)set->kv_heads, .dim = (size_t)set->head_dim,
		.scale = 1.0f / sqrtf((float)set->head_dim), .first = first, .limit = limit,
		.key = (const float *const *)c->key, .value = (const float *const *)c->value,
	};

	if (s->n)
		moe_attend_rows(&a, pool);
	if (s->n && s->attention)
		moe_attention_weights(&a, s->start + s->n, s->attention, pool);
}

/* Everything per row that the steps of attention hand on; [rows] or [rows][...]. */
struct parts {
	float *normed, *q, *k, *v, *out;
	uint32_t *first, *limit;
};

static bool plan(struct parts *p, const struct moe_batch *b, const struct moe_attention_settings *s, struct moe_arena *scratch)
{
	size_t n = b->rows, q = (size_t)(s->heads * s->head_dim), kv = (size_t)(s->kv_heads * s->head_dim);

	p->normed = moe_arena_get(scratch, n * b->hidden, sizeof(float));
	p->q = moe_arena_get(scratch, n * q, sizeof(float));
	p->out = moe_arena_get(scratch, n * q, sizeof(float));
	p->k = moe_arena_get(scratch, n * kv, sizeof(float));
	p->v = moe_arena_get(scratch, n * kv, sizeof(float));
	p->limit = moe_arena_get(scratch, n, sizeof(uint32_t));
	p->first = moe_arena_get(scratch, n, sizeof(uint32_t));
	return p->normed && p->q && p->out && p->k && p->v && p->limit && p->first;
}

/* Keys and values of all rows into the caches. */
static enum moe_err fill_caches(const struct moe_batch *b, size_t layer, const struct moe_attention_weights *w, const struct moe_attention_settings *s,
				float eps, struct parts *p, const struct moe_compute *work, struct moe_diag *d)
{
	size_t heads = (size_t)s->kv_heads, dim = (size_t)s->head_dim, width = heads * dim, pairs = rope_pairs(s);

	moe_matmul(p->k, width, p->normed, b->hidden, b->rows, &w->k, work->pool);
	moe_matmul(p->v, width, p->normed, b->hidden, b->rows, &w->v, work->pool);
	add_bias(p->k, b->rows, width, w->k_bias);
	add_bias(p->v, b->rows, width, w->v_bias);
	norm_heads(p->k, b->rows, heads, dim, w->k_norm, s->qk_norm, eps);
	if (s->clip > 0) {
		clamp(p->k, b->rows * width, (float)s->clip);
		clamp(p->v, b->rows * width, (float)s->clip);
	}
	for (size_t r = 0; r < b->rows; r++)
		moe_rope_turn(p->k + r * width, heads, dim, pairs, b->cosine + r * pairs, b->sine + r * pairs, &s->rope);
	for (size_t i = 0; i < b->spans; i++) {
		const struct moe_span *span = &b->span[i];
		MOE_TRY(moe_cache_reserve(&span->cache[layer], work->blocks, span->start + span->n, d));
		moe_cache_store(&span->cache[layer], work->blocks, span->start, span->n, p->k + span->first * width, p->v + span->first * width);
	}
	return MOE_OK;
}

/* Moves the rows that are kept together. */
static void keep_rows(float *p, size_t width, size_t to, size_t from, size_t n)
{
	memmove(p + to * width, p + from * width, n * width * sizeof *p);
}

/* Reduces the batch, and what is known of its rows, to those that go on. */
static void compact(struct moe_batch *b, struct parts *p, size_t pairs)
{
	size_t at = 0;

	for (size_t i = 0; i < b->spans; i++) {
		struct moe_span *s = &b->span[i];
		size_t n = moe_span_kept(s), from = s->first + s->n - n;
		if (at != from) {
			keep_rows(p->normed, b->hidden, at, from, n);
			keep_rows(b->cosine, pairs, at, from, n);
			keep_rows(b->sine, pairs, at, from, n);
			memmove(p->first + at, p->first + from, n * sizeof *p->first);
			memmove(p->limit + at, p->limit + from, n * sizeof *p->limit);
			if (b->modality)
				memmove(b->modality + at, b->modality + from, n);
		}
		moe_span_trim(s, at, b->hidden);
		at += n;
	}
	b->rows = at;
}

/* The rotation is the same in all layers. */
static enum moe_err make_rotation(struct moe_batch *b, const struct moe_attention_settings *s, struct moe_arena *scratch, struct moe_diag *d)
{
	size_t pairs = rope_pairs(s);
	float *frequency;

	if (b->cosine)
		return MOE_OK;
	frequency = moe_arena_get(scratch, pairs, sizeof *frequency);
	b->cosine = moe_arena_get(scratch, b->rows * pairs, sizeof(float));
	b->sine = moe_arena_get(scratch, b->rows * pairs, sizeof(float));
	if (!frequency || !b->cosine || !b->sine)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the positions of %zu rows", b->rows);
	moe_rope_table(b->cosine, b->sine, b->position, b->rows, pairs, &s->rope, frequency);
	return MOE_OK;
}

enum moe_err moe_attention_forward(struct moe_batch *b, size_t layer, const struct moe_attention_weights *w, const struct moe_attention_settings *s,
				   float eps, const struct moe_compute *work, struct moe_diag *d)
{
	size_t heads = (size_t)s->heads, dim = (size_t)s->head_dim, width = heads * dim, pairs = rope_pairs(s);
	struct moe_arena_mark mark;
	struct parts p;

	MOE_TRY(make_rotation(b, s, work->scratch, d));
	mark = moe_arena_mark(work->scratch);
	if (!plan(&p, b, s, work->scratch))
		return moe_fail(d, MOE_ENOMEM, "out of memory for attention over %zu rows", b->rows);
	for (size_t i = 0; i < b->spans; i++) {
		const struct moe_span *span = &b->span[i];
		MOE_TRY(set_slots(b, span, s, p.first, p.limit, d));
		moe_norm_forward(p.normed + span->first * b->hidden, b->hidden, span->x, b->hidden, &w->norm, span->n, b->hidden, eps);
	}
	MOE_TRY(fill_caches(b, layer, w, s, eps, &p, work, d));
	compact(b, &p, pairs);
	moe_matmul(p.q, width, p.normed, b->hidden, b->rows, &w->q, work->pool);
	add_bias(p.q, b->rows, width, w->q_bias);
	norm_heads(p.q, b->rows, heads, dim, w->q_norm, s->qk_norm, eps);
	if (s->clip > 0)
		clamp(p.q, b->rows * width, (float)s->clip);
	for (size_t r = 0; r < b->rows; r++)
		moe_rope_turn(p.q + r * width, heads, dim, pairs, b->cosine + r * pairs, b->sine + r * pairs, &s->rope);
	for (size_t i = 0; i < b->spans; i++) {
		const struct moe_span *span = &b->span[i];
		attend_span(span, &span->cache[layer], s, p.q + span->first * width, p.out + span->first * width, p.first + span->first,
			    p.limit + span->first, work->pool);
	}
	moe_matmul(p.normed, b->hidden, p.out, width, b->rows, &w->o, work->pool);
	add_bias(p.normed, b->rows, b->hidden, w->o_bias);
	for (size_t i = 0; i < b->spans; i++)
		moe_add(b->span[i].x, p.normed + b->span[i].first * b->hidden, b->span[i].n * b->hidden);
	moe_arena_release(work->scratch, mark);
	return MOE_OK;
}
