#include "nn/sample.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "kernel/kernel.h"

/* Copies the allowed logits, -inf for the others. Returns the largest one's index; n when nothing is allowed. */
static enum moe_err allow(float *to, const float *logit, size_t n, const bool *suppress, size_t *best, struct moe_diag *d)
{
	*best = n;
	for (size_t i = 0; i < n; i++) {
		to[i] = suppress && suppress[i] ? -INFINITY : logit[i];
		if (isnan(to[i]) || to[i] == INFINITY)  /* neither has a share of anything */
			return moe_fail(d, MOE_EINPUT, "the logit of token %zu is %s", i, isnan(to[i]) ? "NaN" : "infinite");
		if (to[i] > -INFINITY && (*best == n || to[i] > to[*best]))
			*best = i;
	}
	return *best < n ? MOE_OK : moe_fail(d, MOE_EINPUT, "no token is left to choose");
}

enum moe_err moe_choose_greedy(const float *logit, size_t n, const bool *suppress, float *scratch, struct moe_choice *out, struct moe_diag *d)
{
	size_t best;
	float sum;

	MOE_TRY(allow(scratch, logit, n, suppress, &best, d));
	sum = moe_exp_sum(scratch, scratch, n);         /* relative to the largest, which is the chosen one */
	*out = (struct moe_choice){(int32_t)best, (float)-moe_log((double)sum)};
	return MOE_OK;
}

double moe_logprob(const float *logit, size_t n, size_t token, float *scratch)
{
	float top = logit[0];

	for (size_t i = 1; i < n; i++)
		top = logit[i] > top ? logit[i] : top;
	return (double)logit[token] - (double)top - moe_log((double)moe_exp_sum(scratch, logit, n));
}

size_t moe_choose_best(const float *logit, size_t n, const bool *suppress, size_t k, float *scratch, struct moe_choice *out)
{
	size_t found = 0;
	double sum, top;

	for (size_t i = 0; i < n; i++) {
		size_t at = found;
		scratch[i] = suppress && suppress[i] ? -INFINITY : logit[i];
		while (at && scratch[i] > logit[out[at - 1].token])
			at--;
		if (at == k || scratch[i] == -INFINITY)
			continue;
		found += found < k;
		memmove(out + at + 1, out + at, (found - at - 1) * sizeof *out);
		out[at].token = (int32_t)i;
	}
	if (!found)
		return 0;
	top = (double)logit[out[0].token];
	sum = moe_log((double)moe_exp_sum(scratch, scratch, n));
	for (size_t i = 0; i < found; i++)
		out[i].logprob = (float)((double)logit[out[i].token] - top - sum);
	return found;
}

static void penalise(float *z, size_t n, const bool *seen, float penalty)
{
	for (size_t i = 0; i < n; i++)
		if (seen[i])
			z[i] = z[i] < 0 ? z[i] * penalty : z[i] / penalty;
}

/* The k-th largest of n values, which are reordered (Hoare 1961). */
static float kth_largest(float *v, size_t n, size_t k)
{
	size_t lo = 0, hi = n - 1;

	while (lo < hi) {
		float pivot = v[lo + (hi - lo) / 2];
		size_t i = lo, j = hi;
		for (;;) {
			while (v[i] > pivot)
				i++;
			while (v[j] < pivot)
				j--;
			if (i >= j)
				break;
			float t = v[i];
			v[i++] = v[j];
			v[j--] = t;
		}
		if (k - 1 <= j)
			hi = j;
		else
			lo = j + 1;
	}
	return v[k - 1];
}

static void keep_top_k(float *z, size_t n, size_t k, float *scratch)
{
	float least;

	if (k >= n)
		return;
	memcpy(scratch, z, n * sizeof *z);
	least = kth_largest(scratch, n, k);
	for (size_t i = 0; i < n; i++)
		if (z[i] < least)
			z[i] = -INFINITY;
}

/* A heap of tokens, the most likely on top; of equals the lower id. */
static bool above(const float *p, uint32_t a, uint32_t b) { return p[a] > p[b] || (p[a] == p[b] && a < b); }

static void sink(uint32_t *heap, size_t n, size_t at, const float *p)
{
	for (size_t child; (child = 2 * at + 1) < n; at = child) {
		uint32_t t = heap[at];
		child += child + 1 < n && above(p, heap[child + 1], heap[child]);
		if (!above(p, heap[child], t))
			return;
		heap[at] = heap[child];
		heap[child] = t;
	}
}

