#include "nn/experts.h"

#include <string.h>

#include "base/check.h"

enum { TILE = 64 };     /* pairs per unit of work: enough for the kernels to reuse the weights, few enough to share them out */

/* Pairs [first, first + n) of the sorted list belong to one expert. */
struct tile {
	uint32_t expert, first, n;
};

struct job {
	const struct tile *tile;
	const struct moe_expert_weights *expert;
	float *const *normed;
	const uint32_t *pair;           /* sorted list: row · k + slot */
	float *in, *gate, *up;          /* [pairs][hidden or width], sorted; `in` takes the results, too */
	size_t hidden, width, k;
};

static void run_tile(void *arg, size_t i)
{
	const struct job *j = arg;
	const struct tile *t = &j->tile[i];
	const struct moe_expert_weights *e = &j->expert[t->expert];
	float *in = j->in + t->first * j->hidden, *gate = j->gate + t->first * j->width, *up = j->up + t->first * j->width;

	for (size_t p = 0; p < t->n; p++)
		memcpy(in + p * j->hidden, j->normed[j->pair[t->first + p] / j->k], j->hidden * sizeof *in);
	moe_matmul(gate, j->width, in, j->hidden, t->n, &e->gate, NULL);
	moe_matmul(up, j->width, in, j->hidden, t->n, &e->up, NULL);
	moe_silu_mul(gate, up, t->n * j->width);
	moe_matmul(in, j->hidden, gate, j->width, t->n, &e->down, NULL);
}

/* Counting sort of the pairs by expert; `start` has n_experts + 1 places. place[pair[i]] = i. */
static void sort_pairs(const int32_t *expert_id, size_t n, size_t n_experts, uint32_t *start, uint32_t *pair, uint32_t *place)
{
	memset(start, 0, (n_experts + 1) * sizeof *start);
	for (size_t i = 0; i < n; i++)
		if (expert_id[i] >= 0)
			start[expert_id[i] + 1]++;
	for (size_t e = 0; e < n_experts; e++)
		start[e + 1] += start[e];
	for (size_t i = 0; i < n; i++)
		if (expert_id[i] >= 0) {
			place[i] = start[expert_id[i]]++;
			pair[place[i]] = (uint32_t)i;
		}
	memmove(start + 1, start, n_experts * sizeof *start);   /* each start had moved to its end */
	start[0] = 0;
}

static size_t cut_tiles(const uint32_t *start, size_t n_experts, struct tile *tile)
{
	size_t n = 0;

	for (uint32_t e = 0; e < n_experts; e++)
		for (uint32_t at = start[e]; at < start[e + 1]; at += TILE)
			tile[n++] = (struct tile){e, at, (uint32_t)moe_min(TILE, start[e + 1] - at)};
	return n;
}

/* What every token passes, for all rows in order: to shared [rows][hidden]. */
static enum moe_err run_shared(const struct moe_batch *b, float *const *normed, const struct moe_ffn_weights *w, float *shared, const struct moe_compute *work,
			       struct moe_diag *d)
{
	size_t n = b->rows, hidden = b->hidden, width = w->shared.gate.rows;
	float *in = moe_arena_get(work->scratch, n * hidden, sizeof *in), *gate = moe_arena_get(work->scratch, n * width, sizeof *gate);
	float *up = moe_arena_get(work->scratch, n * width, sizeof *up), *share = moe_arena_get(work->scratch, n, sizeof *share);

	if (!in || !gate || !up || !share)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the shared experts of %zu rows", n);
	for (size_t r = 0; r < n; r++)
		memcpy(in + r * hidden, normed[r], hidden * sizeof *in);
	moe_matmul(gate, width, in, hidden, n, &w->shared.gate, work->pool);
	moe_matmul(up, width, in, hidden, n, &w->shared.up, work->pool);
	moe_silu_mul(gate, up, n * width);
	moe_matmul(shared, hidden, gate, width, n, &w->shared.down, work->pool);
	if (!w->shared_gate.data)
		return MOE_OK;
	moe_matmul(share, 1, in, hidden, n, &w->shared_gate, work->pool);
	for (size_t r = 0; r < n; r++) {
		float s = 1.0f / (1.0f + moe_exp(-share[r]));
		for (size_t i = 0; i < hidden; i++)
			shared[r * hidden + i] *= s;
	}
	return MOE_OK;
}

