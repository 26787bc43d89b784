#include "nn/router.h"

#include <math.h>
#include <string.h>

/* The sum of numbers from 0 to 1 in whole steps of 2^-47, which has the same bits in whatever order the experts are. */
static float sum_exactly(const float *s, size_t n)
{
	int64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (int64_t)((double)s[i] * 0x1p47);
	return (float)((double)sum * 0x1p-47);
}

/* Scores of one row. z is already divided by the temperature. */
static void scores(const float *z, float *s, size_t n, int kind)
{
	if (kind == MOE_SCORE_SOFTMAX) {
		float sum;
		moe_exp_sum(s, z, n);
		sum = sum_exactly(s, n);
		for (size_t i = 0; i < n; i++)
			s[i] /= sum;
		return;
	}
	for (size_t i = 0; i < n; i++)
		s[i] = kind == MOE_SCORE_SIGMOID ? 1.0f / (1.0f + moe_exp(-z[i])) : z[i];
}

static bool better(const float *c, const bool *force, size_t a, size_t b)
{
	bool fa = force && force[a], fb = force && force[b];

	return fa != fb ? fa : c[a] != c[b] ? c[a] > c[b] : a < b;
}

static bool eligible(const float *c, const struct moe_what_if *w, size_t e) { return c[e] != -INFINITY && !(w->drop && w->drop[e]); }

/* Score of the group of `size` experts from `first` on; one with a forced expert is best. */
static float group_score(const float *c, size_t first, size_t size, int kind, const struct moe_what_if *w)
{
	float most = -INFINITY, next = -INFINITY;

	for (size_t e = first; e < first + size; e++) {
		if (!eligible(c, w, e))
			continue;
		if (w->force && w->force[e])
			return INFINITY;
		next = c[e] > most ? most : c[e] > next ? c[e] : next;
		most = c[e] > most ? c[e] : most;
	}
	return kind == MOE_GROUP_TOP2 && next > -INFINITY ? most + next : most;
}

/* Takes the experts of all but the best groups out of c (DeepSeek-V2, section 2.2.2; DeepSeek-V3, section 2.1.2). `score` has room for the groups. */
static void limit_groups(float *c, const struct moe_router_settings *s, const struct moe_what_if *w, float *score)
{
	size_t groups = (size_t)s->groups, size = (size_t)s->experts / groups;

	for (size_t g = 0; g < groups; g++)
		score[g] = group_score(c, g * size, size, s->group_score, w);
	for (size_t g = 0; g < groups; g++) {
		size_t before = 0;
		for (size_t h = 0; h < groups; h++)
			before += score[h] > score[g] || (score[h] == score[g] && h < g);
		for (size_t e = g * size; before >= (size_t)s->top_groups && e < (g + 1) * size; e++)
			c[e] = -INFINITY;
	}
}

/* The k best of n by insertion into a short sorted list. Returns how many are eligible. */
static size_t choose(const float *c, size_t n, size_t k, const struct moe_what_if *w, int32_t *id)
{
	size_t found = 0;

	for (size_t e = 0; e < n; e++) {
		size_t at = found;
		if (!eligible(c, w, e))
			continue;
		while (at && better(c, w->force, e, (size_t)id[at - 1]))
			at--;
		if (at == k)
			continue;
		found += found < k;
		memmove(id + at + 1, id + at, (found - at - 1) * sizeof *id);
		id[at] = (int32_t)e;
	}
	return found;
}

/* Sorts the chosen by falling weight; ties: the lower id first. */
static void sort_chosen(int32_t *id, float *weight, size_t n)
{
	for (size_t i = 1; i < n; i++)
		for (size_t j = i; j && (weight[j] > weight[j - 1] || (weight[j] == weight[j - 1] && id[j] < id[j - 1])); j--) {
			int32_t t = id[j];
			float v = weight[j];
			id[j] = id[j - 1];
			weight[j] = weight[j - 1];
			id[j - 1] = t;
			weight[j - 1] = v;
		}
}

/* Probabilities that are divided by their sum are a softmax of the chosen logits, which no other expert has a part in, not even by rounding. */
static bool of_chosen(const struct moe_router_settings *s)
{
	return s->weight == MOE_WEIGHT_SOFTMAX_OF_CHOSEN || (s->score == MOE_SCORE_SOFTMAX && s->renormalise && s->eps == 0);
}

static void weigh(const float *z, const float *s, const struct moe_router_settings *set, const int32_t *id, float *weight, size_t n)
{
	bool chosen = of_chosen(set);
	float sum = 0;

	for (size_t i = 0; i < n; i++)
		weight[i] = chosen ? z[id[i]] : s[id[i]];
	if (chosen)
		sum = moe_exp_sum(weight, weight, n);
	else if (set->renormalise)
		for (size_t i = 0; i < n; i++)
			sum += weight[i];
	if (set->renormalise)
		sum += (float)set->eps;
	for (size_t i = 0; i < n; i++) {
		if (sum != 0)
			weight[i] /= sum;
		if (set->scale != 1)
			weight[i] *= (float)set->scale;
	}
}

/* Removes the muted ones of the n chosen. Returns how many are left, with the weight of all together. */
static size_t leave_out(int32_t *id, float *weight, size_t n, const bool *mute)
{
	float all = 0, rest = 0;
	size_t left = 0;

	for (size_t i = 0; i < n; i++) {
		all += weight[i];
		if (mute[id[i]])
			continue;
		rest += weight[i];
		id[left] = id[i];
		weight[left++] = weight[i];
	}
	for (size_t i = 0; left < n && rest != 0 && i < left; i++)
		weight[i] = weight[i] / rest * all;
	return left;
}

