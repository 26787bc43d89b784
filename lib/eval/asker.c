#include "eval/asker.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "model/plan.h"
#include "stage/embed.h"
#include "stage/encode.h"

enum { HEAD_ROWS = 32 };        /* rows of logits at a time */

/* A carrier on its way: rows [0, slots) of its cache are what all its questions begin with, n_prefix tokens. */
struct course {
	const struct moe_carrier *carrier;
	struct moe_cache *cache;        /* [layers] */
	struct moe_patch_grid grid;
	const float *feature;           /* of the picture */
	size_t n_prefix, slots;
	struct moe_cursor next;         /* behind them */
	/* The question at hand: */
	const struct moe_ask *ask;
	struct moe_reply reply;
	size_t same;                    /* tokens that the model's own answer shares with the right one */
	size_t answer_slot;             /* of the answer's first token */
	struct moe_cursor answer_next;  /* where it stands */
};

/* Rows of one course that go through the layers together. */
struct part {
	struct course *c;
	struct moe_layout layout;
	float *x;
	size_t start;                   /* slot of the first */
	size_t logits;                  /* the last rows, whose logits are wanted */
	bool counted;                   /* its routing counts */
	bool patches;                   /* labels of its picture's patches are asked for */
};

struct moe_asker {
	const struct moe_model *model;
	const struct moe_image_plan *plan;
	const struct moe_generation *g;
	size_t patch_layer;
	struct moe_cache_pool blocks;
	struct moe_arena own, scratch;  /* of a call; of a pass */
	struct course *course;
	size_t n, cap;
	struct part *part;
	size_t n_parts, rows, part_cap;
	const struct moe_what_if_table *what_if;
	struct moe_load *load;
	float *room;                    /* [vocab] */
};

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory"); }

enum moe_err moe_asker_new(struct moe_asker **out, const struct moe_model *m, const struct moe_image_plan *plan, const struct moe_generation *g,
			   size_t patch_layer, struct moe_diag *d)
{
	struct moe_asker *a = calloc(1, sizeof *a);

	if (!a || !(a->room = moe_calloc((size_t)m->spec->vocab, sizeof *a->room))) {
		free(a);
		return no_memory(d);
	}
	a->model = m;
	a->plan = plan;
	a->g = g;
	a->patch_layer = patch_layer;
	a->blocks = (struct moe_cache_pool){.kv_heads = (size_t)m->spec->attention.kv_heads, .dim = (size_t)m->spec->attention.head_dim};
	*out = a;
	return MOE_OK;
}

static void end_courses(struct moe_asker *a)
{
	for (size_t i = 0; i < a->n; i++) {
		for (int64_t l = 0; a->course[i].cache && l < a->model->spec->n_layers; l++)
			moe_cache_free(&a->course[i].cache[l], &a->blocks);
		free(a->course[i].cache);
		moe_reply_free(&a->course[i].reply);
	}
	a->n = 0;
}

void moe_asker_free(struct moe_asker *a)
{
	if (!a)
		return;
	end_courses(a);
	moe_cache_pool_free(&a->blocks);
	moe_arena_free(&a->own);
	moe_arena_free(&a->scratch);
	free(a->course);
	free(a->part);
	free(a->room);
	free(a);
}

/* ---- passes ---- */

static enum moe_err add_part(struct moe_asker *a, struct part p, struct moe_diag *d)
{
	MOE_TRY(moe_grow(&a->part, &a->part_cap, a->n_parts + 1, sizeof *a->part, d));
	a->part[a->n_parts++] = p;
	a->rows += p.layout.rows;
	return MOE_OK;
}

static enum moe_err gather(struct moe_asker *a, struct moe_batch *b, struct moe_diag *d)
{
	size_t axes = (size_t)a->model->spec->attention.rope.axes, hidden = (size_t)a->model->spec->hidden, at = 0;
	int32_t *position = moe_arena_get(&a->scratch, a->rows * axes, sizeof *position), *image = moe_arena_get(&a->scratch, a->rows, sizeof *image);
	struct moe_span *span = moe_arena_get(&a->scratch, a->n_parts, sizeof *span);
	uint8_t *modality = moe_arena_get(&a->scratch, a->rows, 1);

