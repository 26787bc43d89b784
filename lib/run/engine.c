#include "run/engine.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "model/plan.h"
#include "stage/embed.h"
#include "stage/patchify.h"

/* A sequence on its way. */
struct sequence {
	struct moe_job job;
	struct moe_cache *cache;        /* [layers] */
	size_t slots;                   /* rows in the caches */
	struct moe_cursor next;
	uint32_t step;
	struct moe_reply reply;
	size_t n_prompt, n_told;        /* rows of the prompt; bytes of the text that were given as partial */
	struct moe_layout layout;       /* of the prompt, or of the token that was generated last */
	float *x;                       /* its rows */
	size_t from, to;                /* rows of the layout that this pass computes; to = from: none */
	struct moe_arena *own;          /* holds layout and x of the prompt until all of it has been computed */
	bool shadow;                    /* behind the sequence before it, with the prompt that guides away; its tokens are the other's */
	float *logit;                   /* [vocab] of its last row, where two are mixed; `waits`: until the other's are there, too */
	bool waits;
};

/* Rows of prompts in a pass: enough for full tiles in every expert, few enough for the caches of the CPU. */
enum { PROMPT_ROWS = MOE_PASS_ROWS };

struct state {
	const struct moe_engine *e;
	struct sequence *seq;           /* [width], the first n are open */
	size_t n, width;                /* width: the window, or twice that where each sequence has a shadow behind it */
	bool exhausted;
	struct moe_image_plan plan;
	struct moe_arena scratch;
	struct moe_arena **spare;       /* [n_spare] for prompts */
	size_t n_spare;
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
	free(q->logit);
	if (q->own)
		s->spare[s->n_spare++] = q->own;
	moe_reply_free(&q->reply);
	moe_job_free(&q->job);
	*q = (struct sequence){0};
}

static enum moe_err give_answer(struct state *s, const struct sequence *q, struct moe_diag *d)
{
	struct moe_answer a = {.name = q->job.name, .error = q->job.error, .prompt = q->job.prompt->text, .n_prompt = q->n_prompt};

	moe_reply_answer(&q->reply, s->e->generation, &a);
	return s->e->answer(s->e->self, q->job.index, &a, d);
}

static enum moe_err give_partial(struct state *s, struct sequence *q, struct moe_diag *d)
{
	size_t from = q->n_told;

	if (!s->e->partial || q->reply.n_sure <= from)
		return MOE_OK;
	q->n_told = q->reply.n_sure;
	return s->e->partial(s->e->self, q->job.index, q->reply.text + from, q->n_told - from, d);
}

/* An arena for a prompt: a used one if there is one. */
static struct moe_arena *take_arena(struct state *s)
{
	if (!s->n_spare)
		return calloc(1, sizeof(struct moe_arena));
	moe_arena_reset(s->spare[s->n_spare - 1]);
	return s->spare[--s->n_spare];
}

/* Caches and the like of the sequence that was admitted last. */
static enum moe_err equip(struct state *s, struct sequence *q, struct moe_diag *d)
{
	const struct moe_spec *spec = s->e->model->spec;

	q->cache = calloc((size_t)spec->n_layers, sizeof *q->cache);
	q->own = take_arena(s);
	q->logit = s->e->against ? malloc((size_t)spec->vocab * sizeof *q->logit) : NULL;
	return q->cache && q->own && (q->logit || !s->e->against) ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
}

/* The shadow of the sequence that was admitted last. */
static enum moe_err admit_shadow(struct state *s, struct moe_diag *d)
{
	struct sequence *q = &s->seq[s->n++];

	*q = (struct sequence){.next = moe_first_position(s->e->model->spec), .shadow = true, .job = {.index = q[-1].job.index, .prompt = s->e->against}};
	return equip(s, q, d);
}

/* Lets new sequences into the window. Failed jobs are answered at once. */
static enum moe_err admit(struct state *s, struct moe_diag *d)
{
	size_t rows = 0;

	while (!s->exhausted && s->n < s->width && (rows < PROMPT_ROWS || s->e->groups)) {
		struct sequence *q = &s->seq[s->n];
		enum moe_err err;
		*q = (struct sequence){.next = moe_first_position(s->e->model->spec)};
		err = s->e->next(s->e->self, &q->job, !s->n || s->e->groups, d);
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
			if (s->e->groups && s->n)
				return MOE_OK;
			continue;
		}
		rows += q->job.prompt->n + q->job.n_pictures * moe_plan_most_patches(&s->plan);
		MOE_TRY(equip(s, q, d));
		if (s->e->against)
			MOE_TRY(admit_shadow(s, d));
	}
	return MOE_OK;
}

