#include "model/bind.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/names.h"

struct binder {
	struct moe_model *m;
	struct moe_names names;
	uint32_t *uses, *places;        /* [tensors of the checkpoint]: matrices bound from it, and how many it holds */
	struct moe_sizes *sizes;        /* when counting, without weights: nothing is bound then */
	enum moe_part part;             /* which part of the model is being walked */
	enum moe_err (*each)(void *arg, const struct moe_named *t);      /* NULL, or who wants to see every tensor */
	void *each_arg;
	struct moe_diag *d;
};

static const struct moe_place nowhere = {-1, -1, NULL};

/* Do its numbers share scales? */
static bool is_packed(enum moe_dtype t) { return t == MOE_F8_E4M3 || t == MOE_I8 || t >= MOE_N_DTYPES; }

/* Finds the tensor of a logical name, checks its shape (as it lies on disk) and type, and keeps the books of its uses. `packed`: may its numbers share
 * scales (F8_E4M3, I8, block types)? */
static enum moe_err find(struct binder *b, const char *logical, const uint64_t *shape, unsigned rank, bool packed, struct moe_where *w)
{
	const struct moe_tensor *t = w->tensor;
	char have[96], want[96];

	b->places[w->index] = (uint32_t)((w->axes >= MOE_AXES_EOI ? shape[0] : 1) * w->parts);
	if (b->uses[w->index]++ == b->places[w->index])
		return moe_fail(b->d, MOE_EINPUT, "tensor \"%s\" has two places in the family %s, one of them \"%s\"", w->name, b->m->spec->family, logical);
	if (t->rank != rank || memcmp(t->shape, shape, rank * sizeof *shape))
		return moe_fail(b->d, MOE_EINPUT, "tensor \"%s\" has the shape %s, expected %s (from config.json)", w->name,
				moe_shape_string(t->shape, t->rank, have, sizeof have), moe_shape_string(shape, rank, want, sizeof want));
	if (t->type != MOE_F32 && t->type != MOE_F16 && t->type != MOE_BF16 && !(packed && is_packed(t->type)))
		return moe_fail(b->d, MOE_EINPUT, "tensor \"%s\" is %s, expected F32, F16%s or BF16", w->name, moe_dtype_name(t->type), packed ? ", F8_E4M3, I8" : "");
	return MOE_OK;
}

/* Shows a tensor to who wants to see it. */
static enum moe_err show(struct binder *b, struct moe_named t)
{
	t.part = b->part;
	return b->each ? b->each(b->each_arg, &t) : MOE_OK;
}

/* A tensor of a spec without weights. */
static enum moe_err plan(struct binder *b, struct moe_named t)
{
	if (b->sizes)
		b->sizes->part[b->part] += t.mat.rows * t.mat.cols;
	return show(b, t);
}

/* Scales of an F8 matrix: one per block of 128 outputs and 128 inputs, in the tensor NAME_scale_inv (DeepSeek-V3, section 3.3). */
static enum moe_err bind_scales(struct binder *b, const struct moe_where *w, struct moe_mat *mat)
{
	char name[sizeof w->name + 16];
	uint64_t shape[2] = {(mat->rows + MOE_SCALE_BLOCK - 1) / MOE_SCALE_BLOCK, (mat->cols + MOE_SCALE_BLOCK - 1) / MOE_SCALE_BLOCK};
	const struct moe_tensor *t;
	size_t index;
	float *scale;

	if (w->axes != MOE_AXES_OI || w->parts != 1)
		return moe_fail(b->d, MOE_EINPUT, "tensor \"%s\" is F8_E4M3, which is known as [out][in] only", w->name);
	snprintf(name, sizeof name, "%s_scale_inv", w->name);
	t = moe_checkpoint_find(b->m->weights, name, &index);
	if (!t)
		return moe_fail(b->d, MOE_EINPUT, "tensor \"%s\" is missing (the scales of an F8_E4M3 tensor)", name);
	if (t->rank != 2 || memcmp(t->shape, shape, sizeof shape))
		return moe_fail(b->d, MOE_EINPUT, "tensor \"%s\" does not have one scale for each 128 x 128 weights", name);
	scale = moe_arena_get(&b->m->memory, moe_tensor_count(t), sizeof *scale);
	if (!scale)
		return moe_fail(b->d, MOE_ENOMEM, "out of memory");
	if (!moe_widen(scale, t->data, moe_tensor_count(t), t->type))
		return moe_fail(b->d, MOE_EINPUT, "tensor \"%s\" is %s, expected a float type", name, moe_dtype_name(t->type));
	b->uses[index] = b->places[index] = 1;
	mat->scale = scale;
	return MOE_OK;
}

