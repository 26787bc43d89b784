#include "graft/graft_tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/check.h"
#include "graft/graft_blend.h"
#include "model/names.h"

/* A tensor of the output. Its cells lie one below the other; or, where inputs come first, `across` of them side by side; or, where outputs are interleaved,
 * the rows of as many take turns. */
struct cells {
	struct moe_graft_blend **cell;
	size_t n, cap, across;
	bool turned, interleaved;       /* turned: rows are inputs */
};

struct maker {
	struct moe_graft_plan *p;
	struct moe_targets *out;
	const struct moe_types *types;
	struct moe_names names;
	int64_t like[2];                /* a layer of the first source with experts, and a dense one; -1: none */
	struct cells **cells;           /* [targets] */
	size_t cells_cap;
	struct moe_diag *d;
};

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory"); }

/* Row of a piece that has to be made. */
static bool make_row(const void *maker, size_t piece, uint64_t row, float *to)
{
	const struct cells *c = maker;

	if (!c->turned && !c->interleaved)
		return moe_graft_blend_row(c->cell[piece], row, to);
	if (c->interleaved) {
		size_t group = row / (c->cell[0]->rows * c->across), at = row % (c->cell[0]->rows * c->across);
		return moe_graft_blend_row(c->cell[group * c->across + at % c->across], at / c->across, to);
	}
	for (size_t i = 0; i < c->across; i++) {
		const struct moe_graft_blend *b = c->cell[row / c->cell[0]->rows * c->across + i];
		if (!moe_graft_blend_row(b, row % b->rows, to + i * b->cols))
			return false;
	}
	return true;
}

/* ---- Where numbers come from ---- */

static bool is_expert(const char *logical) { return !strcmp(logical, "gate") || !strcmp(logical, "up") || !strcmp(logical, "down"); }
static bool is_unit(const char *logical) { return !strcmp(logical, "dense_gate") || !strcmp(logical, "dense_up") || !strcmp(logical, "dense_down"); }
static bool is_row(const char *logical) { return !strcmp(logical, "router") || !strcmp(logical, "router_bias") || !strcmp(logical, "choice_bias"); }

/* A matrix of a source: of an expert, or of the dense unit of that layer. `which` is gate, up or down. */
static const struct moe_mat *find_unit(const struct moe_graft_plan *p, const char *which, int64_t layer, const struct moe_graft_term *t)
{
	char name[32];

	snprintf(name, sizeof name, "%s%s", t->expert == MOE_GRAFT_DENSE ? "dense_" : "", which);
	return moe_graft_find(&p->source[t->model], name, (struct moe_place){layer, t->expert == MOE_GRAFT_DENSE ? -1 : t->expert, NULL});
}

static enum moe_err missing(struct maker *k, const char *logical, size_t model, int64_t layer)
{
	return layer < 0 ? moe_fail(k->d, MOE_EMATCH, "model %zu (%s) has no such tensor: %s", model + 1, k->p->source[model].model->directory, logical)
			 : moe_fail(k->d, MOE_EMATCH, "model %zu (%s) has no such tensor: %s of layer %lld", model + 1, k->p->source[model].model->directory,
				    logical, (long long)layer);
}

static enum moe_err new_blend(struct maker *k, const struct moe_graft_sum *s, size_t rows, size_t cols, const char *stream, struct moe_graft_blend **out)
{
	struct moe_graft_blend *b = moe_arena_zero(&k->p->memory, 1, sizeof *b);

	*out = b;
	if (!b)
		return no_memory(k->d);
	*b = (struct moe_graft_blend){.rows = rows, .cols = cols, .seed = k->p->seed, .stream = XXH3_64bits(stream, strlen(stream))};
	if (s) {
		b->noise_alone = s->noise_alone;
		b->deviation = s->deviation;
		b->share = s->share;
	}
	b->term = moe_arena_get(&k->p->memory, s ? s->n : k->p->n_sources, sizeof *b->term);
	return b->term ? MOE_OK : no_memory(k->d);
}

