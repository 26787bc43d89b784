#include "stats/measures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory"); }

static double xlogx(double x) { return x > 0 ? x * log(x) : 0; }

/* ---- loads ---- */

void moe_evenness(struct moe_evenness *out, const double *load, const struct moe_routing_part *p, size_t experts)
{
	double sum = 0, squares = 0, entropy = 0, pool = 0;

	*out = (struct moe_evenness){.busiest = -1};
	for (size_t e = 0; e < experts; e++) {
		sum += load[e];
		pool += moe_routing_eligible(p, e);
	}
	for (size_t e = 0; e < experts; e++) {
		double share = sum > 0 ? load[e] / sum : 0;
		entropy -= xlogx(share);
		squares += share * share;
		if (share > out->busiest) {
			out->busiest = share;
			out->busiest_expert = e;
		}
	}
	if (!(sum > 0)) {
		out->entropy = out->effective = out->participation = out->max_vio = out->cv2 = out->busiest = NAN;
		return;
	}
	out->entropy = pool > 1 ? entropy / log(pool) : NAN;
	out->effective = exp(entropy);
	out->participation = 1 / squares;
	out->max_vio = out->busiest * pool - 1;
	out->cv2 = squares * pool - 1;
}

static double per(double sum, uint64_t n) { return n ? sum / (double)n : NAN; }

/* Figures of tokens that choose at random: expert e is one of a token's with probability even[e] / tokens. */
static void measure_random(struct moe_measures *m, const double *even, const struct moe_routing_part *p, size_t experts)
{
	double n = (double)p->tokens, mean = m->pool ? (double)p->choices / (double)m->pool : 0, variance = 0;

	for (size_t e = 0; e < experts && p->tokens; e++)
		if (moe_routing_eligible(p, e)) {
			double q = even[e] / n < 1 ? even[e] / n : 1;
			variance += n * q * (1 - q);
			m->unused_chance += pow(1 - q, n);
		}
	m->cv2_random = mean > 0 ? m->chance.cv2 + variance / (double)m->pool / (mean * mean) : NAN;
}

enum moe_err moe_measure(struct moe_measures *out, const struct moe_routing *r, const struct moe_routing_part *p, struct moe_diag *d)
{
	size_t experts = r->experts;
	double *load = moe_calloc(2 * experts, sizeof *load), *even = load + experts, weight = 0;
	struct moe_measures *m = out;

	if (!load)
		return no_memory(d);
	*m = (struct moe_measures){.tokens = p->tokens, .passed = p->passed, .choices = p->choices, .scored = p->scored, .without_chance = NAN};
	for (size_t e = 0; e < experts; e++) {
		load[e] = (double)p->count[e];
		even[e] = moe_routing_even(p, experts, e);
		weight += p->weight[e];
		m->pool += moe_routing_eligible(p, e);
		m->unused += moe_routing_eligible(p, e) && !p->count[e];
	}
	moe_evenness(&m->load, load, p, experts);
	moe_evenness(&m->chance, even, p, experts);
	measure_random(m, even, p, experts);
	m->router_entropy = per(p->entropy_share, p->scored);
	m->mass = per(p->mass, p->scored);
	m->mass_chance = per(p->even_mass, p->scored);
	m->mean_weight = weight > 0 ? per(weight, p->choices) : NAN;
	m->mean_margin = m->least_margin = m->mean_logit_margin = m->least_logit_margin = NAN;
	if (!moe_routing_by_experts(r->choice, p, r->k)) {
		m->mean_margin = per(p->margin.sum, p->margin.n);
		m->least_margin = p->margin.n ? p->margin.least : NAN;
		m->mean_logit_margin = per(p->logit_margin.sum, p->logit_margin.n);
		m->least_logit_margin = p->logit_margin.n ? p->logit_margin.least : NAN;
	}
	m->without = per((double)p->chosen[0], p->tokens);
	if (moe_routing_by_experts(r->choice, p, r->k) && m->pool && p->tokens) {
		double taken = (double)p->choices / (double)p->tokens / (double)m->pool;
		m->without_chance = pow(taken < 1 ? 1 - taken : 0, (double)m->pool);
	}
	free(load);
	return MOE_OK;
}

/* ---- overlap ---- */

static int falling(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x < y) - (x > y);
}

enum standing { IN, TIED, OUT, STANDINGS };

/* The border of the `most` largest counts: what lies above it is in, what lies on it is tied for the last `places`. */
static uint64_t find_border(uint64_t *sorted, const uint64_t *count, size_t experts, size_t most, size_t *places)
{
	memcpy(sorted, count, experts * sizeof *sorted);
	qsort(sorted, experts, sizeof *sorted, falling);
	*places = most;
	for (size_t i = 0; i < most && sorted[i] > sorted[most - 1]; i++)
		--*places;
	return sorted[most - 1];
}

static enum standing stands(uint64_t count, uint64_t border) { return count > border ? IN : count == border ? TIED : OUT; }

/* log n! for n up to `most`. */
static void log_factorials(double *f, size_t most)
{
	f[0] = 0;
	for (size_t n = 1; n <= most; n++)
		f[n] = f[n - 1] + log((double)n);
}