const struct moe_tensor *moe_row_scales(const struct moe_checkpoint *weights, const char *of, size_t *index)
{
	static const char *const ends[] = {"_scale", ".scale"};
	const struct moe_tensor *t = NULL;
	char name[600];

	for (size_t i = 0; i < sizeof ends / sizeof *ends && !t; i++) {
		snprintf(name, sizeof name, "%s%s", of, ends[i]);
		t = moe_checkpoint_find(weights, name, index);
	}
	return t;
}

/* Scales of an I8 matrix (moe_row_scales). `row` is the matrix's first. */
static enum moe_err bind_row_scales(struct binder *b, const struct moe_where *w, uint64_t row, struct moe_mat *mat)
{
	const struct moe_tensor *t;
	float *copy;
	size_t index;

	if (w->interleaved || mat->step > 1)
		return moe_fail(b->d, MOE_EINPUT, "tensor \"%s\" is I8, which is known with the inputs of an output together only", w->name);
	t = moe_row_scales(b->m->weights, w->name, &index);
	if (!t)
		return moe_fail(b->d, MOE_EINPUT, "tensor \"%s_scale\" is missing (the scales of an I8 tensor)", w->name);
	if (t->type != MOE_F32 || t->rank + 1 != w->tensor->rank || memcmp(t->shape, w->tensor->shape, t->rank * sizeof *t->shape))
		return moe_fail(b->d, MOE_EINPUT, "tensor \"%s\" does not have one F32 scale for each output", t->name);
	b->uses[index] = b->places[index] = 1;
	if ((uintptr_t)t->data % sizeof(float) == 0) {
		mat->scale = (const float *)(const void *)t->data + row;
		return MOE_OK;
	}
	copy = moe_arena_get(&b->m->memory, mat->rows, sizeof *copy);
	mat->scale = copy;
	if (!copy)
		return moe_fail(b->d, MOE_ENOMEM, "out of memory");
	memcpy(copy, t->data + row * sizeof *copy, mat->rows * sizeof *copy);
	return MOE_OK;
}

/* A matrix of o outputs and i inputs, in place. */
static enum moe_err bind_mat(struct binder *b, const char *logical, struct moe_place at, int64_t o, int64_t i, struct moe_mat *mat)
{
	uint64_t shape[3] = {0}, rows = (uint64_t)o, cols = (uint64_t)i, offset;
	struct moe_where w;
	bool inputs_first;
	unsigned rank;

	MOE_TRY(moe_names_find(&b->names, logical, at, &w, b->d));
	if (!b->m->weights)
		return plan(b, (struct moe_named){.logical = logical, .at = at, .matrix = true, .mat = {.rows = rows, .cols = cols}});
	inputs_first = w.axes == MOE_AXES_IO || w.axes == MOE_AXES_EIO;
	rank = moe_where_shape(&w, (uint64_t)b->m->spec->router.experts, rows, cols, shape);
	if (w.interleaved && inputs_first)
		return moe_fail(b->d, MOE_EINPUT, "family %s: %s: outputs can be interleaved only as [out][in]", b->m->spec->family, logical);
	MOE_TRY(find(b, logical, shape, rank, true, &w));
	if (is_packed(w.tensor->type) && cols > MOE_MOST_UNPACKED)
		return moe_fail(b->d, MOE_EINPUT, "tensor \"%s\" is %s, of which a row may have %d inputs at most", w.name, moe_dtype_name(w.tensor->type),
				MOE_MOST_UNPACKED);
	if (w.tensor->type >= MOE_N_DTYPES && (inputs_first || cols % moe_dtype_block(w.tensor->type)))
		return moe_fail(b->d, MOE_EINPUT, "tensor \"%s\" is %s, which must lie as [out][in], with inputs in whole blocks of %zu", w.name,
				moe_dtype_name(w.tensor->type), moe_dtype_block(w.tensor->type));
	b->m->part_nbytes[b->part] += moe_dtype_nbytes(w.tensor->type, rows * cols);
	offset = w.part * (w.interleaved ? cols : inputs_first ? rows : rows * cols);
	if (w.axes >= MOE_AXES_EOI)
		offset += (uint64_t)at.expert * rows * w.parts * cols;
	*mat = (struct moe_mat){
		.data = w.tensor->data + moe_dtype_nbytes(w.tensor->type, offset), .type = w.tensor->type, .rows = rows, .cols = cols,
		.stride = inputs_first ? 1 : w.interleaved ? w.parts * cols : cols, .step = inputs_first ? rows * w.parts : 1,
	};
	if (w.tensor->type == MOE_F8_E4M3)
		MOE_TRY(bind_scales(b, &w, mat));
	if (w.tensor->type == MOE_I8)
		MOE_TRY(bind_row_scales(b, &w, offset / cols, mat));
	return show(b, (struct moe_named){.logical = logical, .at = at, .matrix = true, .mat = *mat, .where = &w});
}