static enum moe_err add_term(struct maker *k, struct moe_graft_blend *b, const struct moe_mat *mat, size_t row, size_t col, double factor, const char *logical,
			     size_t model)
{
	if (mat->rows < row + b->rows || mat->cols < col + b->cols)
		return moe_fail(k->d, MOE_EMATCH, "model %zu (%s): %s is [%zu][%zu], of which [%zu][%zu] are taken from [%zu][%zu] on: the shapes do not fit",
				model + 1, k->p->source[model].model->directory, logical, mat->rows, mat->cols, b->rows, b->cols, row, col);
	b->term[b->n_terms++] = (struct moe_graft_part){mat, row, col, factor};
	return MOE_OK;
}

/* A matrix of an expert of the output, or of a dense unit. */
static enum moe_err blend_unit(struct maker *k, const struct moe_named *n, const char *which, const struct moe_graft_expert *e, struct moe_graft_blend **out)
{
	bool down = !strcmp(which, "down");
	char stream[64];

	snprintf(stream, sizeof stream, "%s.%lld.%lld", n->logical, (long long)n->at.layer, (long long)n->at.expert);
	MOE_TRY(new_blend(k, &e->unit, n->mat.rows, n->mat.cols, stream, out));
	for (size_t i = 0; i < e->unit.n; i++) {
		const struct moe_graft_term *t = &e->unit.term[i];
		const struct moe_mat *mat = find_unit(k->p, which, n->at.layer, t);
		size_t at = (size_t)e->part * (down ? n->mat.cols : n->mat.rows);
		if (!mat)
			return missing(k, which, t->model, n->at.layer);
		if ((down ? mat->cols : mat->rows) != (size_t)e->parts * (down ? n->mat.cols : n->mat.rows))
			return moe_fail(k->d, MOE_EMATCH, "model %zu (%s): a unit of layer %lld is %zu wide, the new experts are %zu", t->model + 1,
					k->p->source[t->model].model->directory, (long long)n->at.layer, down ? mat->cols : mat->rows,
					(size_t)e->parts * (down ? n->mat.cols : n->mat.rows));
		MOE_TRY(add_term(k, *out, mat, down ? 0 : at, down ? at : 0, t->factor * (down ? e->scale : 1), which, t->model));
	}
	return MOE_OK;
}

/* A row of the router, or a number of its biases. Those of experts that come from a dense unit are 0, but for noise. */
static enum moe_err blend_row(struct maker *k, const struct moe_named *n, const struct moe_graft_expert *e, size_t expert, struct moe_graft_blend **out)
{
	struct moe_graft_sum bias = e->row;
	char stream[64];

	bias.deviation = bias.share = 0;
	snprintf(stream, sizeof stream, "%s.%lld.%zu", n->logical, (long long)n->at.layer, expert);
	MOE_TRY(new_blend(k, n->matrix ? &e->row : &bias, 1, n->matrix ? n->mat.cols : 1, stream, out));
	for (size_t i = 0; i < e->row.n; i++) {
		const struct moe_graft_term *t = &e->row.term[i];
		const struct moe_mat *mat = moe_graft_find(&k->p->source[t->model], n->logical, (struct moe_place){n->at.layer, -1, NULL});
		if (!mat)
			return missing(k, n->logical, t->model, n->at.layer);
		MOE_TRY(add_term(k, *out, mat, n->matrix ? (size_t)t->expert : 0, n->matrix ? 0 : (size_t)t->expert,
				 t->factor * (strcmp(n->logical, "choice_bias") ? 1 : e->bias_scale), n->logical, t->model));
	}
	return MOE_OK;
}

