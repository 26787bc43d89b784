/* The way of pictures to the first layer: convolutions, rows and columns, and, where the model has one, an encoder: layers of its own with a dense gated unit,
 * whose patches see their whole picture, a norm, and the projector. */
#include <string.h>

#include "base/check.h"
#include "train/net_priv.h"

static size_t width_of(const struct moe_net *n) { return (size_t)moe_spec_tower_width(n->spec); }
static size_t inner_of(const struct moe_net *n) { return (size_t)n->spec->projector.query.width; }
static bool is_mlp(const struct moe_net *n) { return n->spec->projector.kind == MOE_PROJECTOR_MLP; }

static size_t offset_of(const struct moe_net *n, const char *logical, int64_t layer)
{
	const struct moe_param *p = moe_params_find(&n->params, logical, layer, -1);

	return p ? p->offset : 0;
}

/* ---- plans ---- */

static bool plan_layer(struct moe_net *n, int64_t l)
{
	struct net_encoder_layer *w = &n->encoder.layer[l];
	size_t width = width_of(n), unit_width = (size_t)n->spec->tower.vit.width;
	enum moe_unit unit = n->o.unit;
	struct moe_arena *a = &n->memory;

	w->norm1 = offset_of(n, "norm1", l);
	w->norm2 = offset_of(n, "norm2", l);
	w->qkv = offset_of(n, "vit_q", l);
	w->o = offset_of(n, "vit_o", l);
	w->gate_up = offset_of(n, "vit_gate", l);
	w->down = offset_of(n, "fc2", l);
	return moe_dense_plan(&w->qkv_dense, unit, n->weight + w->qkv, 3 * width, width, a) && moe_dense_plan(&w->o_dense, unit, n->weight + w->o, width, width, a) &&
	       moe_dense_plan(&w->unit.gate_up, unit, n->weight + w->gate_up, 2 * unit_width, width, a) &&
	       moe_dense_plan(&w->unit.down, unit, n->weight + w->down, width, unit_width, a);
}

static bool plan_projector(struct moe_net *n)
{
	struct net_encoder *e = &n->encoder;
	size_t width = width_of(n), hidden = net_hidden(n), inner = inner_of(n);
	enum moe_unit unit = n->o.unit;

	e->project = offset_of(n, is_mlp(n) ? "mlp_out" : "project", -1);
	if (!is_mlp(n))
		return moe_dense_plan(&e->project_dense, unit, n->weight + e->project, hidden, width, &n->memory);
	e->up = offset_of(n, "mlp_in", -1);
	return moe_dense_plan(&e->up_dense, unit, n->weight + e->up, inner, width, &n->memory) &&
	       moe_dense_plan(&e->project_dense, unit, n->weight + e->project, hidden, inner, &n->memory);
}

bool moe_net_pictures_plan(struct moe_net *n)
{
	const struct moe_spec *s = n->spec;
	size_t heads = (size_t)s->tower.vit.heads;
	struct net_encoder *e = &n->encoder;
	const struct moe_param *p;

	n->row_embed = offset_of(n, "row_embed", -1);
	n->col_embed = offset_of(n, "col_embed", -1);
	for (size_t i = 0, at = 0; i < n->params.n; i++) {
		p = &n->params.p[i];
		if (!strcmp(p->logical, "conv"))
			n->conv[at++] = p->offset;
	}
	if (!moe_stem_plan(&n->stem, n->o.unit, s->tower.conv, s->image_tokens.count ? 0 : s->tower.n_conv, &n->memory))
		return false;
	if (!moe_spec_encodes(s))
		return true;
	e->heads = (struct moe_heads){.unit = n->o.unit, .heads = heads, .kv_heads = heads, .dim = width_of(n) / heads};
	e->n = (size_t)s->tower.vit.layers;
	e->norm = offset_of(n, "vit_norm", -1);
	e->layer = moe_arena_zero(&n->memory, e->n, sizeof *e->layer);
	for (size_t l = 0; e->layer && l < e->n; l++)
		if (!plan_layer(n, (int64_t)l))
			return false;
	return e->layer && plan_projector(n);
}