	if (!position || !image || !span || !modality)
		return no_memory(d);
	for (size_t i = 0; i < a->n_parts; i++) {
		const struct part *p = &a->part[i];
		size_t n = p->layout.rows;
		memcpy(image + at, p->layout.image, n * sizeof *image);
		memcpy(modality + at, p->layout.modality, n);
		for (size_t x = 0; x < axes; x++)
			memcpy(position + x * a->rows + at, p->layout.position + x * n, n * sizeof *position);
		span[i] = (struct moe_span){.first = at, .n = n, .x = p->x, .start = (uint32_t)p->start, .cache = p->c->cache};
		at += n;
	}
	*b = (struct moe_batch){.rows = a->rows, .hidden = hidden, .axes = axes, .position = position, .image = image,
				.modality = modality, .span = span, .spans = a->n_parts};
	return MOE_OK;
}

static void count_routing(struct moe_asker *a, size_t layer, const struct moe_batch *b, const struct moe_routed *r)
{
	size_t experts = a->load ? a->load[layer].experts : 0;

	for (size_t i = 0; a->load && r->top_k && i < a->n_parts; i++) {
		const struct moe_span *s = &b->span[i];
		if (a->part[i].counted)
			moe_load_add(&a->load[layer], s->n, a->part[i].layout.modality, r->logit ? r->logit + s->first * experts : NULL, r->expert_id + s->first * r->top_k,
				     r->weight + s->first * r->top_k, b->depth.on ? b->depth.taken + s->first : NULL);
	}
}

/* Who was chosen by rows of a modality, for a question. */
static void mark(uint8_t *chose, const uint8_t *modality, size_t rows, const int32_t *id, size_t k)
{
	for (size_t i = 0; i < rows * k; i++)
		if (id[i] >= 0)
			chose[id[i]] |= (uint8_t)(1u << moe_modality_of(modality[i / k]));
}

/* Rows that all questions of a carrier have in common count for each of them. */
static void mark_routing(const struct moe_asker *a, size_t layer, const struct moe_batch *b, const struct moe_routed *r)
{
	size_t experts = (size_t)a->model->spec->router.experts;

	for (size_t i = 0; r->top_k && i < a->n_parts; i++) {
		const struct course *c = a->part[i].c;
		const struct moe_ask *ask = c->ask ? c->ask : c->carrier->ask;
		for (size_t n = c->ask ? 1 : c->carrier->n; n--; ask++)
			if (ask->q->chose && !ask->blind)
				mark(ask->q->chose + layer * experts, a->part[i].layout.modality, b->span[i].n, r->expert_id + b->span[i].first * r->top_k, r->top_k);
	}
}

/* Compares n logits with the labels of patches. */
static enum moe_err judge_patches(struct moe_asker *a, struct moe_patch_outcome *o, const int32_t *label, size_t n, const float *x, struct moe_diag *d)
{
	struct moe_compute work = {&a->scratch, NULL, &a->blocks};
	size_t vocab = (size_t)a->model->spec->vocab;
	struct moe_arena_mark mark = moe_arena_mark(&a->scratch);
	float *logit = moe_arena_get(&a->scratch, n * vocab, sizeof *logit);

	if (!logit)
		return no_memory(d);
	MOE_TRY(moe_head_forward(a->model, x, n, logit, &work, d));
	for (size_t i = 0; i < n; i++) {
		struct moe_choice c;
		if (label[i] < 0)
			continue;
		MOE_TRY(moe_choose_greedy(logit + i * vocab, vocab, NULL, a->room, &c, d));
		o->n++;
		o->right += c.token == label[i];
		o->logprob += moe_logprob(logit + i * vocab, vocab, (size_t)label[i], a->room);
	}
	moe_arena_release(&a->scratch, mark);
	return MOE_OK;
}

/* The picture's rows lie together. */
static enum moe_err ask_patches(struct moe_asker *a, const struct part *p, struct moe_diag *d)
{
	const struct moe_carrier *c = p->c->carrier;
	size_t first = 0, hidden = (size_t)a->model->spec->hidden, n;

	while (first < p->layout.rows && p->layout.image[first] < 0)
		first++;
	*c->patches = (struct moe_patch_outcome){0};
	for (size_t i = 0; first < p->layout.rows && i < c->n_labels; i += n) {
		n = moe_min(HEAD_ROWS, c->n_labels - i);
		MOE_TRY(judge_patches(a, c->patches, c->label + i, n, p->x + (first + i) * hidden, d));
	}
	return MOE_OK;
}

static enum moe_err run_layers(struct moe_asker *a, struct moe_batch *b, struct moe_diag *d)
{
	struct moe_compute work = {&a->scratch, NULL, &a->blocks};

