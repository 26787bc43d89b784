#include "model/likeness.h"

#include <math.h>
#include <string.h>

#include "base/check.h"

enum { ROWS = 256 };    /* tokens whose gains are computed together */

void moe_likeness_free(struct moe_likeness *l) { moe_arena_free(&l->memory); }

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory for the experts of a layer"); }

/* Row n of a matrix in any orientation; `room` has a place of its type for each input. */
static void load_row(float *to, const struct moe_mat *w, size_t n, uint8_t *room)
{
	size_t size = w->type < MOE_N_DTYPES ? moe_dtype_nbits(w->type) / 8 : 0;

	if (w->step < 2) {
		moe_mat_row(to, w, n);
		return;
	}
	for (size_t k = 0; k < w->cols; k++)
		memcpy(room + k * size, (const uint8_t *)w->data + (n * w->stride + k * w->step) * size, size);
	moe_widen(to, room, w->cols, w->type);
}

/* ---- cosines ---- */

/* Adds the inner products of n rows of `width` floats to sum [n][n], upper half. */
static void add_products(double *sum, const float *row, size_t n, size_t width)
{
	for (size_t a = 0; a < n; a++)
		for (size_t b = a; b < n; b++)
			sum[a * n + b] += (double)moe_dot(row + a * width, row + b * width, width);
}

/* From inner products to cosines; 0 where a vector is nothing. */
static void make_cosines(double *p, size_t n)
{
	for (size_t a = 0; a < n; a++)
		for (size_t b = a + 1; b < n; b++) {
			double size = sqrt(p[a * n + a] * p[b * n + b]);
			p[a * n + b] = p[b * n + a] = size > 0 ? p[a * n + b] / size : 0;
		}
	for (size_t a = 0; a < n; a++)
		p[a * n + a] = 1;
}

/* A matrix of all experts, and where its products go: each unit of work is a range of rows with sums of its own, so that they do not depend on threads. */
struct products {
	const struct moe_ffn_weights *ffn;
	size_t n, part, units;          /* experts; 0 gate, 1 up, 2 down */
	double *sum;                    /* [units][n][n] */
	float *row;                     /* [units][n][most inputs] */
	uint8_t *room;                  /* [units][most inputs · 4] */
	size_t most;
};

static const struct moe_mat *part_of(const struct moe_expert_weights *e, size_t part) { return part == 0 ? &e->gate : part == 1 ? &e->up : &e->down; }

static void multiply_rows(void *arg, size_t unit)
{
	const struct products *p = arg;
	const struct moe_mat *one = part_of(&p->ffn->expert[0], p->part);
	size_t first = one->rows * unit / p->units, last = one->rows * (unit + 1) / p->units;
	float *row = p->row + unit * p->n * p->most;

	for (size_t r = first; r < last; r++) {
		for (size_t e = 0; e < p->n; e++)
			load_row(row + e * one->cols, part_of(&p->ffn->expert[e], p->part), r, p->room + unit * 4 * p->most);
		add_products(p->sum + unit * p->n * p->n, row, p->n, one->cols);
	}
}

static enum moe_err compare_weights(double *cosine, const struct moe_ffn_weights *ffn, size_t n, struct moe_arena *scratch, struct moe_pool *pool,
				    struct moe_diag *d)
{
	const struct moe_expert_weights *one = &ffn->expert[0];
	struct products p = {.ffn = ffn, .n = n, .units = 16, .most = moe_max(one->gate.cols, one->down.cols)};

	p.sum = moe_arena_zero(scratch, p.units * n * n, sizeof *p.sum);
	p.row = moe_arena_get(scratch, p.units * n * p.most, sizeof *p.row);
	p.room = moe_arena_get(scratch, p.units * p.most, 4);
	if (!p.sum || !p.row || !p.room)
		return no_memory(d);
	for (p.part = 0; p.part < 3; p.part++) {
		const struct moe_mat *w = part_of(one, p.part);
		moe_pool_run(pool, (double)n * (double)n * (double)w->rows * (double)w->cols, p.units, multiply_rows, &p);
	}
	memset(cosine, 0, n * n * sizeof *cosine);
	for (size_t u = 0; u < p.units; u++)
		for (size_t i = 0; i < n * n; i++)
			cosine[i] += p.sum[u * n * n + i];
	make_cosines(cosine, n);
	return MOE_OK;
}

