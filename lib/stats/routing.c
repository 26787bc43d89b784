#include "stats/routing.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kernel/kernel.h"
#include "stats/ordered.h"

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory"); }

/* ---- parts ---- */

struct moe_routing_part *moe_routing_part_new(size_t experts, size_t k, unsigned tables)
{
	struct moe_routing_part *p = calloc(1, sizeof *p);

	if (!p)
		return NULL;
	p->margin.least = p->logit_margin.least = INFINITY;
	p->count = moe_calloc(experts, sizeof *p->count);
	p->weight = moe_calloc(experts, sizeof *p->weight);
	p->chosen = moe_calloc(k + 1, sizeof *p->chosen);
	p->eligible = moe_calloc(experts, sizeof *p->eligible);
	p->narrow = moe_calloc(experts, sizeof *p->narrow);
	p->together = tables & MOE_ROUTING_TOGETHER ? moe_calloc(experts * experts, sizeof *p->together) : NULL;
	p->next = tables & MOE_ROUTING_NEXT ? moe_calloc(experts * experts, sizeof *p->next) : NULL;
	if (p->count && p->weight && p->chosen && p->eligible && p->narrow && (p->together || !(tables & MOE_ROUTING_TOGETHER)) &&
	    (p->next || !(tables & MOE_ROUTING_NEXT)))
		return p;
	moe_routing_part_free(p);
	return NULL;
}

void moe_routing_part_free(struct moe_routing_part *p)
{
	if (!p)
		return;
	free(p->count);
	free(p->weight);
	free(p->chosen);
	free(p->together);
	free(p->next);
	free(p->eligible);
	free(p->narrow);
	free(p);
}

static void add_numbers(uint64_t *to, const uint64_t *from, size_t n)
{
	for (size_t i = 0; to && from && i < n; i++)
		to[i] += from[i];
}

static void add_reals(double *to, const double *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] += from[i];
}

static void join_margin(struct moe_margin *to, const struct moe_margin *from)
{
	to->n += from->n;
	to->sum += from->sum;
	to->least = from->least < to->least ? from->least : to->least;
}

void moe_routing_part_join(struct moe_routing_part *to, const struct moe_routing_part *from, size_t experts, size_t k)
{
	to->tokens += from->tokens;
	to->passed += from->passed;
	to->choices += from->choices;
	to->open += from->open;
	to->scored += from->scored;
	to->entropy += from->entropy;
	to->entropy_share += from->entropy_share;
	to->mass += from->mass;
	to->even_mass += from->even_mass;
	join_margin(&to->margin, &from->margin);
	join_margin(&to->logit_margin, &from->logit_margin);
	add_numbers(to->count, from->count, experts);
	add_reals(to->weight, from->weight, experts);
	add_numbers(to->chosen, from->chosen, k + 1);
	add_numbers(to->together, from->together, experts * experts);
	add_numbers(to->next, from->next, experts * experts);
	add_numbers(to->eligible, from->eligible, experts);
	add_reals(to->narrow, from->narrow, experts);
}

double moe_routing_even(const struct moe_routing_part *p, size_t experts, size_t e) { return (double)p->open / (double)experts + p->narrow[e]; }

bool moe_routing_eligible(const struct moe_routing_part *p, size_t e) { return p->open || p->eligible[e]; }

bool moe_routing_by_experts(const char *choice, const struct moe_routing_part *p, size_t k)
{
	size_t numbers = 0;

	for (size_t n = 0; n <= k; n++)
		numbers += p->chosen[n] > 0;
	return (numbers > 1 || p->margin.least < 0) && strcmp(choice, "token");
}

/* ---- tokens ---- */

static size_t count_choices(struct moe_routing_part *p, size_t k, const uint16_t *id, const float *weight)
{
	size_t n = 0;

	for (; n < k && id[n] != MOE_NO_EXPERT; n++) {
		p->count[id[n]]++;
		if (weight)
			p->weight[id[n]] += (double)weight[n];
	}
	p->tokens++;
	p->choices += n;
	p->chosen[n]++;
	return n;
}

static void count_together(uint64_t *table, size_t experts, const uint16_t *id, size_t n)
{
	for (size_t i = 0; i + 1 < n; i++)
		for (size_t j = i + 1; j < n; j++)
			table[id[i] * experts + id[j]]++;
}

static void count_next(uint64_t *table, size_t experts, const uint16_t *id, size_t n, const uint16_t *next, size_t k)
{
	for (size_t j = 0; j < k && next[j] != MOE_NO_EXPERT; j++)
		for (size_t i = 0; i < n; i++)
			table[id[i] * experts + next[j]]++;
}