static double choose(const double *f, size_t n, size_t k) { return k <= n ? f[n] - f[k] - f[n - k] : -INFINITY; }

/* The mean of X / (2 · most - X) for X = fixed + a hypergeometric number: `drawn` of `all`, of which `marked`. */
static double mean_ratio(const double *f, size_t all, size_t marked, size_t drawn, size_t fixed, size_t most)
{
	double mean = 0;

	for (size_t x = 0; x <= drawn && x <= marked; x++) {
		double both = (double)(fixed + x);
		if (drawn - x <= all - marked)
			mean += exp(choose(f, marked, x) + choose(f, all - marked, drawn - x) - choose(f, all, drawn)) * both / (2 * (double)most - both);
	}
	return mean;
}

/* n[s][t]: experts with standing s in the first modality and t in the second; a, b: places for the tied of each. The second draws first. */
static double overlap_of(const double *f, size_t n[STANDINGS][STANDINGS], size_t a, size_t b, size_t most)
{
	size_t tied_a = n[TIED][IN] + n[TIED][TIED] + n[TIED][OUT], tied_b = n[IN][TIED] + n[TIED][TIED] + n[OUT][TIED];
	double mean = 0;

	for (size_t x = 0; x <= b && x <= n[IN][TIED]; x++)
		for (size_t y = 0; x + y <= b && y <= n[TIED][TIED]; y++) {
			double ways = choose(f, n[IN][TIED], x) + choose(f, n[TIED][TIED], y) + choose(f, n[OUT][TIED], b - x - y);
			if (b - x - y <= n[OUT][TIED])
				mean += exp(ways - choose(f, tied_b, b)) * mean_ratio(f, tied_a, n[TIED][IN] + y, a, n[IN][IN] + x, most);
		}
	return mean;
}

enum moe_err moe_overlap(struct moe_overlap *out, const struct moe_routing_part *a, const struct moe_routing_part *b, size_t experts, struct moe_diag *d)
{
	size_t pool = 0, most, places[2], n[STANDINGS][STANDINGS] = {{0}};
	uint64_t *sorted = moe_calloc(experts, sizeof *sorted), border[2];
	double *f = moe_calloc(experts + 1, sizeof *f);

	*out = (struct moe_overlap){NAN, NAN};
	if (!sorted || !f) {
		free(sorted);
		free(f);
		return no_memory(d);
	}
	for (size_t e = 0; e < experts; e++)
		pool += moe_routing_eligible(a, e) || moe_routing_eligible(b, e);
	if (pool && a->choices && b->choices) {
		most = (pool + 3) / 4;
		border[0] = find_border(sorted, a->count, experts, most, &places[0]);
		border[1] = find_border(sorted, b->count, experts, most, &places[1]);
		for (size_t e = 0; e < experts; e++)
			if (moe_routing_eligible(a, e) || moe_routing_eligible(b, e))
				n[stands(a->count[e], border[0])][stands(b->count[e], border[1])]++;
		log_factorials(f, experts);
		out->value = overlap_of(f, n, places[0], places[1], most);
		out->chance = mean_ratio(f, pool, most, most, 0, most);
	}
	free(sorted);
	free(f);
	return MOE_OK;
}

/* ---- specialisation ---- */

/* For large means: the expansion of x log x about the mean, to its sixth moment (of which the last two as if normal); its error is of the order of
 * mean^-3. */
static double xlogx_expansion(double n, double k, double drawn)
{
	double mean = drawn * k / n, variance = mean * (1 - k / n) * ((n - drawn) / (n - 1));
	double third = variance * (n - 2 * k) * (n - 2 * drawn) / (n * (n - 2)), m2 = mean * mean;

	return mean * log(mean) + variance / (2 * mean) - third / (6 * m2) + variance * variance / (4 * m2 * mean) - variance * third / (2 * m2 * m2) +
	       variance * variance * variance / (2 * m2 * m2 * mean);
}

double moe_hypergeometric_xlogx(uint64_t all, uint64_t marked, uint64_t drawn)
{
	double n = (double)all, k = (double)marked, m = (double)drawn, mode, least = k + m - n > 0 ? k + m - n : 0, most = k < m ? k : m, p, sum = 1, mean;

	if (!all || !marked || !drawn)
		return 0;
	if (m * k / n > 200)
		return xlogx_expansion(n, k, m);
	mode = floor((m + 1) * (k + 1) / (n + 2));
	mode = mode < least ? least : mode > most ? most : mode;
	mean = xlogx(mode);
	p = 1;
	for (double x = mode; x < most && p > 1e-16; x++) {
		p *= (k - x) / (x + 1) * ((m - x) / (n - k - m + x + 1));
		sum += p;
		mean += p * xlogx(x + 1);
	}
	p = 1;
	for (double x = mode; x > least && p > 1e-16; x--) {
		p *= x / (k - x + 1) * ((n - k - m + x) / (m - x + 1));
		sum += p;
		mean += p * xlogx(x - 1);
	}
	return mean / sum;
}