static enum moe_err compare_router(double *cosine, const struct moe_mat *router, struct moe_arena *scratch, struct moe_diag *d)
{
	float *row = moe_arena_get(scratch, router->rows * router->cols, sizeof *row);
	uint8_t *room = moe_arena_get(scratch, router->cols, 4);

	if (!row || !room)
		return no_memory(d);
	for (size_t e = 0; e < router->rows; e++)
		load_row(row + e * router->cols, router, e, room);
	memset(cosine, 0, router->rows * router->rows * sizeof *cosine);
	add_products(cosine, row, router->rows, router->cols);
	make_cosines(cosine, router->rows);
	return MOE_OK;
}

/* ---- words ---- */

/* The head as directions in the residual stream: rows of allowed tokens, their mean taken off, times the weight of the norm. */
struct directions {
	const struct moe_model *m;
	const bool *suppress;
	double *mean;                   /* [hidden] */
	float *row;                     /* [ROWS][hidden] */
	uint8_t *room;
};

static bool allowed(const struct directions *a, size_t token) { return !a->suppress || !a->suppress[token]; }

static enum moe_err open_directions(struct directions *a, struct moe_arena *scratch, struct moe_diag *d)
{
	size_t hidden = (size_t)a->m->spec->hidden, vocab = (size_t)a->m->spec->vocab, n = 0;

	a->mean = moe_arena_zero(scratch, hidden, sizeof *a->mean);
	a->row = moe_arena_get(scratch, ROWS * hidden, sizeof *a->row);
	a->room = moe_arena_get(scratch, hidden, 4);
	if (!a->mean || !a->row || !a->room)
		return no_memory(d);
	for (size_t v = 0; v < vocab; v++) {
		if (!allowed(a, v))
			continue;
		load_row(a->row, &a->m->lm_head, v, a->room);
		for (size_t i = 0; i < hidden; i++)
			a->mean[i] += (double)a->row[i];
		n++;
	}
	for (size_t i = 0; n && i < hidden; i++)
		a->mean[i] /= (double)n;
	return MOE_OK;
}

/* Directions of the allowed ones of the tokens from `first` on, ROWS at most: their numbers go to token; *next is where to go on. */
static size_t fill_directions(struct directions *a, size_t first, int32_t *token, size_t *next)
{
	size_t hidden = (size_t)a->m->spec->hidden, vocab = (size_t)a->m->spec->vocab, n = 0, v = first;

	for (; v < vocab && n < ROWS; v++) {
		float *row = a->row + n * hidden;
		if (!allowed(a, v))
			continue;
		load_row(row, &a->m->lm_head, v, a->room);
		for (size_t i = 0; i < hidden; i++)
			row[i] = (float)(((double)row[i] - a->mean[i]) * (double)a->m->final_norm.weight[i]);
		token[n++] = (int32_t)v;
	}
	*next = v;
	return n;
}

/* Down projection of an expert [hidden][width], each column times the length of its row of the up projection. */
static void load_columns(float *down, const struct moe_expert_weights *e, float *scale, float *row, uint8_t *room)
{
	size_t hidden = e->down.rows, width = e->down.cols;

	for (size_t j = 0; j < width; j++) {
		load_row(row, &e->up, j, room);
		scale[j] = (float)sqrt((double)moe_dot(row, row, e->up.cols));
	}
	for (size_t i = 0; i < hidden; i++) {
		load_row(down + i * width, &e->down, i, room);
		for (size_t j = 0; j < width; j++)
			down[i * width + j] *= scale[j];
	}
}

/* Gains [vocab] of one expert for the allowed tokens, divided by their root mean square. */
static enum moe_err measure_gains(double *gain, struct directions *a, const struct moe_expert_weights *e, struct moe_arena *scratch, struct moe_pool *pool,
				  struct moe_diag *d)
{
	size_t hidden = e->down.rows, width = e->down.cols, vocab = (size_t)a->m->spec->vocab, count = 0;
	struct moe_arena_mark mark = moe_arena_mark(scratch);
	float *down = moe_arena_get(scratch, hidden * width, sizeof *down), *scale = moe_arena_get(scratch, width, sizeof *scale);
	float *row = moe_arena_get(scratch, e->up.cols, sizeof *row), *y = moe_arena_get(scratch, ROWS * width, sizeof *y);
	uint8_t *room = moe_arena_get(scratch, moe_max(e->up.cols, width), 4);
	struct moe_mat columns = {.data = down, .type = MOE_F32, .rows = width, .cols = hidden, .stride = 1, .step = width};
	int32_t token[ROWS];
	double square = 0;

