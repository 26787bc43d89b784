#include "train/optimiser.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "kernel/train.h"

enum { PIECE = 1 << 14, NEWTON_STEPS = 5, SUMS = 8, SMALL = 64 * 64 };

static const double BETA1 = 0.9, BETA2 = 0.98, EPSILON = 1e-8, MOMENTUM = 0.95;

/* Coefficients of the iteration that drives all singular values towards 1 (Jordan et al.). */
static const float NS_A = 3.4445f, NS_B = -4.7750f, NS_C = 2.0315f;

/* A run of a tensor that is worked on at a time. */
struct piece {
	size_t tensor, at, n;
};

/* What one thread needs for a matrix of r rows and c columns, or c rows and r columns, r <= c. */
struct lane {
	float *x, *y;           /* [r][c] */
	float *a, *b;           /* [r][r]: X Xᵀ, and its polynomial */
	void *rows, *columns;   /* operands made of [r][c] */
	void *small, *pairs;    /* operands made of [r][r] */
};

struct moe_optimiser {
	const struct moe_params *params;
	enum moe_unit unit;
	struct moe_pool *pool;
	float *first, *second;  /* [total] */
	uint64_t *steps;        /* [tensors] */
	struct piece *piece;
	double *sum;            /* [pieces]: of squares */
	size_t n_pieces;
	size_t *matrix, n_matrices;     /* tensors that Muon may take */
	struct lane *lane;
	size_t n_lanes;

	/* Of the step being made. */
	const struct moe_optimiser_step *step;
	float *weights;
	const float *gradient;
	const bool *frozen;
	atomic_size_t next;
};

bool moe_optimiser_skips(const struct moe_param *p) { return p->logical && !strcmp(p->logical, "choice_bias"); }

float *moe_optimiser_first(struct moe_optimiser *o) { return o->first; }

float *moe_optimiser_second(struct moe_optimiser *o) { return o->second; }

uint64_t *moe_optimiser_steps(struct moe_optimiser *o) { return o->steps; }

static bool is_still(const struct moe_optimiser *o, size_t tensor)
{
	return (o->frozen && o->frozen[tensor]) || moe_optimiser_skips(&o->params->p[tensor]);
}

static bool is_muons(const struct moe_optimiser *o, size_t tensor) { return o->step->kind == MOE_OPTIMISER_MUON && o->params->p[tensor].matrix; }

/* Sizes of a lane: numbers of the largest [r][c] and [r][r], with rows padded as operands have them. */
struct extent {
	size_t whole, square;
};

static size_t padded(size_t n) { return moe_round_up(n, 16); }

static struct extent lane_extent(const struct moe_params *params)
{
	struct extent e = {0};

	for (size_t i = 0; i < params->n; i++) {
		const struct moe_param *p = &params->p[i];
		size_t r = moe_min(p->rows, p->cols), c = moe_max(p->rows, p->cols);
		if (!p->matrix)
			continue;
		e.whole = moe_max(e.whole, padded(r) * padded(c));
		e.square = moe_max(e.square, padded(r) * padded(r));
	}
	return e;
}

static bool lane_init(struct lane *l, struct extent e)
{
	l->x = moe_calloc(e.whole, sizeof *l->x);
	l->y = moe_calloc(e.whole, sizeof *l->y);
	l->a = moe_calloc(e.square, sizeof *l->a);
	l->b = moe_calloc(e.square, sizeof *l->b);
	l->rows = moe_calloc(e.whole, sizeof(float));
	l->columns = moe_calloc(e.whole, sizeof(float));
	l->small = moe_calloc(e.square, sizeof(float));
	l->pairs = moe_calloc(e.whole, sizeof(float));
	return l->x && l->y && l->a && l->b && l->rows && l->columns && l->small && l->pairs;
}

static void lane_free(struct lane *l)
{
	free(l->x);
	free(l->y);
	free(l->a);
	free(l->b);
	free(l->rows);
	free(l->columns);
	free(l->small);
	free(l->pairs);
}