/* The logits of one row that are chosen by: with the bias, over the temperature. */
static enum moe_err prepare(float *z, const float *logit, size_t n, const struct moe_what_if *w, size_t row, struct moe_diag *d)
{
	for (size_t e = 0; e < n; e++) {
		z[e] = w->bias ? logit[e] + w->bias[e] : logit[e];
		z[e] = w->temperature > 0 ? z[e] / w->temperature : z[e];
		if (isnan(z[e]) || z[e] == INFINITY)
			return moe_fail_row(d, MOE_EINPUT, row, "router logit of expert %zu is %s", e, isnan(z[e]) ? "NaN" : "+inf");
	}
	return MOE_OK;
}

/* What is compared. Every score is monotone in z, which keeps more digits: without a bias and groups, z decides. */
static void compared(float *c, const float *z, const float *score, const struct moe_router_settings *s, const float *choice_bias)
{
	bool by_score = choice_bias || s->groups > 1;

	for (size_t e = 0; e < (size_t)s->experts; e++)
		c[e] = z[e] == -INFINITY || !by_score ? z[e] : choice_bias ? score[e] + choice_bias[e] : score[e];
}

enum moe_err moe_router_choose(const float *logit, size_t rows, const struct moe_router_settings *s, const float *choice_bias, const struct moe_what_if *w,
			       const uint8_t *modality, struct moe_arena *scratch, int32_t *expert_id, float *weight, float *choice, struct moe_diag *d)
{
	static const struct moe_what_if none;
	size_t n = (size_t)s->experts, width = (size_t)s->top_k;
	float *z = moe_arena_get(scratch, n, sizeof *z), *score = moe_arena_get(scratch, n, sizeof *score), *c = moe_arena_get(scratch, n, sizeof *c);
	float *group = moe_arena_get(scratch, (size_t)s->groups, sizeof *group);

	if (!z || !score || !c || !group)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t r = 0; r < rows; r++) {
		const struct moe_what_if *own = !w ? &none : &w[modality ? moe_modality_of(modality[r]) : MOE_TEXT];
		int32_t *id = expert_id + r * width;
		float *g = weight + r * width;
		size_t found;
		MOE_TRY(prepare(z, logit + r * n, n, own, r, d));
		scores(z, score, n, s->score);
		compared(c, z, score, s, choice_bias);
		if (s->groups > 1)
			limit_groups(c, s, own, group);
		if (choice)
			memcpy(choice + r * n, c, n * sizeof *c);
		found = choose(c, n, own->top_k ? (size_t)own->top_k : width, own, id);
		if (!found)
			return moe_fail_row(d, MOE_EINPUT, r, "no expert is left to choose");
		weigh(z, score, s, id, g, found);
		if (own->mute)
			found = leave_out(id, g, found, own->mute);
		for (size_t i = 0; own->swap && i < found; i++)
			id[i] = own->swap[id[i]];
		sort_chosen(id, g, found);
		for (size_t i = found; i < width; i++) {
			id[i] = -1;
			g[i] = 0;
		}
	}
	return MOE_OK;
}

enum moe_err moe_router_check(const int32_t *expert_id, const float *weight, size_t rows, size_t k, size_t experts, struct moe_diag *d)
{
	for (size_t r = 0; r < rows; r++) {
		const int32_t *id = expert_id + r * k;
		for (size_t i = 0; i < k; i++) {
			if (id[i] < -1 || id[i] >= (int64_t)experts)
				return moe_fail_row(d, MOE_EINPUT, r, "expert_id is %d, expected 0 to %zu or -1", id[i], experts - 1);
			if (id[i] >= 0 && i && id[i - 1] < 0)
				return moe_fail_row(d, MOE_EINPUT, r, "expert_id has an expert behind -1");
			if (!isfinite(weight[r * k + i]) || (id[i] < 0 && weight[r * k + i] != 0))
				return moe_fail_row(d, MOE_EINPUT, r, "the weight of place %zu is %g", i, (double)weight[r * k + i]);
			for (size_t j = 0; j < i; j++)
				if (id[i] >= 0 && id[j] == id[i])
					return moe_fail_row(d, MOE_EINPUT, r, "expert_id has expert %d twice", id[i]);
		}
	}
	return MOE_OK;
}

enum moe_err moe_router_check_logits(const float *logit, const int32_t *expert_id, size_t rows, size_t k, size_t experts, struct moe_diag *d)
{
	for (size_t r = 0; r < rows; r++) {
		for (size_t e = 0; e < experts; e++)
			if (isnan(logit[r * experts + e]) || logit[r * experts + e] == INFINITY)
				return moe_fail_row(d, MOE_EINPUT, r, "router logit of expert %zu is %s", e, isnan(logit[r * experts + e]) ? "NaN" : "+inf");
		for (size_t i = 0; i < k; i++) {
			int32_t id = expert_id[r * k + i];
			if (id >= 0 && logit[r * experts + (size_t)id] == -INFINITY)
				return moe_fail_row(d, MOE_EINPUT, r, "expert %d was chosen, but its router logit of -inf says that it is not in the token's pool", id);
		}
	}
	return MOE_OK;
}
