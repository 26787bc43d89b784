#include "nn/experts.h"

#include <string.h>

#include "base/check.h"
#include "kernel/rows.h"

enum { TILE = 64 };     /* pairs per unit of work: enough for the kernels to reuse the weights, few enough to share them out */

/* The pairs of an expert are n places of the sorted list from `first`. */
struct run {
	uint32_t expert, first, n;
};

/* Rows x [places] → [hidden], and the runs of them that meet the same expert. */
struct sorted {
	const float **x;
	size_t places, n_runs;
	const struct run *run;
};

struct job {
	const struct run *tile;
	const struct moe_expert_weights *expert;
	const float *const *x;
	float *in, *gate, *up, *out;    /* [places][hidden or width] */
	size_t hidden, width;
};

static void run_tile(void *arg, size_t i)
{
	const struct job *j = arg;
	const struct run *t = &j->tile[i];
	const struct moe_expert_weights *e = &j->expert[t->expert];
	float *in = j->in + t->first * j->hidden, *gate = j->gate + t->first * j->width, *up = j->up + t->first * j->width;

	for (size_t p = 0; p < t->n; p++)
		memcpy(in + p * j->hidden, j->x[t->first + p], j->hidden * sizeof *in);
	moe_matmul(gate, j->width, in, j->hidden, t->n, &e->gate, NULL);
	moe_matmul(up, j->width, in, j->hidden, t->n, &e->up, NULL);
	moe_silu_mul(gate, up, t->n * j->width);
	moe_matmul(j->out + t->first * j->hidden, j->hidden, gate, j->width, t->n, &e->down, NULL);
}

static size_t cut_tiles(struct run *tile, const struct sorted *s)
{
	size_t n = 0;

	for (const struct run *r = s->run; r < s->run + s->n_runs; r++)
		for (uint32_t at = 0; at < r->n; at += TILE)
			tile[n++] = (struct run){r->expert, r->first + at, (uint32_t)moe_min(TILE, r->n - at)};
	return n;
}

/* Each run of rows through its expert, a tile at a time: to out [places][hidden]. */
static enum moe_err run_tiles(float *out, const struct sorted *s, const struct moe_expert_weights *expert, const struct moe_compute *work, struct moe_diag *d)
{
	struct moe_arena *a = work->scratch;
	struct moe_arena_mark mark = moe_arena_mark(a);
	size_t hidden = expert->gate.cols, width = expert->gate.rows, places = s->places;
	struct run *tile = moe_arena_get(a, places / TILE + s->n_runs, sizeof *tile);
	struct job job = {
		.tile = tile, .expert = expert, .x = s->x, .out = out, .hidden = hidden, .width = width, .in = moe_arena_get(a, places * hidden, sizeof(float)),
		.gate = moe_arena_get(a, places * width, sizeof(float)), .up = moe_arena_get(a, places * width, sizeof(float)),
	};

	if (!tile || !job.in || !job.gate || !job.up)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the experts of %zu rows", places);
	moe_pool_run(work->pool, 6.0 * (double)places * (double)hidden * (double)width, cut_tiles(tile, s), run_tile, &job);
	moe_arena_release(a, mark);
	return MOE_OK;
}

/* The products of all runs can be made together: packed, of one type. */
static bool is_packed(const struct sorted *s, const struct moe_expert_weights *expert)
{
	const struct moe_expert_weights *one = &expert[s->run->expert];

	for (size_t i = 0; i < s->n_runs; i++) {
		const struct moe_expert_weights *e = &expert[s->run[i].expert];
		if (!e->gate.packed || !e->up.packed || !e->down.packed || e->gate.type != one->gate.type || e->up.type != one->gate.type ||
		    e->down.type != one->down.type)
			return false;
	}
	return true;
}

/* One matrix of all runs (gate together with up): y [places][its rows] of x, whose rows are quantised first. */
static enum moe_err run_packed_product(float *y, const struct sorted *s, struct moe_group *group, const struct moe_compute *work, struct moe_diag *d)
{
	struct moe_arena_mark mark = moe_arena_mark(work->scratch);
	void *memory = moe_arena_get(work->scratch, moe_rows_nbytes(group, s->n_runs), 1);
	struct moe_rows rows;

	if (!memory)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the experts of %zu rows", s->places);
	moe_rows_quantise(&rows, memory, s->x, group, s->n_runs, work->pool);
	moe_matmul_groups(y, group->w->rows, &rows, group, s->n_runs, work->pool);
	moe_arena_release(work->scratch, mark);
	return MOE_OK;
}