	for (size_t layer = 0; layer < (size_t)a->model->spec->n_layers; layer++) {
		struct moe_arena_mark mark;
		struct moe_routed routed;
		MOE_TRY(moe_layer_attend(a->model, layer, b, &work, d));
		mark = moe_arena_mark(&a->scratch);
		MOE_TRY(moe_layer_route(a->model, layer, b, a->what_if, &routed, &work, d));
		count_routing(a, layer, b, &routed);
		mark_routing(a, layer, b, &routed);
		MOE_TRY(moe_layer_expert(a->model, layer, b, &routed, &work, d));
		moe_arena_release(&a->scratch, mark);
		for (size_t i = 0; layer + 1 == a->patch_layer && i < a->n_parts; i++)
			if (a->part[i].patches)
				MOE_TRY(ask_patches(a, &a->part[i], d));
	}
	return MOE_OK;
}

/* Logits of the rows that want them: `use` is called for each, in order, with the row's number among those of its part. */
static enum moe_err give_logits(struct moe_asker *a, enum moe_err (*use)(struct moe_asker *a, struct course *c, size_t row, const float *logit, struct moe_diag *d),
				struct moe_diag *d)
{
	size_t hidden = (size_t)a->model->spec->hidden, vocab = (size_t)a->model->spec->vocab, n = 0, total = 0;
	struct moe_compute work = {&a->scratch, NULL, &a->blocks};
	float *x = moe_arena_get(&a->scratch, HEAD_ROWS * hidden, sizeof *x), *logit = moe_arena_get(&a->scratch, HEAD_ROWS * vocab, sizeof *logit);
	struct { struct course *c; size_t row; } of[HEAD_ROWS];

	if (!x || !logit)
		return no_memory(d);
	for (size_t i = 0; i < a->n_parts; i++)
		total += a->part[i].logits;
	for (size_t i = 0; i < a->n_parts; i++) {
		const struct part *p = &a->part[i];
		for (size_t r = 0; r < p->logits; r++) {
			memcpy(x + n * hidden, p->x + (p->layout.rows - p->logits + r) * hidden, hidden * sizeof *x);
			of[n].c = p->c;
			of[n++].row = r;
			if (n < HEAD_ROWS && --total)
				continue;
			total -= n == HEAD_ROWS;
			struct moe_arena_mark mark = moe_arena_mark(&a->scratch);
			MOE_TRY(moe_head_forward(a->model, x, n, logit, &work, d));
			moe_arena_release(&a->scratch, mark);
			for (size_t k = 0; k < n; k++)
				MOE_TRY(use(a, of[k].c, of[k].row, logit + k * vocab, d));
			n = 0;
		}
	}
	return MOE_OK;
}

/* All parts through the layers, and their logits to `use` (NULL: none are wanted). Then there are no parts. */
static enum moe_err run_pass(struct moe_asker *a, enum moe_err (*use)(struct moe_asker *a, struct course *c, size_t row, const float *logit, struct moe_diag *d),
			     struct moe_diag *d)
{
	struct moe_batch b;

	if (!a->n_parts)
		return MOE_OK;
	MOE_TRY(gather(a, &b, d));
	MOE_TRY(run_layers(a, &b, d));
	if (use)
		MOE_TRY(give_logits(a, use, d));
	moe_arena_reset(&a->scratch);
	a->n_parts = a->rows = 0;
	return MOE_OK;
}

/* Lays out n tokens of a course from a place on; those of its picture become its features. */
static enum moe_err lay_out(struct moe_asker *a, struct course *c, const int32_t *token, size_t n, struct moe_cursor next, struct part *p, struct moe_diag *d)
{
	const struct moe_patch_grid *grid = c->feature ? &c->grid : NULL;
	float *feature = (float *)(uintptr_t)c->feature;        /* it is only read */
	bool picture = false;

	for (size_t i = 0; i < n; i++)
		picture |= token[i] == a->model->spec->merge.placeholder;
	p->c = c;
	MOE_TRY(moe_layout_make(&p->layout, a->model->spec, token, n, picture ? grid : NULL, next, &a->scratch, d));
	p->x = moe_arena_get(&a->scratch, p->layout.rows * (size_t)a->model->spec->hidden, sizeof *p->x);
	if (!p->x)
		return no_memory(d);
	return moe_rows_forward(a->model, &p->layout, grid, &feature, p->x, d);
}

/* ---- what questions have in common ---- */

