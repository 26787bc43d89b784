#include "model/bind.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct binder {
	struct moe_model *m;
	json_t *names;          /* logical name → pattern, or a list of alternatives */
	bool *used;             /* [tensors of the checkpoint] */
	struct moe_diag *d;
};

/* Where a pattern is to be filled in: {L} layer, {E} expert, {N} name of a convolution; -1 and NULL where it has none. */
struct place {
	int64_t layer, expert;
	const char *name;
};

/* Expands the pattern up to its ':'; false when it does not fit, or has a brace that is none of these three. */
static bool expand(const char *pattern, struct place at, char *out, size_t cap)
{
	size_t n = 0;

	for (const char *p = pattern; *p && *p != ':'; p++) {
		int wrote;
		if (*p != '{' && *p != '}')
			wrote = snprintf(out + n, cap - n, "%c", *p);
		else if (!strncmp(p, "{L}", 3) && at.layer >= 0)
			wrote = snprintf(out + n, cap - n, "%lld", (long long)at.layer);
		else if (!strncmp(p, "{E}", 3) && at.expert >= 0)
			wrote = snprintf(out + n, cap - n, "%lld", (long long)at.expert);
		else if (!strncmp(p, "{N}", 3) && at.name)
			wrote = snprintf(out + n, cap - n, "%s", at.name);
		else
			return false;
		if (wrote < 0 || (size_t)wrote >= cap - n)
			return false;
		n += (size_t)wrote;
		if (*p == '{')
			p += 2;
	}
	out[n] = 0;
	return true;
}

/* The axes of a matrix on disk: "oi" is [out][in]. The only order so far. */
static enum moe_err check_axes(const struct binder *b, const char *pattern)
{
	const char *axes = strchr(pattern, ':');

	if (axes && strcmp(axes, ":oi"))
		return moe_fail(b->d, MOE_EINPUT, "family %s: \"%s\": unknown order of axes, known is oi", b->m->spec->family, pattern);
	return MOE_OK;
}

/* Finds the tensor of a logical name and checks its shape and type. */
static enum moe_err find(struct binder *b, const char *logical, struct place at, const uint64_t *shape, unsigned rank, const struct moe_tensor **out)
{
	json_t *entry = json_object_get(b->names, logical);
	size_t n = json_is_array(entry) ? json_array_size(entry) : entry ? 1 : 0, index;
	char name[512] = "", have[96], want[96];

	if (!n)
		return moe_fail(b->d, MOE_EINPUT, "family %s names no tensor for \"%s\"", b->m->spec->family, logical);
	for (size_t i = 0; i < n; i++) {
		const char *pattern = json_string_value(json_is_array(entry) ? json_array_get(entry, i) : entry);
		if (!pattern || !expand(pattern, at, name, sizeof name))
			return moe_fail(b->d, MOE_EINPUT, "family %s: tensors.%s is not a pattern", b->m->spec->family, logical);
		MOE_TRY(check_axes(b, pattern));
		*out = moe_checkpoint_find(b->m->weights, name, &index);
		if (*out)
			break;
	}
	if (!*out)
		return moe_fail(b->d, MOE_EINPUT, "tensor \"%s\" is missing", name);
	if (b->used[index])
		return moe_fail(b->d, MOE_EINPUT, "tensor \"%s\" has two places in the family %s, one of them \"%s\"", name, b->m->spec->family, logical);
	b->used[index] = true;
	if ((*out)->rank != rank || memcmp((*out)->shape, shape, rank * sizeof *shape))
		return moe_fail(b->d, MOE_EINPUT, "tensor \"%s\" has the shape %s, expected %s (from config.json)", name,
				moe_shape_string((*out)->shape, (*out)->rank, have, sizeof have), moe_shape_string(shape, rank, want, sizeof want));
	if ((*out)->type != MOE_F32 && (*out)->type != MOE_F16 && (*out)->type != MOE_BF16)
		return moe_fail(b->d, MOE_EINPUT, "tensor \"%s\" is %s, expected F32, F16 or BF16", name, moe_dtype_name((*out)->type));
	return MOE_OK;
}

static const struct place nowhere = {-1, -1, NULL};

static enum moe_err bind_mat(struct binder *b, const char *logical, struct place at, int64_t rows, int64_t cols, struct moe_mat *mat)
{
	uint64_t shape[2] = {(uint64_t)rows, (uint64_t)cols};
	const struct moe_tensor *t = NULL;

	MOE_TRY(find(b, logical, at, shape, 2, &t));
	*mat = (struct moe_mat){t->data, t->type, (size_t)rows, (size_t)cols, (size_t)cols};
	return MOE_OK;
}

/* A small vector (or matrix) that is used in f32: in place when it is F32 and aligned, else widened once. */
static enum moe_err bind_floats(struct binder *b, const char *logical, struct place at, const uint64_t *shape, unsigned rank, const float **out)
{
	const struct moe_tensor *t = NULL;
	float *copy;

	MOE_TRY(find(b, logical, at, shape, rank, &t));
	if (t->type == MOE_F32 && (uintptr_t)t->data % 4 == 0) {
		*out = (const float *)(const void *)t->data;
		return MOE_OK;
	}
	copy = moe_arena_get(&b->m->memory, moe_tensor_count(t), sizeof *copy);
	if (!copy)
		return moe_fail(b->d, MOE_ENOMEM, "out of memory");
	moe_widen(copy, t->data, moe_tensor_count(t), t->type);
	*out = copy;
	return MOE_OK;
}

static enum moe_err bind_vector(struct binder *b, const char *logical, struct place at, int64_t n, const float **out)
{
	uint64_t shape[1] = {(uint64_t)n};

