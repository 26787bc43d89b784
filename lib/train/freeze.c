#include "train/freeze.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/parts.h"

struct range {
	bool any;
	int64_t first, last;
};

/* A word, read. */
struct rule {
	bool thaw;
	enum moe_part part;             /* MOE_N_PARTS: every one */
	struct range layers, experts;
};

/* Up to nine digits; -1: there are none. */
static int64_t number(const char **p)
{
	int64_t v = -1;

	for (int i = 0; i < 9 && **p >= '0' && **p <= '9'; i++)
		v = (v < 0 ? 0 : v) * 10 + (*(*p)++ - '0');
	return v;
}

/* "3", "0-3", "2-", "-3", "-". */
static bool read_range(const char **p, struct range *r)
{
	int64_t from = number(p), to;

	*r = (struct range){.first = from, .last = from};
	if (**p != '-')
		return from >= 0;
	++*p;
	to = number(p);
	r->first = from < 0 ? 0 : from;
	r->last = to < 0 ? INT64_MAX : to;
	r->any = from < 0 && to < 0;
	return r->first <= r->last;
}

static enum moe_err read_rule(struct rule *r, const char *word, struct moe_diag *d)
{
	const char *p = word;
	size_t n;

	*r = (struct rule){.part = MOE_N_PARTS, .layers.any = true, .experts.any = true};
	r->thaw = *p == '!';
	p += r->thaw;
	n = strcspn(p, "@");
	if (n && !(n == 3 && !memcmp(p, "all", 3)) && (r->part = moe_part_find(p, n)) == MOE_N_PARTS)
		return moe_fail(d, MOE_EUSAGE, "\"%s\": part \"%.*s\" is not one of all, " MOE_PART_NAMES, word, (int)n, p);
	p += n;
	if (*p == '@') {
		p++;
		if (!read_range(&p, &r->layers) || (*p == '.' && (p++, !read_range(&p, &r->experts))) || *p)
			return moe_fail(d, MOE_EUSAGE, "\"%s\": expected PART, PART@LAYERS or PART@LAYERS.EXPERTS, such as experts@0-3.4-7", word);
	} else if (!n) {
		return moe_fail(d, MOE_EUSAGE, "\"%s\" names no part (all is one)", word);
	}
	return MOE_OK;
}

static bool holds(const struct range *r, int64_t i) { return r->any || (i >= r->first && i <= r->last); }

/* Pieces of a tensor that are frozen or not, each by itself: of a router's matrix its rows, of its biases (of each modality, perhaps) its numbers, of all others
 * the whole. The piece of expert e is `count` numbers at e · count, and again in each of `repeats` tables. */
struct pieces {
	size_t n, count, repeats;
};

static struct pieces pieces_of(const struct moe_param *p, size_t experts)
{
	bool router = !strcmp(p->logical, "router"), bias = !strcmp(p->logical, "router_bias") || !strcmp(p->logical, "choice_bias");

	if (p->part != MOE_PART_ROUTER || p->expert >= 0 || experts < 2 || p->count % experts || !(router || bias))
		return (struct pieces){1, p->count, 1};
	return bias ? (struct pieces){experts, 1, p->count / experts} : (struct pieces){experts, p->count / experts, 1};
}

/* Layers without a part are the trunk's. */
static bool meant(const struct rule *r, const struct moe_param *p, size_t pieces, size_t piece)
{
	int64_t expert = pieces > 1 ? (int64_t)piece : p->expert;

	if (r->part == MOE_N_PARTS && !r->layers.any && p->part == MOE_PART_TOWER)
		return false;
	return p->part != MOE_N_PARTS && (r->part == MOE_N_PARTS || r->part == p->part) && holds(&r->layers, p->layer) && holds(&r->experts, expert);
}

enum moe_err moe_freeze_check(const char *word, struct moe_diag *d)
{
	struct rule r;

	return read_rule(&r, word, d);
}

static size_t count_experts(const struct moe_params *params)
{
	int64_t last = -1;

	for (size_t i = 0; i < params->n; i++)
		last = params->p[i].expert > last ? params->p[i].expert : last;
	return (size_t)(last + 1);
}

