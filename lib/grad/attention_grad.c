#include "grad/attention_grad.h"

#include <string.h>

#include "base/check.h"

/* Where things of one head lie. Scores and probabilities: those with the picture's keys [rows][room_a], and those of text with the keys of its own
 * segment [n_text][room_b]. */
struct head {
	enum moe_unit unit;
	bool causal;
	const struct moe_packed_rows *s;
	size_t rows, room_a, room_b, dim, ld;   /* ld: numbers of a row of qkv */
	const void *q, *k, *v;
	void *pa, *pb;
	char *scratch;
};

static size_t kept_of_head(enum moe_unit u, const struct moe_packed_rows *s)
{
	return (s->n_image + s->n_text) * moe_unit_stride(u, s->n_image) + s->n_text * moe_unit_stride(u, s->longest);
}

size_t moe_attention_kept(const struct moe_heads *h, const struct moe_packed_rows *s) { return h->heads * kept_of_head(h->unit, s); }

size_t moe_attention_scratch(const struct moe_heads *h, const struct moe_packed_rows *s)
{
	size_t rows = s->n_image + s->n_text + 2;

	/* scores; their gradients; keys, values or others turned, three times; the output of a head; an operand along the rows of probabilities */
	return 4 * (2 * (kept_of_head(MOE_UNIT_F32, s) + 64) + 4 * rows * (h->dim + 16) + rows * (s->n_image + s->longest + 16)) + 4096;
}

static struct head head_of(const struct moe_heads *h, const struct moe_packed_rows *s, size_t i, const void *qkv, void *kept, void *scratch)
{
	size_t of = i / (h->heads / h->kv_heads), rows = s->n_image + s->n_text;
	struct head x = {
		.unit = h->unit, .causal = h->causal, .s = s, .rows = rows, .room_a = moe_unit_stride(h->unit, s->n_image), .room_b = moe_unit_stride(h->unit, s->longest), .dim = h->dim,
		.ld = moe_heads_width(h), .scratch = scratch,
	};

	x.q = moe_unit_at(h->unit, qkv, i * h->dim);
	x.k = moe_unit_at(h->unit, qkv, (h->heads + of) * h->dim);
	x.v = moe_unit_at(h->unit, qkv, (h->heads + h->kv_heads + of) * h->dim);
	x.pa = moe_unit_at(h->unit, kept, i * kept_of_head(h->unit, s));
	x.pb = moe_unit_at(h->unit, x.pa, rows * x.room_a);
	return x;
}

/* n floats of the scratch, aligned. */
static float *take(struct head *x, size_t n)
{
	char *p = x->scratch;

	x->scratch += moe_round_up(n * 4, 64);
	return (float *)(void *)p;
}

/* c [m][n] (= or +=) a · b, where a are rows of an operand. */
static void rows_times(const struct head *x, float *c, size_t ldc, bool add, const void *a, size_t lda, size_t m, const void *b, size_t ldb, size_t n, size_t k)
{
	moe_gemm_run(x->unit, &(struct moe_gemm){.m = m, .n = n, .k = moe_units(x->unit, k), .a = a, .a_row = moe_units(x->unit, lda), .a_step = 1, .b = b,
						 .b_step = ldb, .c = c, .c_row = ldc, .add = add});
}

/* Every row against the keys (or values) that it may see: sa [rows][room_a], sb [n_text][room_b] of rows from [rows][dim] times `turned` [dim units][rows]. */
static void against_keys(const struct head *x, float *sa, float *sb, const void *from, size_t ld, const char *turned)
{
	const struct moe_packed_rows *s = x->s;

	if (s->n_image)
		rows_times(x, sa, x->room_a, false, from, ld, x->rows, turned, x->rows, s->n_image, x->dim);
	for (size_t i = 0; i < s->n_segments; i++) {
		size_t at = s->segment[i], n = s->segment[i + 1] - at, row = s->n_image + at;
		rows_times(x, sb + at * x->room_b, x->room_b, false, moe_unit_at(x->unit, from, row * ld), ld, n, turned + row * 4, x->rows, n, x->dim);
	}
}

/* c [rows][dim] (row stride ldc) = a (probabilities, or gradients of scores) times rows of `of` [rows][dim]: keys or values. */
static void times_rows(struct head *x, float *c, size_t ldc, const void *a, const void *b, const void *of)
{
	const struct moe_packed_rows *s = x->s;
	char *mark = x->scratch;
	void *room = take(x, moe_max(s->n_image, s->longest + 1) * x->dim);
	const void *along;
	size_t step;

	if (s->n_image) {
		along = moe_operand_along_rows(x->unit, room, of, x->ld, s->n_image, x->dim, &step);
		rows_times(x, c, ldc, false, a, x->room_a, x->rows, along, step, x->dim, s->n_image);
	}
	for (size_t i = 0; i < s->n_segments; i++) {
		size_t at = s->segment[i], n = s->segment[i + 1] - at, row = s->n_image + at;
		along = moe_operand_along_rows(x->unit, room, moe_unit_at(x->unit, of, row * x->ld), x->ld, n, x->dim, &step);
		rows_times(x, c + row * ldc, ldc, s->n_image > 0, moe_unit_at(x->unit, b, at * x->room_b), x->room_b, n, along, step, x->dim, n);
	}
	x->scratch = mark;
}