	return bind_floats(b, logical, at, shape, 1, out);
}

static enum moe_err bind_attention(struct binder *b, struct place at, struct moe_attention_weights *w)
{
	const struct moe_spec *s = b->m->spec;
	int64_t q = s->attention.heads * s->attention.head_dim, kv = s->attention.kv_heads * s->attention.head_dim;
	bool head = s->attention.qk_norm == MOE_QK_NORM_HEAD;

	MOE_TRY(bind_vector(b, "attn_norm", at, s->hidden, &w->norm));
	MOE_TRY(bind_mat(b, "q", at, q, s->hidden, &w->q));
	MOE_TRY(bind_mat(b, "k", at, kv, s->hidden, &w->k));
	MOE_TRY(bind_mat(b, "v", at, kv, s->hidden, &w->v));
	MOE_TRY(bind_mat(b, "o", at, s->hidden, q, &w->o));
	if (s->attention.qk_norm == MOE_QK_NORM_NONE)
		return MOE_OK;
	MOE_TRY(bind_vector(b, "q_norm", at, head ? s->attention.head_dim : q, &w->q_norm));
	return bind_vector(b, "k_norm", at, head ? s->attention.head_dim : kv, &w->k_norm);
}

static enum moe_err bind_ffn(struct binder *b, struct place at, struct moe_ffn_weights *w)
{
	const struct moe_spec *s = b->m->spec;
	struct moe_expert_weights *expert = moe_arena_zero(&b->m->memory, (size_t)s->router.experts, sizeof *expert);

	if (!expert)
		return moe_fail(b->d, MOE_ENOMEM, "out of memory");
	w->expert = expert;
	MOE_TRY(bind_vector(b, "ffn_norm", at, s->hidden, &w->norm));
	MOE_TRY(bind_mat(b, "router", at, s->router.experts, s->hidden, &w->router));
	for (at.expert = 0; at.expert < s->router.experts; at.expert++) {
		MOE_TRY(bind_mat(b, "gate", at, s->expert_width, s->hidden, &expert[at.expert].gate));
		MOE_TRY(bind_mat(b, "up", at, s->expert_width, s->hidden, &expert[at.expert].up));
		MOE_TRY(bind_mat(b, "down", at, s->hidden, s->expert_width, &expert[at.expert].down));
	}
	return MOE_OK;
}

static enum moe_err bind_tower(struct binder *b)
{
	struct moe_model *m = b->m;
	const struct moe_spec *s = m->spec;

	for (size_t i = 0; i < s->tower.n_conv; i++) {
		const struct moe_conv *c = &s->tower.conv[i];
		const struct moe_tensor *t = NULL;
		uint64_t shape[4] = {(uint64_t)c->out, (uint64_t)c->in, (uint64_t)c->kernel, (uint64_t)c->kernel};
		size_t k = (size_t)(c->in * c->kernel * c->kernel);
		MOE_TRY(find(b, "conv", (struct place){-1, -1, c->name}, shape, 4, &t));
		m->conv[i] = (struct moe_mat){t->data, t->type, (size_t)c->out, k, k};
	}
	if (s->tower.row_col) {
		struct moe_spec_sides most = moe_spec_largest_sides(s);
		uint64_t rows[2] = {(uint64_t)most.rows, (uint64_t)s->hidden}, columns[2] = {(uint64_t)most.columns, (uint64_t)s->hidden};
		MOE_TRY(bind_floats(b, "row_embed", nowhere, rows, 2, &m->row_embed));
		MOE_TRY(bind_floats(b, "col_embed", nowhere, columns, 2, &m->col_embed));
	}
	return MOE_OK;
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

static enum moe_err check_left_over(struct binder *b)
{
	json_t *ignore = json_object_get(b->m->spec->doc, "ignore");

	for (size_t i = 0; i < moe_checkpoint_count(b->m->weights); i++) {
		const char *name = moe_checkpoint_get(b->m->weights, i)->name;
		if (!b->used[i] && !ignorable(ignore, name))
			return moe_fail(b->d, MOE_EINPUT, "tensor \"%s\" has no place in the family %s", name, b->m->spec->family);
	}
	return MOE_OK;
}

static enum moe_err bind_all(struct binder *b)
{
	struct moe_model *m = b->m;
	const struct moe_spec *s = m->spec;

	MOE_TRY(bind_mat(b, "embed", nowhere, s->vocab, s->hidden, &m->embed));
	MOE_TRY(bind_vector(b, "final_norm", nowhere, s->hidden, &m->final_norm));
	m->lm_head = m->embed;
	if (!s->tied)
		MOE_TRY(bind_mat(b, "lm_head", nowhere, s->vocab, s->hidden, &m->lm_head));
	for (int64_t l = 0; l < s->n_layers; l++) {
		struct place at = {l, -1, NULL};
		MOE_TRY(bind_attention(b, at, &m->layer[l].attention));
		MOE_TRY(bind_ffn(b, at, &m->layer[l].ffn));
	}
	if (s->tower.kind == MOE_TOWER_CONV_STEM)
		MOE_TRY(bind_tower(b));
	return check_left_over(b);
}

enum moe_err moe_model_bind(struct moe_model *m, struct moe_diag *d)
{
	struct binder b = {m, json_object_get(m->spec->doc, "tensors"), calloc(moe_checkpoint_count(m->weights) + 1, sizeof(bool)), d};
	enum moe_err err;

	m->layer = moe_arena_zero(&m->memory, (size_t)m->spec->n_layers, sizeof *m->layer);
	err = b.used && m->layer ? bind_all(&b) : moe_fail(d, MOE_ENOMEM, "out of memory");
	free(b.used);
	return err;
}
