#include "grad/layer_grad.h"

#include <math.h>
#include <string.h>

static enum moe_err no_memory(size_t rows, struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory for %zu rows", rows); }

/* ---- attention ---- */

bool moe_attend_plan(struct moe_attend_kept *k, const struct moe_heads *h, size_t hidden, const struct moe_spans *s, struct moe_arena *a)
{
	size_t number = moe_unit_number(h->unit);

	k->mid = moe_arena_get(a, s->rows * hidden, sizeof *k->mid);
	k->scale = moe_arena_get(a, s->rows, sizeof *k->scale);
	k->h = moe_arena_get(a, s->rows * hidden, number);
	k->qkv = moe_arena_get(a, s->rows * moe_heads_width(h), number);
	k->out = moe_arena_get(a, s->rows * h->heads * h->dim, number);
	k->probability = moe_arena_get(a, s->n, sizeof *k->probability);
	if (!k->mid || !k->scale || !k->h || !k->qkv || !k->out || !k->probability)
		return false;
	for (size_t i = 0; i < s->n; i++) {
		k->probability[i] = moe_arena_get(a, moe_attention_kept(h, &s->span[i]), number);
		if (!k->probability[i])
			return false;
	}
	return true;
}

/* Turns the queries and keys of a row by its angles, or back, and scales the queries. */
static void turn(const struct moe_attend *w, float *row, size_t r, bool back)
{
	const struct moe_rotation *t = w->rotation;
	float scale = 1.0f / sqrtf((float)w->heads.dim);
	size_t at = t ? (t->row ? t->row[r] : r) * t->pairs : 0;

	if (t)
		moe_rope_turn(row, w->heads.heads + w->heads.kv_heads, w->heads.dim, t->pairs, t->cosine + at, (back ? t->minus : t->sine) + at, t->rope);
	for (size_t i = 0; i < w->heads.heads * w->heads.dim; i++)
		row[i] *= scale;
}

enum moe_err moe_attend_keep(const struct moe_attend *w, const struct moe_attend_kept *k, const struct moe_spans *s, struct moe_arena *scratch,
			     struct moe_diag *d)
{
	size_t hidden = w->qkv->in, width = moe_heads_width(&w->heads), out = w->heads.heads * w->heads.dim;
	struct moe_arena_mark mark = moe_arena_mark(scratch);
	float *h = moe_arena_get(scratch, s->rows * hidden, sizeof *h), *qkv = moe_arena_get(scratch, s->rows * width, sizeof *qkv);
	enum moe_unit unit = w->heads.unit;

	if (!h || !qkv)
		return no_memory(s->rows, d);
	moe_rms_norm_keep(h, k->scale, k->x, w->norm, s->rows, hidden, w->eps);
	moe_operand_rows(unit, k->h, hidden, h, hidden, s->rows, hidden);
	moe_dense_forward(w->qkv, k->h, hidden, s->rows, qkv, width, false);
	for (size_t r = 0; r < s->rows; r++)
		turn(w, qkv + r * width, r, false);
	moe_operand_rows(unit, k->qkv, width, qkv, width, s->rows, width);
	for (size_t i = 0; i < s->n; i++) {
		const struct moe_packed_rows *p = &s->span[i];
		struct moe_arena_mark inner = moe_arena_mark(scratch);
		void *room = moe_arena_get(scratch, moe_attention_scratch(&w->heads, p), 1);
		if (!room)
			return no_memory(s->rows, d);
		if (p->n_image + p->n_text)
			moe_attention_keep(&w->heads, p, moe_unit_at(unit, k->out, p->first * out), moe_unit_at(unit, k->qkv, p->first * width), k->probability[i], room);
		moe_arena_release(scratch, inner);
	}
	memcpy(k->mid, k->x, s->rows * hidden * sizeof *k->mid);
	moe_dense_forward(w->o, k->out, out, s->rows, k->mid, hidden, true);
	moe_arena_release(scratch, mark);
	return MOE_OK;
}

/* Of every sequence dqkv from dout. */
static enum moe_err heads_backward(const struct moe_attend *w, const struct moe_attend_kept *k, const struct moe_spans *s, float *dqkv, const void *dout,
				   struct moe_arena *scratch, struct moe_diag *d)
{
	size_t width = moe_heads_width(&w->heads), out = w->heads.heads * w->heads.dim;
	enum moe_unit unit = w->heads.unit;

	for (size_t i = 0; i < s->n; i++) {
		const struct moe_packed_rows *p = &s->span[i];
		struct moe_arena_mark mark = moe_arena_mark(scratch);
		void *room = moe_arena_get(scratch, moe_attention_scratch(&w->heads, p), 1);
		if (!room)
			return no_memory(s->rows, d);
		if (p->n_image + p->n_text)
			moe_attention_backward(&w->heads, p, dqkv + p->first * width, moe_unit_at(unit, dout, p->first * out), moe_unit_at(unit, k->qkv, p->first * width),
					       k->probability[i], room);
		moe_arena_release(scratch, mark);
	}
	return MOE_OK;
}

enum moe_err moe_attend_backward(const struct moe_attend *w, const struct moe_attend_kept *k, const struct moe_spans *s, float *dx,
				 const struct moe_attend_gradient *g, struct moe_arena *scratch, struct moe_diag *d)
{
	size_t hidden = w->qkv->in, width = moe_heads_width(&w->heads), out = w->heads.heads * w->heads.dim, rows = s->rows;
	enum moe_unit unit = w->heads.unit;
	size_t number = moe_unit_number(unit);
	struct moe_arena_mark mark = moe_arena_mark(scratch);
	void *dyn = moe_arena_get(scratch, rows * hidden, number), *doutn = moe_arena_get(scratch, rows * out, number);
	void *dqkvn = moe_arena_get(scratch, rows * width, number), *along = moe_arena_get(scratch, (rows + 2) * (hidden + width + out), sizeof(float));
	float *dout = moe_arena_get(scratch, rows * out, sizeof *dout), *dqkv = moe_arena_get(scratch, rows * width, sizeof *dqkv);
	float *dh = moe_arena_get(scratch, rows * hidden, sizeof *dh);

	if (!dyn || !doutn || !dqkvn || !along || !dout || !dqkv || !dh)
		return no_memory(rows, d);
	moe_operand_rows(unit, dyn, hidden, dx, hidden, rows, hidden);
	moe_dense_gradient(unit, g->o, dyn, hidden, hidden, k->out, out, out, rows, along);
	moe_dense_backward(w->o, dyn, hidden, rows, dout, out, false);
	moe_operand_rows(unit, doutn, out, dout, out, rows, out);
	MOE_TRY(heads_backward(w, k, s, dqkv, doutn, scratch, d));
	for (size_t r = 0; r < rows; r++)
		turn(w, dqkv + r * width, r, true);
	moe_operand_rows(unit, dqkvn, width, dqkv, width, rows, width);
	moe_dense_gradient(unit, g->qkv, dqkvn, width, width, k->h, hidden, hidden, rows, along);
	moe_dense_backward(w->qkv, dqkvn, width, rows, dh, hidden, false);
	moe_rms_norm_backward(dx, g->norm, dh, k->x, k->scale, w->norm, rows, hidden);
	moe_arena_release(scratch, mark);
	return MOE_OK;
}

/* ---- a gated unit ---- */

enum moe_err moe_gated_rows_make(struct moe_gated_rows *r, size_t rows, struct moe_arena *a, struct moe_diag *d)
{
	int32_t *expert = moe_arena_zero(a, rows, sizeof *expert);

	r->weight = moe_arena_get(a, rows, sizeof *r->weight);
	if (!expert || !r->weight)
		return no_memory(rows, d);
	for (size_t i = 0; i < rows; i++)
		r->weight[i] = 1;
	return moe_expert_pairs_make(&r->pairs, expert, rows, 1, 1, a, d);
}

bool moe_gated_plan(struct moe_gated_kept *k, enum moe_unit unit, size_t hidden, size_t width, size_t rows, struct moe_arena *a)
{
	size_t number = moe_unit_number(unit);

	k->scale = moe_arena_get(a, rows, sizeof *k->scale);
	k->h = moe_arena_get(a, rows * hidden, number);
	k->gate_up = moe_arena_get(a, rows * 2 * width, number);
	return k->scale && k->h && k->gate_up;
}

enum moe_err moe_gated_keep(const struct moe_gated *w, const struct moe_gated_kept *k, const struct moe_gated_rows *r, float *y, const float *mid,
			    struct moe_arena *scratch, struct moe_diag *d)
{
	size_t hidden = w->unit->gate_up.in, rows = r->pairs.n;
	struct moe_arena_mark mark = moe_arena_mark(scratch);
	float *h = moe_arena_get(scratch, rows * hidden, sizeof *h);
	void *room = moe_arena_get(scratch, moe_experts_scratch(rows, hidden, w->unit->down.in), 1);

	if (!h || !room)
		return no_memory(rows, d);
	moe_rms_norm_keep(h, k->scale, mid, w->norm, rows, hidden, w->eps);
	moe_operand_rows(w->unit->gate_up.unit, k->h, hidden, h, hidden, rows, hidden);
	memcpy(y, mid, rows * hidden * sizeof *y);
	moe_experts_keep(w->unit, &r->pairs, y, k->h, r->weight, k->gate_up, room);
	moe_arena_release(scratch, mark);
	return MOE_OK;
}

enum moe_err moe_gated_backward(const struct moe_gated *w, const struct moe_gated_kept *k, const struct moe_gated_rows *r, float *dx, const float *mid,
				const struct moe_gated_gradient *g, struct moe_arena *scratch, struct moe_diag *d)
{
	size_t hidden = w->unit->gate_up.in, rows = r->pairs.n;
	enum moe_unit unit = w->unit->gate_up.unit;
	struct moe_arena_mark mark = moe_arena_mark(scratch);
	void *dyn = moe_arena_get(scratch, rows * hidden, moe_unit_number(unit));
	void *room = moe_arena_get(scratch, moe_experts_scratch(rows, hidden, w->unit->down.in), 1);
	float *dh = moe_arena_zero(scratch, rows * hidden, sizeof *dh), *dweight = moe_arena_get(scratch, rows, sizeof *dweight);

	if (!dyn || !room || !dh || !dweight)
		return no_memory(rows, d);
	moe_operand_rows(unit, dyn, hidden, dx, hidden, rows, hidden);
	moe_experts_backward(w->unit, &r->pairs, dh, dweight, &(float *){g->gate_up}, &(float *){g->down}, dyn, k->h, r->weight, k->gate_up, room);
	moe_rms_norm_backward(dx, g->norm, dh, mid, k->scale, w->norm, rows, hidden);
	moe_arena_release(scratch, mark);
	return MOE_OK;
}
