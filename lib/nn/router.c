#include "nn/router.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "nn/pick.h"

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

size_t moe_router_width(const struct moe_router_settings *s)
{
	int64_t most = s->pools.n ? 0 : s->experts;

	for (size_t m = 0; m < s->pools.n; m++)
		most = moe_max(most, s->pools.size[m]);
	return (size_t)(s->chooses == MOE_CHOICE_EXPERT ? most : s->top_k);
}

double moe_router_capacity(const struct moe_router_settings *s) { return s->capacity > 0 ? s->capacity : (double)s->top_k; }

size_t moe_router_quota(size_t rows, double capacity, size_t experts)
{
	double n = floor((double)rows * capacity / (double)experts + 0.5);

	return n < 1 ? rows > 0 : n < (double)rows ? (size_t)n : rows;
}

enum moe_err moe_router_mask(float *logit, size_t rows, const struct moe_router_settings *s, const uint8_t *modality, const uint8_t *taken,
			     struct moe_diag *d)
{
	size_t n = (size_t)s->experts;

	for (size_t r = 0; r < rows; r++, logit += n) {
		size_t m = modality ? modality[r] : MOE_TEXT;
		if (s->pools.n && m >= s->pools.n)
			return moe_fail_row(d, MOE_EINPUT, r, "the model has no experts for modality %zu (%s): it has %zu pools", m, moe_modality_name((unsigned)m),
					    s->pools.n);
		for (size_t e = 0; s->pools.n && e < n; e++)
			if (s->pools.of[e] != m)
				logit[e] = -INFINITY;
		for (size_t e = 0; taken && !taken[r] && e < n; e++)
			logit[e] = -INFINITY;
	}
	return MOE_OK;
}

/* The what-if settings of a row. */
static const struct moe_what_if *what_if(const struct moe_router_rows *in, size_t row)
{
	static const struct moe_what_if none;

	return in->what_if ? &in->what_if[in->modality ? moe_modality_of(in->modality[row]) : MOE_TEXT] : &none;
}

static bool skips(const struct moe_router_rows *in, size_t row) { return in->taken && !in->taken[row]; }

/* The logits of one row that are chosen by: with the bias and the noise, over the temperature. */
static enum moe_err prepare(float *z, const struct moe_router_rows *in, size_t n, size_t row, struct moe_diag *d)
{
	const struct moe_what_if *w = what_if(in, row);
	const float *logit = in->logit + row * n, *noise = in->noise ? in->noise + row * n : NULL;

	for (size_t e = 0; e < n; e++) {
		z[e] = w->bias ? logit[e] + w->bias[e] : logit[e];
		z[e] = noise && logit[e] > -INFINITY ? z[e] + noise[e] : z[e];
		z[e] = w->temperature > 0 ? z[e] / w->temperature : z[e];
		if (isnan(z[e]) || z[e] == INFINITY)
			return moe_fail_row(d, MOE_EINPUT, row, "router logit of expert %zu is %s", e, isnan(z[e]) ? "NaN" : "+inf");
	}
	return MOE_OK;
}

/* Those of the row's modality. */
static const float *choice_bias(const struct moe_router_rows *in, size_t row, const struct moe_router_settings *s)
{
	size_t last = s->choice_biases > 1 ? (size_t)s->choice_biases - 1 : 0, m = in->modality ? in->modality[row] : MOE_TEXT;

	return in->choice_bias ? in->choice_bias + moe_min(m, last) * (size_t)s->experts : NULL;
}

/* What is compared. Every score is monotone in z, which keeps more digits: without a bias and groups, z decides. */
static void compared(float *c, const float *z, const float *score, const struct moe_router_settings *s, const float *choice_bias)
{
	bool by_score = choice_bias || s->groups > 1;

	for (size_t e = 0; e < (size_t)s->experts; e++)
		c[e] = z[e] == -INFINITY || !by_score ? z[e] : choice_bias ? score[e] + choice_bias[e] : score[e];
}

/* Nobody, from place `found` of a row on. */
static void fill(struct moe_router_choice *out, size_t row, size_t found, size_t width)
{
	for (size_t i = row * width + found; i < (row + 1) * width; i++) {
		out->expert_id[i] = -1;
		out->weight[i] = 0;
	}
}

/* A row that skips the layer. */
static void skip(struct moe_router_choice *out, size_t row, size_t experts, size_t width)
{
	fill(out, row, 0, width);
	for (size_t e = 0; out->compared && e < experts; e++)
		out->compared[row * experts + e] = -INFINITY;
}

