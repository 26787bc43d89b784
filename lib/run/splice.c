#include "run/splice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "model/choosing.h"
#include "nn/sample.h"
#include "stage/flow.h"
#include "stage/layers.h"

enum { BATCH_ROWS = 1024, MOST_SPANS = 32 };    /* of experiments that pass the layers together */

/* One of the two inputs. */
struct side {
	struct moe_reader *in;
	struct moe_account account;
	struct moe_frame frame;         /* the sequence at hand */
	enum moe_math math;
};

/* A run with all that it was: [layers] → [rows][hidden] of those from the first one that was computed on. */
struct record {
	struct moe_flow flow;
	float **before, **mid, **behind;        /* of a layer: what came in, behind attention, behind the experts */
	int32_t **expert_id;            /* [layers] → [rows][k] */
	float **weight;
	struct moe_span_parts part;     /* of the layer at hand, for MOE_SPLICE_EXPERT */
	float *logit;                   /* [vocab] of the last row */
};

/* One thing to try: rows [rows] and what is done to them. */
struct experiment {
	const char *name;
	const bool *row;                /* [rows] */
	size_t n_rows;
	int32_t expert;
};

struct state {
	struct moe_splice *s;
	struct side clean_side, corrupt_side;
	struct moe_cache_pool blocks;
	struct moe_cache *cache;        /* [MOST_SPANS][layers] */
	struct moe_arena pair_memory, scratch;
	size_t hidden, layers, vocab;
	size_t from;                    /* the first layer that the streams have not passed */
	struct record clean, corrupt;
	struct moe_splice_pair pair;
	struct experiment *experiment;
	size_t n_experiments;
};

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory for the runs that are compared"); }

/* ---- the streams ---- */

/* The next `hidden` frame of a side; MOE_END behind the last. */
static enum moe_err next_frame(struct side *s, const struct moe_identity *id, struct moe_diag *d)
{
	for (;;) {
		struct moe_frame *f = &s->frame;
		const char *why;
		MOE_TRY(moe_reader_next(s->in, f, true, d));
		MOE_TRY(moe_account_frame(&s->account, f, d));
		switch (f->kind) {
		case MOE_KIND_HEAD:
			MOE_TRY(moe_head_check(f, id, d));
			MOE_TRY(moe_head_math(f, &s->math, d));
			break;
		case MOE_KIND_HIDDEN:
			return MOE_OK;
		case MOE_KIND_DROP:
		case MOE_KIND_END:
			break;
		case MOE_KIND_FAILED:
			why = moe_frame_meta(f, "moe.error");
			return moe_frame_fail(f, d, MOE_EINPUT, "a sequence failed: %.300s", why ? why : "without a message");
		default:
			return moe_frame_fail(f, d, MOE_EMATCH, "this program compares hidden rows, as moe-embed writes them");
		}
	}
}

/* The same, with the name of the input in failures. */
static enum moe_err next_of(struct side *s, const struct moe_identity *id, struct moe_diag *d)
{
	enum moe_err err = next_frame(s, id, d);

	if (err && err != MOE_END)
		moe_diag_path(d, moe_reader_name(s->in));
	return err;
}

/* Whole prompts only: whose rows see nothing that is not in the frame. */
static enum moe_err check_whole(const struct moe_frame *f, struct moe_diag *d)
{
	uint64_t start, rest, step;

	MOE_TRY(moe_frame_number(f, "moe.start", 0, &start, d));
	MOE_TRY(moe_frame_number(f, "moe.rest", 0, &rest, d));
	MOE_TRY(moe_frame_number(f, "moe.step", 0, &step, d));
	return start || rest || step ? moe_frame_fail(f, d, MOE_EMATCH, "a prompt must be one frame, without steps of an answer (no --chunk, no ring)") : MOE_OK;
}

