#include "nn/vit.h"

#include <math.h>

#include "base/check.h"

/* Rows that pass through a step together: few enough that their inner vectors stay in a core's cache, enough that widening the weights pays. A band
 * of so many chunks for each thread is what the buffers have room for. */
enum { CHUNK_FEW = 48, CHUNK_MANY = 96, BAND_CHUNKS = 2 };

/* One picture on its way through the layers. */
struct pass {
	const struct moe_vit_settings *s;
	const struct moe_vit_layer *w;
	float *x;                       /* [n][hidden] */
	size_t n, chunk, band;          /* rows of the picture, of a chunk and of a band */
	size_t first, rows;             /* the band at work */
	float *normed, *a, *b;          /* [band][hidden] */
	float *inner, *gate;            /* [band][width]; gate NULL where there is none */
	uint32_t *zero, *limit;         /* [band]: every patch sees all */
	struct moe_cache cache;
	struct moe_cache_pool blocks;   /* its shape only: the memory is the arena's */
	struct moe_pool *pool;
};

uint32_t moe_vit_bucket(uint32_t i, uint32_t n, uint32_t g)
{
	float f = (float)i * (1.0f / (float)n), most = (float)(1.0 - 1e-6);
	uint32_t bucket = (uint32_t)((uint64_t)i * g / n);

	f = f < most ? f : most;
	while (bucket && (float)((double)bucket / g) > f)
		bucket--;
	while (bucket + 1 < g && (float)((double)(bucket + 1) / g) <= f)
		bucket++;
	return bucket;
}

void moe_vit_embed(float *embed, const float *pixel, size_t rows, size_t columns, const struct moe_vit_settings *s, const struct moe_vit_weights *w,
		   struct moe_pool *pool)
{
	size_t hidden = (size_t)s->hidden, n = rows * columns, width = w->patch.weight.cols;
	uint32_t grid = (uint32_t)s->position_grid;

	moe_linear_forward(embed, hidden, pixel, width, n, &w->patch, pool);
	for (size_t i = 0; i < n; i++) {
		uint32_t row = moe_vit_bucket((uint32_t)(i / columns), (uint32_t)rows, grid), column = moe_vit_bucket((uint32_t)(i % columns), (uint32_t)columns, grid);
		moe_add(embed + i * hidden, w->position + ((size_t)row * grid + column) * hidden, hidden);
	}
}

static bool plan(struct pass *p, struct moe_arena *scratch)
{
	size_t hidden = (size_t)p->s->hidden, threads = moe_pool_threads(p->pool), share = moe_round_up((p->n + threads - 1) / threads, 12);

	p->blocks = (struct moe_cache_pool){.kv_heads = (size_t)p->s->heads, .dim = hidden / (size_t)p->s->heads};
	p->chunk = moe_min(moe_max(share, CHUNK_FEW), CHUNK_MANY);
	p->band = moe_min(p->n, p->chunk * BAND_CHUNKS * threads);
	p->normed = moe_arena_get(scratch, p->band * hidden, sizeof(float));
	p->a = moe_arena_get(scratch, p->band * hidden, sizeof(float));
	p->b = moe_arena_get(scratch, p->band * hidden, sizeof(float));
	p->inner = moe_arena_get(scratch, p->band * (size_t)p->s->width, sizeof(float));
	p->gate = p->s->gated ? moe_arena_get(scratch, p->band * (size_t)p->s->width, sizeof(float)) : NULL;
	p->zero = moe_arena_zero(scratch, p->band, sizeof(uint32_t));
	p->limit = moe_arena_get(scratch, p->band, sizeof(uint32_t));
	for (size_t i = 0; p->limit && i < p->band; i++)
		p->limit[i] = (uint32_t)p->n;
	return p->normed && p->a && p->b && p->inner && (p->gate || !p->s->gated) && p->zero && p->limit && moe_cache_plan(&p->cache, &p->blocks, p->n, scratch);
}

/* The rows of a chunk of the band, and where they are in each buffer. */
struct chunk {
	size_t first, rows;     /* first: in the picture */
	float *x, *normed, *a, *b, *inner, *gate;
};

static struct chunk cut(const struct pass *p, size_t i)
{
	size_t at = i * p->chunk, hidden = (size_t)p->s->hidden, inner = at * (size_t)p->s->width;

	return (struct chunk){.first = p->first + at, .rows = moe_min(p->chunk, p->rows - at), .x = p->x + (p->first + at) * hidden,
			      .normed = p->normed + at * hidden, .a = p->a + at * hidden, .b = p->b + at * hidden, .inner = p->inner + inner,
			      .gate = p->gate ? p->gate + inner : NULL};
}

