#include "run/engine.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "nn/sample.h"
#include "stage/decode.h"
#include "stage/embed.h"
#include "stage/encode.h"
#include "stage/patchify.h"

/* A sequence on its way. */
struct sequence {
	struct moe_job job;
	struct moe_cache *cache;        /* [layers] */
	size_t slots;                   /* rows in the caches */
	uint32_t next, step;
	struct moe_ids ids;
	float logprob;
	size_t n_prompt;
	struct moe_layout layout;       /* of this pass */
	float *x;                       /* its rows, of this pass */
};

/* Rows of new prompts after which a pass takes no more: enough for full tiles in every expert, few enough for the caches of the CPU. */
enum { PROMPT_ROWS = 512 };

struct state {
	const struct moe_engine *e;
	struct sequence *seq;           /* [window], the first n are open */
	size_t n;
	bool exhausted, *suppress;
	struct moe_image_plan plan;
	struct moe_arena scratch;
	struct moe_cache_pool blocks;
};

void moe_job_free(struct moe_job *j)
{
	for (size_t i = 0; i < j->n_pictures; i++)
		free(j->picture[i].rgb);
	free(j->picture);
	free(j->name);
	free(j->error);
	*j = (struct moe_job){0};
}

static void close_sequence(struct state *s, struct sequence *q)
{
	for (int64_t l = 0; q->cache && l < s->e->model->spec->n_layers; l++)
		moe_cache_free(&q->cache[l], &s->blocks);
	free(q->cache);
	free(q->ids.id);
	moe_job_free(&q->job);
	*q = (struct sequence){0};
}

static enum moe_err give_answer(struct state *s, const struct sequence *q, struct moe_diag *d)
{
	struct moe_answer a = {.name = q->job.name, .error = q->job.error, .ids = q->ids, .logprob = q->logprob, .n_prompt = q->n_prompt, .text = ""};
	char *text = NULL;
	size_t n = 0, cap = 0;
	enum moe_err err = MOE_OK;

	if (!a.error)
		err = moe_tokenizer_decode(s->e->tokenizer, q->ids.id, q->ids.n, true, &text, &n, &cap, d);
	if (text) {
		a.text = text;
		a.n_text = n;
	}
	if (!err)
		err = s->e->answer(s->e->self, q->job.index, &a, d);
	free(text);
	return err;
}

/* Lets new sequences into the window. Failed jobs are answered at once. */
static enum moe_err admit(struct state *s, struct moe_diag *d)
{
	size_t rows = 0;

	while (!s->exhausted && s->n < s->e->window && rows < PROMPT_ROWS) {
		struct sequence *q = &s->seq[s->n];
		enum moe_err err;
		*q = (struct sequence){.next = moe_first_position(s->e->model->spec)};
		err = s->e->next(s->e->self, &q->job, !s->n, d);
		if (err == MOE_AGAIN)
			return MOE_OK;
		if (err == MOE_END) {
			s->exhausted = true;
			return MOE_OK;
		}
		MOE_TRY(err);
		s->n++;
		if (q->job.error) {
			err = give_answer(s, q, d);
			close_sequence(s, q);
			s->n--;
			MOE_TRY(err);
			continue;
		}
		rows += q->job.n_tokens + q->job.n_pictures * moe_plan_most_patches(&s->plan);
		q->cache = calloc((size_t)s->e->model->spec->n_layers, sizeof *q->cache);
		if (!q->cache)
			return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	return MOE_OK;
}

/* Rows of a prompt. Its pictures are not needed afterwards. */
static enum moe_err prompt_rows(struct state *s, struct sequence *q, struct moe_diag *d)
{
	const struct moe_model *m = s->e->model;
	struct moe_compute work = {&s->scratch, s->e->pool, NULL};
	size_t n = q->job.n_pictures, hidden = (size_t)m->spec->hidden;
	struct moe_patch_grid *grid = moe_arena_get(&s->scratch, n + 1, sizeof *grid);
	float **feature = moe_arena_get(&s->scratch, n + 1, sizeof *feature);