/* The layer that a frame goes to next. */
static enum moe_err next_layer(const struct state *st, const struct moe_frame *f, size_t *layer, struct moe_diag *d)
{
	const char *at = moe_frame_meta(f, "moe.at");
	char name[40];

	for (*layer = 0; at && *layer < st->layers; ++*layer) {
		moe_step_before(*layer * MOE_N_STEPS, name, sizeof name);
		if (!strcmp(at, name))
			return MOE_OK;
	}
	return moe_frame_fail(f, d, MOE_EMATCH, "the stream is behind stage \"%.40s\", expected \"embed\" or one such as \"0.expert\", before the last layer",
			      at ? at : "(none)");
}

static enum moe_err open_side(struct state *st, struct side *side, struct record *r, size_t *layer, struct moe_diag *d)
{
	struct moe_frame **f = moe_arena_get(&st->pair_memory, 1, sizeof *f);
	enum moe_err err = f ? MOE_OK : no_memory(d);

	if (!err) {
		*f = &side->frame;
		err = check_whole(*f, d);
	}
	if (!err)
		err = next_layer(st, *f, layer, d);
	if (!err)
		err = moe_flow_open(&r->flow, f, 1, st->s->model, *layer, &st->pair_memory, d);
	if (err)
		moe_diag_path(d, moe_reader_name(side->in));
	return err;
}

/* The two sequences of a pair must fit each other. */
static enum moe_err check_pair(struct state *st, size_t clean_layer, size_t corrupt_layer, struct moe_diag *d)
{
	const struct side *a = &st->clean_side, *b = &st->corrupt_side;
	const char *clean = moe_frame_meta(&a->frame, "moe.at"), *corrupt = moe_frame_meta(&b->frame, "moe.at");
	size_t rows = st->clean.flow.batch.rows, others = st->corrupt.flow.batch.rows;

	if (a->math != b->math)
		return moe_fail(d, MOE_EMATCH, "the streams ask for different arithmetic (--math)");
	if (clean_layer != corrupt_layer)
		return moe_fail(d, MOE_EMATCH, "the clean stream is behind stage \"%.40s\", the corrupt one behind \"%.40s\"", clean, corrupt);
	if (rows != others)
		return moe_fail(d, MOE_EMATCH, "pair %llu: the clean sequence has %zu rows, the corrupt one %zu: rows must correspond", (unsigned long long)st->pair.index,
				rows, others);
	if (st->s->first < clean_layer)
		return moe_fail(d, MOE_EMATCH, "layer %zu was passed before: the streams are behind stage \"%.40s\"", st->s->first, clean);
	return MOE_OK;
}

/* ---- runs ---- */

/* n copies of the corrupt (or clean) sequence as one batch, on rows x [n][rows][hidden]. */
static enum moe_err make_batch(struct state *st, struct moe_batch *b, const struct record *of, float *x, size_t n, struct moe_diag *d)
{
	const struct moe_batch *one = &of->flow.batch;
	size_t rows = one->rows, axes = one->axes;
	int32_t *position = moe_arena_get(&st->scratch, axes * n * rows, sizeof *position), *image = moe_arena_get(&st->scratch, n * rows, sizeof *image);
	struct moe_span *span = moe_arena_zero(&st->scratch, n, sizeof *span);
	uint8_t *modality = one->modality ? moe_arena_get(&st->scratch, n * rows, 1) : NULL;

	if (!position || !image || !span || (one->modality && !modality))
		return no_memory(d);
	for (size_t i = 0; i < n; i++) {
		if (modality)
			memcpy(modality + i * rows, one->modality, rows);
		memcpy(image + i * rows, one->image, rows * sizeof *image);
		for (size_t a = 0; a < axes; a++)
			memcpy(position + (a * n + i) * rows, one->position + a * rows, rows * sizeof *position);
		span[i] = (struct moe_span){.first = i * rows, .n = rows, .x = x + i * rows * st->hidden, .cache = st->cache + i * st->layers};
	}
	*b = (struct moe_batch){.rows = n * rows, .hidden = st->hidden, .axes = axes, .position = position, .image = image,
				.modality = modality, .span = span, .spans = n};
	return MOE_OK;
}

