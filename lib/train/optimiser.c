#include "train/optimiser.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "kernel/descent.h"

enum { PIECE = 1 << 14, NEWTON_STEPS = 5, SUMS = 8, BLOCK = 64, SMALL = 64 * 64 };

static const double BETA1 = 0.9, BETA2 = 0.98, EPSILON = 1e-8, MOMENTUM = 0.95;

/* Coefficients of the iteration that drives all singular values towards 1 (Jordan et al.). */
static const float NS_A = 3.4445f, NS_B = -4.7750f, NS_C = 2.0315f;

/* A run of a tensor that is worked on at a time. */
struct piece {
	size_t tensor, at, n;
};

/* What one thread needs for a matrix. */
struct lane {
	float *x, *y;           /* [rows][cols] */
	float *a, *b;           /* [n][n], n the shorter edge: X Xᵀ, and its polynomial */
	void *rows, *columns;   /* operands made of X */
	void *small, *pairs;    /* of A or its polynomial; of whichever stands on the right */
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

bool moe_optimiser_skips(const struct moe_param *p)
{
	static const char *const names[] = {"choice_bias", "aux_threshold", "depth_threshold", "code", "code_count", "code_sum"};

	for (size_t i = 0; p->logical && i < sizeof names / sizeof *names; i++)
		if (!strcmp(p->logical, names[i]))
			return true;
	return false;
}

float *moe_optimiser_first(struct moe_optimiser *o) { return o->first; }

float *moe_optimiser_second(struct moe_optimiser *o) { return o->second; }

uint64_t *moe_optimiser_steps(struct moe_optimiser *o) { return o->steps; }

static bool is_still(const struct moe_optimiser *o, size_t tensor)
{
	return (o->frozen && o->frozen[tensor]) || moe_optimiser_skips(&o->params->p[tensor]);
}

static bool is_muons(const struct moe_optimiser *o, size_t tensor) { return o->step->kind == MOE_OPTIMISER_MUON && o->params->p[tensor].matrix; }

/* Sizes of a lane: numbers of the largest [rows][cols] and [n][n], with edges padded as operands have them. */
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

static double factor_of(const struct moe_optimiser_step *s, size_t tensor) { return s->factor ? (double)s->factor[tensor] : 1; }

static struct moe_adamw adamw_of(const struct moe_optimiser_step *s, uint64_t t, double factor)
{
	double adamw_rate = factor * s->adamw_rate;