/* The features of the job's pictures, or those that were given. */
static enum moe_err prompt_features(struct state *s, struct sequence *q, struct moe_patch_grid **grid, float ***feature, struct moe_diag *d)
{
	struct moe_compute work = {&s->scratch, s->e->pool, NULL};
	size_t n = q->job.n_pictures;

	if (s->e->given && !q->shadow) {
		*grid = s->e->given->grid;
		*feature = s->e->given->feature;
		return MOE_OK;
	}
	*grid = moe_arena_get(&s->scratch, n + 1, sizeof **grid);
	*feature = moe_arena_get(&s->scratch, n + 1, sizeof **feature);
	if (!*grid || !*feature)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		MOE_TRY(moe_feature_cache_encode(s->e->features, s->e->model, &s->plan, &q->job.picture[i], &(*feature)[i], &(*grid)[i], &work, d));
	return MOE_OK;
}

/* Rows of a prompt. Its pictures are not needed afterwards. */
static enum moe_err open_prompt(struct state *s, struct sequence *q, struct moe_diag *d)
{
	const struct moe_model *m = s->e->model;
	const struct moe_prompt_ids *p = q->job.prompt;
	struct moe_arena_mark mark = moe_arena_mark(&s->scratch);
	struct moe_patch_grid *grid;
	float **feature;
	bool pictures = q->job.n_pictures || (s->e->given && !q->shadow);

	MOE_TRY(prompt_features(s, q, &grid, &feature, d));
	MOE_TRY(moe_layout_make(&q->layout, m->spec, p->token, p->n, pictures ? grid : NULL, q->next, q->own, d));
	q->x = moe_arena_get(q->own, q->layout.rows * (size_t)m->spec->hidden, sizeof *q->x);
	if (!q->x)
		return moe_fail(d, MOE_ENOMEM, "out of memory for %zu rows", q->layout.rows);
	MOE_TRY(moe_rows_forward(m, &q->layout, grid, feature, q->x, d));
	for (size_t i = 0; i < q->job.n_pictures; i++) {
		free(q->job.picture[i].rgb);
		q->job.picture[i].rgb = NULL;
	}
	q->n_prompt = q->layout.rows;
	moe_arena_release(&s->scratch, mark);
	return moe_reply_prompt(&q->reply, s->e->generation, p->token, p->n, d);
}

/* The tokens behind the prompt of a sequence. */
static const struct moe_ids *generated(const struct sequence *q) { return q->shadow ? &q[-1].reply.ids : &q->reply.ids; }

/* The row of the token that was generated last. */
static enum moe_err token_row(struct state *s, struct sequence *q, struct moe_diag *d)
{
	const struct moe_ids *ids = generated(q);

	MOE_TRY(moe_layout_make(&q->layout, s->e->model->spec, &ids->id[ids->n - 1], 1, NULL, q->next, &s->scratch, d));
	q->x = moe_arena_get(&s->scratch, (size_t)s->e->model->spec->hidden, sizeof *q->x);
	q->from = 0;
	q->to = 1;
	return q->x ? moe_rows_forward(s->e->model, &q->layout, NULL, NULL, q->x, d) : moe_fail(d, MOE_ENOMEM, "out of memory");
}

/* Rows for this pass: a token for those that generate; prompts, one after the other, until there are enough rows. Only a long prompt is cut. */
static enum moe_err open_rows(struct state *s, struct moe_diag *d)
{
	size_t room = PROMPT_ROWS;

	for (size_t i = 0; i < s->n; i++) {
		struct sequence *q = &s->seq[i];
		if (generated(q)->n) {
			MOE_TRY(token_row(s, q, d));
			continue;
		}
		if (!q->slots && !q->n_prompt)
			MOE_TRY(open_prompt(s, q, d));
		q->from = q->to = q->slots;
		if ((room || s->e->groups) && !q->waits)
			q->to = s->e->groups ? q->layout.rows : moe_layout_chunk(&q->layout, s->e->model->spec, q->from, PROMPT_ROWS);
		room -= moe_min(room, q->to - q->from);
	}
	return MOE_OK;
}