static void clear_caches(struct state *st, size_t n)
{
	for (size_t i = 0; i < n * st->layers; i++)
		moe_cache_clear(&st->cache[i], &st->blocks);
}

/* Logits [spans][vocab] of the last rows. */
static enum moe_err last_logits(struct state *st, const struct moe_batch *b, float *logit, struct moe_diag *d)
{
	struct moe_compute work = {&st->scratch, st->s->pool, &st->blocks};
	float *x = moe_arena_get(&st->scratch, b->spans * st->hidden, sizeof *x);

	if (!x)
		return no_memory(d);
	for (size_t i = 0; i < b->spans; i++)
		memcpy(x + i * st->hidden, b->span[i].x + (b->span[i].n - 1) * st->hidden, st->hidden * sizeof *x);
	return moe_head_forward(st->s->model, x, b->spans, logit, &work, d);
}

static bool plan_record(struct state *st, struct record *r)
{
	size_t rows = r->flow.batch.rows;
	struct moe_arena *a = &st->pair_memory;
	bool ok;

	r->before = moe_arena_zero(a, st->layers, sizeof *r->before);
	r->mid = moe_arena_zero(a, st->layers, sizeof *r->mid);
	r->behind = moe_arena_zero(a, st->layers, sizeof *r->behind);
	r->expert_id = moe_arena_zero(a, st->layers, sizeof *r->expert_id);
	r->weight = moe_arena_zero(a, st->layers, sizeof *r->weight);
	r->logit = moe_arena_get(a, st->vocab, sizeof *r->logit);
	ok = r->before && r->mid && r->behind && r->expert_id && r->weight && r->logit;
	for (size_t l = st->from; ok && l < st->layers; l++) {
		size_t k = moe_spec_top_k(st->s->model->spec, l);
		r->before[l] = l > st->from ? r->behind[l - 1] : moe_arena_get(a, rows * st->hidden, sizeof(float));
		r->mid[l] = moe_arena_get(a, rows * st->hidden, sizeof(float));
		r->behind[l] = moe_arena_get(a, rows * st->hidden, sizeof(float));
		r->expert_id[l] = moe_arena_get(a, rows * k, sizeof(int32_t));
		r->weight[l] = moe_arena_get(a, rows * k, sizeof(float));
		ok = r->before[l] && r->mid[l] && r->behind[l] && r->expert_id[l] && r->weight[l];
	}
	return ok;
}

/* The whole pass of one sequence, keeping everything. */
static enum moe_err record_run(struct state *st, struct record *r, struct moe_diag *d)
{
	struct moe_compute work = {&st->scratch, st->s->pool, &st->blocks};
	const struct moe_model *m = st->s->model;
	size_t n = r->flow.batch.rows * st->hidden;
	float *x = r->flow.span[0].x;
	struct moe_batch b;

	moe_arena_reset(&st->scratch);
	if (!plan_record(st, r))
		return no_memory(d);
	MOE_TRY(make_batch(st, &b, r, x, 1, d));
	memcpy(r->before[st->from], x, n * sizeof *x);
	for (size_t l = st->from; l < st->layers; l++) {
		struct moe_arena_mark mark;
		struct moe_routed routed;
		MOE_TRY(moe_layer_attend(m, l, &b, &work, d));
		memcpy(r->mid[l], x, n * sizeof *x);
		mark = moe_arena_mark(&st->scratch);
		MOE_TRY(moe_layer_route(m, l, &b, NULL, &routed, &work, d));
		if (routed.top_k) {
			memcpy(r->expert_id[l], routed.expert_id, b.rows * routed.top_k * sizeof *routed.expert_id);
			memcpy(r->weight[l], routed.weight, b.rows * routed.top_k * sizeof *routed.weight);
		}
		MOE_TRY(moe_layer_expert(m, l, &b, &routed, &work, d));
		memcpy(r->behind[l], x, n * sizeof *x);
		moe_arena_release(&st->scratch, mark);
	}
	MOE_TRY(last_logits(st, &b, r->logit, d));
	clear_caches(st, 1);
	return MOE_OK;
}