enum { LANES = 8 };             /* loops of so many steps become vectors */

/* The largest of x[0..n). */
static float largest(const float *x, size_t n)
{
	float m[LANES];
	size_t i = 0;

	for (int j = 0; j < LANES; j++)
		m[j] = -INFINITY;
	for (; i + LANES <= n; i += LANES)
		for (int j = 0; j < LANES; j++)
			m[j] = x[i + (size_t)j] > m[j] ? x[i + (size_t)j] : m[j];
	for (; i < n; i++)
		m[0] = x[i] > m[0] ? x[i] : m[0];
	for (int j = 1; j < LANES; j++)
		m[0] = m[j] > m[0] ? m[j] : m[0];
	return m[0];
}

/* Least of the chosen values and largest of the others; false when there are none of a kind. `rest` gets a copy. */
static bool find_margin(const float *x, float *rest, size_t experts, const uint16_t *id, size_t n, double *chosen, double *other)
{
	float least = INFINITY, most;

	memcpy(rest, x, experts * sizeof *rest);
	for (size_t i = 0; i < n; i++) {
		least = x[id[i]] < least ? x[id[i]] : least;
		rest[id[i]] = -INFINITY;
	}
	most = largest(rest, experts);
	*chosen = (double)least;
	*other = (double)most;
	return isfinite(least) && isfinite(most);
}

static void add_margin(struct moe_margin *m, double value)
{
	m->n++;
	m->sum += value;
	m->least = value < m->least ? value : m->least;
}

/* Sum of y[i] · (x[i] - top) over those that are not -inf. */
static double moment_of(const float *y, const float *x, float top, size_t n)
{
	double s[LANES] = {0}, sum = 0;
	size_t i = 0;

	for (; i + LANES <= n; i += LANES)
		for (int j = 0; j < LANES; j++) {
			float v = x[i + (size_t)j] > -FLT_MAX ? x[i + (size_t)j] : -FLT_MAX;      /* there y is 0 */
			s[j] += (double)(y[i + (size_t)j] * (v - top));
		}
	for (; i < n; i++)
		sum += y[i] > 0 ? (double)(y[i] * (x[i] - top)) : 0;
	for (int j = 0; j < LANES; j++)
		sum += s[j];
	return sum;
}

/* What the scores p of a token say. */
struct scores {
	double entropy;                 /* H(p), nats */
	double mass;                    /* sum of p over the chosen */
	double top, sum;                /* of softmax: p = exp(z - top) / sum */
};

/* p = softmax(z); y [experts] is for scratch. */
static void score_softmax(struct scores *s, float *y, const float *z, size_t experts, const uint16_t *id, size_t n)
{
	double part = 0;

	s->top = (double)largest(z, experts);
	s->sum = (double)moe_exp_sum(y, z, experts);
	for (size_t i = 0; i < n; i++)
		part += (double)y[id[i]];
	s->mass = part / s->sum;
	s->entropy = log(s->sum) - moment_of(y, z, (float)s->top, experts) / s->sum;
}

static double sigmoid(double z) { return 1 / (1 + exp(-z)); }

/* p = sigmoid(z) over their sum; -inf gives 0. */
static void score_sigmoid(struct scores *s, const float *z, size_t experts, const uint16_t *id, size_t n)
{
	double sum = 0, moment = 0, part = 0;

	for (size_t e = 0; e < experts; e++) {
		double v = sigmoid((double)z[e]);
		sum += v;
		moment += v > 0 ? v * log(v) : 0;
	}
	for (size_t i = 0; i < n; i++)
		part += sigmoid((double)z[id[i]]);
	s->mass = sum > 0 ? part / sum : 0;
	s->entropy = sum > 0 ? log(sum) - moment / sum : 0;
}

/* The size of the token's pool, 0 when nothing is in it; takes note of one that is not all experts. */
static size_t count_pool(struct moe_routing_part *p, const float *z, size_t experts, size_t n)
{
	int none[LANES] = {0};
	size_t pool = experts, i = 0;

	for (; i + LANES <= experts; i += LANES)
		for (int j = 0; j < LANES; j++)
			none[j] += z[i + (size_t)j] == -INFINITY;
	for (; i < experts; i++)
		none[0] += z[i] == -INFINITY;
	for (int j = 0; j < LANES; j++)
		pool -= (size_t)none[j];
	if (pool == experts)
		p->open += n;
	else
		for (size_t e = 0; e < experts; e++)
			if (z[e] > -INFINITY) {
				p->eligible[e]++;
				p->narrow[e] += (double)n / (double)pool;
			}
	return pool;
}

