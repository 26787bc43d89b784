#include "stage/partial_experts.h"

#include <stdio.h>
#include <string.h>

/* Leaves of a frame what the process of expert 0 does not send. */
static void strip(struct moe_frame *f)
{
	for (size_t i = f->h.n_tensors; i > 0; i--) {
		const char *name = f->h.tensor[i - 1].name;
		if (strcmp(name, "expert_id") && strcmp(name, "weight"))
			moe_frame_remove(f, name);
	}
}

/* Puts the results of a span into its frame. */
static enum moe_err put_results(struct moe_frame *f, const struct moe_span *s, size_t hidden, size_t k, const float *const *result, struct moe_arena *a,
				struct moe_diag *d)
{
	const float *const *mine = result + s->first * k;
	uint8_t *filled = moe_arena_get(a, s->n * k, 1);
	size_t n = 0;
	float *part;

	for (size_t i = 0; filled && i < s->n * k; i++)
		n += filled[i] = mine[i] != NULL;
	part = moe_arena_get(a, n * hidden, sizeof *part);
	if (!filled || !part)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the results of %zu rows", s->n);
	n = 0;
	for (size_t i = 0; i < s->n * k; i++)
		if (filled[i])
			memcpy(part + n++ * hidden, mine[i], hidden * sizeof *part);
	MOE_TRY(moe_frame_put(f, "filled", MOE_U8, 2, s->n, k, filled, d));
	return moe_frame_put(f, "part", MOE_F32, 2, n, hidden, part, d);
}

enum moe_err moe_partial_forward(const struct moe_partial *p, struct moe_flow *flow, const struct moe_model *m, size_t layer, const struct moe_compute *work,
				 struct moe_output *out, struct moe_diag *d)
{
	const float **result;
	char at[40];

	snprintf(at, sizeof at, "%zu.partial", layer);
	MOE_TRY(moe_layer_each(m, layer, &flow->batch, &flow->routed, p->first, p->last, &result, work, d));
	for (size_t i = 0; i < flow->n; i++) {
		struct moe_frame *f = flow->frame[i];
		if (p->first > 0)
			strip(f);
		MOE_TRY(moe_frame_set(f, "moe.at", at, d));
		MOE_TRY(put_results(f, &flow->span[i], flow->batch.hidden, flow->routed.top_k, result, work->scratch, d));
		MOE_TRY(moe_emit(out, f, d));
	}
	return MOE_OK;
}