/* What the experts of a layer gave in a run, to r->part. */
static enum moe_err record_parts(struct state *st, struct record *r, size_t layer, struct moe_diag *d)
{
	struct moe_compute work = {&st->scratch, st->s->pool, &st->blocks};
	const struct moe_model *m = st->s->model;
	size_t rows = r->flow.batch.rows, k = moe_spec_top_k(m->spec, layer);
	struct moe_arena *a = &st->pair_memory;
	struct moe_routed routed;
	struct moe_batch b;
	float *x;

	moe_arena_reset(&st->scratch);
	x = moe_arena_get(&st->scratch, rows * st->hidden, sizeof *x);
	r->part = (struct moe_span_parts){
		.rows = rows, .residual = moe_arena_get(a, rows * st->hidden, sizeof(float)), .expert_id = moe_arena_get(a, rows * k, sizeof(int32_t)),
		.weight = moe_arena_get(a, rows * k, sizeof(float)), .part = moe_arena_get(a, rows * k * st->hidden, sizeof(float)),
		.shared = moe_arena_get(a, rows * st->hidden, sizeof(float)),
	};
	if (!x || !r->part.residual || !r->part.expert_id || !r->part.weight || !r->part.part || !r->part.shared)
		return no_memory(d);
	memcpy(x, r->mid[layer], rows * st->hidden * sizeof *x);
	MOE_TRY(make_batch(st, &b, r, x, 1, d));
	MOE_TRY(moe_layer_route(m, layer, &b, NULL, &routed, &work, d));
	b.span->parts = &r->part;
	return moe_layer_expert(m, layer, &b, &routed, &work, d);
}

/* ---- experiments ---- */

/* Adds factor times what the expert gave to row r, of k experts. */
static void add_part(float *x, const struct moe_span_parts *p, size_t r, size_t k, size_t hidden, int32_t expert, float factor)
{
	for (size_t i = r * k; i < (r + 1) * k; i++)
		if (p->expert_id[i] == expert)
			moe_axpy(x, factor * p->weight[i], p->part + i * hidden, hidden);
}

/* Row r of the experiment where it leaves the clean run and goes its own way: behind the experts or, for attention and routing, behind attention. */
static void splice_row(const struct state *st, float *x, const struct experiment *e, size_t layer, size_t r)
{
	const struct record *a = &st->clean, *b = &st->corrupt;
	size_t h = st->hidden, k = moe_spec_top_k(st->s->model->spec, layer);

	switch (st->s->what) {
	case MOE_SPLICE_HIDDEN:
		memcpy(x, a->behind[layer] + r * h, h * sizeof *x);
		break;
	case MOE_SPLICE_ATTENTION:
		for (size_t i = r * h; i < (r + 1) * h; i++)
			x[i - r * h] = b->before[layer][i] + (a->mid[layer][i] - a->before[layer][i]);
		break;
	case MOE_SPLICE_EXPERTS:
		for (size_t i = r * h; i < (r + 1) * h; i++)
			x[i - r * h] = b->mid[layer][i] + (a->behind[layer][i] - a->mid[layer][i]);
		break;
	case MOE_SPLICE_EXPERT:
		add_part(x, &b->part, r, k, h, e->expert, -1);
		add_part(x, &a->part, r, k, h, e->expert, 1);
		break;
	case MOE_SPLICE_ROUTING:
		break;
	}
}