/* Sets frozen [tensors][experts] as a word says. */
static enum moe_err apply(bool *frozen, const struct moe_params *params, size_t experts, const char *word, struct moe_diag *d)
{
	struct rule r;
	bool any = false;

	MOE_TRY(read_rule(&r, word, d));
	for (size_t i = 0; i < params->n; i++) {
		size_t pieces = pieces_of(&params->p[i], experts).n;
		for (size_t j = 0; j < pieces; j++)
			if (meant(&r, &params->p[i], pieces, j)) {
				frozen[i * experts + j] = !r.thaw;
				any = true;
			}
	}
	return any ? MOE_OK : moe_fail(d, MOE_EUSAGE, "\"%s\" means no tensor of this model", word);
}

static enum moe_err add_run(struct moe_frozen *f, size_t offset, size_t count, struct moe_diag *d)
{
	struct moe_frozen_run *last = f->n_runs ? &f->run[f->n_runs - 1] : NULL;

	if (last && last->offset + last->count == offset) {
		last->count += count;
		return MOE_OK;
	}
	MOE_TRY(moe_grow(&f->run, &f->cap, f->n_runs + 1, sizeof *f->run, d));
	f->run[f->n_runs++] = (struct moe_frozen_run){offset, count};
	return MOE_OK;
}

/* A tensor whose pieces are frozen so: the whole of it, or runs. */
static enum moe_err settle(struct moe_frozen *f, const struct moe_params *params, size_t i, const bool *frozen, const struct pieces *p, struct moe_diag *d)
{
	size_t n = 0;

	for (size_t j = 0; j < p->n; j++)
		n += frozen[j];
	f->tensor[i] = n == p->n;
	for (size_t at = 0; at < p->repeats * p->n && n < p->n; at++)
		if (frozen[at % p->n])
			MOE_TRY(add_run(f, params->p[i].offset + at * p->count, p->count, d));
	return MOE_OK;
}

static enum moe_err freeze(struct moe_frozen *f, bool *frozen, const struct moe_params *params, size_t experts, char *const *words, size_t n, struct moe_diag *d)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		MOE_TRY(apply(frozen, params, experts, words[i], d));
	for (size_t i = 0; i < params->n; i++) {
		struct pieces p = pieces_of(&params->p[i], experts);
		MOE_TRY(settle(f, params, i, frozen + i * experts, &p, d));
	}
	for (size_t i = 0; i < f->n_runs; i++)
		kept += f->run[i].count;
	f->kept = moe_calloc(kept + 1, sizeof *f->kept);
	return f->kept ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
}

enum moe_err moe_freeze(struct moe_frozen *f, const struct moe_params *params, char *const *words, size_t n, struct moe_diag *d)
{
	size_t experts = count_experts(params) ? count_experts(params) : 1;
	bool *frozen = moe_calloc(params->n * experts + 1, sizeof *frozen);
	enum moe_err err;

	moe_frozen_free(f);
	f->tensor = moe_calloc(params->n + 1, sizeof *f->tensor);
	err = frozen && f->tensor ? freeze(f, frozen, params, experts, words, n, d) : moe_fail(d, MOE_ENOMEM, "out of memory");
	free(frozen);
	return err;
}

void moe_frozen_free(struct moe_frozen *f)
{
	free(f->tensor);
	free(f->run);
	free(f->kept);
	*f = (struct moe_frozen){0};
}

void moe_frozen_hold(struct moe_frozen *f, const float *weights, float *gradient)
{
	float *to = f->kept;

	for (const struct moe_frozen_run *r = f->run; r < f->run + f->n_runs; to += r++->count) {
		memcpy(to, weights + r->offset, r->count * sizeof *to);
		memset(gradient + r->offset, 0, r->count * sizeof *gradient);
	}
}

void moe_frozen_restore(const struct moe_frozen *f, float *weights)
{
	const float *from = f->kept;

	for (const struct moe_frozen_run *r = f->run; r < f->run + f->n_runs; from += r++->count)
		memcpy(weights + r->offset, from, r->count * sizeof *from);
}