size_t moe_net_pictures_largest(const struct moe_net *n)
{
	size_t width = width_of(n) + 1, most = 0;

	for (size_t i = 0; i < n->stem.n; i++)
		most = moe_max(most, n->stem.conv[i].dense.out * n->stem.conv[i].dense.in);
	if (moe_spec_encodes(n->spec)) {
		most = moe_max(most, width * moe_max(3 * width, 2 * (size_t)n->spec->tower.vit.width + 1));
		most = moe_max(most, (net_hidden(n) + width) * (moe_max(width, inner_of(n)) + 1));
	}
	return most;
}

void moe_net_pictures_pack(struct moe_net *n, void *scratch)
{
	const float *conv[MOE_MAX_CONV];

	for (size_t i = 0; i < n->stem.n; i++)
		conv[i] = n->weight + n->conv[i];
	moe_stem_pack(&n->stem, conv, scratch);
	for (size_t l = 0; l < n->encoder.n; l++) {
		struct net_encoder_layer *w = &n->encoder.layer[l];
		moe_dense_pack(&w->qkv_dense, scratch);
		moe_dense_pack(&w->o_dense, scratch);
		moe_dense_pack(&w->unit.gate_up, scratch);
		moe_dense_pack(&w->unit.down, scratch);
	}
	if (!n->encoder.n)
		return;
	if (is_mlp(n))
		moe_dense_pack(&n->encoder.up_dense, scratch);
	moe_dense_pack(&n->encoder.project_dense, scratch);
}

/* The pictures' rows, without text. */
static bool plan_spans(struct kept_encoder *k, const struct chunk *c)
{
	struct moe_packed_rows *span = moe_arena_zero(c->memory, c->n, sizeof *span);

	k->rows = (struct moe_spans){.span = span};
	for (size_t i = 0; span && i < c->n; i++)
		if (c->packed[i].rows) {
			span[k->rows.n] = (struct moe_packed_rows){.first = k->rows.rows, .n_image = (size_t)c->packed[i].rows * c->packed[i].columns};
			k->rows.rows += span[k->rows.n++].n_image;
		}
	return span;
}

static bool plan_encoder(const struct moe_net *n, struct chunk *c)
{
	struct kept_encoder *k = &c->encoder;
	size_t width = width_of(n), number = moe_unit_number(n->o.unit), rows;
	struct moe_arena *a = c->memory;

	if (!plan_spans(k, c))
		return false;
	rows = k->rows.rows;
	k->layer = moe_arena_zero(a, n->encoder.n, sizeof *k->layer);
	for (size_t l = 0; k->layer && l < n->encoder.n; l++) {
		k->layer[l].attend.x = moe_arena_get(a, rows * width, sizeof(float));
		if (!k->layer[l].attend.x || !moe_attend_plan(&k->layer[l].attend, &n->encoder.heads, width, &k->rows, a) ||
		    !moe_gated_plan(&k->layer[l].gated, n->o.unit, width, (size_t)n->spec->tower.vit.width, rows, a))
			return false;
	}
	k->top = moe_arena_get(a, rows * width, sizeof *k->top);
	k->scale = moe_arena_get(a, rows, sizeof *k->scale);
	k->h = moe_arena_get(a, rows * width, number);
	k->between = moe_arena_get(a, rows * inner_of(n) + 1, number);
	k->act = moe_arena_get(a, rows * inner_of(n) + 1, number);
	return k->layer && k->top && k->scale && k->h && k->between && k->act;
}

enum moe_err moe_net_pictures_kept(const struct moe_net *n, struct chunk *c, struct moe_diag *d)
{
	size_t patch = (size_t)n->spec->image.patch;
	bool ok;

	c->stem = moe_arena_zero(c->memory, c->n, sizeof *c->stem);
	ok = c->stem && (!n->encoder.n || plan_encoder(n, c));
	for (size_t i = 0; ok && i < c->n; i++)
		if (c->packed[i].rows)
			ok = moe_stem_kept_plan(&c->stem[i], &n->stem, c->packed[i].rows * patch, c->packed[i].columns * patch, c->memory);
	if (!ok)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the pictures of %zu sequences", c->n);
	return n->encoder.n ? moe_gated_rows_make(&c->encoder.gated, c->encoder.rows.rows, c->memory, d) : MOE_OK;
}