/* The choices of the clean run in the rows of the experiments. */
static void splice_routing(const struct state *st, struct moe_routed *routed, const struct experiment *e, size_t n, size_t layer)
{
	size_t rows = st->pair.rows, k = routed->top_k;

	for (size_t i = 0; i < n; i++)
		for (size_t r = 0; r < rows; r++) {
			if (!e[i].row[r])
				continue;
			memcpy(routed->expert_id + (i * rows + r) * k, st->clean.expert_id[layer] + r * k, k * sizeof *routed->expert_id);
			memcpy(routed->weight + (i * rows + r) * k, st->clean.weight[layer] + r * k, k * sizeof *routed->weight);
		}
}

/* Router and experts of a layer, the clean run's choices put in where that is asked for (e not NULL). */
static enum moe_err run_experts(struct state *st, struct moe_batch *b, size_t layer, const struct experiment *e, struct moe_diag *d)
{
	struct moe_compute work = {&st->scratch, st->s->pool, &st->blocks};
	struct moe_arena_mark mark = moe_arena_mark(&st->scratch);
	struct moe_routed routed;

	MOE_TRY(moe_layer_route(st->s->model, layer, b, NULL, &routed, &work, d));
	if (e)
		splice_routing(st, &routed, e, b->spans, layer);
	MOE_TRY(moe_layer_expert(st->s->model, layer, b, &routed, &work, d));
	moe_arena_release(&st->scratch, mark);
	return MOE_OK;
}

/* The corrupt run with the changes of n experiments in a layer, to its end: logits [n][vocab]. */
static enum moe_err run_on(struct state *st, const struct experiment *e, size_t n, size_t layer, float *logit, struct moe_diag *d)
{
	struct moe_compute work = {&st->scratch, st->s->pool, &st->blocks};
	enum moe_splice_what what = st->s->what;
	bool inside = what == MOE_SPLICE_ATTENTION || what == MOE_SPLICE_ROUTING;       /* router and experts of the layer are still to come */
	size_t rows = st->pair.rows, size = rows * st->hidden;
	float *x = moe_arena_get(&st->scratch, n * size, sizeof *x);
	struct moe_batch b;

	if (!x)
		return no_memory(d);
	for (size_t i = 0; i < n; i++) {
		memcpy(x + i * size, inside ? st->corrupt.mid[layer] : st->corrupt.behind[layer], size * sizeof *x);
		for (size_t r = 0; r < rows; r++)
			if (e[i].row[r])
				splice_row(st, x + i * size + r * st->hidden, &e[i], layer, r);
	}
	MOE_TRY(make_batch(st, &b, &st->corrupt, x, n, d));
	if (inside)
		MOE_TRY(run_experts(st, &b, layer, what == MOE_SPLICE_ROUTING ? e : NULL, d));
	for (size_t l = layer + 1; l < st->layers; l++) {
		for (size_t i = 0; l + 1 == st->layers && i < n; i++)
			b.span[i].keep = 1;
		MOE_TRY(moe_layer_attend(st->s->model, l, &b, &work, d));
		MOE_TRY(run_experts(st, &b, l, NULL, d));
	}
	return last_logits(st, &b, logit, d);
}

static double difference(const struct state *st, const float *logit) { return (double)logit[st->pair.clean] - (double)logit[st->pair.corrupt]; }

static enum moe_err best_token(struct state *st, const float *logit, int32_t *token, struct moe_diag *d)
{
	struct moe_arena_mark mark = moe_arena_mark(&st->scratch);
	float *room = moe_arena_get(&st->scratch, st->vocab, sizeof *room);
	struct moe_choice c;

	if (!room)
		return no_memory(d);
	MOE_TRY(moe_choose_greedy(logit, st->vocab, st->s->suppress, room, &c, d));
	*token = c.token;
	moe_arena_release(&st->scratch, mark);
	return MOE_OK;
}

static enum moe_err give_result(struct state *st, const struct experiment *e, size_t layer, const float *logit, struct moe_diag *d)
{
	const struct moe_splice_pair *p = &st->pair;
	struct moe_splice_result r = {.pair = p, .layer = layer, .rows = e->name, .n_rows = e->n_rows, .expert = e->expert, .difference = difference(st, logit)};