/* Like run_tiles, with packed weights: one product after the other, each of all runs. The pointers of s->x change. */
static enum moe_err run_packed(float *out, const struct sorted *s, const struct moe_expert_weights *expert, const struct moe_compute *work, struct moe_diag *d)
{
	struct moe_arena *a = work->scratch;
	struct moe_arena_mark mark = moe_arena_mark(a);
	size_t width = expert[s->run->expert].gate.rows;
	struct moe_group *group = moe_arena_get(a, s->n_runs, sizeof *group);
	float *gate = moe_arena_get(a, s->places * width, sizeof *gate);

	if (!group || !gate)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the experts of %zu rows", s->places);
	for (size_t i = 0; i < s->n_runs; i++)
		group[i] = (struct moe_group){s->run[i].first, s->run[i].n, &expert[s->run[i].expert].gate, &expert[s->run[i].expert].up, 0};
	MOE_TRY(run_packed_product(gate, s, group, work, d));
	for (size_t i = 0; i < s->n_runs; i++)
		group[i] = (struct moe_group){s->run[i].first, s->run[i].n, &expert[s->run[i].expert].down, NULL, 0};
	for (size_t i = 0; i < s->places; i++)
		s->x[i] = gate + i * width;
	MOE_TRY(run_packed_product(out, s, group, work, d));
	moe_arena_release(a, mark);
	return MOE_OK;
}

/* Each run through its expert: to out [places][hidden]. */
static enum moe_err run_sorted(float *out, const struct sorted *s, const struct moe_expert_weights *expert, const struct moe_compute *work, struct moe_diag *d)
{
	return is_packed(s, expert) ? run_packed(out, s, expert, work, d) : run_tiles(out, s, expert, work, d);
}

/* Counting sort of the pairs by expert; the number of runs. place[pair] is where a pair lies. */
static size_t sort_pairs(const int32_t *expert_id, size_t n, size_t n_experts, struct run *run, uint32_t *next, uint32_t *place)
{
	size_t n_runs = 0, at = 0;

	memset(next, 0, n_experts * sizeof *next);
	for (size_t i = 0; i < n; i++)
		if (expert_id[i] >= 0)
			next[expert_id[i]]++;
	for (uint32_t e = 0; e < n_experts; e++)
		if (next[e]) {
			run[n_runs++] = (struct run){e, (uint32_t)at, next[e]};
			next[e] = (uint32_t)at;
			at += run[n_runs - 1].n;
		}
	for (size_t i = 0; i < n; i++)
		if (expert_id[i] >= 0)
			place[i] = next[expert_id[i]]++;
	return n_runs;
}

/* What every token passes, for all rows in order: to shared [rows][hidden]. */
static enum moe_err run_shared(const struct moe_batch *b, float *const *normed, const struct moe_ffn_weights *w, float *shared, const struct moe_compute *work,
			       struct moe_diag *d)
{
	size_t n = b->rows, hidden = b->hidden;
	const float **x = moe_arena_get(work->scratch, n, sizeof *x);

	if (!x)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the shared experts of %zu rows", n);
	memcpy(x, normed, n * sizeof *x);
	MOE_TRY(run_sorted(shared, &(struct sorted){x, n, 1, &(struct run){0, 0, (uint32_t)n}}, &w->shared, work, d));
	for (size_t r = 0; w->shared_gate.data && r < n; r++) {
		float share, s;
		moe_matmul(&share, 1, normed[r], hidden, 1, &w->shared_gate, NULL);
		s = 1.0f / (1.0f + moe_exp(-share));
		for (size_t i = 0; i < hidden; i++)
			shared[r * hidden + i] *= s;
	}
	return MOE_OK;
}

/* The summands of row r of a span, whose shared part is given (or NULL). */
static void keep_parts(const struct moe_span *s, size_t r, size_t hidden, const int32_t *expert_id, const float *weight, size_t k, const float *const *result,
		       const float *shared)
{
	struct moe_span_parts *p = s->parts;
	size_t to = r + p->rows - s->n, from = (s->first + r) * k;

	memcpy(p->residual + to * hidden, s->x + r * hidden, hidden * sizeof *p->residual);
	for (size_t i = 0; i < k; i++) {
		float *part = p->part + (to * k + i) * hidden;
		p->expert_id[to * k + i] = expert_id[from + i];
		p->weight[to * k + i] = weight[from + i];
		if (result[from + i])
			memcpy(part, result[from + i], hidden * sizeof *part);
		else
			memset(part, 0, hidden * sizeof *part);
	}
	if (shared)
		memcpy(p->shared + to * hidden, shared, hidden * sizeof *shared);
}