uint64_t moe_net_pictures_nbytes(const struct moe_spec *s, enum moe_unit unit, size_t patches)
{
	uint64_t number = moe_unit_number(unit), area = patches * (uint64_t)(s->image.patch * s->image.patch), n = 0;
	uint64_t width = (uint64_t)moe_spec_tower_width(s), unit_width = (uint64_t)s->tower.vit.width, heads = (uint64_t)s->tower.vit.heads;
	struct moe_packed_rows picture = {.n_image = patches};

	for (size_t i = 0; i < s->tower.n_conv; i++) {
		const struct moe_conv *c = &s->tower.conv[i];
		area /= (uint64_t)(c->stride * c->stride);
		n += number * area * (uint64_t)(c->kernel * c->kernel * c->in + 1 + c->out);
	}
	if (!moe_spec_encodes(s))
		return n;
	n += (uint64_t)s->tower.vit.layers * (patches * (4 * (2 * width + 2) + number * (6 * width + 2 * unit_width)) +
					      number * moe_attention_kept(&(struct moe_heads){unit, heads, heads, width / heads, false}, &picture));
	return n + patches * (4 * (width + 5) + number * (width + 2 * (uint64_t)s->projector.query.width));
}

uint64_t moe_net_pictures_scratch(const struct moe_spec *s, size_t patches)
{
	size_t width = (size_t)s->tower.vit.width, hidden = (size_t)s->tower.vit.hidden;

	return moe_spec_encodes(s) ? moe_experts_scratch(patches, hidden, width) + 4 * patches * (4 * (uint64_t)hidden + 2) : 0;
}

/* ---- both passes ---- */

static struct moe_attend attend_of(const struct moe_net *n, size_t l)
{
	const struct net_encoder_layer *w = &n->encoder.layer[l];

	return (struct moe_attend){.heads = n->encoder.heads, .eps = (float)n->spec->tower.vit.eps, .norm = n->weight + w->norm1, .qkv = &w->qkv_dense,
				   .o = &w->o_dense};
}

static struct moe_gated gated_of(const struct moe_net *n, size_t l)
{
	const struct net_encoder_layer *w = &n->encoder.layer[l];

	return (struct moe_gated){.eps = (float)n->spec->tower.vit.eps, .norm = n->weight + w->norm2, .unit = &w->unit};
}

/* What the convolutions give for a sequence's picture, or the gradient of that: in the encoder's rows, of which the picture's begin at `first`, or in the
 * trunk's. */
static float *patches_of(const struct moe_net *n, float *encoder, float *trunk, size_t first, size_t first_in_trunk)
{
	return n->encoder.n ? encoder + first * width_of(n) : trunk + first_in_trunk * net_hidden(n);
}

/* ---- forward ---- */

static enum moe_err stem_forward(struct moe_net *n, struct chunk *c, struct lane *lane)
{
	size_t width = width_of(n), patch = (size_t)n->spec->image.patch, first = 0;

	for (size_t i = 0; i < c->n; i++) {
		const struct moe_packed *p = &c->packed[i];
		size_t height = p->rows * patch, across = p->columns * patch, patches = (size_t)p->rows * p->columns;
		struct moe_arena_mark mark = moe_arena_mark(&lane->scratch);
		float *at = patches_of(n, n->encoder.n ? c->encoder.layer[0].attend.x : NULL, c->layer[0].x, first, c->all.span[i].first);
		void *scratch;
		if (!patches)
			continue;
		scratch = moe_arena_get(&lane->scratch, moe_stem_scratch(&n->stem, height, across), 1);
		if (!scratch)
			return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
		moe_stem_keep(&n->stem, at, width, p->planes, height, across, &c->stem[i], scratch);
		for (size_t r = 0; n->spec->tower.row_col && r < patches; r++) {
			moe_add(at + r * width, n->weight + n->row_embed + r / p->columns * width, width);
			moe_add(at + r * width, n->weight + n->col_embed + r % p->columns * width, width);
		}
		first += patches;
		moe_arena_release(&lane->scratch, mark);
	}
	return MOE_OK;
}