	MOE_TRY(best_token(st, logit, &r.answer, d));
	if (p->clean_difference > p->corrupt_difference)        /* they are equal where both tokens are as likely in both runs */
		r.restored = (r.difference - p->corrupt_difference) / (p->clean_difference - p->corrupt_difference);
	return st->s->result(st->s->to, &r, d);
}

static bool chose(const struct moe_span_parts *p, size_t r, size_t k, int32_t expert)
{
	for (size_t i = r * k; i < (r + 1) * k; i++)
		if (p->expert_id[i] == expert)
			return true;
	return false;
}

/* Does the experiment change anything? An expert that no row of either run chose leaves the corrupt run as it is. */
static bool changes(const struct state *st, const struct experiment *e, size_t layer)
{
	size_t k = moe_spec_top_k(st->s->model->spec, layer);

	if (e->expert < 0)
		return true;
	for (size_t r = 0; r < st->pair.rows; r++)
		if (e->row[r] && (chose(&st->clean.part, r, k, e->expert) || chose(&st->corrupt.part, r, k, e->expert)))
			return true;
	return false;
}

/* The experiments from number *at on of which `most` change something are tried together, and the others between them are told; *at goes behind them. */
static enum moe_err try_some(struct state *st, size_t layer, size_t most, size_t *at, struct moe_diag *d)
{
	struct experiment batch[MOST_SPANS];
	size_t from = *at, end = from, n = 0, told = 0;
	float *logit;

	moe_arena_reset(&st->scratch);
	logit = moe_arena_get(&st->scratch, most * st->vocab, sizeof *logit);
	if (!logit)
		return no_memory(d);
	for (; end < st->n_experiments && n < most; end++)
		if (changes(st, &st->experiment[end], layer))
			batch[n++] = st->experiment[end];
	if (n)
		MOE_TRY(run_on(st, batch, n, layer, logit, d));
	clear_caches(st, n);
	for (size_t i = from; i < end; i++)
		if (changes(st, &st->experiment[i], layer))
			MOE_TRY(give_result(st, &st->experiment[i], layer, logit + told++ * st->vocab, d));
		else
			MOE_TRY(give_result(st, &st->experiment[i], layer, st->corrupt.logit, d));
	*at = end;
	return MOE_OK;
}

/* All experiments in one layer. */
static enum moe_err try_layer(struct state *st, size_t layer, struct moe_diag *d)
{
	size_t most = moe_min(moe_max(BATCH_ROWS / st->pair.rows, 1), MOST_SPANS);
	struct moe_arena_mark mark = moe_arena_mark(&st->pair_memory);

	if (st->s->what == MOE_SPLICE_EXPERT) {
		MOE_TRY(record_parts(st, &st->clean, layer, d));
		MOE_TRY(record_parts(st, &st->corrupt, layer, d));
	}
	for (size_t at = 0; at < st->n_experiments;)
		MOE_TRY(try_some(st, layer, most, &at, d));
	moe_arena_release(&st->pair_memory, mark);
	return MOE_OK;
}

/* Adds an experiment with these rows, or one for each expert. */
static void add_experiment(struct state *st, const char *name, const bool *row, size_t n_rows)
{
	size_t experts = st->s->what == MOE_SPLICE_EXPERT ? (size_t)st->s->model->spec->router.experts : 0;

	for (size_t e = 0; e < experts; e++)
		if (st->s->expert[e])
			st->experiment[st->n_experiments++] = (struct experiment){name, row, n_rows, (int32_t)e};
	if (!experts)
		st->experiment[st->n_experiments++] = (struct experiment){name, row, n_rows, -1};
}

static enum moe_err add_each(struct state *st, struct moe_diag *d)
{
	size_t rows = st->pair.rows;