	if (!grid || !feature)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		MOE_TRY(moe_picture_encode(m, &s->plan, &q->job.picture[i], &feature[i], &grid[i], &work, d));
	MOE_TRY(moe_layout_make(&q->layout, m->spec, q->job.token, q->job.n_tokens, n ? grid : NULL, q->next, &s->scratch, d));
	q->x = moe_arena_get(&s->scratch, q->layout.rows * hidden, sizeof *q->x);
	if (!q->x)
		return moe_fail(d, MOE_ENOMEM, "out of memory for %zu rows", q->layout.rows);
	MOE_TRY(moe_rows_forward(m, &q->layout, grid, feature, q->x, d));
	for (size_t i = 0; i < n; i++) {
		free(q->job.picture[i].rgb);
		q->job.picture[i].rgb = NULL;
	}
	q->n_prompt = q->layout.rows;
	return MOE_OK;
}

/* The row of the token that was generated last. */
static enum moe_err token_row(struct state *s, struct sequence *q, struct moe_diag *d)
{
	MOE_TRY(moe_layout_make(&q->layout, s->e->model->spec, &q->ids.id[q->ids.n - 1], 1, NULL, q->next, &s->scratch, d));
	q->x = moe_arena_get(&s->scratch, (size_t)s->e->model->spec->hidden, sizeof *q->x);
	return q->x ? moe_embed_forward(s->e->model, q->layout.token, 1, q->x, d) : moe_fail(d, MOE_ENOMEM, "out of memory");
}

/* Joins the rows of all open sequences into one batch. */
static enum moe_err gather(struct state *s, struct moe_pass *p, struct moe_diag *d)
{
	struct moe_arena *a = &s->scratch;
	size_t rows = 0, axes = (size_t)s->e->model->spec->attention.rope_axes, at = 0;
	struct moe_pass_sequence *sequence = moe_arena_get(a, s->n, sizeof *sequence);
	struct moe_span *span = moe_arena_get(a, s->n, sizeof *span);
	int32_t *token, *image, *patch, *position;
	uint8_t *modality;

	for (size_t i = 0; i < s->n; i++)
		rows += s->seq[i].layout.rows;
	token = moe_arena_get(a, rows, sizeof *token);
	image = moe_arena_get(a, rows, sizeof *image);
	patch = moe_arena_get(a, rows, sizeof *patch);
	position = moe_arena_get(a, rows * axes, sizeof *position);
	modality = moe_arena_get(a, rows, 1);
	*p = (struct moe_pass){.token = token, .patch = patch, .modality = modality, .sequence = sequence, .compute = {a, s->e->pool, &s->blocks}};
	p->batch = (struct moe_batch){.rows = rows, .hidden = (size_t)s->e->model->spec->hidden, .axes = axes,
				      .position = position, .image = image, .span = span, .spans = s->n};
	if (!sequence || !span || !token || !image || !patch || !position || !modality)
		return moe_fail(d, MOE_ENOMEM, "out of memory for a batch of %zu rows", rows);
	for (size_t i = 0; i < s->n; i++) {
		struct sequence *q = &s->seq[i];
		size_t n = q->layout.rows;
		memcpy(token + at, q->layout.token, n * sizeof *token);
		memcpy(image + at, q->layout.image, n * sizeof *image);
		memcpy(patch + at, q->layout.patch, n * sizeof *patch);
		memcpy(modality + at, q->layout.modality, n);
		for (size_t x = 0; x < axes; x++)
			memcpy(position + x * rows + at, q->layout.position + x * n, n * sizeof *position);
		span[i] = (struct moe_span){.first = at, .n = n, .x = q->x, .start = (uint32_t)q->slots, .cache = q->cache};
		sequence[i] = (struct moe_pass_sequence){q->job.index, q->job.name, q->step, q->layout.next};
		at += n;
	}
	return MOE_OK;
}

static enum moe_err run_step(const struct moe_engine *e, struct moe_pass *p, enum moe_pass_step step, struct moe_diag *d)
{
	bool done = false;

	if (e->replace)
		MOE_TRY(e->replace(e->self, p, step, &done, d));
	if (!done && step == MOE_PASS_ATTEND)
		MOE_TRY(moe_layer_attend(e->model, p->layer, &p->batch, &p->compute, d));
	else if (!done && step == MOE_PASS_ROUTE)
		MOE_TRY(moe_layer_route(e->model, p->layer, &p->batch, e->what_if, &p->routed, &p->compute, d));
	else if (!done)
		MOE_TRY(moe_layer_expert(e->model, p->layer, &p->batch, &p->routed, &p->compute, d));
	return step == MOE_PASS_ROUTE && e->watch && p->routed.top_k ? e->watch(e->self, p, d) : MOE_OK;
}

/* Names the sequence that a step's failure is about. */
static enum moe_err blame(const struct moe_pass *p, enum moe_err err, struct moe_diag *d)
{
	const struct moe_span *s = err ? moe_batch_blame(&p->batch, d) : NULL;

	if (s)
		moe_diag_path(d, p->sequence[s - p->batch.span].name);
	return err;
}

/* All layers. In the last one, rows whose result nobody reads stop behind their keys and values. */
static enum moe_err run_layers(struct state *s, struct moe_pass *p, struct moe_diag *d)
{
	const struct moe_engine *e = s->e;
	size_t layers = (size_t)e->model->spec->n_layers;