/* top through norm and projector to the trunk's rows. */
static enum moe_err project(struct moe_net *n, struct chunk *c, struct lane *lane)
{
	const struct net_encoder *e = &n->encoder;
	struct kept_encoder *k = &c->encoder;
	size_t width = width_of(n), inner = inner_of(n), hidden = net_hidden(n), rows = k->rows.rows, ld = is_mlp(n) ? inner : width;
	enum moe_unit unit = n->o.unit;
	struct moe_arena_mark mark = moe_arena_mark(&lane->scratch);
	float *h = moe_arena_get(&lane->scratch, rows * width, sizeof *h), *z = moe_arena_get(&lane->scratch, rows * inner, sizeof *z);

	if (!h || !z)
		return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
	moe_rms_norm_keep(h, k->scale, k->top, n->weight + e->norm, rows, width, (float)n->spec->tower.vit.eps);
	moe_operand_rows(unit, k->h, width, h, width, rows, width);
	if (is_mlp(n)) {
		moe_dense_forward(&e->up_dense, k->h, width, rows, z, inner, false);
		moe_silu_keep(unit, k->act, k->between, z, rows * inner);
	}
	for (size_t i = 0, at = 0; i < c->n; i++)
		if (c->all.span[i].n_image) {
			const struct moe_packed_rows *s = &k->rows.span[at++];
			moe_dense_forward(&e->project_dense, moe_unit_at(unit, is_mlp(n) ? k->act : k->h, s->first * ld), ld, s->n_image,
					  c->layer[0].x + c->all.span[i].first * hidden, hidden, false);
		}
	moe_arena_release(&lane->scratch, mark);
	return MOE_OK;
}

enum moe_err moe_net_pictures_forward(struct moe_net *n, struct chunk *c, struct lane *lane)
{
	struct kept_encoder *k = &c->encoder;

	if (n->spec->image_tokens.count) {
		moe_net_tokens_forward(n, c);
		return MOE_OK;
	}
	MOE_TRY(stem_forward(n, c, lane));
	if (!n->encoder.n || !k->rows.rows)
		return MOE_OK;
	for (size_t l = 0; l < n->encoder.n; l++) {
		struct moe_attend attend = attend_of(n, l);
		struct moe_gated gated = gated_of(n, l);
		float *y = l + 1 < n->encoder.n ? k->layer[l + 1].attend.x : k->top;
		MOE_TRY(moe_attend_keep(&attend, &k->layer[l].attend, &k->rows, &lane->scratch, &lane->d));
		MOE_TRY(moe_gated_keep(&gated, &k->layer[l].gated, &k->gated, y, k->layer[l].attend.mid, &lane->scratch, &lane->d));
	}
	return project(n, c, lane);
}

/* ---- backward ---- */

static enum moe_err stem_backward(struct moe_net *n, struct chunk *c, float *encoder_dx, struct lane *lane)
{
	size_t width = width_of(n), patch = (size_t)n->spec->image.patch, first = 0;
	float *g = lane->gradient, *conv[MOE_MAX_CONV];

	for (size_t i = 0; i < n->stem.n; i++)
		conv[i] = g + n->conv[i];
	for (size_t i = 0; i < c->n; i++) {
		const struct moe_packed *p = &c->packed[i];
		size_t height = p->rows * patch, across = p->columns * patch, patches = (size_t)p->rows * p->columns;
		struct moe_arena_mark mark = moe_arena_mark(&lane->scratch);
		const float *dx = patches_of(n, encoder_dx, c->dx, first, c->all.span[i].first);
		void *scratch;
		if (!patches)
			continue;
		scratch = moe_arena_get(&lane->scratch, moe_stem_scratch(&n->stem, height, across), 1);
		if (!scratch)
			return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
		moe_stem_backward(&n->stem, conv, dx, width, NULL, height, across, &c->stem[i], scratch);
		for (size_t r = 0; n->spec->tower.row_col && r < patches; r++) {
			moe_add(g + n->row_embed + r / p->columns * width, dx + r * width, width);
			moe_add(g + n->col_embed + r % p->columns * width, dx + r * width, width);
		}
		first += patches;
		moe_arena_release(&lane->scratch, mark);
	}
	return MOE_OK;
}

