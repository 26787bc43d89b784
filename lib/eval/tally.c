#include "eval/tally.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "stats/bootstrap.h"

/* A question with what it is told apart by. */
struct entry {
	const char *kind, *type, *value;        /* "" where this level does not tell apart */
	size_t sample;
	const struct moe_asked *a, *b;  /* b: of the other evaluation, or NULL */
};

struct tally {
	struct entry *entry;
	size_t n;
	const char **answer;            /* [n] */
	/* For the bootstrap, of samples: */
	double *count, *more;           /* questions; right answers of a less those of b */
	struct moe_tally *out;
	size_t cap;
};

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory"); }

void moe_tally_free(struct moe_tally *s)
{
	free(s->row);
	free(s->patches);
	*s = (struct moe_tally){0};
}

void moe_wilson(uint64_t right, uint64_t n, double *low, double *high)
{
	const double z = 1.959963984540054;
	double p = moe_share(right, n), m = (double)n, centre, half;

	*low = 0;
	*high = 1;
	if (!n)
		return;
	centre = (p + z * z / (2 * m)) / (1 + z * z / m);
	half = z / (1 + z * z / m) * sqrt(p * (1 - p) / m + z * z / (4 * m * m));
	*low = right ? centre - half : 0;
	*high = right < n ? centre + half : 1;
}

void moe_tally_confident(const struct moe_evaluation *e, const char *kind, double confidence, uint64_t *n, uint64_t *right)
{
	*n = *right = 0;
	for (size_t i = 0; i < e->n_samples; i++)
		for (size_t k = 0; (!kind || !strcmp(kind, e->sample[i]->kind)) && k < e->sample[i]->n; k++) {
			const struct moe_outcome *o = &e->sample[i]->asked[k].own;
			*n += o->done && o->confidence >= confidence;
			*right += o->done && o->confidence >= confidence && o->right;
		}
}

/* ---- entries ---- */

static const char *tag_value(const struct moe_asked_sample *s, const char *tag)
{
	for (size_t i = 0; i < s->n_tags; i++)
		if (!strcmp(s->tag[i].name, tag))
			return s->tag[i].value;
	return "";
}

/* Numbers in names and values count as numbers. */
static int compare(const struct entry *x, const struct entry *y)
{
	int c = strcmp(x->kind, y->kind);

	if (!c)
		c = strcmp(x->type, y->type);
	return c ? c : strverscmp(x->value, y->value);
}

static int by_key(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int c = compare(x, y);

	return c ? c : (x->sample > y->sample) - (x->sample < y->sample);
}