	if (!down || !scale || !row || !y || !room)
		return no_memory(d);
	load_columns(down, e, scale, row, room);
	for (size_t v = 0, n; v < vocab;) {
		n = fill_directions(a, v, token, &v);
		moe_matmul(y, width, a->row, hidden, n, &columns, pool);
		for (size_t i = 0; i < n; i++) {
			double s = (double)moe_dot(y + i * width, y + i * width, width);
			gain[token[i]] = sqrt(s);
			square += s;
			count++;
		}
	}
	square = count ? sqrt(square / (double)count) : 0;
	for (size_t v = 0; v < vocab; v++)
		gain[v] = allowed(a, v) && square > 0 ? gain[v] / square : 0;
	moe_arena_release(scratch, mark);
	return MOE_OK;
}

/* The tokens with the largest ratios of an expert's gains to the mean of all. */
static void choose_words(struct moe_written *to, size_t words, const double *gain, const double *mean, const struct directions *a)
{
	size_t vocab = (size_t)a->m->spec->vocab, found = 0;

	for (size_t v = 0; v < vocab; v++) {
		double ratio = mean[v] > 0 ? gain[v] / mean[v] : 0;
		size_t at = found;
		if (!allowed(a, v))
			continue;
		while (at && ratio > to[at - 1].ratio)
			at--;
		if (at == words)
			continue;
		found += found < words;
		memmove(to + at + 1, to + at, (found - at - 1) * sizeof *to);
		to[at] = (struct moe_written){(int32_t)v, ratio};
	}
}

static enum moe_err find_words(struct moe_likeness *l, const struct moe_model *m, size_t layer, const bool *suppress, struct moe_arena *scratch,
			       struct moe_pool *pool, struct moe_diag *d)
{
	struct directions a = {.m = m, .suppress = suppress};
	size_t vocab = (size_t)m->spec->vocab, n = l->experts;
	double *gain = moe_arena_get(scratch, n * vocab, sizeof *gain), *mean = moe_arena_zero(scratch, vocab, sizeof *mean);

	if (!gain || !mean)
		return no_memory(d);
	MOE_TRY(open_directions(&a, scratch, d));
	for (size_t e = 0; e < n; e++)
		MOE_TRY(measure_gains(gain + e * vocab, &a, &m->layer[layer].ffn.expert[e], scratch, pool, d));
	for (size_t v = 0; v < vocab; v++) {
		for (size_t e = 0; e < n; e++)
			mean[v] += gain[e * vocab + v];
		mean[v] /= (double)n;
	}
	for (size_t e = 0; e < n; e++)
		choose_words(l->written + e * l->words, l->words, gain + e * vocab, mean, &a);
	return MOE_OK;
}

static size_t count_allowed(const struct moe_model *m, const bool *suppress)
{
	size_t n = 0;

	for (int64_t v = 0; v < m->spec->vocab; v++)
		n += !suppress || !suppress[v];
	return n;
}

enum moe_err moe_likeness_make(struct moe_likeness *out, const struct moe_model *m, size_t layer, size_t words, const bool *suppress, struct moe_pool *pool,
			       struct moe_diag *d)
{
	const struct moe_ffn_weights *ffn = &m->layer[layer].ffn;
	size_t n = (size_t)m->spec->router.experts;
	struct moe_arena scratch = {0};
	enum moe_err err = MOE_OK;

	*out = (struct moe_likeness){.experts = n, .words = moe_min(words, count_allowed(m, suppress))};
	out->router = moe_arena_get(&out->memory, n * n, sizeof *out->router);
	out->weights = moe_arena_get(&out->memory, n * n, sizeof *out->weights);
	out->written = moe_arena_get(&out->memory, n * out->words + 1, sizeof *out->written);
	if (!out->router || !out->weights || !out->written)
		err = no_memory(d);
	if (!err)
		err = compare_router(out->router, &ffn->router, &scratch, d);
	if (!err)
		err = compare_weights(out->weights, ffn, n, &scratch, pool, d);
	moe_arena_reset(&scratch);
	if (!err && out->words)
		err = find_words(out, m, layer, suppress, &scratch, pool, d);
	moe_arena_free(&scratch);
	if (err)
		moe_likeness_free(out);
	return err;
}
