#include "stage/insight.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"

void moe_insight_free(struct moe_insight *in) { moe_arena_free(&in->kept); }

bool moe_insight_adds(const struct moe_insight *in) { return in->attention || in->parts; }

void moe_insight_reset(struct moe_insight *in)
{
	moe_arena_reset(&in->kept);
	in->nbytes = 0;
}

/* Room for n0 x n1 x n2 numbers of four bytes. */
static enum moe_err keep(struct moe_insight *in, const struct moe_frame *f, uint64_t n0, uint64_t n1, uint64_t n2, void *out, struct moe_diag *d)
{
	void **to = out;
	uint64_t n;

	if (!moe_product((uint64_t[]){n0, n1, n2, 4}, 4, &n) || n > MOE_MOST_INSIGHT - in->nbytes)
		return moe_frame_fail(f, d, MOE_ENOMEM, "a tensor of %llu x %llu x %llu would be added, and no more than 1 GiB may be (moe-embed --chunk makes smaller "
				      "frames)", (unsigned long long)n0, (unsigned long long)n1, (unsigned long long)n2);
	in->nbytes += n;
	*to = moe_arena_get(&in->kept, n, 1);
	return *to ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory for a tensor of %llu bytes", (unsigned long long)n);
}

/* Adds the tensor LAYER.name; of those with an axis without length, nothing. */
static enum moe_err put(struct moe_frame *f, size_t layer, const char *name, enum moe_dtype type, unsigned rank, const uint64_t *shape, const void *data,
			struct moe_diag *d)
{
	char full[60];

	snprintf(full, sizeof full, "%zu.%s", layer, name);
	for (unsigned i = 0; i < rank; i++)
		if (!shape[i])
			return MOE_OK;
	return moe_frame_put_shape(f, full, type, rank, shape, data, d);
}

enum moe_err moe_insight_attend(struct moe_insight *in, struct moe_flow *flow, const struct moe_model *m, struct moe_diag *d)
{
	for (size_t i = 0; in->attention && i < flow->n; i++) {
		struct moe_span *s = &flow->span[i];
		MOE_TRY(keep(in, flow->frame[i], (uint64_t)m->spec->attention.heads, moe_span_kept(s), (uint64_t)s->start + s->n,
			     &s->attention, d));
	}
	return MOE_OK;
}

enum moe_err moe_insight_attended(struct moe_insight *in, struct moe_flow *flow, const struct moe_model *m, size_t layer, struct moe_diag *d)
{
	for (size_t i = 0; in->attention && i < flow->n; i++) {
		struct moe_span *s = &flow->span[i];
		uint64_t shape[3] = {(uint64_t)m->spec->attention.heads, s->n, (uint64_t)s->start + s->n};
		MOE_TRY(put(flow->frame[i], layer, "attention", MOE_F32, 3, shape, s->attention, d));
		s->attention = NULL;
	}
	return MOE_OK;
}

enum moe_err moe_insight_cut(struct moe_insight *in, struct moe_flow *flow, size_t layer, struct moe_diag *d)
{
	char name[40];

	snprintf(name, sizeof name, "%zu.attention", layer);
	for (size_t i = 0; in->attention && i < flow->n; i++) {
		const struct moe_tensor *t = moe_frame_find(flow->frame[i], name);
		uint64_t n = flow->span[i].n, shape[3] = {t->shape[0], n, t->shape[2]};
		float *w = (float *)(uintptr_t)t->data;         /* memory of this stage */
		for (uint64_t h = 0; h < shape[0]; h++)
			memmove(w + h * n * shape[2], w + (h * t->shape[1] + t->shape[1] - n) * shape[2], n * shape[2] * sizeof *w);
		MOE_TRY(put(flow->frame[i], layer, "attention", MOE_F32, 3, shape, w, d));
	}
	return MOE_OK;
}

/* Rows of a frame whose parts are wanted: the last of it. */
static enum moe_err part_rows(const struct moe_insight *in, const struct moe_frame *f, const struct moe_span *s, size_t *rows, struct moe_diag *d)
{
	uint64_t first = 0;

	if (in->parts == MOE_PARTS_WANTED)
		MOE_TRY(moe_wanted_rows(f, s->n, &first, d));
	*rows = s->n - first;
	return MOE_OK;
}

static enum moe_err plan_parts(struct moe_insight *in, const struct moe_frame *f, struct moe_span *s, size_t hidden, size_t k, bool shared, struct moe_diag *d)
{
	struct moe_span_parts *p = moe_arena_zero(&in->kept, 1, sizeof *p);

	if (!p)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	MOE_TRY(part_rows(in, f, s, &p->rows, d));
	MOE_TRY(keep(in, f, p->rows, 1, hidden, &p->residual, d));
	MOE_TRY(keep(in, f, p->rows, k, hidden, &p->part, d));
	MOE_TRY(keep(in, f, p->rows, k, 1, &p->expert_id, d));
	MOE_TRY(keep(in, f, p->rows, k, 1, &p->weight, d));
	if (shared)
		MOE_TRY(keep(in, f, p->rows, 1, hidden, &p->shared, d));
	s->parts = p;
	return MOE_OK;
}

enum moe_err moe_insight_expert(struct moe_insight *in, struct moe_flow *flow, const struct moe_model *m, size_t layer, struct moe_diag *d)
{
	for (size_t i = 0; in->parts && i < flow->n; i++)
		MOE_TRY(plan_parts(in, flow->frame[i], &flow->span[i], flow->batch.hidden, flow->routed.top_k, m->layer[layer].ffn.shared.gate.data != NULL, d));
	return MOE_OK;
}

enum moe_err moe_insight_experted(struct moe_insight *in, struct moe_flow *flow, size_t layer, struct moe_diag *d)
{
	uint64_t hidden = flow->batch.hidden, k = flow->routed.top_k;

	for (size_t i = 0; in->parts && i < flow->n; i++) {
		struct moe_span_parts *p = flow->span[i].parts;
		struct moe_frame *f = flow->frame[i];
		MOE_TRY(put(f, layer, "residual", MOE_F32, 2, (uint64_t[]){p->rows, hidden}, p->residual, d));
		MOE_TRY(put(f, layer, "expert_id", MOE_I32, 2, (uint64_t[]){p->rows, k}, p->expert_id, d));
		MOE_TRY(put(f, layer, "weight", MOE_F32, 2, (uint64_t[]){p->rows, k}, p->weight, d));
		MOE_TRY(put(f, layer, "part", MOE_F32, 3, (uint64_t[]){p->rows, k, hidden}, p->part, d));
		if (p->shared)
			MOE_TRY(put(f, layer, "shared", MOE_F32, 2, (uint64_t[]){p->rows, hidden}, p->shared, d));
		flow->span[i].parts = NULL;
	}
	return MOE_OK;
}