/* The labels' table, seen from one expert: sum over labels of x log x, and its mean over permutations. Labels of one size have one mean. */
struct known { uint64_t tokens; double mean; };

static void sum_expert(const uint64_t *count, const uint64_t *tokens, size_t n_labels, size_t experts, size_t e, uint64_t all, uint64_t own, double *have,
		       double *chance)
{
	enum { MEMORY = 1024 };
	struct known known[MEMORY] = {{0}};

	*have = *chance = 0;
	for (size_t g = 0; g < n_labels; g++) {
		struct known *k = &known[tokens[g] % MEMORY];
		if (!tokens[g])
			continue;
		if (k->tokens != tokens[g])
			*k = (struct known){tokens[g], moe_hypergeometric_xlogx(all, own, tokens[g])};
		*have += xlogx((double)count[g * experts + e]);
		*chance += k->mean;
	}
}

enum moe_err moe_specialise(struct moe_specialisation *out, const uint64_t *count, const uint64_t *tokens, size_t n_labels, size_t experts, struct moe_diag *d)
{
	uint64_t all = 0, choices = 0, used = 0;
	double labels = 0, entropy = 0, *cross = moe_calloc(n_labels ? n_labels : 1, sizeof *cross);

	*out = (struct moe_specialisation){NAN, NAN, NAN, NAN, NAN, NAN, NAN};
	if (!cross)
		return no_memory(d);
	for (size_t g = 0; g < n_labels; g++) {
		all += tokens[g];
		labels += tokens[g] > 0;
	}
	for (size_t g = 0; g < n_labels; g++)
		if (tokens[g]) {
			cross[g] = log((double)tokens[g] / (double)all);
			entropy -= (double)tokens[g] / (double)all * cross[g];
		}
	*out = (struct moe_specialisation){.score_even = labels > 1 ? 1 - entropy / log(labels) : NAN, .label_entropy = entropy};
	for (size_t e = 0; e < experts; e++) {
		double have, chance, against = 0, own;
		uint64_t n = 0;
		for (size_t g = 0; g < n_labels; g++) {
			n += count[g * experts + e];
			against += (double)count[g * experts + e] * cross[g];
		}
		if (!n)
			continue;
		own = (double)n;
		sum_expert(count, tokens, n_labels, experts, e, all, n, &have, &chance);
		used++;
		choices += n;
		out->score += 1 - (log(own) - have / own) / log(labels);
		out->score_chance += 1 - (log(own) - chance / own) / log(labels);
		out->information += have - own * log(own) - against;
		out->information_chance += chance - own * log(own) + own * entropy;
	}
	free(cross);
	out->score = labels > 1 ? per(out->score, used) : NAN;
	out->score_chance = labels > 1 ? per(out->score_chance, used) : NAN;
	out->information = per(out->information, choices);
	out->information_chance = per(out->information_chance, choices);
	out->share = labels > 1 ? (out->information - out->information_chance) / entropy : NAN;
	return MOE_OK;
}

enum moe_err moe_specialise_modality(struct moe_specialisation *of_text, struct moe_specialisation *of_modalities, const struct moe_routing_layer *l,
				     size_t experts, struct moe_diag *d)
{
	uint64_t *count = moe_calloc(MOE_N_MODALITIES * experts, sizeof *count), *text = moe_calloc(2 * experts, sizeof *text);
	uint64_t tokens[MOE_N_MODALITIES] = {0}, two[2] = {0};
	enum moe_err err = count && text ? MOE_OK : no_memory(d);

	for (size_t m = 0; !err && m < MOE_N_MODALITIES; m++) {
		const struct moe_routing_part *p = l->part[m];
		tokens[m] = p ? p->tokens : 0;
		two[m > 0] += tokens[m];
		for (size_t e = 0; p && e < experts; e++) {
			count[m * experts + e] = p->count[e];
			text[(m > 0) * experts + e] += p->count[e];
		}
	}
	if (!err)
		err = moe_specialise(of_text, text, two, 2, experts, d);
	if (!err)
		err = moe_specialise(of_modalities, count, tokens, MOE_N_MODALITIES, experts, d);
	free(count);
	free(text);
	return err;
}

void moe_pair(struct moe_pairing *out, const uint64_t *table, const uint64_t *here, const uint64_t *next, uint64_t tokens, size_t experts)
{
	double n = (double)tokens, a = 0, b = 0, all = 0, have = 0, chance = 0, mean;

	for (size_t e = 0; e < experts; e++) {
		a += (double)here[e];
		b += (double)next[e];
	}
	*out = (struct moe_pairing){NAN, NAN};
	if (!(a > 0 && b > 0))
		return;
	mean = a * b / n;
	for (size_t i = 0; i < experts; i++)
		for (size_t j = 0; j < experts; j++) {
			double t = (double)table[i * experts + j], q = (double)here[i] / a * ((double)next[j] / b);
			if (!(q > 0))
				continue;
			all += t;
			have += xlogx(t) - t * log(q);
			chance += moe_hypergeometric_xlogx(tokens, here[i], next[j]) - mean * q * log(q);
		}
	if (all > 0)
		*out = (struct moe_pairing){have / all - log(all), chance / mean - log(mean)};
}