/* The `found` experts that stand in a row's places get their weights and their order. */
static void finish(struct moe_router_choice *out, const struct moe_router_rows *in, size_t row, size_t found, const float *z, const float *score,
		   const struct moe_router_settings *s, size_t width)
{
	const struct moe_what_if *w = what_if(in, row);
	int32_t *id = out->expert_id + row * width;
	float *g = out->weight + row * width;

	weigh(z, score, s, id, g, found);
	if (w->mute)
		found = leave_out(id, g, found, w->mute);
	for (size_t i = 0; w->swap && i < found; i++)
		id[i] = w->swap[id[i]];
	sort_chosen(id, g, found);
	fill(out, row, found, width);
}

enum moe_err moe_router_choose(struct moe_router_choice *out, const struct moe_router_rows *in, const struct moe_router_settings *s,
			       struct moe_arena *scratch, struct moe_diag *d)
{
	size_t n = (size_t)s->experts, width = (size_t)s->top_k;
	float *z = moe_arena_get(scratch, n, sizeof *z), *score = moe_arena_get(scratch, n, sizeof *score), *c = moe_arena_get(scratch, n, sizeof *c);
	float *group = moe_arena_get(scratch, (size_t)s->groups, sizeof *group);

	if (!z || !score || !c || !group)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t r = 0; r < in->rows; r++) {
		const struct moe_what_if *own = what_if(in, r);
		size_t found;
		if (skips(in, r)) {
			skip(out, r, n, width);
			continue;
		}
		MOE_TRY(prepare(z, in, n, r, d));
		scores(z, score, n, s->score);
		compared(c, z, score, s, choice_bias(in, r, s));
		if (s->groups > 1)
			limit_groups(c, s, own, group);
		if (out->compared)
			memcpy(out->compared + r * n, c, n * sizeof *c);
		found = choose(c, n, own->top_k ? (size_t)own->top_k : width, own, out->expert_id + r * width);
		if (!found)
			return moe_fail_row(d, MOE_EINPUT, r, "no expert is left to choose");
		finish(out, in, r, found, z, score, s, width);
	}
	return MOE_OK;
}

/* All rows, where experts choose. */
struct table {
	size_t experts;
	float *z, *score;               /* [rows][experts] */
	uint8_t *chosen;                /* [rows][experts] */
	uint32_t *row;                  /* [rows]: those of a pool */
	uint64_t *key;                  /* [rows] */
};

static bool none_eligible(const float *z, size_t n)
{
	while (n && z[n - 1] == -INFINITY)
		n--;
	return !n;
}

/* Logits and scores of all rows that do not skip the layer. */
static enum moe_err make_table(struct table *t, const struct moe_router_rows *in, const struct moe_router_settings *s, struct moe_arena *a, struct moe_diag *d)
{
	size_t n = (size_t)s->experts, all;

	if (__builtin_mul_overflow(in->rows, n, &all) || in->rows > UINT32_MAX)
		return moe_fail(d, MOE_EINPUT, "experts cannot choose among %zu rows", in->rows);
	*t = (struct table){.experts = n, .z = moe_arena_get(a, all, sizeof *t->z), .score = moe_arena_get(a, all, sizeof *t->score),
			    .chosen = moe_arena_zero(a, all, 1), .row = moe_arena_get(a, in->rows, sizeof *t->row),
			    .key = moe_arena_get(a, in->rows, sizeof *t->key)};
	if (!t->z || !t->score || !t->chosen || !t->row || !t->key)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the choice among %zu rows", in->rows);
	for (size_t r = 0; r < in->rows; r++) {
		if (skips(in, r))
			continue;
		MOE_TRY(prepare(t->z + r * n, in, n, r, d));
		if (none_eligible(t->z + r * n, n))
			memset(t->score + r * n, 0, n * sizeof *t->score);
		else
			scores(t->z + r * n, t->score + r * n, n, s->score);
	}
	return MOE_OK;
}

/* Expert e takes its share of the n rows of its pool. */
static void take_rows(struct table *t, const struct moe_router_rows *in, const struct moe_router_settings *s, size_t e, size_t n, size_t quota)
{
	const float *value = s->score == MOE_SCORE_SOFTMAX ? t->score : t->z;   /* the other scores are monotone in z, which keeps more digits */
	size_t count = 0;
	uint64_t limit;

	for (size_t i = 0; i < n; i++) {
		size_t r = t->row[i], at = r * t->experts + e;
		const struct moe_what_if *w = what_if(in, r);
		if (!eligible(t->z + r * t->experts, w, e))
			continue;
		if (w->force && w->force[e])
			t->chosen[at] = 1;
		t->key[count++] = moe_pick_key(value[at], r);
	}
	quota = moe_min(quota, count);
	limit = quota ? moe_pick_limit(t->key, count, quota) : 0;
	for (size_t i = 0; quota && i < count; i++)
		if (t->key[i] >= limit)
			t->chosen[moe_pick_place(t->key[i]) * t->experts + e] = 1;
}