/* Keys and values into their blocks. */
static void run_keys(void *arg, size_t i)
{
	const struct pass *p = arg;
	struct chunk c = cut(p, i);
	size_t hidden = (size_t)p->s->hidden;

	moe_norm_forward(c.normed, hidden, c.x, hidden, &p->w->norm1, c.rows, hidden, (float)p->s->eps);
	moe_linear_forward(c.a, hidden, c.normed, hidden, c.rows, &p->w->k, NULL);
	moe_linear_forward(c.b, hidden, c.normed, hidden, c.rows, &p->w->v, NULL);
	moe_cache_put(&p->cache, &p->blocks, c.first, c.rows, c.a, c.b);
}

static void run_queries(void *arg, size_t i)
{
	const struct pass *p = arg;
	struct chunk c = cut(p, i);
	size_t hidden = (size_t)p->s->hidden;

	moe_norm_forward(c.normed, hidden, c.x, hidden, &p->w->norm1, c.rows, hidden, (float)p->s->eps);
	moe_linear_forward(c.a, hidden, c.normed, hidden, c.rows, &p->w->q, NULL);
}

static void activate(float *x, size_t n, int act)
{
	switch (act) {
	case MOE_VIT_GELU: moe_gelu(x, x, n); break;
	case MOE_VIT_SILU: moe_silu(x, x, n); break;
	default: moe_gelu_tanh(x, x, n);
	}
}

/* The inner vectors of normed rows; they lie in c->gate where there is one. */
static float *run_inner(const struct pass *p, const struct chunk *c)
{
	size_t hidden = (size_t)p->s->hidden, width = (size_t)p->s->width;

	moe_linear_forward(c->inner, width, c->normed, hidden, c->rows, &p->w->fc1, NULL);
	if (!c->gate) {
		activate(c->inner, c->rows * width, p->s->act);
		return c->inner;
	}
	moe_linear_forward(c->gate, width, c->normed, hidden, c->rows, &p->w->gate, NULL);
	moe_silu_mul(c->gate, c->inner, c->rows * width);
	return c->gate;
}

/* x += o(b), x += fc2(inner(norm2(x))). */
static void run_rest(void *arg, size_t i)
{
	const struct pass *p = arg;
	struct chunk c = cut(p, i);
	size_t hidden = (size_t)p->s->hidden, width = (size_t)p->s->width;

	moe_linear_forward(c.a, hidden, c.b, hidden, c.rows, &p->w->o, NULL);
	moe_add(c.x, c.a, c.rows * hidden);
	moe_norm_forward(c.normed, hidden, c.x, hidden, &p->w->norm2, c.rows, hidden, (float)p->s->eps);
	moe_linear_forward(c.a, hidden, run_inner(p, &c), width, c.rows, &p->w->fc2, NULL);
	moe_add(c.x, c.a, c.rows * hidden);
}

/* b = attention of the band's queries a to all patches. */
static void attend_band(const struct pass *p)
{
	size_t heads = p->blocks.kv_heads, dim = p->blocks.dim;
	struct moe_attention a = {
		.q = p->a, .out = p->b, .rows = p->rows, .heads = heads, .kv_heads = heads, .dim = dim, .scale = 1.0f / sqrtf((float)dim), .first = p->zero,
		.limit = p->limit, .key = (const float *const *)p->cache.key, .value = (const float *const *)p->cache.value,
	};

	moe_attend_rows(&a, p->pool);
}

/* One step over the band; `weights` is the number of weights that a row meets. */
static void run_step(struct pass *p, void (*step)(void *arg, size_t chunk), size_t weights)
{
	moe_pool_run(p->pool, 2.0 * (double)p->rows * (double)weights, (p->rows + p->chunk - 1) / p->chunk, step, p);
}

static void run_layer(struct pass *p)
{
	size_t square = (size_t)(p->s->hidden * p->s->hidden), inner = (size_t)(p->s->hidden * p->s->width) * (p->s->gated ? 3 : 2);

	for (p->first = 0; p->first < p->n; p->first += p->band) {
		p->rows = moe_min(p->band, p->n - p->first);
		run_step(p, run_keys, 2 * square);
	}
	for (p->first = 0; p->first < p->n; p->first += p->band) {
		p->rows = moe_min(p->band, p->n - p->first);
		run_step(p, run_queries, square);
		attend_band(p);
		run_step(p, run_rest, square + inner);
	}
}

enum moe_err moe_vit_forward(float *x, size_t n, const struct moe_vit_settings *s, const struct moe_vit_weights *w, const struct moe_compute *work,
			     struct moe_diag *d)
{
	struct moe_arena_mark mark = moe_arena_mark(work->scratch);
	struct pass p = {.s = s, .x = x, .n = n, .pool = work->pool};

	if (!plan(&p, work->scratch))
		return moe_fail(d, MOE_ENOMEM, "out of memory for %zu patches", n);
	for (int64_t l = 0; l < s->layers; l++) {
		p.w = &w->layer[l];
		run_layer(&p);
	}
	moe_arena_release(work->scratch, mark);
	return MOE_OK;
}