	for (p->layer = 0; p->layer < layers; p->layer++) {
		struct moe_arena_mark mark;
		for (size_t i = 0; i < s->n; i++)
			p->batch.span[i].keep = p->layer + 1 == layers && !e->watch && !e->replace;
		MOE_TRY(run_step(e, p, MOE_PASS_ATTEND, d));
		mark = moe_arena_mark(&s->scratch);
		MOE_TRY(blame(p, run_step(e, p, MOE_PASS_ROUTE, d), d));
		MOE_TRY(run_step(e, p, MOE_PASS_EXPERT, d));
		moe_arena_release(&s->scratch, mark);
	}
	return MOE_OK;
}

/* The logits of the last row of each sequence. */
static enum moe_err last_logits(struct state *s, const struct moe_pass *p, float **logit, struct moe_diag *d)
{
	size_t hidden = p->batch.hidden;
	float *x = moe_arena_get(&s->scratch, s->n * hidden, sizeof *x);

	*logit = moe_arena_get(&s->scratch, s->n * (size_t)s->e->model->spec->vocab, sizeof **logit);
	if (!x || !*logit)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the logits of %zu sequences", s->n);
	for (size_t i = 0; i < s->n; i++)
		memcpy(x + i * hidden, p->batch.span[i].x + (p->batch.span[i].n - 1) * hidden, hidden * sizeof *x);
	return moe_head_forward(s->e->model, x, s->n, *logit, &p->compute, d);
}

/* One token for every open sequence; finished ones are answered and leave. */
static enum moe_err choose(struct state *s, const float *logit, struct moe_diag *d)
{
	const struct moe_spec *spec = s->e->model->spec;
	float *scratch = moe_arena_get(&s->scratch, (size_t)spec->vocab, sizeof *scratch);
	size_t kept = 0, n = s->n;

	if (!scratch)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		struct sequence *q = &s->seq[i];
		struct moe_choice c;
		MOE_TRY(moe_choose_greedy(logit + i * (size_t)spec->vocab, (size_t)spec->vocab, s->suppress, scratch, &c, d));
		MOE_TRY(moe_grow(&q->ids.id, &q->ids.cap, q->ids.n + 1, sizeof *q->ids.id, d));
		q->ids.id[q->ids.n++] = c.token;
		q->logprob += c.logprob;
		q->slots += q->layout.rows;
		q->next = q->layout.next;
		q->step++;
		if (moe_is_end(spec, c.token) || q->ids.n >= s->e->max_new) {
			MOE_TRY(give_answer(s, q, d));
			close_sequence(s, q);
		} else {
			if (kept != i) {
				s->seq[kept] = *q;
				*q = (struct sequence){0};
			}
			kept++;
		}
	}
	s->n = kept;
	return MOE_OK;
}

static enum moe_err pass(struct state *s, struct moe_diag *d)
{
	struct moe_pass p;
	float *logit;

	moe_arena_reset(&s->scratch);
	for (size_t i = 0; i < s->n; i++)
		MOE_TRY(s->seq[i].slots ? token_row(s, &s->seq[i], d) : prompt_rows(s, &s->seq[i], d));
	MOE_TRY(gather(s, &p, d));
	MOE_TRY(run_layers(s, &p, d));
	MOE_TRY(last_logits(s, &p, &logit, d));
	return choose(s, logit, d);
}

static enum moe_err run(struct state *s, struct moe_diag *d)
{
	const struct moe_spec *spec = s->e->model->spec;

	s->suppress = moe_suppress_table(spec);
	s->seq = calloc(s->e->window, sizeof *s->seq);
	if (!s->suppress || !s->seq)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	if (spec->tower.kind != MOE_TOWER_NONE)
		MOE_TRY(moe_plan_from_spec(&s->plan, spec, s->e->image, d));
	for (;;) {
		MOE_TRY(admit(s, d));
		if (!s->n)
			return MOE_OK;
		MOE_TRY(pass(s, d));
	}
}

enum moe_err moe_engine_run(const struct moe_engine *e, struct moe_diag *d)
{
	struct state s = {.e = e, .blocks = {.kv_heads = (size_t)e->model->spec->attention.kv_heads, .dim = (size_t)e->model->spec->attention.head_dim}};
	enum moe_err err = run(&s, d);

	for (size_t i = 0; s.seq && i < e->window; i++)
		close_sequence(&s, &s.seq[i]);
	free(s.seq);
	free(s.suppress);
	moe_cache_pool_free(&s.blocks);
	moe_arena_free(&s.scratch);
	return err;
}