/* Adds the weighted results of the rows of a span to its x: slot by slot, then the shared ones (or NULL); normed where the norm stands behind. `sum` has room
 * for a row. */
static void add_span(const struct moe_span *s, const struct moe_ffn_weights *w, size_t hidden, const int32_t *expert_id, const float *weight, size_t k,
		     const float *const *result, const float *shared, float *sum)
{
	for (size_t r = 0; r < s->n; r++) {
		if (s->parts && r + s->parts->rows >= s->n)
			keep_parts(s, r, hidden, expert_id, weight, k, result, shared ? shared + (s->first + r) * hidden : NULL);
		memset(sum, 0, hidden * sizeof *sum);
		for (size_t i = (s->first + r) * k; i < (s->first + r + 1) * k; i++)
			if (result[i])
				moe_axpy(sum, weight[i], result[i], hidden);
		if (shared)
			moe_add(sum, shared + (s->first + r) * hidden, hidden);
		if (w->post)
			moe_norm_forward(sum, hidden, sum, hidden, &w->norm, 1, hidden, w->eps);
		moe_add(s->x + r * hidden, sum, hidden);
	}
}

enum moe_err moe_experts_each(const float **result, const struct moe_batch *b, float *const *normed, const int32_t *expert_id, size_t k,
			      const struct moe_expert_weights *expert, size_t n_experts, const struct moe_compute *work, struct moe_diag *d)
{
	struct moe_arena *a = work->scratch;
	size_t n = b->rows * k;
	struct run *run = moe_arena_get(a, n_experts, sizeof *run);
	uint32_t *next = moe_arena_get(a, n_experts, sizeof *next), *place = moe_arena_get(a, n, sizeof *place);
	struct sorted s = {.run = run};
	float *out;

	if (!run || !next || !place)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the experts of %zu rows", b->rows);
	s.n_runs = sort_pairs(expert_id, n, n_experts, run, next, place);
	s.places = s.n_runs ? run[s.n_runs - 1].first + run[s.n_runs - 1].n : 0;
	s.x = moe_arena_get(a, s.places, sizeof *s.x);
	out = moe_arena_get(a, s.places * b->hidden, sizeof *out);
	if (!s.x || !out)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the experts of %zu rows", b->rows);
	for (size_t i = 0; i < n; i++) {
		result[i] = expert_id[i] >= 0 ? out + place[i] * b->hidden : NULL;
		if (result[i])
			s.x[place[i]] = normed[i / k];
	}
	return s.n_runs ? run_sorted(out, &s, expert, work, d) : MOE_OK;
}

enum moe_err moe_experts_add(const struct moe_batch *b, float *const *normed, const int32_t *expert_id, const float *weight, size_t k,
			     const float *const *result, const struct moe_ffn_weights *w, const struct moe_compute *work, struct moe_diag *d)
{
	struct moe_arena *a = work->scratch;
	struct moe_arena_mark mark = moe_arena_mark(a);
	size_t hidden = b->hidden;
	float *sum = moe_arena_get(a, hidden, sizeof *sum), *shared = w->shared.gate.data ? moe_arena_get(a, b->rows * hidden, sizeof *shared) : NULL;

	if (!sum || (w->shared.gate.data && !shared))
		return moe_fail(d, MOE_ENOMEM, "out of memory for the experts of %zu rows", b->rows);
	if (shared)
		MOE_TRY(run_shared(b, normed, w, shared, work, d));
	for (size_t i = 0; i < b->spans; i++)
		add_span(&b->span[i], w, hidden, expert_id, weight, k, result, shared, sum);
	moe_arena_release(a, mark);
	return MOE_OK;
}

enum moe_err moe_experts_forward(const struct moe_batch *b, float *const *normed, const int32_t *expert_id, const float *weight, size_t k,
				 const struct moe_ffn_weights *w, size_t n_experts, const struct moe_compute *work, struct moe_diag *d)
{
	struct moe_arena_mark mark = moe_arena_mark(work->scratch);
	const float **result = moe_arena_get(work->scratch, b->rows * k, sizeof *result);

	if (!result)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the experts of %zu rows", b->rows);
	if (k)
		MOE_TRY(moe_experts_each(result, b, normed, expert_id, k, w->expert, n_experts, work, d));
	MOE_TRY(moe_experts_add(b, normed, expert_id, weight, k, result, w, work, d));
	moe_arena_release(work->scratch, mark);
	return MOE_OK;
}