/* Adds the weighted results of the rows of a span to its x: slot by slot, then the shared ones (or NULL). `sum` has room for a row. */
static void add_span(const struct moe_span *s, size_t hidden, const int32_t *expert_id, const float *weight, size_t k, const float *out,
		     const uint32_t *place, const float *shared, float *sum)
{
	for (size_t r = 0; r < s->n; r++) {
		memset(sum, 0, hidden * sizeof *sum);
		for (size_t i = (s->first + r) * k; i < (s->first + r + 1) * k; i++)
			if (expert_id[i] >= 0)
				moe_axpy(sum, weight[i], out + place[i] * hidden, hidden);
		if (shared)
			moe_add(sum, shared + (s->first + r) * hidden, hidden);
		moe_add(s->x + r * hidden, sum, hidden);
	}
}

/* The routed experts: results [pairs][hidden] and where each pair's lies. */
static enum moe_err run_experts(const struct moe_batch *b, float *const *normed, const int32_t *expert_id, size_t k, const struct moe_expert_weights *expert,
				size_t n_experts, const float **out, uint32_t **where, const struct moe_compute *work, struct moe_diag *d)
{
	struct moe_arena *a = work->scratch;
	size_t hidden = b->hidden, n = b->rows * k, n_tiles, width = expert->gate.rows;
	uint32_t *start = moe_arena_get(a, n_experts + 1, sizeof *start), *pair = moe_arena_get(a, n, sizeof *pair);
	uint32_t *place = moe_arena_get(a, n, sizeof *place);
	struct tile *tile = moe_arena_get(a, n / TILE + n_experts + 1, sizeof *tile);
	struct job job = {
		.tile = tile, .expert = expert, .normed = normed, .pair = pair, .hidden = hidden, .width = width, .k = k,
		.in = moe_arena_get(a, n * hidden, sizeof(float)), .gate = moe_arena_get(a, n * width, sizeof(float)),
		.up = moe_arena_get(a, n * width, sizeof(float)),
	};

	if (!start || !pair || !place || !tile || !job.in || !job.gate || !job.up)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the experts of %zu rows", b->rows);
	sort_pairs(expert_id, n, n_experts, start, pair, place);
	n_tiles = cut_tiles(start, n_experts, tile);
	moe_pool_run(work->pool, 6.0 * (double)start[n_experts] * (double)hidden * (double)width, n_tiles, run_tile, &job);
	*out = job.in;
	*where = place;
	return MOE_OK;
}

enum moe_err moe_experts_forward(const struct moe_batch *b, float *const *normed, const int32_t *expert_id, const float *weight, size_t k,
				 const struct moe_ffn_weights *w, size_t n_experts, const struct moe_compute *work, struct moe_diag *d)
{
	struct moe_arena *a = work->scratch;
	struct moe_arena_mark mark = moe_arena_mark(a);
	size_t hidden = b->hidden;
	float *sum = moe_arena_get(a, hidden, sizeof *sum), *shared = w->shared.gate.data ? moe_arena_get(a, b->rows * hidden, sizeof *shared) : NULL;
	const float *out = NULL;
	uint32_t *place = NULL;

	if (!sum || (w->shared.gate.data && !shared))
		return moe_fail(d, MOE_ENOMEM, "out of memory for the experts of %zu rows", b->rows);
	if (k)
		MOE_TRY(run_experts(b, normed, expert_id, k, w->expert, n_experts, &out, &place, work, d));
	if (shared)
		MOE_TRY(run_shared(b, normed, w, shared, work, d));
	for (size_t i = 0; i < b->spans; i++)
		add_span(&b->span[i], hidden, expert_id, weight, k, out, place, shared, sum);
	moe_arena_release(a, mark);
	return MOE_OK;
}