/* Tokens that all prompts of the carrier begin with, short of the whole of any. */
static size_t common(const struct moe_carrier *c)
{
	size_t n = c->n ? c->ask[0].q->n_prompt - 1 : 0;

	for (size_t i = 1; i < c->n; i++) {
		const struct moe_asked *q = c->ask[i].q;
		size_t same = 0;
		n = moe_min(n, q->n_prompt - 1);
		while (same < n && q->token[same] == c->ask[0].q->token[same])
			same++;
		n = same;
	}
	return n;
}

static enum moe_err begin_course(struct moe_asker *a, struct course *c, const struct moe_carrier *carrier, struct moe_diag *d)
{
	struct moe_compute work = {&a->own, NULL, &a->blocks};

	*c = (struct course){.carrier = carrier, .next = moe_first_position(a->model->spec), .cache = calloc((size_t)a->model->spec->n_layers, sizeof *c->cache)};
	a->n++;
	if (!c->cache)
		return no_memory(d);
	c->feature = carrier->feature;
	c->grid = carrier->grid;
	if (carrier->picture.rgb) {
		float *feature;
		MOE_TRY(moe_picture_encode(a->model, a->plan, &carrier->picture, &feature, &c->grid, &work, d));
		c->feature = feature;
	}
	c->n_prefix = common(carrier);
	return MOE_OK;
}

static enum moe_err add_prefix(struct moe_asker *a, struct course *c, struct moe_diag *d)
{
	struct part p = {0};

	if (!c->n_prefix)
		return MOE_OK;
	MOE_TRY(lay_out(a, c, c->carrier->ask[0].q->token, c->n_prefix, c->next, &p, d));
	for (size_t i = 0; i < c->carrier->n; i++)      /* another's picture alone is not looked at for its routing */
		p.counted |= !c->carrier->ask[i].blind;
	p.patches = c->carrier->label && c->feature && c->grid.features == c->carrier->n_labels && p.layout.rows >= c->grid.features;
	c->slots = p.layout.rows;
	c->next = p.layout.next;
	MOE_TRY(add_part(a, p, d));
	return a->rows < MOE_PASS_ROWS ? MOE_OK : run_pass(a, NULL, d);
}

/* ---- a question ---- */

static struct moe_outcome *outcome(const struct course *c) { return c->ask->blind ? &c->ask->q->blind : &c->ask->q->own; }

/* Prompt and answer but its last token, whose logits nobody asks for. */
static enum moe_err add_question(struct moe_asker *a, struct course *c, size_t number, struct moe_diag *d)
{
	struct part p = {.start = c->slots};
	const struct moe_asked *q;

	c->ask = number < c->carrier->n ? &c->carrier->ask[number] : NULL;
	if (!c->ask)
		return MOE_OK;
	q = c->ask->q;
	*outcome(c) = (struct moe_outcome){0};
	moe_reply_free(&c->reply);
	c->same = 0;
	MOE_TRY(lay_out(a, c, q->token + c->n_prefix, q->n_prompt - c->n_prefix + q->n_answer - 1, c->next, &p, d));
	p.logits = q->n_answer;
	p.counted = !c->ask->blind;
	c->answer_slot = c->slots + p.layout.rows - (q->n_answer - 1);
	c->answer_next = p.layout.next;
	c->answer_next.position -= (uint32_t)(q->n_answer - 1);
	return add_part(a, p, d);
}

static const char *trim(const char *s, size_t *n)
{
	while (*n && isspace((unsigned char)s[*n - 1]))
		--*n;
	for (; *n && isspace((unsigned char)*s); s++)
		--*n;
	return s;
}

/* Does the reply say, or if it is not done begin, the right answer? */
static bool agrees(const struct course *c)
{
	size_t n = c->reply.n_text, k = strlen(c->ask->q->answer);
	const char *said = trim(c->reply.text ? c->reply.text : "", &n), *right = trim(c->ask->q->answer, &k);

	return c->reply.done ? n == k && !memcmp(said, right, n) : n <= k && !memcmp(said, right, n);
}

/* The model chooses a token of its own answer. A blind answer is of interest only as long as it can be right. */
static enum moe_err choose(struct moe_asker *a, struct course *c, const float *logit, struct moe_diag *d)
{
	MOE_TRY(moe_reply_next(&c->reply, a->g, logit, 0, &a->scratch, d));
	if (c->ask->blind && !agrees(c)) {
		c->reply.done = true;
		c->reply.n_text = 0;
		c->reply.logprob = -INFINITY;
	}
	return MOE_OK;
}