/* The weights of a convolution, as a matrix [out][in · height · width]. */
static enum moe_err bind_kernel(struct binder *b, const char *logical, struct moe_place at, const uint64_t shape[4], struct moe_mat *mat)
{
	size_t k = shape[1] * shape[2] * shape[3];
	struct moe_mat all;
	struct moe_where w;

	MOE_TRY(moe_names_find(&b->names, logical, at, &w, b->d));
	if (!b->m->weights)
		return plan(b, (struct moe_named){.logical = logical, .at = at, .mat = {.rows = 1, .cols = shape[0] * k}, .rank = 4, .shape = shape});
	MOE_TRY(find(b, logical, shape, 4, false, &w));
	b->m->part_nbytes[b->part] += w.tensor->nbytes;
	*mat = (struct moe_mat){.data = w.tensor->data, .type = w.tensor->type, .rows = shape[0], .cols = k, .stride = k, .step = 1};
	all = (struct moe_mat){.data = w.tensor->data, .type = w.tensor->type, .rows = 1, .cols = shape[0] * k, .stride = shape[0] * k, .step = 1};
	return show(b, (struct moe_named){.logical = logical, .at = at, .mat = all, .rank = 4, .shape = shape, .where = &w});
}

/* A small vector (or matrix) that is used in f32: in place when it is F32 and aligned, else widened once. `shape` is that of the part. */
static enum moe_err bind_floats(struct binder *b, const char *logical, struct moe_place at, const uint64_t *shape, unsigned rank, const float **out)
{
	uint64_t n = 1, disk[2] = {shape[0], rank > 1 ? shape[1] : 0};
	struct moe_where w;
	struct moe_mat all;
	const uint8_t *data;
	float *copy;

	for (unsigned i = 0; i < rank; i++)
		n *= shape[i];
	MOE_TRY(moe_names_find(&b->names, logical, at, &w, b->d));
	if (!b->m->weights)
		return plan(b, (struct moe_named){.logical = logical, .at = at, .mat = {.rows = 1, .cols = n}, .rank = rank, .shape = shape});
	disk[0] *= w.parts;
	MOE_TRY(find(b, logical, disk, rank, false, &w));
	b->m->part_nbytes[b->part] += moe_dtype_nbytes(w.tensor->type, n);
	data = w.tensor->data + moe_dtype_nbytes(w.tensor->type, w.part * n);
	all = (struct moe_mat){.data = data, .type = w.tensor->type, .rows = 1, .cols = n, .stride = n, .step = 1};
	MOE_TRY(show(b, (struct moe_named){.logical = logical, .at = at, .mat = all, .rank = rank, .shape = shape, .where = &w}));
	if (w.tensor->type == MOE_F32 && (uintptr_t)data % 4 == 0) {
		*out = (const float *)(const void *)data;
		return MOE_OK;
	}
	copy = moe_arena_get(&b->m->memory, n, sizeof *copy);
	if (!copy)
		return moe_fail(b->d, MOE_ENOMEM, "out of memory");
	moe_widen(copy, data, n, w.tensor->type);
	*out = copy;
	return MOE_OK;
}

static enum moe_err bind_vector(struct binder *b, const char *logical, struct moe_place at, int64_t n, const float **out)
{
	uint64_t shape[1] = {(uint64_t)n};

	return bind_floats(b, logical, at, shape, 1, out);
}

/* A LayerNorm: NAME and NAME_bias. */
static enum moe_err bind_norm(struct binder *b, const char *logical, struct moe_place at, int64_t n, struct moe_norm *w)
{
	char name[32];

	MOE_TRY(bind_vector(b, logical, at, n, &w->weight));
	snprintf(name, sizeof name, "%s_bias", logical);
	return bind_vector(b, name, at, n, &w->bias);
}

/* A norm of the language model, of its kind. */
static enum moe_err bind_text_norm(struct binder *b, const char *logical, struct moe_place at, struct moe_norm *w)
{
	int64_t hidden = b->m->spec->hidden;

	b->part = MOE_PART_NORM;
	return b->m->spec->norm_kind == MOE_NORM_LAYER ? bind_norm(b, logical, at, hidden, w) : bind_vector(b, logical, at, hidden, &w->weight);
}

static enum moe_err bind_attention(struct binder *b, struct moe_place at, struct moe_attention_weights *w)
{
	const struct moe_spec *s = b->m->spec;
	int64_t q = s->attention.heads * s->attention.head_dim, kv = s->attention.kv_heads * s->attention.head_dim;
	bool head = s->attention.qk_norm == MOE_QK_NORM_HEAD;