/* Joins the rows of this pass into one batch: a span for each sequence that has some. */
static enum moe_err gather(struct state *s, struct moe_pass *p, struct moe_diag *d)
{
	struct moe_arena *a = &s->scratch;
	size_t rows = 0, axes = (size_t)s->e->model->spec->attention.rope.axes, at = 0, hidden = (size_t)s->e->model->spec->hidden, spans = 0;
	struct moe_pass_sequence *sequence = moe_arena_get(a, s->n, sizeof *sequence);
	struct moe_span *span = moe_arena_get(a, s->n, sizeof *span);
	int32_t *token, *image, *patch, *position;
	uint8_t *modality;

	for (size_t i = 0; i < s->n; i++)
		rows += s->seq[i].to - s->seq[i].from;
	token = moe_arena_get(a, rows, sizeof *token);
	image = moe_arena_get(a, rows, sizeof *image);
	patch = moe_arena_get(a, rows, sizeof *patch);
	position = moe_arena_get(a, rows * axes, sizeof *position);
	modality = moe_arena_get(a, rows, 1);
	if (!sequence || !span || !token || !image || !patch || !position || !modality)
		return moe_fail(d, MOE_ENOMEM, "out of memory for a batch of %zu rows", rows);
	for (size_t i = 0; i < s->n; i++) {
		struct sequence *q = &s->seq[i];
		size_t n = q->to - q->from;
		if (!n)
			continue;
		memcpy(token + at, q->layout.token + q->from, n * sizeof *token);
		memcpy(image + at, q->layout.image + q->from, n * sizeof *image);
		memcpy(patch + at, q->layout.patch + q->from, n * sizeof *patch);
		memcpy(modality + at, q->layout.modality + q->from, n);
		for (size_t x = 0; x < axes; x++)
			memcpy(position + x * rows + at, q->layout.position + x * q->layout.rows + q->from, n * sizeof *position);
		span[spans] = (struct moe_span){.first = at, .n = n, .x = q->x + q->from * hidden, .start = (uint32_t)q->slots, .cache = q->cache};
		sequence[spans++] = (struct moe_pass_sequence){q->job.index, q->job.name, q->step, q->layout.next.position, q->shadow};
		at += n;
	}
	*p = (struct moe_pass){.token = token, .patch = patch, .modality = modality, .sequence = sequence, .compute = {a, s->e->pool, &s->blocks}};
	p->batch = (struct moe_batch){.rows = rows, .hidden = hidden, .axes = axes, .position = position, .image = image,
				       .modality = modality, .span = span, .spans = spans};
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

/* Has the last row of each span go on alone. */
static void keep_last(struct moe_batch *b)
{
	for (size_t i = 0; i < b->spans; i++)
		b->span[i].keep = 1;
}

/* All layers. In the last one, rows whose result nobody reads stop behind their keys and values, or, where somebody watches or chooses among rows, behind
 * the router. */
static enum moe_err run_layers(struct state *s, struct moe_pass *p, struct moe_diag *d)
{
	const struct moe_engine *e = s->e;
	size_t layers = (size_t)e->model->spec->n_layers;

	for (p->layer = 0; p->layer < layers; p->layer++) {
		struct moe_arena_mark mark;
		bool last = p->layer + 1 == layers && !e->replace, routed = e->watch || e->groups;
		if (last && !routed)
			keep_last(&p->batch);
		MOE_TRY(run_step(e, p, MOE_PASS_ATTEND, d));
		mark = moe_arena_mark(&s->scratch);
		MOE_TRY(blame(p, run_step(e, p, MOE_PASS_ROUTE, d), d));
		if (last && routed) {
			keep_last(&p->batch);
			moe_layer_keep(&p->batch, &p->routed);
		}
		MOE_TRY(run_step(e, p, MOE_PASS_EXPERT, d));
		moe_arena_release(&s->scratch, mark);
	}
	return MOE_OK;
}

/* Is the pass's last row of the sequence the one that its next token comes from? */
static bool complete(const struct sequence *q) { return q->to > q->from && q->to == q->layout.rows; }

/* The logits of the last row of each sequence that is complete, in their order. */
static enum moe_err last_logits(struct state *s, const struct moe_pass *p, float **logit, struct moe_diag *d)
{
	size_t hidden = p->batch.hidden, n = 0, span = 0;
	float *x = moe_arena_get(&s->scratch, s->n * hidden, sizeof *x);

