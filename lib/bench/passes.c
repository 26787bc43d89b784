#include "bench/passes.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/rng.h"
#include "kernel/pack.h"
#include "sys/clock.h"

enum { SEED = 1 };

static uint64_t mat_nbytes(const struct moe_mat *w)
{
	if (!w->data)
		return 0;
	return w->packed ? moe_pack_nbytes(w) : moe_dtype_nbytes(w->type, w->rows * w->cols);
}

static uint64_t expert_nbytes(const struct moe_expert_weights *e) { return mat_nbytes(&e->gate) + mat_nbytes(&e->up) + mat_nbytes(&e->down); }

/* Experts that a token passes in a layer that has some. */
static double per_token(const struct moe_spec *s)
{
	return s->router.chooses == MOE_CHOICE_EXPERT ? moe_router_capacity(&s->router) : (double)s->router.top_k;
}

uint64_t moe_bench_weight_nbytes(const struct moe_model *m)
{
	size_t experts = (size_t)m->spec->router.experts;
	uint64_t n = mat_nbytes(&m->lm_head);

	for (size_t l = 0; l < (size_t)m->spec->n_layers; l++) {
		const struct moe_attention_weights *a = &m->layer[l].attention;
		const struct moe_ffn_weights *f = &m->layer[l].ffn;
		uint64_t all = 0;
		n += mat_nbytes(&a->q) + mat_nbytes(&a->k) + mat_nbytes(&a->v) + mat_nbytes(&a->o);
		n += mat_nbytes(&f->router) + mat_nbytes(&f->shared_gate) + expert_nbytes(&f->shared);
		for (size_t e = 0; f->expert && moe_spec_top_k(m->spec, l) && e < experts; e++)
			all += expert_nbytes(&f->expert[e]);
		n += experts ? (uint64_t)((double)(all / experts) * per_token(m->spec)) : 0;
	}
	return n;
}

static enum moe_err ignore_logits(void *self, size_t first, size_t count, const float *logit, struct moe_diag *d)
{
	(void)self, (void)first, (void)count, (void)logit, (void)d;
	return MOE_OK;
}

static void fill_tokens(int32_t *token, size_t n, int64_t vocab)
{
	for (size_t i = 0; i < n; i++)
		token[i] = (int32_t)(moe_random_u64(SEED, 0, i) % (uint64_t)vocab);
}

/* One pass; the seconds that it took. */
static enum moe_err run_once(struct moe_session *s, const int32_t *token, size_t n, size_t rows, double *seconds, struct moe_diag *d)
{
	double start;

	moe_session_clear(s);
	start = moe_clock();
	for (size_t at = 0; at < n; at += rows)
		MOE_TRY(moe_session_extend(s, token + at, moe_min(rows, n - at), NULL, NULL, false, ignore_logits, NULL, d));
	*seconds = moe_clock() - start;
	return MOE_OK;
}

static enum moe_err run_all(struct moe_bench_pass *p, struct moe_session *s, const int32_t *token, struct moe_diag *d)
{
	struct moe_times times = {0};
	double seconds;

	MOE_TRY(run_once(s, token, p->tokens, p->rows, &seconds, d));
	s->times = &times;
	for (size_t i = 0; i < p->repeats; i++) {
		enum moe_err err = run_once(s, token, p->tokens, p->rows, &seconds, d);
		if (err) {
			s->times = NULL;
			return err;
		}
		p->run[i] = (double)p->tokens / seconds;
	}
	s->times = NULL;
	p->rate = moe_spread_of(p->run, p->repeats);
	for (int i = 0; i < MOE_N_TIMES; i++)
		p->seconds[i] = times.seconds[i] / (double)(p->tokens * p->repeats);
	return MOE_OK;
}

enum moe_err moe_bench_run(struct moe_bench_pass *out, struct moe_session *s, size_t tokens, size_t rows, size_t repeats, struct moe_diag *d)
{
	int32_t *token = calloc(tokens, sizeof *token);
	size_t logit_rows = (tokens + rows - 1) / rows;
	struct moe_sizes z;
	enum moe_err err;

	*out = (struct moe_bench_pass){.tokens = tokens, .rows = rows, .repeats = repeats, .run = calloc(repeats, sizeof *out->run)};
	err = token && out->run ? moe_spec_sizes(s->model->spec, &z, d) : moe_fail(d, MOE_ENOMEM, "out of memory");
	if (!err) {
		out->flops_per_token = (double)z.flops_per_token + 2.0 * (double)z.head * (double)logit_rows / (double)tokens;
		out->weight_nbytes = rows == 1 ? moe_bench_weight_nbytes(s->model) : 0;
		fill_tokens(token, tokens, s->model->spec->vocab);
		err = run_all(out, s, token, d);
	}
	free(token);
	if (err)
		moe_bench_free(out);
	return err;
}

void moe_bench_free(struct moe_bench_pass *p)
{
	free(p->run);
	*p = (struct moe_bench_pass){0};
}