static size_t count_pieces(const struct moe_params *params)
{
	size_t n = 0;

	for (size_t i = 0; i < params->n; i++)
		n += (params->p[i].count + PIECE - 1) / PIECE;
	return n;
}

static void cut(struct moe_optimiser *o)
{
	for (size_t i = 0; i < o->params->n; i++)
		for (size_t at = 0; at < o->params->p[i].count; at += PIECE)
			o->piece[o->n_pieces++] = (struct piece){i, o->params->p[i].offset + at, moe_min(PIECE, o->params->p[i].count - at)};
	for (size_t i = 0; i < o->params->n; i++)
		if (o->params->p[i].matrix)
			o->matrix[o->n_matrices++] = i;
}

uint64_t moe_optimiser_nbytes(const struct moe_params *params, const struct moe_pool *pool)
{
	struct extent e = lane_extent(params);

	return 8 * (uint64_t)params->total + moe_pool_threads(pool) * 4 * (uint64_t)(5 * e.whole + 3 * e.square) + count_pieces(params) * 32 + params->n * 16;
}

enum moe_err moe_optimiser_new(struct moe_optimiser **out, const struct moe_params *params, enum moe_unit unit, struct moe_pool *pool, struct moe_diag *d)
{
	struct moe_optimiser *o = calloc(1, sizeof *o);
	struct extent e = lane_extent(params);
	bool good = o != NULL;