/* c [n][dim] (row stride ldc) += aᵀ · b with a [m][n] and b [m][dim], both rows of operands: what keys or values get from the rows that see them. */
static void add_turned(struct head *x, float *c, size_t ldc, const void *a, size_t lda, size_t n, const void *b, size_t ldb, size_t m)
{
	char *mark = x->scratch;
	size_t step_a, step_b;
	const void *u = moe_operand_along_rows(x->unit, take(x, (m + 1) * n), a, lda, m, n, &step_a);
	const void *w = moe_operand_along_rows(x->unit, take(x, (m + 1) * x->dim), b, ldb, m, x->dim, &step_b);

	moe_gemm_run(x->unit, &(struct moe_gemm){.m = n, .n = x->dim, .k = moe_units(x->unit, m), .a = u, .a_row = 1, .a_step = step_a, .b = w, .b_step = step_b,
						 .c = c, .c_row = ldc, .add = true});
	x->scratch = mark;
}

/* The same for all keys of the head. */
static void to_keys(struct head *x, float *c, size_t ldc, const void *a, const void *b, const void *from, size_t ld)
{
	const struct moe_packed_rows *s = x->s;

	if (s->n_image)
		add_turned(x, c, ldc, a, x->room_a, s->n_image, from, ld, x->rows);
	for (size_t i = 0; i < s->n_segments; i++) {
		size_t at = s->segment[i], n = s->segment[i + 1] - at, row = s->n_image + at;
		add_turned(x, c + row * ldc, ldc, moe_unit_at(x->unit, b, at * x->room_b), x->room_b, n, moe_unit_at(x->unit, from, row * ld), ld, n);
	}
}

/* Calls the softmax, or its backward pass, for each row. */
static void each_row(const struct head *x, void *pa, void *pb, const float *sa, const float *sb, bool backward)
{
	const struct moe_packed_rows *s = x->s;
	size_t segment = 0;

	for (size_t r = 0; r < x->rows; r++) {
		size_t t = r < s->n_image ? 0 : r - s->n_image, sees = 0, room = 0, patches = x->causal && r < s->n_image ? r + 1 : s->n_image;
		void *to_a = moe_unit_at(x->unit, pa, r * x->room_a), *to_b = moe_unit_at(x->unit, pb, t * x->room_b);
		if (r >= s->n_image) {
			while (t >= s->segment[segment + 1])
				segment++;
			sees = t - s->segment[segment] + 1;
			room = moe_unit_stride(x->unit, s->segment[segment + 1] - s->segment[segment]);
		}
		if (backward)
			moe_softmax_two_backward(x->unit, to_a, to_b, moe_unit_at(x->unit, x->pa, r * x->room_a), moe_unit_at(x->unit, x->pb, t * x->room_b),
						 sa + r * x->room_a, patches, x->room_a, sb + t * x->room_b, sees, room);
		else
			moe_softmax_two(x->unit, to_a, to_b, sa + r * x->room_a, patches, x->room_a, sb + t * x->room_b, sees, room);
	}
}

void moe_attention_keep(const struct moe_heads *h, const struct moe_packed_rows *s, void *out, const void *qkv, void *kept, void *scratch)
{
	size_t width = h->heads * h->dim;

	for (size_t i = 0; i < h->heads; i++) {
		struct head x = head_of(h, s, i, qkv, kept, scratch);
		float *sa = take(&x, x.rows * x.room_a), *sb = take(&x, s->n_text * x.room_b), *o = take(&x, x.rows * x.dim);
		char *turned = (char *)take(&x, moe_units(x.unit, x.dim) * x.rows);
		moe_operand_columns(x.unit, turned, x.rows, x.k, x.ld, x.rows, x.dim);
		against_keys(&x, sa, sb, x.q, x.ld, turned);
		each_row(&x, x.pa, x.pb, sa, sb, false);
		times_rows(&x, o, x.dim, x.pa, x.pb, x.v);
		moe_operand_rows(x.unit, moe_unit_at(x.unit, out, i * x.dim), width, o, x.dim, x.rows, x.dim);
	}
}

void moe_attention_backward(const struct moe_heads *h, const struct moe_packed_rows *s, float *dqkv, const void *dout, const void *qkv, const void *kept,
			    void *scratch)
{
	size_t width = h->heads * h->dim, ld = moe_heads_width(h), rows = s->n_image + s->n_text;

	for (size_t r = 0; r < rows; r++)
		memset(dqkv + r * ld + width, 0, (ld - width) * sizeof *dqkv);
	for (size_t i = 0; i < h->heads; i++) {
		struct head x = head_of(h, s, i, qkv, (void *)(uintptr_t)kept, scratch);
		size_t of = i / (h->heads / h->kv_heads);
		const void *g = moe_unit_at(x.unit, dout, i * x.dim);
		float *dk = dqkv + (h->heads + of) * x.dim, *dv = dk + h->kv_heads * x.dim;
		float *ga = take(&x, rows * x.room_a), *gb = take(&x, s->n_text * x.room_b);
		void *da = take(&x, rows * x.room_a), *db = take(&x, s->n_text * x.room_b);
		char *turned = (char *)take(&x, moe_units(x.unit, x.dim) * rows);
		moe_operand_columns(x.unit, turned, rows, x.v, x.ld, rows, x.dim);
		against_keys(&x, ga, gb, g, width, turned);
		each_row(&x, da, db, ga, gb, true);
		to_keys(&x, dv, ld, x.pa, x.pb, g, width);
		times_rows(&x, dqkv + i * x.dim, ld, da, db, x.k);
		to_keys(&x, dk, ld, da, db, x.q, x.ld);
	}
}