	b->part = MOE_PART_ATTENTION;
	MOE_TRY(bind_mat(b, "q", at, q, s->hidden, &w->q));
	MOE_TRY(bind_mat(b, "k", at, kv, s->hidden, &w->k));
	MOE_TRY(bind_mat(b, "v", at, kv, s->hidden, &w->v));
	MOE_TRY(bind_mat(b, "o", at, s->hidden, q, &w->o));
	if (s->attention.qkv_bias) {
		MOE_TRY(bind_vector(b, "q_bias", at, q, &w->q_bias));
		MOE_TRY(bind_vector(b, "k_bias", at, kv, &w->k_bias));
		MOE_TRY(bind_vector(b, "v_bias", at, kv, &w->v_bias));
	}
	if (s->attention.o_bias)
		MOE_TRY(bind_vector(b, "o_bias", at, s->hidden, &w->o_bias));
	MOE_TRY(bind_text_norm(b, "attn_norm", at, &w->norm));
	if (s->attention.qk_norm == MOE_QK_NORM_NONE)
		return MOE_OK;
	MOE_TRY(bind_vector(b, "q_norm", at, head ? s->attention.head_dim : q, &w->q_norm));
	return bind_vector(b, "k_norm", at, head ? s->attention.head_dim : kv, &w->k_norm);
}

/* The three matrices of a gated unit, under the names PREFIXgate, PREFIXup, PREFIXdown. */
static enum moe_err bind_glu(struct binder *b, const char *prefix, struct moe_place at, int64_t width, struct moe_expert_weights *w)
{
	int64_t hidden = b->m->spec->hidden;
	char name[3][32];

	snprintf(name[0], sizeof name[0], "%sgate", prefix);
	snprintf(name[1], sizeof name[1], "%sup", prefix);
	snprintf(name[2], sizeof name[2], "%sdown", prefix);
	MOE_TRY(bind_mat(b, name[0], at, width, hidden, &w->gate));
	MOE_TRY(bind_mat(b, name[1], at, width, hidden, &w->up));
	return bind_mat(b, name[2], at, hidden, width, &w->down);
}

static enum moe_err bind_router(struct binder *b, struct moe_place at, struct moe_ffn_weights *w)
{
	const struct moe_spec *s = b->m->spec;
	uint64_t experts = (uint64_t)s->router.experts, biases[2] = {s->router.choice_biases > 1 ? (uint64_t)s->router.choice_biases : experts, experts};

	b->part = MOE_PART_ROUTER;
	MOE_TRY(bind_mat(b, "router", at, s->router.experts, s->hidden, &w->router));
	if (s->router.bias)
		MOE_TRY(bind_vector(b, "router_bias", at, s->router.experts, &w->router_bias));
	if (!s->router.choice_bias)
		return MOE_OK;
	return bind_floats(b, "choice_bias", at, biases, s->router.choice_biases > 1 ? 2 : 1, &w->choice_bias);
}

/* An auxiliary router of so many outputs, under the names PREFIXfc1 and PREFIXfc2. */
static enum moe_err bind_aux(struct binder *b, const char *prefix, struct moe_place at, int64_t outputs, struct moe_aux_weights *w)
{
	int64_t hidden = b->m->spec->hidden, inner = hidden / 2;
	char name[2][32];

	snprintf(name[0], sizeof name[0], "%sfc1", prefix);
	snprintf(name[1], sizeof name[1], "%sfc2", prefix);
	MOE_TRY(bind_mat(b, name[0], at, inner, hidden, &w->fc1));
	return bind_mat(b, name[1], at, outputs, inner, &w->fc2);
}

/* The auxiliary routers of a layer's experts, one for each pool, whose number is its name. */
static enum moe_err bind_expert_aux(struct binder *b, struct moe_place at, struct moe_layer *l)
{
	static const char *const numbers[MOE_N_MODALITIES] = {"0", "1", "2", "3", "4"};
	const struct moe_router_settings *s = &b->m->spec->router;
	size_t n = s->pools.n ? s->pools.n : 1;

	l->aux = moe_arena_zero(&b->m->memory, n, sizeof *l->aux);
	if (!l->aux)
		return moe_fail(b->d, MOE_ENOMEM, "out of memory");
	for (size_t m = 0; m < n; m++) {
		at.name = numbers[m];
		MOE_TRY(bind_aux(b, "aux_", at, s->pools.n ? s->pools.size[m] : s->experts, &l->aux[m]));
	}
	at.name = NULL;
	return b->m->spec->aux.threshold == MOE_AUX_STORED ? bind_vector(b, "aux_threshold", at, s->experts, &l->aux_threshold) : MOE_OK;
}

/* What decides who takes the layer. */
static enum moe_err bind_depth(struct binder *b, struct moe_place at, struct moe_layer *l)
{
	const struct moe_spec *s = b->m->spec;