/* The trunk's gradients of the pictures' rows, one behind the other, as numbers. */
static void gather(const struct moe_net *n, const struct chunk *c, void *to)
{
	size_t hidden = net_hidden(n);

	for (size_t i = 0, at = 0; i < c->n; i++)
		if (c->all.span[i].n_image) {
			const struct moe_packed_rows *s = &c->encoder.rows.span[at++];
			moe_operand_rows(n->o.unit, moe_unit_at(n->o.unit, to, s->first * hidden), hidden, c->dx + c->all.span[i].first * hidden, hidden, s->n_image, hidden);
		}
}

/* dx [rows][width] = the gradient of top. */
static enum moe_err project_backward(struct moe_net *n, struct chunk *c, float *dx, struct lane *lane)
{
	const struct net_encoder *e = &n->encoder;
	struct kept_encoder *k = &c->encoder;
	size_t width = width_of(n), inner = inner_of(n), hidden = net_hidden(n), rows = k->rows.rows, between = is_mlp(n) ? inner : width;
	enum moe_unit unit = n->o.unit;
	size_t number = moe_unit_number(unit);
	struct moe_arena *a = &lane->scratch;
	struct moe_arena_mark mark = moe_arena_mark(a);
	void *dyn = moe_arena_get(a, rows * hidden, number), *dzn = moe_arena_get(a, rows * inner, number);
	void *along = moe_arena_get(a, (rows + 2) * (hidden + width + inner), sizeof(float));
	float *dz = moe_arena_get(a, rows * between, sizeof *dz), *dh = moe_arena_get(a, rows * width, sizeof *dh), *g = lane->gradient;

	if (!dyn || !dzn || !along || !dz || !dh)
		return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
	gather(n, c, dyn);
	moe_dense_gradient(unit, g + e->project, dyn, hidden, hidden, is_mlp(n) ? k->act : k->h, between, between, rows, along);
	moe_dense_backward(&e->project_dense, dyn, hidden, rows, dz, between, false);
	if (is_mlp(n)) {
		moe_silu_backward(unit, dzn, dz, k->between, rows * inner);
		moe_dense_gradient(unit, g + e->up, dzn, inner, inner, k->h, width, width, rows, along);
		moe_dense_backward(&e->up_dense, dzn, inner, rows, dh, width, false);
	}
	memset(dx, 0, rows * width * sizeof *dx);
	moe_rms_norm_backward(dx, g + e->norm, is_mlp(n) ? dh : dz, k->top, k->scale, n->weight + e->norm, rows, width);
	moe_arena_release(a, mark);
	return MOE_OK;
}

static enum moe_err layer_backward(struct moe_net *n, struct chunk *c, size_t l, float *dx, struct lane *lane)
{
	const struct net_encoder_layer *w = &n->encoder.layer[l];
	struct kept_encoder *k = &c->encoder;
	struct moe_attend attend = attend_of(n, l);
	struct moe_gated gated = gated_of(n, l);
	float *g = lane->gradient;

	MOE_TRY(moe_gated_backward(&gated, &k->layer[l].gated, &k->gated, dx, k->layer[l].attend.mid,
				   &(struct moe_gated_gradient){g + w->norm2, g + w->gate_up, g + w->down}, &lane->scratch, &lane->d));
	return moe_attend_backward(&attend, &k->layer[l].attend, &k->rows, dx, &(struct moe_attend_gradient){g + w->norm1, g + w->qkv, g + w->o}, &lane->scratch,
				   &lane->d);
}

enum moe_err moe_net_pictures_backward(struct moe_net *n, struct chunk *c, struct lane *lane)
{
	size_t rows = c->encoder.rows.rows;
	struct moe_arena_mark mark = moe_arena_mark(&lane->scratch);
	float *dx = n->encoder.n && rows ? moe_arena_get(&lane->scratch, rows * width_of(n), sizeof *dx) : NULL;

	if (n->spec->image_tokens.count) {
		moe_net_tokens_backward(n, c, lane->gradient);
		return MOE_OK;
	}
	if (n->encoder.n && rows) {
		if (!dx)
			return moe_fail(&lane->d, MOE_ENOMEM, "out of memory");
		MOE_TRY(project_backward(n, c, dx, lane));
		for (size_t l = n->encoder.n; l-- > 0;)
			MOE_TRY(layer_backward(n, c, l, dx, lane));
	}
	MOE_TRY(stem_backward(n, c, dx, lane));
	moe_arena_release(&lane->scratch, mark);
	return MOE_OK;
}
