#include "ablate/effect.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "stats/bootstrap.h"

/* The samples that were asked, as the whole model answered them. */
struct base {
	struct moe_effects *f;
	size_t *sample;                 /* [n]: their numbers */
	double *tokens, *questions, *loss, *right;      /* [n] */
	size_t n;
	atomic_bool failed;
};

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory"); }

static void add_sample(struct base *b, size_t i)
{
	const struct moe_asked_sample *s = b->f->a->e->sample[i];
	size_t n = b->n;

	for (size_t k = 0; k < s->n; k++) {
		const struct moe_asked *q = &s->asked[k];
		b->questions[n] += q->own.done;
		b->tokens[n] += q->own.done ? (double)q->n_answer : 0;
		b->loss[n] -= q->own.done ? q->own.logprob : 0;
		b->right[n] += q->own.done && q->own.right;
	}
	b->sample[n] = i;
	b->n += b->questions[n] > 0;
}

static enum moe_err make_base(struct base *b, struct moe_diag *d)
{
	struct moe_effects *f = b->f;
	size_t n = f->a->e->n_samples;
	double loss = 0;

	b->sample = moe_calloc(n, sizeof *b->sample);
	b->tokens = moe_calloc(n, sizeof *b->tokens);
	b->questions = moe_calloc(n, sizeof *b->questions);
	b->loss = moe_calloc(n, sizeof *b->loss);
	b->right = moe_calloc(n, sizeof *b->right);
	if (!b->sample || !b->tokens || !b->questions || !b->loss || !b->right)
		return no_memory(d);
	for (size_t i = 0; i < n; i++)
		add_sample(b, i);
	if (!b->n)
		return moe_fail(d, MOE_EINPUT, "no question was asked");
	f->samples = b->n;
	for (size_t i = 0; i < b->n; i++) {
		f->questions += (uint64_t)b->questions[i];
		f->tokens += (uint64_t)b->tokens[i];
		f->right += (uint64_t)b->right[i];
		loss += b->loss[i];
	}
	f->loss = loss / (double)f->tokens;
	return MOE_OK;
}

static enum moe_err change(struct moe_change *c, const double *part, const double *whole, size_t n)
{
	double p = 0, w = 0;

	for (size_t i = 0; i < n; i++) {
		p += part[i];
		w += whole[i];
	}
	c->by = p / w;
	return moe_bootstrap_ratio(part, whole, n, &c->low, &c->high, NULL);
}

static uint64_t count_touched(const struct moe_ablation *a, const struct moe_ablate_case *c)
{
	uint64_t n = 0;

	for (size_t i = 0; i < a->e->n_samples; i++)
		for (size_t k = 0; k < a->e->sample[i]->n; k++)
			n += a->e->sample[i]->asked[k].own.done && moe_ablate_touches(a, c, &a->e->sample[i]->asked[k]);
	return n;
}

static void make_effect(void *arg, size_t number)
{
	struct base *b = arg;
	const struct moe_ablation *a = b->f->a;
	const struct moe_ablate_sum *sum = a->sum + number * a->e->n_samples;
	struct moe_effect *e = &b->f->effect[number];
	double *loss = moe_calloc(b->n, sizeof *loss), *right = moe_calloc(b->n, sizeof *right);

	*e = (struct moe_effect){.c = a->list[number], .touched = count_touched(a, &a->list[number])};
	for (size_t i = 0; loss && right && i < b->n; i++) {
		const struct moe_ablate_sum *s = &sum[b->sample[i]];
		loss[i] = s->loss - b->loss[i];
		right[i] = (double)s->right - b->right[i];
		e->changed += s->changed;
	}
	if (!loss || !right || change(&e->loss, loss, b->tokens, b->n) || change(&e->right, right, b->questions, b->n))
		atomic_store(&b->failed, true);
	free(loss);
	free(right);
}

enum moe_err moe_effects_make(struct moe_effects *out, const struct moe_ablation *a, struct moe_pool *pool, struct moe_diag *d)
{
	struct base b = {.f = out};
	enum moe_err err;

	*out = (struct moe_effects){.a = a, .effect = moe_calloc(a->n, sizeof *out->effect)};
	err = out->effect ? make_base(&b, d) : no_memory(d);
	if (!err)
		moe_pool_run(pool, (double)a->n * (double)b.n * MOE_BOOTSTRAP_RESAMPLES * 8, a->n, make_effect, &b);
	if (!err && atomic_load(&b.failed))
		err = no_memory(d);
	free(b.sample);
	free(b.tokens);
	free(b.questions);
	free(b.loss);
	free(b.right);
	return err;
}

void moe_effects_free(struct moe_effects *f)
{
	free(f->effect);
	*f = (struct moe_effects){0};
}