	b->part = MOE_PART_ROUTER;
	MOE_TRY(bind_mat(b, "depth", at, 1, s->hidden, &l->depth));
	if (!s->aux.routers)
		return MOE_OK;
	MOE_TRY(bind_aux(b, "depth_aux_", at, 1, &l->depth_aux));
	return s->aux.threshold == MOE_AUX_STORED ? bind_vector(b, "depth_threshold", at, 1, &l->depth_threshold) : MOE_OK;
}

static enum moe_err bind_experts(struct binder *b, struct moe_place at, struct moe_ffn_weights *w)
{
	int64_t n = b->sizes ? 1 : b->m->spec->router.experts;         /* one is counted for all */
	struct moe_expert_weights *expert = moe_arena_zero(&b->m->memory, (size_t)n, sizeof *expert);
	uint64_t before = b->sizes ? b->sizes->part[MOE_PART_EXPERTS] : 0;

	if (!expert)
		return moe_fail(b->d, MOE_ENOMEM, "out of memory");
	w->expert = expert;
	b->part = MOE_PART_EXPERTS;
	for (at.expert = 0; at.expert < n; at.expert++)
		MOE_TRY(bind_glu(b, "", at, b->m->spec->expert_width, &expert[at.expert]));
	if (b->sizes)
		b->sizes->part[MOE_PART_EXPERTS] += (b->sizes->part[MOE_PART_EXPERTS] - before) * (uint64_t)(b->m->spec->router.experts - 1);
	return MOE_OK;
}

static enum moe_err bind_shared(struct binder *b, struct moe_place at, struct moe_ffn_weights *w)
{
	const struct moe_spec *s = b->m->spec;

	if (!s->shared.count)
		return MOE_OK;
	b->part = MOE_PART_SHARED;
	MOE_TRY(bind_glu(b, "shared_", at, s->shared.count * s->shared.width, &w->shared));
	return s->shared.gate ? bind_mat(b, "shared_router", at, 1, s->hidden, &w->shared_gate) : MOE_OK;
}

static enum moe_err bind_ffn(struct binder *b, struct moe_place at, struct moe_layer *l)
{
	const struct moe_spec *s = b->m->spec;
	struct moe_ffn_weights *w = &l->ffn;

	w->post = s->block == MOE_BLOCK_POST;
	w->eps = (float)s->norm_eps;
	MOE_TRY(bind_text_norm(b, "ffn_norm", at, &w->norm));
	if (moe_spec_is_dense(s, (size_t)at.layer)) {
		b->part = MOE_PART_DENSE;
		return bind_glu(b, "dense_", at, s->dense.width, &w->shared);
	}
	MOE_TRY(bind_router(b, at, w));
	if (s->aux.routers && s->router.chooses == MOE_CHOICE_EXPERT)
		MOE_TRY(bind_expert_aux(b, at, l));
	MOE_TRY(bind_experts(b, at, w));
	return bind_shared(b, at, w);
}

static enum moe_err bind_convs(struct binder *b, const char *logical, const struct moe_conv *conv, size_t n, struct moe_mat *mat)
{
	for (size_t i = 0; i < n; i++) {
		const struct moe_conv *c = &conv[i];
		uint64_t shape[4] = {(uint64_t)c->out, (uint64_t)c->in, (uint64_t)c->kernel, (uint64_t)c->kernel};
		MOE_TRY(bind_kernel(b, logical, (struct moe_place){-1, -1, c->name}, shape, &mat[i]));
	}
	return MOE_OK;
}

/* The codes of pictures, with the counts and sums that training goes on with, and the decoder. */
static enum moe_err bind_image_tokens(struct binder *b)
{
	const struct moe_spec *s = b->m->spec;
	uint64_t shape[2] = {(uint64_t)s->image_tokens.count, (uint64_t)s->image_tokens.width};
	const float *unused;

	MOE_TRY(bind_floats(b, "code", nowhere, shape, 2, &b->m->code));
	MOE_TRY(bind_floats(b, "code_count", nowhere, shape, 1, &unused));
	MOE_TRY(bind_floats(b, "code_sum", nowhere, shape, 2, &unused));
	return bind_convs(b, "decoder", s->image_tokens.decoder, s->image_tokens.n_decoder, b->m->decoder);
}

static enum moe_err bind_stem(struct binder *b)
{
	struct moe_model *m = b->m;
	const struct moe_spec *s = m->spec;

	b->part = MOE_PART_TOWER;
	MOE_TRY(bind_convs(b, "conv", s->tower.conv, s->tower.n_conv, m->conv));
	if (s->image_tokens.count)
		MOE_TRY(bind_image_tokens(b));
	if (s->tower.row_col) {
		struct moe_spec_sides most = moe_spec_largest_sides(s);
		uint64_t width = (uint64_t)moe_spec_tower_width(s), rows[2] = {(uint64_t)most.rows, width}, columns[2] = {(uint64_t)most.columns, width};
		MOE_TRY(bind_floats(b, "row_embed", nowhere, rows, 2, &m->row_embed));
		MOE_TRY(bind_floats(b, "col_embed", nowhere, columns, 2, &m->col_embed));
	}
	return MOE_OK;
}

