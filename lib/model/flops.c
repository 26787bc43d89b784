#include "model/flops.h"

#include "base/check.h"

/* Rows of a sequence: all, and by modality. */
struct rows { double all, text, image; };

/* Pairs of a query and a key that it sees. */
static double seen(const struct moe_spec *s, const struct rows *r)
{
	bool apart = s->attention.mask == MOE_MASK_BIDIRECTIONAL_IMAGE;
	double window = (double)s->attention.window, images = apart ? r->image * r->image : r->image * (r->image + 1) / 2;
	double pairs = images + r->text * r->image + r->text * (r->text + 1) / 2;

	return window > 0 ? moe_min(pairs, r->all * window) : pairs;
}

/* Experts that a row of a pool passes on average. */
static double of_row(const struct moe_router_settings *s, int64_t experts)
{
	double capacity = s->capacity > 0 ? s->capacity : (double)s->top_k;

	return moe_min(s->chooses == MOE_CHOICE_EXPERT ? capacity : (double)s->top_k, (double)experts);
}

static double experts(const struct moe_spec *s, const struct rows *r)
{
	const struct moe_router_settings *x = &s->router;
	double passes = 0, unit = 6 * (double)s->hidden, shared = (double)(s->shared.count * s->shared.width);

	if (!x->pools.n)
		passes = r->all * of_row(x, x->experts);
	for (size_t m = 0; m < x->pools.n && m <= MOE_IMAGE; m++)
		passes += (m == MOE_TEXT ? r->text : r->image) * of_row(x, x->pools.size[m]);
	return unit * (passes * (double)s->expert_width + r->all * shared) + (s->shared.gate ? 2 * (double)s->hidden * r->all : 0);
}

/* Outputs of routers that a row gets: those of its own pool. */
static double routed(const struct moe_router_settings *s, const struct rows *r)
{
	double outputs = s->pools.n ? 0 : r->all * (double)s->experts;

	for (size_t m = 0; m < s->pools.n && m <= MOE_IMAGE; m++)
		outputs += (m == MOE_TEXT ? r->text : r->image) * (double)s->pools.size[m];
	return outputs;
}

/* An auxiliary router for `rows` rows, with so many outputs in all. */
static double aux(double hidden, double rows, double outputs) { return 2 * (hidden / 2) * (rows * hidden + outputs); }

static void add_layer(struct moe_flops *to, const struct moe_spec *s, size_t layer, const struct rows *all)
{
	const struct moe_attention_settings *a = &s->attention;
	bool depth = moe_spec_has_depth(s, layer);
	double share = depth ? s->depth.capacity : 1, hidden = (double)s->hidden, q = (double)(a->heads * a->head_dim), kv = (double)(a->kv_heads * a->head_dim);
	struct rows r = {share * all->all, share * all->text, share * all->image};

	if (depth) {
		to->router += 2 * hidden * all->all;
		to->aux += s->aux.routers ? aux(hidden, all->all, all->all) : 0;
	}
	to->attention += r.all * 2 * hidden * (2 * q + 2 * kv) + 4 * q * seen(s, &r);
	if (moe_spec_is_dense(s, layer)) {
		to->experts += r.all * 6 * hidden * (double)s->dense.width;
		return;
	}
	to->router += 2 * hidden * routed(&s->router, &r);
	to->experts += experts(s, &r);
	if (s->aux.routers && s->router.chooses == MOE_CHOICE_EXPERT)
		to->aux += aux(hidden, r.all, routed(&s->router, &r));
}

/* Attention of the patches among each other before the layers. */
static double tower_attention(const struct moe_spec *s, double patches)
{
	const struct moe_vit_settings *v = &s->tower.vit;
	bool layers = s->tower.kind == MOE_TOWER_VIT || moe_spec_encodes(s);

	return layers ? 4 * (double)v->layers * (double)v->hidden * patches * patches : 0;
}

enum moe_err moe_spec_flops(struct moe_flops *out, const struct moe_spec *s, size_t patches, size_t text, struct moe_diag *d)
{
	struct rows r = {(double)(patches + text), (double)text, (double)patches};
	double *part[] = {&out->tower, &out->attention, &out->router, &out->experts, &out->head, &out->aux};
	struct moe_sizes z;

	MOE_TRY(moe_spec_sizes(s, &z, d));
	*out = (struct moe_flops){.tower = (double)z.flops_per_patch * r.image + tower_attention(s, r.image), .head = 2 * (double)z.head * (s->image_tokens.count ? r.all : r.text)};
	for (size_t l = 0; l < (size_t)s->n_layers; l++)
		add_layer(out, s, l, &r);
	for (size_t i = 0; i < sizeof part / sizeof *part; i++)
		*part[i] /= r.all;
	out->forward_only = s->image_tokens.count ? out->tower : 0;
	out->all = out->tower + out->attention + out->router + out->experts + out->head;
	return MOE_OK;
}

double moe_flops_training(const struct moe_flops *f, bool aux_alone) { return aux_alone ? f->all + 3 * f->aux : 3 * f->all - 2 * f->forward_only; }