	*logit = moe_arena_get(&s->scratch, s->n * (size_t)s->e->model->spec->vocab, sizeof **logit);
	if (!x || !*logit)
		return moe_fail(d, MOE_ENOMEM, "out of memory for the logits of %zu sequences", s->n);
	for (size_t i = 0; i < s->n; i++) {
		const struct moe_span *k = &p->batch.span[span];
		span += s->seq[i].to > s->seq[i].from;
		if (complete(&s->seq[i]))
			memcpy(x + n++ * hidden, k->x + (k->n - 1) * hidden, hidden * sizeof *x);
	}
	return moe_head_forward(s->e->model, x, n, *logit, &p->compute, d);
}

/* What has been computed of the sequence lies behind it. */
static void go_on(struct state *s, struct sequence *q)
{
	q->next = q->layout.next;
	q->step++;
	q->waits = false;
	if (q->own) {
		s->spare[s->n_spare++] = q->own;
		q->own = NULL;
	}
}

/* The sequence's next token. */
static enum moe_err add_token(struct state *s, struct sequence *q, const float *logit, struct moe_diag *d)
{
	q->reply.picture = q->layout.next.picture;
	MOE_TRY(moe_reply_next(&q->reply, s->e->generation, logit, q->job.index, &s->scratch, d));
	go_on(s, q);
	if (s->e->against)
		go_on(s, q + 1);
	return give_partial(s, q, d);
}

/* Keeps logits until both of a sequence and its shadow are there. The sequence's own become the mixture then; else NULL. */
static const float *mix(const struct state *s, struct sequence *q, const float *logit)
{
	size_t vocab = (size_t)s->e->model->spec->vocab;
	struct sequence *guided = q->shadow ? q - 1 : q;

	memcpy(q->logit, logit, vocab * sizeof *logit);
	q->waits = true;
	if (!guided[0].waits || !guided[1].waits)
		return NULL;
	for (size_t i = 0; i < vocab; i++)
		guided->logit[i] = guided[1].logit[i] + s->e->guidance * (guided->logit[i] - guided[1].logit[i]);
	return guided->logit;
}

/* One token for every sequence that is complete. */
static enum moe_err add_tokens(struct state *s, const float *logit, struct moe_diag *d)
{
	for (size_t i = 0; i < s->n; i++) {
		struct sequence *q = &s->seq[i];
		const float *own = logit;
		bool whole = complete(q);
		q->slots += q->to - q->from;
		if (!whole)
			continue;
		logit += s->e->model->spec->vocab;
		if (s->e->against)
			own = mix(s, q, own);
		if (own)
			MOE_TRY(add_token(s, q->shadow ? q - 1 : q, own, d));
	}
	return MOE_OK;
}

/* Finished sequences are answered and leave, and their shadows with them. */
static enum moe_err leave(struct state *s, struct moe_diag *d)
{
	size_t kept = 0, n = s->n;

	for (size_t i = 0; i < n; i++) {
		struct sequence *q = &s->seq[i];
		if (q->reply.done) {
			MOE_TRY(give_answer(s, q, d));
			close_sequence(s, q);
			if (s->e->against)
				close_sequence(s, &s->seq[++i]);
			continue;
		}
		if (kept != i) {
			s->seq[kept] = *q;
			*q = (struct sequence){0};
		}
		kept++;
	}
	s->n = kept;
	return MOE_OK;
}

static enum moe_err pass(struct state *s, struct moe_diag *d)
{
	struct moe_pass p;
	float *logit;

	moe_arena_reset(&s->scratch);
	MOE_TRY(open_rows(s, d));
	MOE_TRY(gather(s, &p, d));
	MOE_TRY(run_layers(s, &p, d));
	MOE_TRY(last_logits(s, &p, &logit, d));
	MOE_TRY(add_tokens(s, logit, d));
	return leave(s, d);
}

static enum moe_err run(struct state *s, struct moe_diag *d)
{
	const struct moe_spec *spec = s->e->model->spec;

	s->width = s->e->window * (s->e->against ? 2 : 1);
	s->seq = calloc(s->width, sizeof *s->seq);
	s->spare = calloc(s->width, sizeof *s->spare);
	if (!s->seq || !s->spare)
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

	for (size_t i = 0; s.seq && i < s.width; i++)
		close_sequence(&s, &s.seq[i]);
	while (s.n_spare) {
		moe_arena_free(s.spare[--s.n_spare]);
		free(s.spare[s.n_spare]);
	}
	free(s.spare);
	free(s.seq);
	moe_cache_pool_free(&s.blocks);
	moe_arena_free(&s.scratch);
	return err;
}