static enum moe_err bind_linear(struct binder *b, const char *logical, struct moe_place at, int64_t o, int64_t i, bool bias, struct moe_linear *l)
{
	char name[32];

	MOE_TRY(bind_mat(b, logical, at, o, i, &l->weight));
	snprintf(name, sizeof name, "%s_bias", logical);
	return bias ? bind_vector(b, name, at, o, &l->bias) : MOE_OK;
}

/* A LayerNorm, or the RMSNorm of gated layers. */
static enum moe_err bind_vit_norm(struct binder *b, const char *logical, struct moe_place at, struct moe_norm *w)
{
	const struct moe_vit_settings *s = &b->m->spec->tower.vit;

	return s->gated ? bind_vector(b, logical, at, s->hidden, &w->weight) : bind_norm(b, logical, at, s->hidden, w);
}

static enum moe_err bind_vit_layer(struct binder *b, struct moe_place at, struct moe_vit_layer *w)
{
	const struct moe_vit_settings *s = &b->m->spec->tower.vit;
	bool bias = !s->gated;

	MOE_TRY(bind_vit_norm(b, "norm1", at, &w->norm1));
	MOE_TRY(bind_vit_norm(b, "norm2", at, &w->norm2));
	MOE_TRY(bind_linear(b, "vit_q", at, s->hidden, s->hidden, bias, &w->q));
	MOE_TRY(bind_linear(b, "vit_k", at, s->hidden, s->hidden, bias, &w->k));
	MOE_TRY(bind_linear(b, "vit_v", at, s->hidden, s->hidden, bias, &w->v));
	MOE_TRY(bind_linear(b, "vit_o", at, s->hidden, s->hidden, bias, &w->o));
	if (s->gated)
		MOE_TRY(bind_linear(b, "vit_gate", at, s->width, s->hidden, bias, &w->gate));
	MOE_TRY(bind_linear(b, "fc1", at, s->width, s->hidden, bias, &w->fc1));
	return bind_linear(b, "fc2", at, s->hidden, s->width, bias, &w->fc2);
}

static enum moe_err bind_vit_layers(struct binder *b)
{
	int64_t layers = b->m->spec->tower.vit.layers;
	struct moe_vit_weights *w = &b->m->vit;

	b->part = MOE_PART_TOWER;
	w->layer = moe_arena_zero(&b->m->memory, (size_t)layers, sizeof *w->layer);
	if (!w->layer)
		return moe_fail(b->d, MOE_ENOMEM, "out of memory");
	for (int64_t l = 0; l < layers; l++)
		MOE_TRY(bind_vit_layer(b, (struct moe_place){l, -1, NULL}, &w->layer[l]));
	return MOE_OK;
}

static enum moe_err bind_vit(struct binder *b)
{
	const struct moe_spec *s = b->m->spec;
	const struct moe_vit_settings *v = &s->tower.vit;
	struct moe_vit_weights *w = &b->m->vit;
	uint64_t kernel[4] = {(uint64_t)v->hidden, (uint64_t)s->image.channels, (uint64_t)s->image.patch, (uint64_t)s->image.patch};
	uint64_t table[2] = {(uint64_t)(v->position_grid * v->position_grid), (uint64_t)v->hidden};

	b->part = MOE_PART_TOWER;
	MOE_TRY(bind_kernel(b, "patch", nowhere, kernel, &w->patch.weight));
	MOE_TRY(bind_vector(b, "patch_bias", nowhere, v->hidden, &w->patch.bias));
	MOE_TRY(bind_floats(b, "position", nowhere, table, 2, &w->position));
	return bind_vit_layers(b);
}

static enum moe_err bind_encoder(struct binder *b)
{
	MOE_TRY(bind_stem(b));
	if (!moe_spec_encodes(b->m->spec))
		return MOE_OK;
	MOE_TRY(bind_vit_layers(b));
	return bind_vit_norm(b, "vit_norm", nowhere, &b->m->vit_norm);
}

static enum moe_err bind_tower(struct binder *b)
{
	switch (b->m->spec->tower.kind) {
	case MOE_TOWER_CONV_STEM:
	case MOE_TOWER_LINEAR: return bind_stem(b);
	case MOE_TOWER_ENCODER: return bind_encoder(b);
	case MOE_TOWER_VIT: return bind_vit(b);
	default: return MOE_OK;
	}
}

static enum moe_err bind_query_attention(struct binder *b)
{
	const struct moe_spec *s = b->m->spec;
	const struct moe_query_attention_settings *q = &s->projector.query;
	struct moe_query_attention_weights *w = &b->m->projector;
	int64_t n = s->tower.vit.hidden;
	uint64_t queries[2] = {(uint64_t)q->queries, (uint64_t)n};