/* The same of a token without logits, whose pool is that of its modality. */
static void count_named_pool(const struct moe_routing *r, struct moe_routing_part *p, unsigned modality, size_t n)
{
	const struct moe_pools *pools = &r->pools;

	if (modality >= pools->n) {
		p->open += n;
		return;
	}
	for (size_t e = 0; e < r->experts; e++)
		if (pools->of[e] == modality) {
			p->eligible[e]++;
			p->narrow[e] += (double)n / (double)pools->size[modality];
		}
}

/* A difference of scores, given the two logits. */
static double score_margin(enum moe_trace_score score, const struct scores *s, double chosen, double other)
{
	if (score == MOE_TRACE_SOFTMAX)
		return (exp(chosen - s->top) - exp(other - s->top)) / s->sum;
	return score == MOE_TRACE_SIGMOID ? sigmoid(chosen) - sigmoid(other) : chosen - other;
}

static void score_token(const struct moe_routing *r, struct moe_routing_part *p, const float *z, const float *compared, const uint16_t *id, size_t n)
{
	size_t pool = count_pool(p, z, r->experts, n);
	float *y = r->scratch, *rest = y + r->experts;
	struct scores s = {0};
	double chosen, other;

	if (!pool)
		return;
	if (r->score == MOE_TRACE_SIGMOID)
		score_sigmoid(&s, z, r->experts, id, n);
	else if (r->score != MOE_TRACE_UNKNOWN)
		score_softmax(&s, y, z, r->experts, id, n);
	if (r->score != MOE_TRACE_UNKNOWN) {
		p->scored++;
		p->entropy += s.entropy;
		p->entropy_share += pool > 1 ? s.entropy / log((double)pool) : 0;
		p->mass += s.mass;
		p->even_mass += (double)n / (double)pool;
	}
	if (find_margin(z, rest, r->experts, id, n, &chosen, &other)) {
		add_margin(&p->logit_margin, chosen - other);
		if (!compared && r->score != MOE_TRACE_UNKNOWN)
			add_margin(&p->margin, score_margin(r->score, &s, chosen, other));
	}
	if (compared && find_margin(compared, rest, r->experts, id, n, &chosen, &other))
		add_margin(&p->margin, chosen - other);
}

static struct moe_routing_part *part_of(const struct moe_routing *r, struct moe_routing_layer *l, unsigned modality)
{
	struct moe_routing_part **p = &l->part[moe_modality_of(modality)];

	if (!*p)
		*p = moe_routing_part_new(r->experts, r->k, r->tables);
	return *p;
}

/* Choices of tokens that were not kept, each of k experts out of all. */
static enum moe_err add_counts(const struct moe_routing *r, struct moe_routing_layer *l, const uint64_t *count, struct moe_diag *d)
{
	struct moe_routing_part *p = part_of(r, l, MOE_N_MODALITIES - 1);
	uint64_t sum = 0;

	if (!p)
		return no_memory(d);
	add_numbers(p->count, count, r->experts);
	for (size_t e = 0; e < r->experts; e++)
		sum += count[e];
	p->choices += sum;
	p->open += sum;
	p->tokens += r->k ? sum / r->k : 0;
	p->chosen[r->k] += r->k ? sum / r->k : 0;
	return MOE_OK;
}

enum moe_err moe_routing_add(struct moe_routing *r, struct moe_routing_layer *l, const struct moe_routed_rows *rows, struct moe_diag *d)
{
	size_t k = r->k, experts = r->experts;

	if (rows->count)
		return add_counts(r, l, rows->count, d);
	for (size_t i = 0; i < rows->rows; i++) {
		struct moe_routing_part *p = part_of(r, l, rows->modality[i]);
		const uint16_t *id = rows->expert + i * k;
		size_t n;
		if (!p)
			return no_memory(d);
		if (rows->depth && !rows->depth[i]) {
			p->passed++;
			continue;
		}
		n = count_choices(p, k, id, rows->weight ? rows->weight + i * k : NULL);
		if (p->together)
			count_together(p->together, experts, id, n);
		if (p->next && rows->next)
			count_next(p->next, experts, id, n, rows->next + i * k, k);
		if (rows->logit)
			score_token(r, p, rows->logit + i * experts, rows->compared ? rows->compared + i * experts : NULL, id, n);
		else
			count_named_pool(r, p, rows->modality[i], n);
	}
	return MOE_OK;
}

/* ---- layers and kinds ---- */

enum moe_err moe_routing_init(struct moe_routing *r, const struct moe_trace_info *info, const char *choice, unsigned tables, struct moe_diag *d)
{
	*r = (struct moe_routing){.experts = info->experts, .k = info->k, .score = info->score, .pools = info->pools, .tables = tables};
	snprintf(r->choice, sizeof r->choice, "%s", choice ? choice : "token");
	r->scratch = moe_calloc(2 * info->experts, sizeof *r->scratch);
	return r->scratch ? MOE_OK : no_memory(d);
}

