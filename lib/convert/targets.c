#include "convert/targets.h"

#include <stdlib.h>
#include <string.h>

#include "model/bind.h"

enum { NEIGHBOURS = 8 };        /* tensors that are collected at a time: gate, up and down of one expert after the other */

struct maker {
	struct moe_targets *out;
	struct moe_model *m;
	const struct moe_types *types;
	struct moe_names names;         /* of the output, where it is of another kind than the source */
	bool same_kind, turn;
	bool *seen;                     /* [tensors of the source] */
	struct moe_diag *d;
};

struct moe_target *moe_targets_recent(const struct moe_targets *all, const char *name)
{
	for (size_t i = all->n; i > 0 && all->n - i < NEIGHBOURS; i--)
		if (!strcmp(all->t[i - 1].name, name))
			return &all->t[i - 1];
	return NULL;
}

static enum moe_err add(struct maker *k, const char *name, struct moe_target **out)
{
	struct moe_targets *all = k->out;

	MOE_TRY(moe_grow(&all->t, &all->cap, all->n + 1, sizeof *all->t, k->d));
	*out = &all->t[all->n];
	**out = (struct moe_target){.name = moe_strdup(name)};
	if (!(*out)->name)
		return moe_fail(k->d, MOE_ENOMEM, "out of memory");
	all->n++;
	return MOE_OK;
}

enum moe_err moe_target_add(struct moe_target *t, const struct moe_mat *w, struct moe_diag *d)
{
	MOE_TRY(moe_grow(&t->piece, &t->piece_cap, t->n_pieces + 1, sizeof *t->piece, d));
	t->piece[t->n_pieces++] = *w;
	t->rows += w->rows;
	return MOE_OK;
}

static enum moe_err choose(struct maker *k, struct moe_target *t, bool matrix, bool plain)
{
	enum moe_part part = matrix ? t->part : MOE_PART_NORM;
	bool to_gguf = k->out->gguf && !k->same_kind;

	MOE_TRY(moe_types_choose(k->types, part, k->out->gguf, t->from, t->cols, matrix, plain, &t->to, &t->fallback, k->d));
	/* Programs that read GGUF expect these in f32. */
	if (to_gguf && k->types->part[part] == MOE_KEEP && (part == MOE_PART_NORM || part == MOE_PART_ROUTER))
		t->to = MOE_F32;
	return MOE_OK;
}

/* The scales of an F8_E4M3 tensor that stays as it is, NAME_scale_inv. */
static enum moe_err keep_scales(struct maker *k, const char *name, enum moe_part part)
{
	char scales[600];
	const struct moe_tensor *s;
	struct moe_target *t;
	size_t index;

	snprintf(scales, sizeof scales, "%s_scale_inv", name);
	s = moe_checkpoint_find(k->m->weights, scales, &index);
	if (!s)
		return moe_fail(k->d, MOE_EINPUT, "tensor \"%s\" is missing", scales);
	MOE_TRY(add(k, scales, &t));
	t->part = part;
	t->from = t->to = s->type;
	t->rank = s->rank;
	memcpy(t->shape, s->shape, s->rank * sizeof *s->shape);
	t->cols = s->shape[s->rank - 1];
	return moe_target_add(t, &(struct moe_mat){s->data, s->type, moe_tensor_count(s) / t->cols, t->cols, t->cols, 1, NULL, NULL}, k->d);
}

/* The scales of a whole I8 tensor; NULL where they do not lie as floats. */
static const float *int8_scales(struct maker *k, const struct moe_tensor *w)
{
	const struct moe_tensor *s = moe_row_scales(k->m->weights, w->name, NULL);

	return s && (uintptr_t)s->data % sizeof(float) == 0 ? (const float *)(const void *)s->data : NULL;
}

/* The tensor under its name and in its shape, whole, when its first matrix comes. */
static enum moe_err same_tensor(struct maker *k, const struct moe_named *n)
{
	const struct moe_tensor *s = n->where->tensor;
	bool plain = n->where->axes != MOE_AXES_IO && n->where->axes != MOE_AXES_EIO && !(n->where->interleaved && !k->out->gguf);
	const float *scale;
	struct moe_target *t;

	if (k->seen[n->where->index])
		return MOE_OK;
	k->seen[n->where->index] = true;
	if (s->rank < 1 || s->rank > 4)
		return moe_fail(k->d, MOE_EINPUT, "tensor \"%s\" has %u axes", s->name, s->rank);
	MOE_TRY(add(k, s->name, &t));
	t->part = n->part;
	t->from = s->type;
	t->rank = s->rank;
	memcpy(t->shape, s->shape, s->rank * sizeof *s->shape);
	t->cols = s->shape[s->rank - 1];
	/* A kernel has rows too short for anything else. */
	MOE_TRY(choose(k, t, n->matrix && s->rank > 1, plain));
	scale = s->type == MOE_I8 ? int8_scales(k, s) : n->mat.scale;
	if (s->type == MOE_I8 && !scale)
		return moe_fail(k->d, MOE_EINPUT, "the scales of tensor \"%s\" are not aligned to %zu bytes", s->name, sizeof *scale);
	MOE_TRY(moe_target_add(t, &(struct moe_mat){s->data, s->type, moe_tensor_count(s) / t->cols, t->cols, t->cols, 1, scale, NULL}, k->d));
	return t->to == MOE_F8_E4M3 ? keep_scales(k, s->name, n->part) : MOE_OK;
}