/* All experts take theirs, pool by pool. */
static void take_all(struct table *t, const struct moe_router_rows *in, const struct moe_router_settings *s)
{
	const struct moe_pools *p = &s->pools;

	for (size_t m = 0; m < moe_max(p->n, 1); m++) {
		size_t n = 0, quota;
		for (size_t r = 0; r < in->rows; r++)
			if (!skips(in, r) && (!p->n || (in->modality ? in->modality[r] : MOE_TEXT) == m))
				t->row[n++] = (uint32_t)r;
		quota = moe_router_quota(n, moe_router_capacity(s), (size_t)(p->n ? p->size[m] : s->experts));
		for (size_t e = 0; e < t->experts; e++)
			if (!p->n || p->of[e] == m)
				take_rows(t, in, s, e, n, quota);
	}
}

/* The experts e with chosen[e] into a row's places; how many there are. */
static size_t gather_chosen(const uint8_t *chosen, size_t n, int32_t *id)
{
	size_t found = 0;

	for (size_t e = 0; e < n; e++)
		if (chosen[e])
			id[found++] = (int32_t)e;
	return found;
}

static void put_compared(struct moe_router_choice *out, size_t row, const float *z, const float *score, size_t n)
{
	for (size_t e = 0; out->compared && e < n; e++)
		out->compared[row * n + e] = z[e] == -INFINITY ? z[e] : score[e];
}

enum moe_err moe_router_choose_rows(struct moe_router_choice *out, const struct moe_router_rows *in, const struct moe_router_settings *s,
				    struct moe_arena *scratch, struct moe_diag *d)
{
	struct moe_arena_mark mark = moe_arena_mark(scratch);
	size_t n = (size_t)s->experts, width = moe_router_width(s);
	struct table t;

	MOE_TRY(make_table(&t, in, s, scratch, d));
	take_all(&t, in, s);
	for (size_t r = 0; r < in->rows; r++) {
		const float *z = t.z + r * n, *score = t.score + r * n;
		if (skips(in, r)) {
			skip(out, r, n, width);
			continue;
		}
		put_compared(out, r, z, score, n);
		finish(out, in, r, gather_chosen(t.chosen + r * n, n, out->expert_id + r * width), z, score, s, width);
	}
	moe_arena_release(scratch, mark);
	return MOE_OK;
}

/* Who is predicted for a row: chosen [experts]. */
static enum moe_err predict(uint8_t *chosen, const float *z, const float *predicted, const float *threshold, const struct moe_what_if *w, size_t n,
			    size_t row, struct moe_diag *d)
{
	for (size_t e = 0; e < n; e++) {
		if (isnan(predicted[e]))
			return moe_fail_row(d, MOE_EINPUT, row, "the auxiliary router's logit of expert %zu is NaN", e);
		chosen[e] = eligible(z, w, e) && ((w->force && w->force[e]) || predicted[e] > (threshold ? threshold[e] : 0));
	}
	return MOE_OK;
}

enum moe_err moe_router_choose_predicted(struct moe_router_choice *out, const struct moe_router_rows *in, const float *predicted, const float *threshold,
					 const struct moe_router_settings *s, struct moe_arena *scratch, struct moe_diag *d)
{
	struct moe_arena_mark mark = moe_arena_mark(scratch);
	size_t n = (size_t)s->experts, width = moe_router_width(s);
	float *z = moe_arena_get(scratch, n, sizeof *z), *score = moe_arena_zero(scratch, n, sizeof *score);
	uint8_t *chosen = moe_arena_get(scratch, n, 1);

	if (!z || !score || !chosen)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t r = 0; r < in->rows; r++) {
		if (skips(in, r)) {
			skip(out, r, n, width);
			continue;
		}
		MOE_TRY(prepare(z, in, n, r, d));
		MOE_TRY(predict(chosen, z, predicted + r * n, threshold, what_if(in, r), n, r, d));
		if (!none_eligible(z, n))
			scores(z, score, n, s->score);
		put_compared(out, r, z, score, n);
		finish(out, in, r, gather_chosen(chosen, n, out->expert_id + r * width), z, score, s, width);
	}
	moe_arena_release(scratch, mark);
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