static int by_answer(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* ---- one score ---- */

static void add_part(struct moe_tally_part *p, const struct moe_outcome *o, size_t tokens)
{
	p->n += o->done;
	p->right += o->done && o->right;
	p->tokens += o->done ? tokens : 0;
	p->logprob += o->done ? o->logprob : 0;
}

static void calibrate(struct moe_tally_row *s, const struct entry *e, size_t n)
{
	double sum[MOE_TALLY_BINS] = {0}, right[MOE_TALLY_BINS] = {0};

	for (size_t i = 0; i < n; i++) {
		const struct moe_outcome *o = &e[i].a->own;
		int bin = (int)(o->confidence * MOE_TALLY_BINS);
		bin = bin < 0 ? 0 : bin >= MOE_TALLY_BINS ? MOE_TALLY_BINS - 1 : bin;
		sum[bin] += o->confidence;
		right[bin] += o->right;
		s->confidence += o->confidence;
	}
	for (int b = 0; b < MOE_TALLY_BINS; b++)
		s->calibration += fabs(sum[b] - right[b]);
	s->confidence /= (double)n;
	s->calibration /= (double)n;
}

static double chance(struct tally *t, const struct entry *e, size_t n)
{
	size_t most = 0, run = 0;

	for (size_t i = 0; i < n; i++)
		t->answer[i] = e[i].a->answer;
	qsort(t->answer, n, sizeof *t->answer, by_answer);
	for (size_t i = 0; i < n; i++) {
		run = i && !strcmp(t->answer[i], t->answer[i - 1]) ? run + 1 : 1;
		most = run > most ? run : most;
	}
	return (double)most / (double)n;
}

/* Samples of the score, for the bootstrap; returns how many. */
static size_t cluster(struct tally *t, struct moe_tally_row *s, const struct entry *e, size_t n)
{
	size_t k = 0, last = SIZE_MAX;

	for (size_t i = 0; i < n; i++) {
		if (!e[i].b || !e[i].b->own.done)
			continue;
		if (e[i].sample != last) {
			last = e[i].sample;
			t->count[k] = 0;
			t->more[k++] = 0;
		}
		t->count[k - 1]++;
		t->more[k - 1] += (double)e[i].a->own.right - (double)e[i].b->own.right;
		s->both++;
		s->right_a += e[i].a->own.right;
		s->right_b += e[i].b->own.right;
	}
	return k;
}

static enum moe_err bootstrap(struct tally *t, struct moe_tally_row *s, const struct entry *e, size_t n, struct moe_diag *d)
{
	return moe_bootstrap_ratio(t->more, t->count, cluster(t, s, e, n), &s->low, &s->high, d);
}

static enum moe_err add_score(struct tally *t, const struct entry *e, size_t n, unsigned level, struct moe_diag *d)
{
	struct moe_tally_row s = {.kind = level > 0 ? e->kind : NULL, .type = level > 1 ? e->type : NULL, .value = level > 2 ? e->value : NULL};

	for (size_t i = 0; i < n; i++) {
		add_part(&s.own, &e[i].a->own, e[i].a->n_answer);
		add_part(&s.blind, &e[i].a->blind, e[i].a->n_answer);
	}
	s.chance = chance(t, e, n);
	calibrate(&s, e, n);
	MOE_TRY(bootstrap(t, &s, e, n, d));
	MOE_TRY(moe_grow(&t->out->row, &t->cap, t->out->n + 1, sizeof *t->out->row, d));
	t->out->row[t->out->n++] = s;
	return MOE_OK;
}

/* ---- patches ---- */

static int by_label(const void *a, const void *b) { return (*(const int32_t *)a > *(const int32_t *)b) - (*(const int32_t *)a < *(const int32_t *)b); }

static double commonest(int32_t *label, size_t n)
{
	size_t most = 0, run = 0;

	qsort(label, n, sizeof *label, by_label);
	for (size_t i = 0; i < n; i++) {
		run = i && label[i] == label[i - 1] ? run + 1 : 1;
		most = run > most ? run : most;
	}
	return n ? (double)most / (double)n : 0;
}

/* Patches of a kind; `label` has room for those of all. */
static enum moe_err add_patches(struct moe_tally *out, const struct moe_evaluation *e, const char *kind, int32_t *label, struct moe_diag *d)
{
	struct moe_tally_patches p = {.kind = kind};
	size_t n = 0, cap = out->n_patches;

	for (size_t i = 0; i < e->n_samples; i++) {
		const struct moe_asked_sample *s = e->sample[i];
		if (!s->patches.n || (kind && strcmp(kind, s->kind)))
			continue;
		p.sum.n += s->patches.n;
		p.sum.right += s->patches.right;
		p.sum.logprob += s->patches.logprob;
		for (size_t k = 0; k < s->n_labels; k++)
			if (s->label[k] >= 0)
				label[n++] = s->label[k];
	}
	if (!n)
		return MOE_OK;
	p.chance = commonest(label, n);
	MOE_TRY(moe_grow(&out->patches, &cap, out->n_patches + 1, sizeof *out->patches, d));
	out->patches[out->n_patches++] = p;
	return MOE_OK;
}

/* All, then the kinds as the rows have them. */
static enum moe_err tally_patches(struct moe_tally *out, const struct moe_evaluation *e, struct moe_diag *d)
{
	size_t n = 0;
	int32_t *label;
	enum moe_err err = MOE_OK;

	for (size_t i = 0; i < e->n_samples; i++)
		n += e->sample[i]->n_labels;
	label = moe_calloc(n, sizeof *label);
	if (!label)
		return no_memory(d);
	for (size_t i = 0; !err && i < out->n; i++)
		if (!out->row[i].type)
			err = add_patches(out, e, out->row[i].kind, label, d);
	free(label);
	return err;
}

/* ---- all together ---- */

static enum moe_err same_samples(const struct moe_evaluation *a, const struct moe_evaluation *b, struct moe_diag *d)
{
	if (!b)
		return MOE_OK;
	if (a->n_samples != b->n_samples)
		return moe_fail(d, MOE_EMATCH, "the two models were asked of %zu and %zu samples", a->n_samples, b->n_samples);
	for (size_t i = 0; i < a->n_samples; i++)
		if (a->sample[i]->n != b->sample[i]->n || strcmp(a->sample[i]->name, b->sample[i]->name))
			return moe_fail(d, MOE_EMATCH, "the two models were asked of other samples (%s, %s)", a->sample[i]->name, b->sample[i]->name);
	return MOE_OK;
}

static void fill(struct tally *t, const struct moe_evaluation *e, const char *by, const struct moe_evaluation *other, unsigned level)
{
	t->n = 0;
	for (size_t i = 0; i < e->n_samples; i++) {
		const struct moe_asked_sample *s = e->sample[i];
		for (size_t k = 0; k < s->n; k++)
			if (s->asked[k].own.done)
				t->entry[t->n++] = (struct entry){level > 0 ? s->kind : "", level > 1 ? s->asked[k].type : "", level > 2 ? tag_value(s, by) : "", i,
								  &s->asked[k], other ? &other->sample[i]->asked[k] : NULL};
	}
}

static enum moe_err tally_level(struct tally *t, const struct moe_evaluation *e, const char *by, const struct moe_evaluation *other, unsigned level,
				struct moe_diag *d)
{
	fill(t, e, by, other, level);
	qsort(t->entry, t->n, sizeof *t->entry, by_key);
	for (size_t i = 0, end; i < t->n; i = end) {
		for (end = i + 1; end < t->n && !compare(&t->entry[i], &t->entry[end]); end++)
			;
		MOE_TRY(add_score(t, &t->entry[i], end - i, level, d));
	}
	return MOE_OK;
}

enum moe_err moe_tally_make(struct moe_tally *out, const struct moe_evaluation *e, const char *by, const struct moe_evaluation *other, struct moe_diag *d)
{
	struct tally t = {.out = out};
	size_t n = 0;
	enum moe_err err = same_samples(e, other, d);

	*out = (struct moe_tally){0};
	for (size_t i = 0; i < e->n_samples; i++)
		n += e->sample[i]->n;
	t.entry = moe_calloc(n, sizeof *t.entry);
	t.answer = moe_calloc(n, sizeof *t.answer);
	t.count = moe_calloc(e->n_samples, sizeof *t.count);
	t.more = moe_calloc(e->n_samples, sizeof *t.more);
	if (!err && (!t.entry || !t.answer || !t.count || !t.more))
		err = no_memory(d);
	for (unsigned level = 0; !err && level < (by ? 4 : 3); level++)
		err = tally_level(&t, e, by, other, level, d);
	if (!err)
		err = tally_patches(out, e, d);
	free(t.entry);
	free(t.answer);
	free(t.count);
	free(t.more);
	return err;
}