static bool is_turned(const char *logical)
{
	return !strcmp(logical, "q") || !strcmp(logical, "k") || !strcmp(logical, "q_bias") || !strcmp(logical, "k_bias");
}

/* The first matrix of a tensor with other names and another shape. */
static enum moe_err new_tensor(struct maker *k, const struct moe_named *n, const struct moe_where *w, struct moe_target **out)
{
	bool stacked = w->axes == MOE_AXES_EOI, turned = k->turn && is_turned(n->logical);
	struct moe_target *t;

	if (w->parts != 1 || (w->axes != MOE_AXES_NONE && w->axes != MOE_AXES_O && w->axes != MOE_AXES_I && w->axes != MOE_AXES_OI && !stacked))
		return moe_fail(k->d, MOE_EINPUT, "the family %s keeps \"%s\" in a form that is not written: its first name must be a plain one, :oi or :eoi",
				k->m->spec->family, n->logical);
	MOE_TRY(add(k, w->name, out));
	t = *out;
	t->part = n->part;
	t->from = n->mat.type;
	t->cols = n->mat.cols;
	t->turn = turned ? (uint64_t)k->m->spec->attention.head_dim : 0;
	if (!n->matrix) {
		t->rank = n->rank;
		memcpy(t->shape, n->shape, n->rank * sizeof *n->shape);
		t->cols = turned ? 1 : t->cols;
	} else if (stacked) {
		t->rank = 3;
		memcpy(t->shape, (uint64_t[3]){(uint64_t)k->m->spec->router.experts, n->mat.rows, n->mat.cols}, 3 * sizeof *t->shape);
	} else {
		t->rank = w->axes == MOE_AXES_I ? 1 : 2;
		memcpy(t->shape, w->axes == MOE_AXES_I ? (uint64_t[2]){n->mat.cols} : (uint64_t[2]){n->mat.rows, n->mat.cols}, 2 * sizeof *t->shape);
	}
	return choose(k, t, n->matrix && t->rank > 1, true);
}

static enum moe_err other_tensor(struct maker *k, const struct moe_named *n)
{
	struct moe_mat mat = n->mat;
	struct moe_target *t;
	struct moe_where w;

	k->seen[n->where->index] = true;
	MOE_TRY(moe_names_find(&k->names, n->logical, n->at, &w, k->d));
	t = moe_targets_recent(k->out, w.name);
	if (!t)
		MOE_TRY(new_tensor(k, n, &w, &t));
	if (t->cols == 1 && !n->matrix) {
		mat.rows = mat.cols;
		mat.cols = mat.stride = 1;
	}
	return moe_target_add(t, &mat, k->d);
}

static enum moe_err visit(void *arg, const struct moe_named *n)
{
	struct maker *k = arg;

	return k->same_kind ? same_tensor(k, n) : other_tensor(k, n);
}

static bool ends_in(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n > m && !strcmp(s + n - m, end);
}

size_t moe_targets_ignored(const struct moe_checkpoint *weights, const bool *seen)
{
	size_t n = 0;

	for (size_t i = 0; i < moe_checkpoint_count(weights); i++) {
		const char *name = moe_checkpoint_get(weights, i)->name;
		n += !seen[i] && !ends_in(name, "_scale_inv") && !ends_in(name, "_scale") && !ends_in(name, ".scale");
	}
	return n;
}

enum moe_err moe_targets_make(struct moe_targets *out, struct moe_model *m, bool gguf, const struct moe_types *types, struct moe_diag *d)
{
	struct maker k = {.out = out, .m = m, .types = types, .same_kind = m->spec->gguf == gguf, .d = d};
	struct moe_spec to = {0};
	enum moe_err err = MOE_OK;
	json_t *now, *then;

	out->gguf = gguf;
	k.seen = calloc(moe_checkpoint_count(m->weights) + 1, sizeof *k.seen);
	if (!k.seen)
		err = moe_fail(d, MOE_ENOMEM, "out of memory");
	if (!err && !k.same_kind)
		err = moe_spec_for(&to, m->spec, gguf, d);
	if (!err && !k.same_kind) {
		now = json_object_get(json_object_get(json_object_get(m->spec->doc, "attention"), "rope"), "pairs");
		then = json_object_get(json_object_get(json_object_get(to.doc, "attention"), "rope"), "pairs");
		k.turn = now && then && !json_equal(now, then);
		out->to_adjacent = m->spec->attention.rope.pairs == MOE_ROPE_HALF;
		if (k.turn && m->spec->attention.rope.dim && m->spec->attention.rope.dim != m->spec->attention.head_dim)
			err = moe_fail(d, MOE_EINPUT, "the heads of this model turn in part only, which the output's format has in no known order");
		if (!err)
			err = moe_names_init(&k.names, &to, NULL, d);
	}
	if (!err)
		err = moe_model_each(m, visit, &k, d);
	if (!err)
		out->ignored = moe_targets_ignored(m->weights, k.seen);
	json_decref(to.doc);
	free(k.seen);
	return err;
}

void moe_targets_free(struct moe_targets *t)
{
	for (size_t i = 0; i < t->n; i++) {
		free(t->t[i].name);
		free(t->t[i].piece);
	}
	free(t->t);
	*t = (struct moe_targets){0};
}

uint64_t moe_target_row(const struct moe_targets *all, const struct moe_target *t, uint64_t r)
{
	uint64_t head, i, half = t->turn / 2;

	if (!t->turn)
		return r;
	head = r / t->turn * t->turn;
	i = r % t->turn;
	return head + (all->to_adjacent ? i % 2 * half + i / 2 : i % half * 2 + i / half);
}