	for (size_t r = 0; r < rows; r++) {
		bool *row = moe_arena_zero(&st->pair_memory, rows, sizeof *row);
		char name[24];
		const char *own;
		snprintf(name, sizeof name, "%zu", r);
		own = moe_arena_string(&st->pair_memory, name, strlen(name));
		if (!row || !own)
			return no_memory(d);
		row[r] = true;
		add_experiment(st, own, row, 1);
	}
	return MOE_OK;
}

static enum moe_err add_group(struct state *st, const struct moe_splice_rows *g, struct moe_diag *d)
{
	const uint8_t *modality = st->corrupt.flow.batch.modality;
	size_t rows = st->pair.rows, n = 0;
	bool *row = moe_arena_zero(&st->pair_memory, rows, sizeof *row);

	if (g->each)
		return add_each(st, d);
	if (!row)
		return no_memory(d);
	for (size_t r = 0; r < rows; r++)
		n += row[r] = moe_row_chosen(&g->choice, r, modality ? modality[r] : 0, r + 1 == rows);
	if (!n)
		return moe_fail(d, MOE_EMATCH, "pair %llu: none of its %zu rows is one of \"%s\"", (unsigned long long)st->pair.index, rows, g->name);
	add_experiment(st, g->name, row, n);
	return MOE_OK;
}

/* What there is to try with the pair. */
static enum moe_err plan_experiments(struct state *st, struct moe_diag *d)
{
	static const struct moe_splice_rows both[] = {{.name = "image", .choice = {.image = true}}, {.name = "text", .choice = {.text = true}}};
	static const struct moe_splice_rows each = {.name = "each", .each = true};
	const struct moe_splice_rows *group = st->s->group;
	const uint8_t *modality = st->corrupt.flow.batch.modality;
	size_t n = st->s->n_groups, rows = st->pair.rows, experts = (size_t)st->s->model->spec->router.experts, images = 0, most;

	for (size_t r = 0; modality && r < rows; r++)
		images += modality[r] != 0;
	if (!n) {
		group = images && images < rows ? both : &each;
		n = images && images < rows ? 2 : 1;
	}
	most = n * rows * (st->s->what == MOE_SPLICE_EXPERT ? experts : 1);
	st->n_experiments = 0;
	st->experiment = moe_arena_get(&st->pair_memory, most, sizeof *st->experiment);
	if (!st->experiment)
		return no_memory(d);
	for (size_t i = 0; i < n; i++)
		MOE_TRY(add_group(st, &group[i], d));
	return MOE_OK;
}

/* ---- pairs ---- */

static enum moe_err compare_runs(struct state *st, struct moe_diag *d)
{
	struct moe_splice_pair *p = &st->pair;

	MOE_TRY(best_token(st, st->clean.logit, &p->clean, d));
	MOE_TRY(best_token(st, st->corrupt.logit, &p->corrupt, d));
	p->clean_difference = difference(st, st->clean.logit);
	p->corrupt_difference = difference(st, st->corrupt.logit);
	return st->s->pair(st->s->to, p, d);
}

static enum moe_err splice_pair(struct state *st, struct moe_diag *d)
{
	size_t other;

	moe_arena_reset(&st->pair_memory);
	moe_arena_reset(&st->scratch);
	MOE_TRY(open_side(st, &st->clean_side, &st->clean, &st->from, d));
	MOE_TRY(open_side(st, &st->corrupt_side, &st->corrupt, &other, d));
	MOE_TRY(check_pair(st, st->from, other, d));
	st->pair.rows = st->clean.flow.batch.rows;
	st->pair.clean_name = moe_frame_meta(&st->clean_side.frame, "moe.name");
	st->pair.corrupt_name = moe_frame_meta(&st->corrupt_side.frame, "moe.name");
	MOE_TRY(record_run(st, &st->clean, d));
	MOE_TRY(record_run(st, &st->corrupt, d));
	MOE_TRY(compare_runs(st, d));
	if (st->pair.clean == st->pair.corrupt)
		return MOE_OK;
	MOE_TRY(plan_experiments(st, d));
	for (size_t l = st->s->first; l <= st->s->last; l++)
		if (moe_spec_top_k(st->s->model->spec, l) || (st->s->what != MOE_SPLICE_EXPERT && st->s->what != MOE_SPLICE_ROUTING))
			MOE_TRY(try_layer(st, l, d));
	return MOE_OK;
}

