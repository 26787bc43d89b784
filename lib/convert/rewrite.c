#include "convert/rewrite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "io/map.h"

/* Chunks do not depend on the number of threads: sums are taken in each, and added in order. */
enum { CHUNK = 1 << 16, WINDOW = 32, WORK = 100, WORK_COPY = 1 };

struct chunk {
	float *in, *back;               /* [rows][cols] */
	uint8_t *out;
	float *scale;                   /* [rows] of I8 */
	struct moe_loss loss;
	bool bad;
};

struct job {
	const struct moe_targets *all;
	const struct moe_target *t;
	uint64_t row, chunk_rows;       /* the first row of the window */
	size_t row_nbytes;
	struct chunk chunk[WINDOW];
};

/* Row r of the source: its matrix and its number there. */
static const struct moe_mat *locate(const struct job *j, uint64_t *r)
{
	uint64_t rows = j->t->piece[0].rows;
	const struct moe_mat *w;

	*r = moe_target_row(j->all, j->t, *r);
	w = &j->t->piece[*r / rows];
	*r %= rows;
	return w;
}

bool moe_rewrite_row(float *to, const struct moe_mat *w, uint64_t r)
{
	const uint8_t *data = (const uint8_t *)w->data + moe_dtype_nbytes(w->type, r * w->stride);
	size_t size = moe_dtype_nbytes(w->type, 1);

	if (w->step < 2)
		moe_mat_row(to, w, r);
	for (size_t k = 0; w->step > 1 && k < w->cols; k++)
		if (!moe_widen(to + k, data + k * w->step * size, 1, w->type))
			return false;
	return true;
}

/* Whole numbers up to 127 and a scale, so that the largest number of the row is kept. */
static float narrow_int8(int8_t *to, const float *from, size_t n)
{
	float largest = 0, scale;

	for (size_t i = 0; i < n; i++)
		largest = fmaxf(largest, fabsf(from[i]));
	scale = largest / 127;
	for (size_t i = 0; i < n; i++) {
		float v = scale > 0 ? rintf(from[i] / scale) : 0;
		to[i] = (int8_t)(v > 127 ? 127 : v < -127 ? -127 : v);
	}
	return scale;
}

static bool narrow_row(float *back, uint8_t *out, const float *in, size_t n, enum moe_dtype type, float *scale)
{
	if (type != MOE_I8)
		return moe_narrow(out, in, n, type) && moe_widen(back, out, n, type);
	*scale = narrow_int8((int8_t *)out, in, n);
	for (size_t i = 0; i < n; i++)
		back[i] = (float)(int8_t)out[i] * *scale;
	return true;
}

static void measure(struct chunk *c, const float *in, const float *back, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		double x = in[i], e = (double)back[i] - x;
		c->loss.error += e * e;
		c->loss.reference += x * x;
		c->loss.largest = fmax(c->loss.largest, fabs(e));
		c->bad |= !isfinite(e);
	}
}

static void do_chunk(void *arg, size_t i)
{
	struct job *j = arg;
	const struct moe_target *t = j->t;
	struct chunk *c = &j->chunk[i];
	uint64_t begin = j->row + i * j->chunk_rows, end = moe_min(t->rows, begin + j->chunk_rows);

	c->loss = (struct moe_loss){0};
	c->bad = false;
	for (uint64_t r = begin; r < end && !c->bad; r++) {
		uint64_t at = r;
		const struct moe_mat *w = locate(j, &at);
		uint8_t *out = c->out + (r - begin) * j->row_nbytes;
		bool read;
		if (w->data && w->type == t->to && w->step < 2) {
			if (c->scale)
				c->scale[r - begin] = w->scale[at];
			memcpy(out, (const uint8_t *)w->data + moe_dtype_nbytes(w->type, at * w->stride), j->row_nbytes);
			continue;
		}
		read = w->data ? moe_rewrite_row(c->in, w, at) : t->make(t->maker, (size_t)(w - t->piece), at, c->in);
		if (!read || !narrow_row(c->back, out, c->in, t->cols, t->to, c->scale ? &c->scale[r - begin] : NULL))
			c->bad = true;
		else
			measure(c, c->in, c->back, t->cols);
	}
}