/* Any other tensor: the sources' by their shares. */
static enum moe_err blend_other(struct maker *k, const struct moe_named *n, struct moe_graft_blend **out)
{
	MOE_TRY(new_blend(k, NULL, n->mat.rows, n->mat.cols, n->logical, out));
	for (size_t m = 0; m < k->p->n_sources; m++) {
		const struct moe_mat *mat;
		if (k->p->share[m] == 0)
			continue;
		mat = moe_graft_find(&k->p->source[m], n->logical, n->at);
		if (!mat)
			return missing(k, n->logical, m, n->at.layer);
		if (mat->rows != n->mat.rows || mat->cols != n->mat.cols)
			return moe_fail(k->d, MOE_EMATCH, "model %zu (%s): %s is [%zu][%zu], in the first model [%zu][%zu]", m + 1,
					k->p->source[m].model->directory, n->logical, mat->rows, mat->cols, n->mat.rows, n->mat.cols);
		MOE_TRY(add_term(k, *out, mat, 0, 0, k->p->share[m], n->logical, m));
	}
	return MOE_OK;
}

/* ---- Targets ---- */

static struct moe_place place_like(const struct maker *k, const struct moe_named *n)
{
	bool dense = is_unit(n->logical), expert = is_expert(n->logical) || is_row(n->logical);
	int64_t layer = k->like[dense];

	return (expert || dense) && layer >= 0 ? (struct moe_place){layer, is_expert(n->logical) ? 0 : -1, NULL} : n->at;
}

static enum moe_err new_target(struct maker *k, const struct moe_named *n, const struct moe_where *w, const struct moe_graft_blend *first,
			       struct moe_target **out)
{
	struct moe_targets *all = k->out;
	struct cells *c = moe_arena_zero(&k->p->memory, 1, sizeof *c);
	struct moe_target *t;
	bool turned = w->axes == MOE_AXES_IO || w->axes == MOE_AXES_EIO;

	MOE_TRY(moe_grow(&all->t, &all->cap, all->n + 1, sizeof *all->t, k->d));
	MOE_TRY(moe_grow(&k->cells, &k->cells_cap, all->n + 1, sizeof *k->cells, k->d));
	t = *out = &all->t[all->n];
	*t = (struct moe_target){.name = moe_strdup(w->name), .part = n->part, .make = make_row, .maker = c};
	if (!t->name || !c)
		return no_memory(k->d);
	*c = (struct cells){.turned = turned, .interleaved = w->interleaved, .across = is_row(n->logical) ? n->mat.rows : w->parts};
	k->cells[all->n++] = c;
	t->from = first->n_terms ? first->term[0].mat->type : MOE_F32;
	if (t->from == MOE_F8_E4M3)     /* its scales are of blocks */
		t->from = MOE_BF16;
	if (n->matrix) {
		t->rank = moe_where_shape(w, (uint64_t)k->p->spec.router.experts, n->mat.rows, n->mat.cols, t->shape);
	} else {
		t->rank = n->rank;
		memcpy(t->shape, n->shape, n->rank * sizeof *n->shape);
		t->shape[0] *= w->parts;
	}
	t->cols = turned ? n->mat.rows * w->parts : is_row(n->logical) && !n->matrix ? 1 : n->mat.cols;
	return moe_types_choose(k->types, n->matrix ? n->part : MOE_PART_NORM, false, t->from, t->cols, n->matrix && t->rank > 1, !turned && !w->interleaved,
				&t->to, &t->fallback, k->d);
}

/* A matrix with rows and inputs changed over. */
static enum moe_err turn(struct maker *k, struct moe_graft_blend *b)
{
	size_t rows = b->rows;

	for (size_t i = 0; i < b->n_terms; i++) {
		struct moe_graft_part *t = &b->term[i];
		struct moe_mat *mat = moe_arena_get(&k->p->memory, 1, sizeof *mat);
		size_t row = t->row;
		if (!mat)
			return no_memory(k->d);
		if (t->mat->scale)
			return moe_fail(k->d, MOE_EMATCH,
					"the models keep their experts in other orders, one of them with scales: moe-convert --type bf16 it first");
		*mat = *t->mat;
		mat->rows = t->mat->cols;
		mat->cols = t->mat->rows;
		mat->stride = t->mat->step ? t->mat->step : 1;
		mat->step = t->mat->stride;
		t->mat = mat;
		t->row = t->col;
		t->col = row;
	}
	b->rows = b->cols;
	b->cols = rows;
	return MOE_OK;
}