/* Both sides say what arithmetic they want before their first sequence. */
static enum moe_err use_math(struct state *st, struct moe_diag *d)
{
	struct moe_model *m = st->s->model;
	struct moe_math_range all = moe_math_whole(m);

	return moe_model_use_math(m, st->clean_side.math, &all, st->s->pool, d);
}

static enum moe_err run(struct state *st, const struct moe_identity *id, struct moe_diag *d)
{
	for (;; st->pair.index++) {
		enum moe_err a = next_of(&st->clean_side, id, d), b;
		if (a && a != MOE_END)
			return a;
		b = next_of(&st->corrupt_side, id, d);
		if (b && b != MOE_END)
			return b;
		if (a != b)
			return moe_fail(d, MOE_EMATCH, "the %s stream has more sequences than the %s one: %llu", a ? "corrupt" : "clean", a ? "clean" : "corrupt",
					(unsigned long long)st->pair.index);
		if (a)
			break;
		if (!st->pair.index)
			MOE_TRY(use_math(st, d));
		MOE_TRY(splice_pair(st, d));
	}
	return st->pair.index ? MOE_OK : moe_fail(d, MOE_EINPUT, "the streams have no sequences");
}

/* What can be put together again. */
static enum moe_err check_model(const struct moe_splice *s, struct moe_diag *d)
{
	const struct moe_spec *spec = s->model->spec;

	if (spec->depth.layers.n)
		return moe_fail(d, MOE_EMATCH, "only some rows take layer %lld of the model (mixture-of-depths), and runs of such a model cannot be spliced",
				(long long)spec->depth.layers.v[0]);
	if (s->what == MOE_SPLICE_EXPERT && spec->block == MOE_BLOCK_POST)
		return moe_fail(d, MOE_EMATCH, "a norm stands behind the experts of this model: what one of them gives cannot be taken out of the sum");
	return moe_choosing_check(s->model, d);
}

enum moe_err moe_splice_run(struct moe_splice *s, struct moe_reader *clean, struct moe_reader *corrupt, const struct moe_identity *id, struct moe_diag *d)
{
	const struct moe_spec *spec = s->model->spec;
	struct state *st;
	enum moe_err err;

	MOE_TRY(check_model(s, d));
	st = calloc(1, sizeof *st);
	if (!st)
		return no_memory(d);
	st->s = s;
	st->clean_side.in = clean;
	st->corrupt_side.in = corrupt;
	st->hidden = (size_t)spec->hidden;
	st->layers = (size_t)spec->n_layers;
	st->vocab = (size_t)spec->vocab;
	st->blocks = (struct moe_cache_pool){.kv_heads = (size_t)spec->attention.kv_heads, .dim = (size_t)spec->attention.head_dim};
	st->cache = calloc(MOST_SPANS * st->layers, sizeof *st->cache);
	err = st->cache ? run(st, id, d) : no_memory(d);
	for (size_t i = 0; st->cache && i < MOST_SPANS * st->layers; i++)
		moe_cache_free(&st->cache[i], &st->blocks);
	free(st->cache);
	moe_cache_pool_free(&st->blocks);
	moe_arena_free(&st->pair_memory);
	moe_arena_free(&st->scratch);
	moe_frame_free(&st->clean_side.frame);
	moe_frame_free(&st->corrupt_side.frame);
	moe_account_free(&st->clean_side.account);
	moe_account_free(&st->corrupt_side.account);
	free(st);
	return err;
}