	MOE_TRY(bind_floats(b, "query", nowhere, queries, 2, &w->query));
	MOE_TRY(bind_norm(b, "query_norm", nowhere, n, &w->query_norm));
	MOE_TRY(bind_norm(b, "patch_norm", nowhere, n, &w->patch_norm));
	MOE_TRY(bind_norm(b, "mlp_norm", nowhere, n, &w->mlp_norm));
	MOE_TRY(bind_linear(b, "cross_q", nowhere, n, n, false, &w->q));
	MOE_TRY(bind_linear(b, "cross_k", nowhere, n, n, false, &w->k));
	MOE_TRY(bind_linear(b, "cross_v", nowhere, n, n, false, &w->v));
	MOE_TRY(bind_linear(b, "in_q", nowhere, n, n, true, &w->in_q));
	MOE_TRY(bind_linear(b, "in_k", nowhere, n, n, true, &w->in_k));
	MOE_TRY(bind_linear(b, "in_v", nowhere, n, n, true, &w->in_v));
	MOE_TRY(bind_linear(b, "out", nowhere, n, n, true, &w->out));
	MOE_TRY(bind_linear(b, "linear", nowhere, n, n, true, &w->linear));
	MOE_TRY(bind_linear(b, "mlp_in", nowhere, q->width, n, false, &w->mlp_in));
	return bind_linear(b, "mlp_out", nowhere, s->hidden, q->width, false, &w->mlp_out);
}

static enum moe_err bind_projector(struct binder *b)
{
	const struct moe_spec *s = b->m->spec;
	int64_t n = s->tower.vit.hidden, width = s->projector.query.width;

	b->part = MOE_PART_PROJECTOR;
	switch (s->projector.kind) {
	case MOE_PROJECTOR_QUERY_ATTENTION: return bind_query_attention(b);
	case MOE_PROJECTOR_LINEAR: return bind_linear(b, "project", nowhere, s->hidden, n, false, &b->m->project);
	case MOE_PROJECTOR_MLP:
		MOE_TRY(bind_linear(b, "mlp_in", nowhere, width, n, false, &b->m->projector.mlp_in));
		return bind_linear(b, "mlp_out", nowhere, s->hidden, width, false, &b->m->projector.mlp_out);
	default: return MOE_OK;
	}
}

static bool ignorable(json_t *ignore, const char *name)
{
	for (size_t i = 0; i < json_array_size(ignore); i++) {
		const char *pattern = json_string_value(json_array_get(ignore, i));
		if (pattern && !fnmatch(pattern, name, 0))
			return true;
	}
	return false;
}

/* Every tensor is used whole, or may be ignored. */
static enum moe_err check_left_over(struct binder *b)
{
	json_t *ignore = json_object_get(b->m->spec->doc, "ignore");

	for (size_t i = 0; i < moe_checkpoint_count(b->m->weights); i++) {
		const char *name = moe_checkpoint_get(b->m->weights, i)->name;
		if (b->uses[i] != b->places[i])
			return moe_fail(b->d, MOE_EINPUT, "tensor \"%s\" holds %u matrices, of which the family %s uses %u", name, b->places[i], b->m->spec->family,
					b->uses[i]);
		if (!b->uses[i] && !ignorable(ignore, name))
			return moe_fail(b->d, MOE_EINPUT, "tensor \"%s\" has no place in the family %s", name, b->m->spec->family);
	}
	return MOE_OK;
}

/* All tensors of the spec. */
static enum moe_err walk(struct binder *b)
{
	struct moe_model *m = b->m;
	const struct moe_spec *s = m->spec;

	b->part = MOE_PART_EMBED;
	MOE_TRY(bind_mat(b, "embed", nowhere, s->vocab, s->hidden, &m->embed));
	MOE_TRY(bind_text_norm(b, "final_norm", nowhere, &m->final_norm));
	b->part = MOE_PART_HEAD;
	m->lm_head = m->embed;
	if (!s->tied)
		MOE_TRY(bind_mat(b, "lm_head", nowhere, s->vocab, s->hidden, &m->lm_head));
	for (int64_t l = 0; l < s->n_layers; l++) {
		struct moe_place at = {l, -1, NULL};
		MOE_TRY(bind_attention(b, at, &m->layer[l].attention));
		if (moe_spec_has_depth(s, (size_t)l))
			MOE_TRY(bind_depth(b, at, &m->layer[l]));
		MOE_TRY(bind_ffn(b, at, &m->layer[l]));
	}
	MOE_TRY(bind_tower(b));
	return bind_projector(b);
}

