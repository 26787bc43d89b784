#include "graft/graft_blend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "convert/rewrite.h"
#include "kernel/normal.h"

/* Adds a row of a term; `room` [inputs of its matrix]. */
static bool add_term(double *sum, const struct moe_graft_part *t, size_t r, size_t cols, float *room)
{
	if (!moe_rewrite_row(room, t->mat, t->row + r))
		return false;
	for (size_t i = 0; i < cols; i++)
		sum[i] += t->factor * (double)room[t->col + i];
	return true;
}

static double rms(const double *x, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += x[i] * x[i];
	return sqrt(sum / (double)n);
}

static void add_noise(const struct moe_graft_blend *b, size_t r, double *sum)
{
	double deviation = b->deviation + (b->share > 0 ? b->share * rms(sum, b->cols) : 0);

	for (size_t i = 0; i < b->cols; i++) {
		sum[i] = b->noise_alone ? 0 : sum[i];
		if (deviation > 0)
			sum[i] += deviation * moe_random_normal(b->seed, b->stream, r * b->cols + i);
	}
}

bool moe_graft_blend_row(const struct moe_graft_blend *b, size_t r, float *to)
{
	size_t widest = b->cols;
	double *sum = calloc(b->cols, sizeof *sum);
	float *room;
	bool ok;

	for (size_t i = 0; i < b->n_terms; i++)
		widest = b->term[i].mat->cols > widest ? b->term[i].mat->cols : widest;
	room = malloc(widest * sizeof *room);
	ok = sum && room;
	for (size_t i = 0; i < b->n_terms && ok; i++)
		ok = add_term(sum, &b->term[i], r, b->cols, room);
	if (ok && (b->deviation > 0 || b->share > 0 || b->noise_alone))
		add_noise(b, r, sum);
	for (size_t i = 0; i < b->cols && ok; i++)
		to[i] = (float)sum[i];
	free(sum);
	free(room);
	return ok;
}

bool moe_graft_blend_plain(const struct moe_graft_blend *b, struct moe_mat *out)
{
	const struct moe_graft_part *t = b->term;
	size_t step;

	if (b->n_terms != 1 || t->factor != 1 || b->deviation > 0 || b->share > 0 || b->noise_alone || t->mat->type == MOE_F8_E4M3)
		return false;
	step = t->mat->step ? t->mat->step : 1;
	*out = *t->mat;
	out->data = (const uint8_t *)t->mat->data + moe_dtype_nbytes(t->mat->type, t->row * t->mat->stride + t->col * step);
	out->scale = t->mat->scale ? t->mat->scale + t->row : NULL;
	out->rows = b->rows;
	out->cols = b->cols;
	return true;
}