/* Logits behind the prompt and `row` tokens of the right answer. */
static enum moe_err judge(struct moe_asker *a, struct course *c, size_t row, const float *logit, struct moe_diag *d)
{
	const struct moe_asked *q = c->ask->q;
	int32_t right = q->token[q->n_prompt + row];
	double p = moe_logprob(logit, (size_t)a->model->spec->vocab, (size_t)right, a->room);

	if (!isfinite(p))
		return moe_fail(d, MOE_EINPUT, "the log-probability of \"%.40s\" is not finite", q->answer);
	outcome(c)->logprob += p;
	if (c->reply.done || c->same < row)
		return MOE_OK;
	MOE_TRY(choose(a, c, logit, d));
	c->same += c->reply.ids.id[row] == right;
	return MOE_OK;
}

/* The row of the token that the model chose last. */
static enum moe_err add_token(struct moe_asker *a, struct course *c, struct moe_diag *d)
{
	size_t n = c->reply.ids.n;
	struct part p = {.start = c->answer_slot + n - 1, .logits = 1};
	struct moe_cursor at = c->answer_next;

	for (size_t i = 0; i + 1 < n; i++)
		at = moe_cursor_after(a->model->spec, at, c->reply.ids.id[i]);
	MOE_TRY(lay_out(a, c, &c->reply.ids.id[n - 1], 1, at, &p, d));
	return add_part(a, p, d);
}

static enum moe_err go_on(struct moe_asker *a, struct course *c, size_t row, const float *logit, struct moe_diag *d)
{
	(void)row;
	return choose(a, c, logit, d);
}

/* Generates where the model left the right answer. */
static enum moe_err finish_replies(struct moe_asker *a, struct moe_diag *d)
{
	for (;;) {
		for (size_t i = 0; i < a->n; i++)
			if (a->course[i].ask && !a->course[i].reply.done)
				MOE_TRY(add_token(a, &a->course[i], d));
		if (!a->n_parts)
			return MOE_OK;
		MOE_TRY(run_pass(a, go_on, d));
	}
}

static enum moe_err keep(struct course *c, struct moe_diag *d)
{
	struct moe_outcome *o = outcome(c);

	o->done = true;
	o->right = agrees(c);
	o->confidence = exp(c->reply.logprob);
	if (c->ask->blind)
		return MOE_OK;
	free(c->ask->q->said);
	c->ask->q->said = moe_strdup(c->reply.text ? c->reply.text : "");
	if (!c->ask->q->said)
		return no_memory(d);
	c->ask->q->said[c->reply.text ? c->reply.n_text : 0] = 0;
	return MOE_OK;
}

/* Question `number` of all that have so many. */
static enum moe_err run_round(struct moe_asker *a, size_t number, struct moe_diag *d)
{
	for (size_t i = 0; i < a->n; i++) {
		MOE_TRY(add_question(a, &a->course[i], number, d));
		if (a->rows >= MOE_PASS_ROWS)
			MOE_TRY(run_pass(a, judge, d));
	}
	MOE_TRY(run_pass(a, judge, d));
	MOE_TRY(finish_replies(a, d));
	for (size_t i = 0; i < a->n; i++)
		if (a->course[i].ask)
			MOE_TRY(keep(&a->course[i], d));
	return MOE_OK;
}

static enum moe_err run(struct moe_asker *a, const struct moe_carrier *c, size_t n, struct moe_diag *d)
{
	size_t most = 0;

	MOE_TRY(moe_grow(&a->course, &a->cap, n, sizeof *a->course, d));
	for (size_t i = 0; i < n; i++) {
		MOE_TRY(begin_course(a, &a->course[i], &c[i], d));
		MOE_TRY(add_prefix(a, &a->course[i], d));
		most = moe_max(most, c[i].n);
	}
	MOE_TRY(run_pass(a, NULL, d));
	for (size_t number = 0; number < most; number++)
		MOE_TRY(run_round(a, number, d));
	return MOE_OK;
}

enum moe_err moe_asker_run(struct moe_asker *a, const struct moe_carrier *c, size_t n, const struct moe_what_if_table *what_if, struct moe_load *load,
			   struct moe_diag *d)
{
	enum moe_err err;

	moe_arena_reset(&a->own);
	moe_arena_reset(&a->scratch);
	a->n_parts = a->rows = 0;
	a->what_if = what_if;
	a->load = load;
	err = run(a, c, n, d);
	end_courses(a);
	return err;
}