static enum moe_err add_cell(struct maker *k, struct moe_target *t, struct moe_graft_blend *b)
{
	struct cells *c = k->cells[t - k->out->t];
	struct moe_mat plain = {.rows = b->rows, .cols = b->cols};

	if (c->turned)
		MOE_TRY(turn(k, b));
	if (c->n == c->cap) {
		struct moe_graft_blend **more = moe_arena_get(&k->p->memory, 2 * c->cap + 1, sizeof *more);
		if (!more)
			return no_memory(k->d);
		if (c->n)
			memcpy(more, c->cell, c->n * sizeof *more);
		c->cell = more;
		c->cap = 2 * c->cap + 1;
	}
	c->cell[c->n++] = b;
	if (!c->turned && !c->interleaved) {
		moe_graft_blend_plain(b, &plain);
		return moe_target_add(t, &plain, k->d);
	}
	/* One piece of all rows, which are made. */
	if (c->n == 1)
		MOE_TRY(moe_target_add(t, &(struct moe_mat){.cols = t->cols}, k->d));
	t->rows = t->piece[0].rows = (c->n + c->across - 1) / c->across * b->rows * (c->turned ? 1 : c->across);
	return MOE_OK;
}

/* ---- The walk ---- */

static enum moe_err put(struct maker *k, const struct moe_named *n, const struct moe_where *w, struct moe_graft_blend *b)
{
	struct moe_target *t = moe_targets_recent(k->out, w->name);

	if (!t)
		MOE_TRY(new_target(k, n, w, b, &t));
	if (k->cells[t - k->out->t]->n % w->parts != w->part)
		return moe_fail(k->d, MOE_EINPUT, "the family %s keeps \"%s\" in an order that is not written", k->p->spec.family, n->logical);
	return add_cell(k, t, b);
}

static enum moe_err visit(void *arg, const struct moe_named *n)
{
	struct maker *k = arg;
	const struct moe_graft_layer *layer = n->at.layer >= 0 ? &k->p->layer[n->at.layer] : NULL;
	struct moe_graft_blend *b;
	struct moe_where w;

	MOE_TRY(moe_names_place(&k->names, n->logical, place_like(k, n), n->at, &w, k->d));
	if (is_row(n->logical)) {
		for (size_t e = 0; e < (size_t)k->p->spec.router.experts; e++) {
			MOE_TRY(blend_row(k, n, &layer->expert[e], e, &b));
			MOE_TRY(put(k, n, &w, b));
		}
		return MOE_OK;
	}
	if (is_expert(n->logical))
		MOE_TRY(blend_unit(k, n, n->logical, &layer->expert[n->at.expert], &b));
	else if (is_unit(n->logical) && layer->expert->unit.n)
		MOE_TRY(blend_unit(k, n, n->logical + strlen("dense_"), layer->expert, &b));
	else
		MOE_TRY(blend_other(k, n, &b));
	return put(k, n, &w, b);
}

enum moe_err moe_graft_tensors(struct moe_graft_plan *p, struct moe_targets *out, const struct moe_types *types, struct moe_diag *d)
{
	struct maker k = {.p = p, .out = out, .types = types, .like = {-1, -1}, .d = d};
	const struct moe_model *first = p->source[0].model;
	enum moe_err err;

	for (int64_t l = first->spec->n_layers; l-- > 0;)
		k.like[moe_spec_is_dense(first->spec, (size_t)l)] = l;
	err = moe_names_init(&k.names, &p->spec, first->weights, d);
	if (!err)
		err = moe_spec_each(&p->spec, visit, &k, d);
	out->ignored = p->source[0].ignored;
	free(k.cells);
	return err;
}