	if (good) {
		*o = (struct moe_optimiser){.params = params, .unit = unit, .pool = pool, .n_lanes = e.whole ? moe_pool_threads(pool) : 0};
		o->first = moe_calloc(params->total, sizeof *o->first);
		o->second = moe_calloc(params->total, sizeof *o->second);
		o->steps = moe_calloc(params->n, sizeof *o->steps);
		o->piece = moe_calloc(count_pieces(params), sizeof *o->piece);
		o->sum = moe_calloc(count_pieces(params), sizeof *o->sum);
		o->matrix = moe_calloc(params->n, sizeof *o->matrix);
		o->lane = moe_calloc(o->n_lanes + 1, sizeof *o->lane);
		good = o->first && o->second && o->steps && o->piece && o->sum && o->matrix && o->lane;
	}
	for (size_t i = 0; good && i < o->n_lanes; i++)
		good = lane_init(&o->lane[i], e);
	if (!good) {
		moe_optimiser_free(o);
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	cut(o);
	*out = o;
	return MOE_OK;
}

void moe_optimiser_free(struct moe_optimiser *o)
{
	if (!o)
		return;
	for (size_t i = 0; o->lane && i < o->n_lanes; i++)
		lane_free(&o->lane[i]);
	free(o->first);
	free(o->second);
	free(o->steps);
	free(o->piece);
	free(o->sum);
	free(o->matrix);
	free(o->lane);
	free(o);
}

void moe_optimiser_forget_matrices(struct moe_optimiser *o)
{
	for (size_t i = 0; i < o->n_matrices; i++) {
		const struct moe_param *p = &o->params->p[o->matrix[i]];
		memset(o->first + p->offset, 0, p->count * sizeof *o->first);
		memset(o->second + p->offset, 0, p->count * sizeof *o->second);
		o->steps[o->matrix[i]] = 0;
	}
}

/* Sum of squares in double: SUMS sums side by side, added in their order. */
static double squares(const float *x, size_t n)
{
	double sum[SUMS] = {0}, all = 0;
	size_t i = 0;

	for (; i + SUMS <= n; i += SUMS)
		for (size_t j = 0; j < SUMS; j++)
			sum[j] += (double)x[i + j] * (double)x[i + j];
	for (size_t j = 0; i + j < n; j++)
		sum[j] += (double)x[i + j] * (double)x[i + j];
	for (size_t j = 0; j < SUMS; j++)
		all += sum[j];
	return all;
}

static void norm_piece(void *arg, size_t i)
{
	struct moe_optimiser *o = arg;
	const struct piece *p = &o->piece[i];

	o->sum[i] = is_still(o, p->tensor) ? 0 : squares(o->gradient + p->at, p->n);
}

double moe_optimiser_norm(struct moe_optimiser *o, const float *gradient, const bool *frozen)
{
	double all = 0;

	o->gradient = gradient;
	o->frozen = frozen;
	moe_pool_run(o->pool, 4 * (double)o->params->total, o->n_pieces, norm_piece, o);
	for (size_t i = 0; i < o->n_pieces; i++)
		all += o->sum[i];
	return sqrt(all);
}

/* Decoupled decay first, then m = β₁ m + (1 - β₁) g, v = β₂ v + (1 - β₂) g², w -= rate · m̂ / (√v̂ + ε). */
static void adamw(const struct moe_optimiser_step *s, uint64_t t, float *restrict w, const float *restrict gradient, float *restrict m, float *restrict v, size_t n)
{
	const float keep = (float)(1 - s->adamw_rate * s->weight_decay), scale = (float)s->scale, rate = (float)s->adamw_rate;
	const float b1 = (float)BETA1, c1 = (float)(1 - BETA1), b2 = (float)BETA2, c2 = (float)(1 - BETA2), epsilon = (float)EPSILON;
	const float whole1 = (float)(1 / (1 - pow(BETA1, (double)t))), whole2 = (float)(1 / (1 - pow(BETA2, (double)t)));

	for (size_t i = 0; i < n; i++) {
		float g = gradient[i] * scale;
		m[i] = m[i] * b1 + c1 * g;
		v[i] = v[i] * b2 + c2 * g * g;
		w[i] = w[i] * keep - rate * (m[i] * whole1) / (sqrtf(v[i] * whole2) + epsilon);
	}
}

static void adamw_piece(void *arg, size_t i)
{
	struct moe_optimiser *o = arg;
	const struct piece *p = &o->piece[i];

	if (!is_still(o, p->tensor) && !is_muons(o, p->tensor))
		adamw(o->step, o->steps[p->tensor], o->weights + p->at, o->gradient + p->at, o->first + p->at, o->second + p->at, p->n);
}

/* The momentum of a tensor takes the gradient in; x = g + 0.95 m. */
static void nesterov(const struct moe_optimiser *o, const struct moe_param *p, float *x)
{
	const float *gradient = o->gradient + p->offset, beta = (float)MOMENTUM, scale = (float)o->step->scale;
	float *m = o->first + p->offset;

	moe_mix(m, beta, gradient, scale, p->count);
	moe_scaled(x, beta, m, p->count);
	moe_axpy(x, scale, gradient, p->count);
}

/* X [rows][cols] of a matrix, and r, the smaller of both, on whose side it is multiplied. */
struct shape {
	enum moe_unit unit;
	size_t rows, cols, r;
};

static size_t units(const struct shape *s, size_t n) { return s->unit == MOE_UNIT_BF16 ? (n + 1) / 2 : n; }
static size_t stride(const struct shape *s, size_t n) { return units(s, padded(n)); }

/* c [m][n] (= or +=) a · b over k numbers; strides in units. */
static void product(const struct shape *s, float *c, size_t m, size_t n, size_t k, const void *a, size_t a_row, size_t a_step, const void *b, size_t b_step, bool add)
{
	moe_gemm_run(s->unit, &(struct moe_gemm){.m = m, .n = n, .k = units(s, k), .a = a, .a_row = a_row, .a_step = a_step, .b = b, .b_step = b_step, .c = c,
						 .c_row = n, .add = add});
}

/* a [r][r] = X Xᵀ of l->x, or Xᵀ X where it has more rows; l->rows becomes its operand. */
static void gram(const struct shape *s, struct lane *l)
{
	size_t ld = padded(s->cols), step;
	const void *along;

	moe_operand_rows(s->unit, l->rows, ld, l->x, s->cols, s->rows, s->cols);
	if (s->rows > s->cols) {
		along = moe_operand_along_rows(s->unit, l->columns, l->rows, ld, s->rows, s->cols, &step);
		product(s, l->a, s->r, s->r, s->rows, along, 1, step, along, step, false);
		return;
	}
	moe_operand_columns(s->unit, l->columns, s->rows, l->rows, ld, s->rows, s->cols);
	product(s, l->a, s->r, s->r, s->cols, l->rows, units(s, ld), 1, l->columns, s->rows, false);
}

/* X ← a X + (b A + c A²) X with A = X Xᵀ, or a X + X (b A + c A²) with A = Xᵀ X. */
static void newton_step(const struct shape *s, struct lane *l)
{
	size_t r = s->r, step;
	float *x = l->x;
	const void *along;

	gram(s, l);
	moe_operand_rows(s->unit, l->small, padded(r), l->a, r, r, r);
	along = moe_operand_along_rows(s->unit, l->pairs, l->small, padded(r), r, r, &step);
	product(s, l->b, r, r, r, l->small, stride(s, r), 1, along, step, false);
	moe_mix(l->b, NS_C, l->a, NS_B, r * r);
	moe_operand_rows(s->unit, l->small, padded(r), l->b, r, r, r);
	moe_scaled(l->y, NS_A, x, s->rows * s->cols);
	if (s->rows > s->cols) {
		along = moe_operand_along_rows(s->unit, l->pairs, l->small, padded(r), r, r, &step);
		product(s, l->y, s->rows, s->cols, r, l->rows, stride(s, s->cols), 1, along, step, true);
	} else {
		along = moe_operand_along_rows(s->unit, l->pairs, l->rows, padded(s->cols), r, s->cols, &step);
		product(s, l->y, r, s->cols, r, l->small, stride(s, r), 1, along, step, true);
	}
	l->x = l->y;
	l->y = x;
}

static void muon(struct moe_optimiser *o, size_t tensor, struct lane *l)
{
	const struct moe_param *p = &o->params->p[tensor];
	/* Small matrices cost nothing, whatever their products are made of. */
	struct shape s = {p->count > SMALL ? o->unit : MOE_UNIT_F32, p->rows, p->cols, moe_min(p->rows, p->cols)};
	double rate = o->step->muon_rate * sqrt(fmax(1, (double)p->rows / (double)p->cols));

	nesterov(o, p, l->x);
	moe_scaled(l->x, 1 / ((float)sqrt(squares(l->x, p->count)) + 1e-7f), l->x, p->count);
	for (int i = 0; i < NEWTON_STEPS; i++)
		newton_step(&s, l);
	moe_axpy(o->weights + p->offset, (float)-rate, l->x, p->count);
}

/* A lane takes matrices until none are left; which lane takes which changes nothing. */
static void muon_lane(void *arg, size_t lane)
{
	struct moe_optimiser *o = arg;
	size_t i;

	while ((i = atomic_fetch_add_explicit(&o->next, 1, memory_order_relaxed)) < o->n_matrices)
		if (!is_still(o, o->matrix[i]))
			muon(o, o->matrix[i], &o->lane[lane]);
}

/* FLOPs of Muon, for the pool. */
static double muon_work(const struct moe_optimiser *o)
{
	double work = 0;

	for (size_t i = 0; i < o->n_matrices; i++) {
		const struct moe_param *p = &o->params->p[o->matrix[i]];
		double r = (double)moe_min(p->rows, p->cols);
		work += NEWTON_STEPS * (4 * r * (double)p->count + 2 * r * r * r);
	}
	return work;
}

void moe_optimiser_step(struct moe_optimiser *o, const struct moe_optimiser_step *s, float *weights, const float *gradient)
{
	o->step = s;
	o->weights = weights;
	o->gradient = gradient;
	o->frozen = s->frozen;
	for (size_t i = 0; i < o->params->n; i++)
		o->steps[i] += !is_still(o, i);
	moe_pool_run(o->pool, 16 * (double)o->params->total, o->n_pieces, adamw_piece, o);
	if (s->kind == MOE_OPTIMISER_MUON && o->n_lanes) {
		atomic_store(&o->next, 0);
		moe_pool_run(o->pool, muon_work(o), o->n_lanes, muon_lane, o);
	}
}