/* Keeps the most likely tokens whose probabilities reach p together, at least one: takes them from a heap, so only those are sorted. `prob` holds
 * probabilities times `sum`. */
static void keep_top_p(float *z, size_t n, double p, const float *prob, double sum, uint32_t *heap, float *kept)
{
	double reached = 0;
	size_t left = n;

	for (size_t i = 0; i < n; i++) {
		heap[i] = (uint32_t)i;
		kept[i] = -INFINITY;
	}
	for (size_t i = n / 2; i-- > 0;)
		sink(heap, n, i, prob);
	while (left && prob[heap[0]] > 0 && reached < p * sum) {
		uint32_t best = heap[0];
		kept[best] = z[best];
		reached += (double)prob[best];
		heap[0] = heap[--left];
		sink(heap, left, 0, prob);
	}
	memcpy(z, kept, n * sizeof *z);
}

static void keep_min_p(float *z, size_t n, double p, const float *prob)
{
	float most = 0;

	for (size_t i = 0; i < n; i++)
		most = prob[i] > most ? prob[i] : most;
	for (size_t i = 0; i < n; i++)
		if ((double)prob[i] < p * (double)most)
			z[i] = -INFINITY;
}

/* The token in whose share of [0, 1) the number u falls. */
static size_t draw(const float *prob, size_t n, double sum, double u)
{
	double target = u * sum, reached = 0;
	size_t last = n;

	for (size_t i = 0; i < n; i++) {
		if (!(prob[i] > 0))
			continue;
		last = i;
		reached += (double)prob[i];
		if (target < reached)
			return i;
	}
	return last;            /* rounding */
}

/* Relative to the largest, which no temperature, however low, can make infinite then. */
static void divide(float *z, size_t n, double top, double temperature)
{
	for (size_t i = 0; i < n; i++)
		z[i] = (float)(((double)z[i] - top) / temperature);
}

/* Filters z, the largest of which is `top`, in place, and draws. prob and other have room for n floats, heap for n numbers. */
static size_t filter_and_draw(float *z, size_t n, double top, const struct moe_sampling *s, double u, float *prob, float *other, uint32_t *heap)
{
	if (s->temperature != 1)
		divide(z, n, top, s->temperature);
	if (s->top_k)
		keep_top_k(z, n, (size_t)s->top_k, prob);
	if (s->top_p > 0 && s->top_p < 1) {
		double sum = (double)moe_exp_sum(prob, z, n);
		keep_top_p(z, n, s->top_p, prob, sum, heap, other);
	}
	if (s->min_p > 0) {
		moe_exp_sum(prob, z, n);
		keep_min_p(z, n, s->min_p, prob);
	}
	return draw(prob, n, (double)moe_exp_sum(prob, z, n), u);
}

enum moe_err moe_choose(const float *logit, size_t n, const bool *suppress, const bool *seen, const struct moe_sampling *s, uint64_t sequence, uint64_t step,
			struct moe_arena *scratch, struct moe_choice *out, struct moe_diag *d)
{
	bool penalised = seen && s->repetition_penalty > 0 && s->repetition_penalty != 1;
	struct moe_arena_mark mark = moe_arena_mark(scratch);
	float *z = moe_arena_get(scratch, n, sizeof *z), *prob = moe_arena_get(scratch, n, sizeof *prob), *other = moe_arena_get(scratch, n, sizeof *other);
	uint32_t *heap = moe_arena_get(scratch, n, sizeof *heap);
	size_t best, token;
	double top, sum;

	if (!z || !prob || !other || !heap)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	MOE_TRY(allow(z, logit, n, suppress, &best, d));
	top = (double)z[best];
	sum = moe_log((double)moe_exp_sum(prob, z, n));
	if (penalised) {
		penalise(z, n, seen, (float)s->repetition_penalty);
		MOE_TRY(allow(z, z, n, NULL, &best, d));
	}
	token = s->temperature > 0 ? filter_and_draw(z, n, (double)z[best], s, moe_random_unit(s->seed, sequence, step), prob, other, heap) : best;
	*out = (struct moe_choice){(int32_t)token, (float)((double)logit[token] - top - sum)};
	moe_arena_release(scratch, mark);
	return MOE_OK;
}
