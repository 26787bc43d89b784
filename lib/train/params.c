#include "train/params.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "model/bind.h"

struct maker {
	struct moe_params *to;
	size_t cap;
	float *weights;                 /* NULL on the first walk, which makes the table */
	size_t next;                    /* the second walk: the tensor that comes */
	struct moe_diag *d;
};

/* Does Muon know it as a matrix? Those of layers are, the trunk's and an encoder's, and those between the two. */
static bool is_layer_matrix(const struct moe_named *t)
{
	return t->matrix && (t->part == MOE_PART_ATTENTION || t->part == MOE_PART_EXPERTS || t->part == MOE_PART_SHARED || t->part == MOE_PART_DENSE ||
			     t->part == MOE_PART_TOWER || t->part == MOE_PART_PROJECTOR);
}

static enum moe_err add(void *arg, const struct moe_named *t)
{
	struct maker *m = arg;
	struct moe_params *to = m->to;
	struct moe_param *p;

	if (t->where->parts != 1 || t->where->axes >= MOE_AXES_EOI || (t->matrix && t->mat.step > 1) || (t->matrix && t->mat.stride == 1 && t->mat.cols > 1))
		return moe_fail(m->d, MOE_EUSAGE, "tensor \"%s\" cannot be trained: it must hold one matrix, as [out][in]", t->where->name);
	MOE_TRY(moe_grow(&to->p, &m->cap, to->n + 1, sizeof *to->p, m->d));
	p = &to->p[to->n];
	*p = (struct moe_param){
		.name = moe_strdup(t->where->name), .logical = moe_strdup(t->logical), .layer = t->at.layer, .expert = t->at.expert, .part = t->part, .offset = to->total,
		.count = t->mat.rows * t->mat.cols, .rows = t->mat.rows, .cols = t->mat.cols, .matrix = is_layer_matrix(t),
	};
	to->n++;
	to->total = moe_round_up(p->offset + p->count, 16);
	return p->name && p->logical ? MOE_OK : moe_fail(m->d, MOE_ENOMEM, "out of memory");
}

static enum moe_err add_extra(struct maker *m, const struct moe_param_extra *e, size_t nth)
{
	struct moe_params *to = m->to;
	struct moe_param *p;

	MOE_TRY(moe_grow(&to->p, &m->cap, to->n + 1, sizeof *to->p, m->d));
	p = &to->p[to->n++];
	*p = (struct moe_param){.logical = moe_strdup(e->logical), .layer = -1, .expert = -1, .part = MOE_N_PARTS, .offset = to->total, .count = e->rows * e->cols,
				.rows = e->rows, .cols = e->cols};
	to->total = moe_round_up(p->offset + p->count, 16);
	if (asprintf(&p->name, "%s.%zu", e->logical, nth) < 0)
		p->name = NULL;
	return p->name && p->logical ? MOE_OK : moe_fail(m->d, MOE_ENOMEM, "out of memory");
}

static enum moe_err copy(void *arg, const struct moe_named *t)
{
	struct maker *m = arg;
	const struct moe_param *p = &m->to->p[m->next++];

	for (size_t r = 0; r < p->rows; r++)
		moe_mat_row(m->weights + p->offset + r * p->cols, &t->mat, r);
	return MOE_OK;
}

enum moe_err moe_params_make(struct moe_params *p, float **weights, struct moe_model *model, const struct moe_param_extra *extra, size_t n_extra,
			     struct moe_diag *d)
{
	struct maker m = {.to = p, .d = d};

	MOE_TRY(moe_model_each(model, add, &m, d));
	for (size_t i = 0; i < n_extra; i++)
		MOE_TRY(add_extra(&m, &extra[i], i));
	m.weights = *weights = moe_calloc(p->total, sizeof **weights);
	if (!m.weights)
		return moe_fail(d, MOE_ENOMEM, "out of memory for %zu weights", p->total);
	return moe_model_each(model, copy, &m, d);
}

const struct moe_param *moe_params_find(const struct moe_params *p, const char *logical, int64_t layer, int64_t expert)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->p[i].layer == layer && p->p[i].expert == expert && !strcmp(p->p[i].logical, logical))
			return &p->p[i];
	return NULL;
}

void moe_params_free(struct moe_params *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free(p->p[i].name);
		free(p->p[i].logical);
	}
	free(p->p);
	*p = (struct moe_params){0};
}