	return (struct moe_adamw){
		.scale = (float)s->scale, .beta1 = (float)BETA1, .rest1 = (float)(1 - BETA1), .beta2 = (float)BETA2, .rest2 = (float)(1 - BETA2),
		.whole1 = (float)(1 / (1 - pow(BETA1, (double)t))), .whole2 = (float)(1 / (1 - pow(BETA2, (double)t))), .epsilon = (float)EPSILON,
		.keep = (float)(1 - adamw_rate * s->weight_decay), .rate = (float)adamw_rate,
	};
}

static void adamw_piece(void *arg, size_t i)
{
	struct moe_optimiser *o = arg;
	const struct piece *p = &o->piece[i];
	struct moe_adamw a;

	if (is_still(o, p->tensor) || is_muons(o, p->tensor))
		return;
	a = adamw_of(o->step, o->steps[p->tensor], factor_of(o->step, p->tensor));
	moe_adamw_update(o->weights + p->at, o->first + p->at, o->second + p->at, o->gradient + p->at, p->n, &a);
}

/* A matrix in the iteration: X [rows][cols]; the polynomial stands on the side of its shorter edge, of n. */
struct shape {
	enum moe_unit unit;
	size_t rows, cols, n, per;      /* per: numbers of a unit */
	bool tall;
};

/* A product g that is a symmetric matrix [m][m]: block rows up to their diagonal, and the rest mirrored, which is a third less work. Both halves of the whole product
 * would have the same bits, since products commute and sums have one order. */
static void symmetric(const struct shape *s, const struct moe_gemm *g)
{
	const float *a = g->a;  /* units of 32 bits, whatever they hold */

	for (size_t i = 0; i < g->m; i += BLOCK) {
		struct moe_gemm rows = *g;
		rows.m = moe_min(BLOCK, g->m - i);
		rows.n = i + rows.m;
		rows.a = a + i * g->a_row;
		rows.c = g->c + i * g->c_row;
		moe_gemm_run(s->unit, &rows);
	}
	for (size_t i = 0; i < g->m; i++)
		for (size_t j = 0; j < i / BLOCK * BLOCK; j++)
			g->c[j * g->c_row + i] = g->c[i * g->c_row + j];
}

/* l->a [n][n] = X Xᵀ, or Xᵀ X of a tall one; l->rows becomes the rows operand of X. */
static void gram(const struct shape *s, struct lane *l)
{
	size_t ld = padded(s->cols), step;
	struct moe_gemm g = {.m = s->n, .n = s->n, .c = l->a, .c_row = s->n};

	moe_operand_rows(s->unit, l->rows, ld, l->x, s->cols, s->rows, s->cols);
	if (s->tall) {
		g.a = g.b = moe_operand_along_rows(s->unit, l->columns, l->rows, ld, s->rows, s->cols, &step);
		g.k = (s->rows + s->per - 1) / s->per;
		g.a_row = 1;
		g.a_step = g.b_step = step;
	} else {
		moe_operand_columns(s->unit, l->columns, s->n, l->rows, ld, s->rows, s->cols);
		g.a = l->rows;
		g.a_row = ld / s->per;
		g.a_step = 1;
		g.b = l->columns;
		g.b_step = s->n;
		g.k = (s->cols + s->per - 1) / s->per;
	}
	symmetric(s, &g);
}

/* l->b [n][n] = A A of the rows operand l->small of A. */
static void square(const struct shape *s, struct lane *l)
{
	size_t step;
	const void *pairs = moe_operand_along_rows(s->unit, l->pairs, l->small, padded(s->n), s->n, s->n, &step);

	symmetric(s, &(struct moe_gemm){.m = s->n, .n = s->n, .k = (s->n + s->per - 1) / s->per, .a = l->small, .a_row = padded(s->n) / s->per, .a_step = 1, .b = pairs,
					.b_step = step, .c = l->b, .c_row = s->n});
}

/* l->y += S X of the rows operands l->small and l->rows, or X S of a tall X. */
static void add_product(const struct shape *s, struct lane *l)
{
	size_t lds = padded(s->n), ldx = padded(s->cols), step;
	struct moe_gemm g = {.m = s->rows, .n = s->cols, .k = (s->n + s->per - 1) / s->per, .a_step = 1, .c = l->y, .c_row = s->cols, .add = true};

	if (s->tall) {
		g.a = l->rows;
		g.a_row = ldx / s->per;
		g.b = moe_operand_along_rows(s->unit, l->pairs, l->small, lds, s->n, s->n, &step);
	} else {
		g.a = l->small;
		g.a_row = lds / s->per;
		g.b = moe_operand_along_rows(s->unit, l->pairs, l->rows, ldx, s->n, s->cols, &step);
	}
	g.b_step = step;
	moe_gemm_run(s->unit, &g);
}

/* X ← a X + (b A + c A²) X with A = X Xᵀ, or for a tall one X ← a X + X (b A + c A²) with A = Xᵀ X, which is the same. */
static void newton_step(const struct shape *s, struct lane *l)
{
	size_t n = s->n;
	float *x = l->x;

	gram(s, l);
	moe_operand_rows(s->unit, l->small, padded(n), l->a, n, n, n);
	square(s, l);
	moe_blend(l->b, NS_B, l->a, NS_C, l->b, n * n);
	moe_operand_rows(s->unit, l->small, padded(n), l->b, n, n, n);
	moe_blend(l->y, NS_A, x, 0, x, s->rows * s->cols);
	add_product(s, l);
	l->x = l->y;
	l->y = x;
}

static void muon(struct moe_optimiser *o, size_t tensor, struct lane *l)
{
	const struct moe_param *p = &o->params->p[tensor];
	/* Small matrices cost nothing, whatever their products are made of. */
	enum moe_unit unit = p->count > SMALL ? o->unit : MOE_UNIT_F32;
	const struct shape s = {unit, p->rows, p->cols, moe_min(p->rows, p->cols), unit == MOE_UNIT_BF16 ? 2 : 1, p->rows > p->cols};
	float rate = (float)(factor_of(o->step, tensor) * o->step->muon_rate * sqrt(fmax(1, (double)p->rows / (double)p->cols))), *w = o->weights + p->offset, shrink;

	moe_nesterov(l->x, o->first + p->offset, o->gradient + p->offset, p->count, (float)MOMENTUM, (float)o->step->scale);
	shrink = 1 / ((float)sqrt(squares(l->x, p->count)) + 1e-7f);
	moe_blend(l->x, shrink, l->x, 0, l->x, p->count);
	for (int i = 0; i < NEWTON_STEPS; i++)
		newton_step(&s, l);
	moe_blend(w, 1, w, -rate, l->x, p->count);
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