void moe_routing_free(struct moe_routing *r)
{
	for (size_t l = 0; l < r->n_layers; l++)
		for (int m = 0; m < MOE_N_MODALITIES; m++)
			moe_routing_part_free(r->layer[l].part[m]);
	free(r->layer);
	free(r->scratch);
}

struct moe_routing_layer *moe_routing_layer(struct moe_routing *r, size_t number)
{
	size_t known = r->n_layers;
	struct moe_routing_layer *l = moe_ordered_get(&r->layer, &r->n_layers, &r->cap, sizeof *r->layer, number);

	if (r->n_layers > known)
		l->next = SIZE_MAX;
	return l;
}

enum moe_err moe_routing_join(struct moe_routing *to, const struct moe_routing *from, struct moe_diag *d)
{
	for (size_t i = 0; i < from->n_layers; i++) {
		struct moe_routing_layer *l = moe_routing_layer(to, from->layer[i].number);
		for (unsigned m = 0; l && m < MOE_N_MODALITIES; m++)
			if (from->layer[i].part[m]) {
				struct moe_routing_part *p = part_of(to, l, m);
				if (!p)
					return no_memory(d);
				moe_routing_part_join(p, from->layer[i].part[m], to->experts, to->k);
			}
		if (!l)
			return no_memory(d);
		l->next = from->layer[i].next;
	}
	return MOE_OK;
}

void moe_routing_set_free(struct moe_routing_set *s)
{
	for (size_t i = 0; i < s->n; i++)
		moe_routing_free(&s->kind[i]);
	free(s->kind);
	s->kind = NULL;
	s->n = s->cap = 0;
}

static enum moe_err find_kind(struct moe_routing_set *s, const struct moe_trace_info *info, const char *choice, struct moe_routing **out, struct moe_diag *d)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->kind[i].choice, choice)) {
			*out = &s->kind[i];
			return MOE_OK;
		}
	MOE_TRY(moe_grow(&s->kind, &s->cap, s->n + 1, sizeof *s->kind, d));
	*out = &s->kind[s->n];
	MOE_TRY(moe_routing_init(*out, info, choice, s->tables, d));
	s->n++;
	return MOE_OK;
}

/* Which layer follows: the same in all that is added up, or the table of pairs would be of two different things. */
static enum moe_err follow(struct moe_routing_layer *l, size_t next, struct moe_diag *d)
{
	if (l->next != SIZE_MAX && l->next != next)
		return moe_fail(d, MOE_EMATCH, "behind layer %zu comes layer %zu here, and layer %zu in the trace before", l->number, next, l->next);
	l->next = next;
	return MOE_OK;
}

enum moe_err moe_routing_set_add(struct moe_routing_set *s, const struct moe_trace_info *info, const struct moe_trace_block *b, struct moe_diag *d)
{
	struct moe_routing *r;

	MOE_TRY(find_kind(s, info, b->choice ? b->choice : "token", &r, d));
	if (r->experts != info->experts || r->k != info->k || r->score != info->score)
		return moe_fail(d, MOE_EMATCH, "%zu experts of which a token gets %zu cannot be added up with %zu and %zu%s", info->experts, info->k,
				r->experts, r->k,
				r->score != info->score ? ", whose scores are of another kind" : "");
	for (size_t i = 0; i < info->n_layers; i++) {
		size_t at = i * b->rows;
		bool follows = b->expert && i + 1 < info->n_layers && info->layer[i + 1] <= s->last;
		struct moe_routed_rows rows = {
			.rows = b->rows, .modality = b->modality, .expert = b->expert ? b->expert + at * info->k : NULL, .depth = b->depth ?
				b->depth + at : NULL,
			.next = follows ? b->expert + (at + b->rows) * info->k : NULL, .weight = b->weight ? b->weight + at * info->k : NULL,
			.logit = b->logit ? b->logit + at * info->experts : NULL, .compared = b->compared ? b->compared + at * info->experts : NULL,
			.count = b->count ? b->count + i * info->experts : NULL,
		};
		struct moe_routing_layer *l;
		if (info->layer[i] < s->first || info->layer[i] > s->last)
			continue;
		if (!(l = moe_routing_layer(r, info->layer[i])))
			return no_memory(d);
		if (follows && s->tables & MOE_ROUTING_NEXT)
			MOE_TRY(follow(l, info->layer[i + 1], d));
		MOE_TRY(moe_routing_add(r, l, &rows, d));
	}
	return MOE_OK;
}
