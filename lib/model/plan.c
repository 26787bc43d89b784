#include "model/plan.h"

#include "base/check.h"
#include "model/math.h"

enum { PROGRAM = 6 << 20, AROUND = 64 << 10 };   /* a program without a model; what Linux maps of a file around a byte that is read */

/* Floats that one row takes in the larger of the two halves of a layer, and all the time. */
static uint64_t row_floats(const struct moe_spec *s)
{
	uint64_t hidden = (uint64_t)s->hidden, q = (uint64_t)(s->attention.heads * s->attention.head_dim);
	uint64_t kv = (uint64_t)(s->attention.kv_heads * s->attention.head_dim), k = moe_router_width(&s->router);
	uint64_t attention = hidden + 2 * q + 2 * kv;
	uint64_t experts = hidden + (uint64_t)s->router.experts + k * (hidden + 2 * (uint64_t)s->expert_width);
	uint64_t shared = (uint64_t)(s->shared.count * s->shared.width), unit = moe_max(shared, (uint64_t)s->dense.width);

	if (unit)
		experts += 2 * hidden + 2 * unit;
	return hidden + (uint64_t)s->attention.head_dim + 8 + moe_max(attention, experts);
}

/* Floats that one patch takes in the tower: its pixels, and keys, values and hidden states, or the maps of convolutions, or first these and then those. An
 * encoder's pictures are so small that all their patches are inside its units at a time. */
static uint64_t patch_floats(const struct moe_spec *s)
{
	const struct moe_vit_settings *v = &s->tower.vit;
	uint64_t pixels = (uint64_t)(s->image.channels * s->image.patch * s->image.patch);

	if (s->tower.kind == MOE_TOWER_VIT)
		return pixels + 4 * (uint64_t)v->hidden;
	return 12 * pixels + (moe_spec_encodes(s) ? 7 * (uint64_t)v->hidden + 2 * (uint64_t)v->width + (uint64_t)s->projector.query.width : 0);
}

/* Bytes of the weights by part: counted when they were bound, or by the type of the configuration. */
static enum moe_err part_nbytes(const struct moe_model *m, uint64_t nbytes[MOE_N_PARTS], struct moe_diag *d)
{
	struct moe_sizes z;

	MOE_TRY(moe_spec_sizes(m->spec, &z, d));
	for (int p = 0; p < MOE_N_PARTS; p++)
		nbytes[p] = m->weights ? m->part_nbytes[p] : z.part[p] * (m->spec->wide ? 4 : 2);
	return MOE_OK;
}

enum moe_err moe_plan_make(struct moe_plan *out, const struct moe_model *m, const struct moe_plan_options *o, struct moe_diag *d)
{
	const struct moe_spec *s = m->spec;
	uint64_t nbytes[MOE_N_PARTS], replaced, mapped, sequences = moe_max(1, o->sequences), row, touched;
	uint64_t blocks = (o->tokens + MOE_ATTN_BLOCK - 1) / MOE_ATTN_BLOCK, at_once = o->whole ? o->tokens : moe_min(o->tokens, MOE_PASS_ROWS);
	struct moe_sizes z;

	*out = (struct moe_plan){0};
	MOE_TRY(part_nbytes(m, nbytes, d));
	MOE_TRY(moe_spec_sizes(s, &z, d));
	for (int p = 0; p < MOE_N_PARTS; p++)
		if (p != MOE_PART_EMBED)
			out->weights += nbytes[p];
	row = nbytes[MOE_PART_EMBED] / (uint64_t)s->vocab;
	touched = sequences * o->tokens * (row + AROUND);
	out->weights += s->tied ? nbytes[MOE_PART_EMBED] : moe_min(nbytes[MOE_PART_EMBED], touched);
	moe_math_packed(m, &replaced, &mapped);
	out->weights = mapped + (out->weights > replaced ? out->weights - replaced : 0);
	if (!moe_checked_mul(sequences * blocks * MOE_ATTN_BLOCK, z.cache_nbytes_per_token, &out->cache))
		return moe_fail(d, MOE_EUSAGE, "%llu sequences of %llu tokens are more than can be counted", (unsigned long long)sequences, (unsigned long long)o->tokens);
	out->scratch = PROGRAM + 4 * (sequences * o->tokens * (uint64_t)s->hidden + at_once * sequences * row_floats(s) + sequences * (uint64_t)s->vocab * 2);
	if (!o->patches)
		out->weights -= nbytes[MOE_PART_TOWER] + nbytes[MOE_PART_PROJECTOR];
	out->scratch += 4 * o->patches * patch_floats(s);
	out->total = out->weights + out->cache + out->scratch;
	return MOE_OK;
}