enum moe_err moe_model_each(struct moe_model *m, enum moe_err (*fn)(void *arg, const struct moe_named *t), void *arg, struct moe_diag *d)
{
	size_t n = moe_checkpoint_count(m->weights) + 1;
	struct binder b = {.m = m, .uses = calloc(n, sizeof(uint32_t)), .places = calloc(n, sizeof(uint32_t)), .each = fn, .each_arg = arg, .d = d};
	enum moe_err err;

	memset(m->part_nbytes, 0, sizeof m->part_nbytes);
	m->layer = moe_arena_zero(&m->memory, (size_t)m->spec->n_layers, sizeof *m->layer);
	err = b.uses && b.places && m->layer ? moe_names_init(&b.names, m->spec, m->weights, d) : moe_fail(d, MOE_ENOMEM, "out of memory");
	if (!err)
		err = walk(&b);
	if (!err)
		err = check_left_over(&b);
	free(b.uses);
	free(b.places);
	return err;
}

/* Walks through the tensors that a model of this kind has, without any weights. */
static enum moe_err walk_spec(struct binder *b, const struct moe_spec *s)
{
	struct moe_model m = {.spec = (struct moe_spec *)(uintptr_t)s};
	enum moe_err err;

	b->m = &m;
	m.layer = moe_arena_zero(&m.memory, (size_t)s->n_layers, sizeof *m.layer);
	err = m.layer ? moe_names_init(&b->names, s, NULL, b->d) : moe_fail(b->d, MOE_ENOMEM, "out of memory");
	if (!err)
		err = walk(b);
	moe_arena_free(&m.memory);
	b->m = NULL;
	return err;
}

enum moe_err moe_spec_each(const struct moe_spec *s, enum moe_err (*fn)(void *arg, const struct moe_named *t), void *arg, struct moe_diag *d)
{
	struct binder b = {.each = fn, .each_arg = arg, .d = d};

	return walk_spec(&b, s);
}

enum moe_err moe_model_bind(struct moe_model *m, struct moe_diag *d) { return moe_model_each(m, NULL, NULL, d); }

/* Of the weights that a patch meets in tower and projector; one of a convolution as often as its map has positions for the patch. */
static uint64_t flops_per_patch(const struct moe_spec *s)
{
	const struct moe_vit_settings *v = &s->tower.vit;
	uint64_t patch = (uint64_t)s->image.patch, side = patch, d = (uint64_t)v->hidden, n = 0;
	bool vit = s->tower.kind == MOE_TOWER_VIT;

	for (size_t i = 0; i < s->tower.n_conv; i++) {
		const struct moe_conv *c = &s->tower.conv[i];
		side /= (uint64_t)c->stride;
		n += side * side * (uint64_t)(c->kernel * c->kernel * c->in * c->out);
	}
	if (vit)
		n += d * patch * patch * (uint64_t)s->image.channels;
	if (vit || moe_spec_encodes(s))
		n += (uint64_t)v->layers * d * (4 * d + (v->gated ? 3 : 2) * (uint64_t)v->width);
	if (s->projector.kind == MOE_PROJECTOR_QUERY_ATTENTION)
		n += 4 * d * d;         /* keys and values, through two products each */
	else if (s->projector.kind == MOE_PROJECTOR_LINEAR)
		n += d * (uint64_t)s->hidden;
	else if (s->projector.kind == MOE_PROJECTOR_MLP)
		n += (d + (uint64_t)s->hidden) * (uint64_t)s->projector.query.width;
	return 2 * n;
}

enum moe_err moe_spec_sizes(const struct moe_spec *s, struct moe_sizes *out, struct moe_diag *d)
{
	struct binder b = {.sizes = out, .d = d};
	uint64_t kv = (uint64_t)(s->attention.kv_heads * s->attention.head_dim), routed;
	double passes;
	enum moe_err err;

	*out = (struct moe_sizes){0};
	err = walk_spec(&b, s);
	for (int p = 0; p < MOE_N_PARTS; p++)
		out->parameters += out->part[p];
	passes = s->router.chooses == MOE_CHOICE_EXPERT && s->router.capacity > 0 ? s->router.capacity : (double)s->router.top_k;
	routed = (uint64_t)((double)(out->part[MOE_PART_EXPERTS] / (uint64_t)s->router.experts) * passes);
	out->active = out->part[MOE_PART_NORM] + out->part[MOE_PART_ATTENTION] + out->part[MOE_PART_ROUTER] + out->part[MOE_PART_SHARED] +
		      out->part[MOE_PART_DENSE] + routed;
	out->head = (uint64_t)(s->vocab * s->hidden);
	out->cache_nbytes_per_token = (uint64_t)s->n_layers * 2 * kv * sizeof(float);
	out->flops_per_token = 2 * (out->active - out->part[MOE_PART_NORM]);
	out->flops_per_patch = flops_per_patch(s);
	return err;
}