static bool get_memory(struct job *j)
{
	bool ok = true;

	for (size_t i = 0; i < WINDOW; i++) {
		struct chunk *c = &j->chunk[i];
		c->in = moe_calloc(j->t->cols, sizeof *c->in);
		c->back = moe_calloc(j->t->cols, sizeof *c->back);
		c->out = moe_calloc(j->chunk_rows, j->row_nbytes);
		c->scale = j->t->to == MOE_I8 ? moe_calloc(j->chunk_rows, sizeof *c->scale) : NULL;
		ok &= c->in && c->back && c->out && (c->scale || j->t->to != MOE_I8);
	}
	return ok;
}

static void free_memory(struct job *j)
{
	for (size_t i = 0; i < WINDOW; i++) {
		free(j->chunk[i].in);
		free(j->chunk[i].back);
		free(j->chunk[i].out);
		free(j->chunk[i].scale);
	}
}

/* What was read is let go. Rows that are turned come from near their own place. */
static void release(const struct job *j, uint64_t end)
{
	const struct moe_target *t = j->t;
	uint64_t rows = t->piece[0].rows;

	for (uint64_t p = j->row / rows; p <= (end - 1) / rows; p++) {
		const struct moe_mat *w = &t->piece[p];
		uint64_t first = p * rows > j->row ? 0 : j->row - p * rows, last = moe_min(rows, end - p * rows);
		if (w->data && w->step < 2)
			moe_map_release((const uint8_t *)w->data + moe_dtype_nbytes(w->type, first * w->stride), moe_dtype_nbytes(w->type, (last - first) * w->stride));
	}
}

static enum moe_err do_window(struct job *j, size_t n, moe_rewrite_fn *fn, void *arg, struct moe_loss *loss, struct moe_diag *d)
{
	for (size_t i = 0; i < n; i++) {
		const struct chunk *c = &j->chunk[i];
		uint64_t begin = j->row + i * j->chunk_rows, rows = moe_min(j->t->rows, begin + j->chunk_rows) - begin;
		if (c->bad)
			return moe_fail(d, MOE_EINPUT, "tensor \"%s\" has numbers that are not finite, or beyond the range of %s, in rows %llu to %llu%s", j->t->name,
					moe_dtype_name(j->t->to), (unsigned long long)begin, (unsigned long long)(begin + rows - 1),
					j->t->to == MOE_F16 ? " (bf16 has the range of f32)" : "");
		loss->error += c->loss.error;
		loss->reference += c->loss.reference;
		loss->largest = fmax(loss->largest, c->loss.largest);
		MOE_TRY(fn(arg, c->out, rows * j->row_nbytes, false, d));
		if (c->scale)
			MOE_TRY(fn(arg, c->scale, rows * sizeof *c->scale, true, d));
	}
	return MOE_OK;
}

enum moe_err moe_rewrite(const struct moe_targets *all, const struct moe_target *t, struct moe_pool *pool, moe_rewrite_fn *fn, void *arg, struct moe_loss *loss,
			 struct moe_diag *d)
{
	struct job j = {.all = all, .t = t, .chunk_rows = moe_max(1, CHUNK / t->cols), .row_nbytes = moe_dtype_nbytes(t->to, t->cols)};
	enum moe_err err = MOE_OK;

	*loss = (struct moe_loss){0};
	j.chunk_rows = moe_min(j.chunk_rows, t->rows);
	if (!get_memory(&j))
		err = moe_fail(d, MOE_ENOMEM, "out of memory");
	while (j.row < t->rows && !err) {
		uint64_t end = moe_min(t->rows, j.row + WINDOW * j.chunk_rows);
		size_t n = (size_t)((end - j.row + j.chunk_rows - 1) / j.chunk_rows);
		moe_pool_run(pool, (double)((end - j.row) * t->cols) * (t->from == t->to ? WORK_COPY : WORK), n, do_chunk, &j);
		err = do_window(&j, n, fn, arg, loss, d);
		release(&j, end);
		j.row = end;
	}
	free_memory(&j);
	return err;
}
