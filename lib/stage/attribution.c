#include "stage/attribution.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "nn/sample.h"
#include "stage/flow.h"

/* The parts of one layer in a frame: of its last `rows` rows. */
struct parts {
	const float *residual, *weight, *part, *shared;         /* [rows][hidden], [rows][k], [rows][k][hidden], [rows][hidden] or NULL */
	const int32_t *expert_id;       /* [rows][k] */
	size_t k;
};

struct page {
	const float *x;                 /* [n][hidden] */
	const int32_t *token, *patch;   /* [n] */
	uint64_t n, rows, start;        /* rows: with parts, the last of the frame */
	struct parts *layer;            /* [layers] */
};

/* What a vector adds to the two logits: directions of the answer and of the second, through the norm. */
struct reader {
	size_t hidden;
	bool centres;                   /* LayerNorm */
	double scale;
	double *answer, *second;        /* [hidden] */
};

struct reading {
	double logit, lead;
};

static enum moe_err layer_tensor(struct moe_frame *f, size_t layer, const char *name, enum moe_dtype type, unsigned rank, const uint64_t *want,
				 const void **data, struct moe_diag *d)
{
	const uint64_t *shape;
	char full[60];

	snprintf(full, sizeof full, "%zu.%s", layer, name);
	if (!moe_frame_find(f, full))
		return moe_frame_fail(f, d, MOE_EMATCH, "no tensor \"%s\": the stream must come from moe-block -l 0- --parts, or from moe-expert --parts in every layer",
				      full);
	MOE_TRY(moe_frame_tensor(f, full, type, rank, data, &shape, d));
	for (unsigned i = 0; i < rank; i++)
		if (shape[i] != want[i])
			return moe_frame_fail(f, d, MOE_EINPUT, "tensor \"%s\": axis %u has %llu places, expected %llu", full, i, (unsigned long long)shape[i],
					      (unsigned long long)want[i]);
	return MOE_OK;
}

static enum moe_err open_layer(struct parts *p, struct moe_frame *f, const struct moe_model *m, size_t layer, uint64_t rows, struct moe_diag *d)
{
	uint64_t hidden = (uint64_t)m->spec->hidden, k = moe_spec_top_k(m->spec, layer);

	*p = (struct parts){.k = k};
	MOE_TRY(layer_tensor(f, layer, "residual", MOE_F32, 2, (uint64_t[]){rows, hidden}, (const void **)&p->residual, d));
	if (k) {
		MOE_TRY(layer_tensor(f, layer, "expert_id", MOE_I32, 2, (uint64_t[]){rows, k}, (const void **)&p->expert_id, d));
		MOE_TRY(layer_tensor(f, layer, "weight", MOE_F32, 2, (uint64_t[]){rows, k}, (const void **)&p->weight, d));
		MOE_TRY(layer_tensor(f, layer, "part", MOE_F32, 3, (uint64_t[]){rows, k, hidden}, (const void **)&p->part, d));
		MOE_TRY(moe_frame_blame(f, moe_router_check(p->expert_id, p->weight, rows, k, (size_t)m->spec->router.experts, d), d));
	}
	if (m->layer[layer].ffn.shared.gate.data)
		MOE_TRY(layer_tensor(f, layer, "shared", MOE_F32, 2, (uint64_t[]){rows, hidden}, (const void **)&p->shared, d));
	return MOE_OK;
}

/* Rows with parts: as many as the first layer has. */
static enum moe_err count_rows(struct page *p, const struct moe_frame *f, struct moe_diag *d)
{
	const struct moe_tensor *t = moe_frame_find(f, "0.residual");
	uint64_t first;

	MOE_TRY(moe_wanted_rows(f, p->n, &first, d));
	p->rows = t && t->rank == 2 ? t->shape[0] : p->n - first;
	return p->rows <= p->n ? MOE_OK : moe_frame_fail(f, d, MOE_EINPUT, "tensor \"0.residual\" has %llu rows, the frame %llu", (unsigned long long)p->rows,
							(unsigned long long)p->n);
}

static enum moe_err open_page(struct moe_attribution *a, struct moe_frame *f, struct page *p, struct moe_diag *d)
{
	size_t layers = (size_t)a->model->spec->n_layers;
	const uint64_t *shape;

	*p = (struct page){.layer = moe_arena_get(&a->scratch, layers, sizeof *p->layer)};
	if (!p->layer)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	MOE_TRY(moe_frame_tensor(f, "hidden", MOE_F32, 2, (const void **)&p->x, &shape, d));
	if (!shape[0] || shape[1] != (uint64_t)a->model->spec->hidden)
		return moe_frame_fail(f, d, MOE_EINPUT, "tensor \"hidden\" is %llu x %llu, expected rows of %lld", (unsigned long long)shape[0],
				      (unsigned long long)shape[1], (long long)a->model->spec->hidden);
	p->n = shape[0];
	MOE_TRY(moe_frame_column(f, "token", MOE_I32, p->n, (const void **)&p->token, d));
	MOE_TRY(moe_frame_column(f, "patch_index", MOE_I32, p->n, (const void **)&p->patch, d));
	MOE_TRY(moe_frame_number(f, "moe.start", 0, &p->start, d));
	MOE_TRY(count_rows(p, f, d));
	for (size_t l = 0; p->rows && l < layers; l++)
		MOE_TRY(open_layer(&p->layer[l], f, a->model, l, p->rows, d));
	return MOE_OK;
}

/* direction[i] = head row of the token · weight of the norm. */
static void set_direction(double *direction, float *room, const struct moe_model *m, int32_t token)
{
	size_t hidden = (size_t)m->spec->hidden;

	moe_mat_row(room, &m->lm_head, (size_t)token);
	for (size_t i = 0; i < hidden; i++)
		direction[i] = (double)room[i] * (double)m->final_norm.weight[i];
}

static double mean(const float *x, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)x[i];
	return sum / (double)n;
}

/* The factor of the norm at row x. */
static double norm_scale(const struct moe_model *m, const float *x)
{
	size_t n = (size_t)m->spec->hidden;
	double centre = m->final_norm.bias ? mean(x, n) : 0, square = 0;

	for (size_t i = 0; i < n; i++)
		square += ((double)x[i] - centre) * ((double)x[i] - centre);
	return 1 / sqrt(square / (double)n + m->spec->norm_eps);
}

/* What the vector c, times `factor`, adds. */
static struct reading read_vector(const struct reader *r, const float *c, double factor)
{
	double centre = r->centres ? mean(c, r->hidden) : 0, answer = 0, second = 0;

	for (size_t i = 0; i < r->hidden; i++) {
		answer += r->answer[i] * ((double)c[i] - centre);
		second += r->second[i] * ((double)c[i] - centre);
	}
	return (struct reading){factor * r->scale * answer, factor * r->scale * (answer - second)};
}

static void add_summand(struct moe_attributed *to, struct moe_summand *list, struct moe_summand s)
{
	list[to->n++] = s;
}

/* What the experts of a layer add to row r; its sum to *sum. */
static void read_experts(struct moe_attributed *to, struct moe_summand *list, const struct reader *reader, const struct parts *p, size_t layer, size_t r,
			 struct reading *sum)
{
	for (size_t i = r * p->k; i < (r + 1) * p->k; i++) {
		struct reading v;
		if (p->expert_id[i] < 0)
			continue;
		v = read_vector(reader, p->part + i * reader->hidden, (double)p->weight[i]);
		add_summand(to, list, (struct moe_summand){MOE_SUMMAND_EXPERT, layer, p->expert_id[i], (double)p->weight[i], v.logit, v.lead});
		sum->logit += v.logit;
		sum->lead += v.lead;
	}
	if (p->shared) {
		struct reading v = read_vector(reader, p->shared + r * reader->hidden, 1);
		add_summand(to, list, (struct moe_summand){MOE_SUMMAND_SHARED, layer, -1, 1, v.logit, v.lead});
		sum->logit += v.logit;
		sum->lead += v.lead;
	}
}

/* All summands of row r of those with parts: what attention adds is the difference to what was there before. */
static void read_layers(struct moe_attributed *to, struct moe_summand *list, const struct reader *reader, const struct page *p, size_t n_layers, size_t r,
			struct reading sum)
{
	for (size_t l = 0; l < n_layers; l++) {
		const struct parts *layer = &p->layer[l];
		struct reading v = read_vector(reader, layer->residual + r * reader->hidden, 1);
		add_summand(to, list, (struct moe_summand){MOE_SUMMAND_ATTENTION, l, -1, 1, v.logit - sum.logit, v.lead - sum.lead});
		sum = v;
		read_experts(to, list, reader, layer, l, r, &sum);
	}
}

/* The bias of a LayerNorm goes through the head as it is. */
static void read_bias(struct moe_attributed *to, struct moe_summand *list, const struct moe_model *m, float *room)
{
	double answer = 0, second = 0;
	size_t hidden = (size_t)m->spec->hidden;

	if (!m->final_norm.bias)
		return;
	moe_mat_row(room, &m->lm_head, (size_t)to->token);
	for (size_t i = 0; i < hidden; i++)
		answer += (double)room[i] * (double)m->final_norm.bias[i];
	if (to->second >= 0) {
		moe_mat_row(room, &m->lm_head, (size_t)to->second);
		for (size_t i = 0; i < hidden; i++)
			second += (double)room[i] * (double)m->final_norm.bias[i];
	}
	add_summand(to, list, (struct moe_summand){MOE_SUMMAND_BIAS, 0, -1, 1, answer, to->second >= 0 ? answer - second : 0});
}

/* The two most likely tokens at row x, with the logits that the head computes. */
static enum moe_err choose(struct moe_attribution *a, struct moe_attributed *to, const float *x, struct moe_diag *d)
{
	struct moe_compute work = {&a->scratch, a->pool, NULL};
	size_t vocab = (size_t)a->model->spec->vocab;
	float *logit = moe_arena_get(&a->scratch, vocab, sizeof *logit), *room = moe_arena_get(&a->scratch, vocab, sizeof *room);
	struct moe_choice best[3];
	size_t n;

	if (!logit || !room)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	MOE_TRY(moe_head_forward(a->model, x, 1, logit, &work, d));
	MOE_TRY(moe_choose_greedy(logit, vocab, a->suppress, room, best, d));   /* refuses what is no number */
	n = moe_choose_best(logit, vocab, a->suppress, 2, room, best);
	to->token = best[0].token;
	to->second = n > 1 ? best[1].token : -1;
	to->logit = (double)logit[to->token];
	to->lead = n > 1 ? to->logit - (double)logit[to->second] : 0;
	return MOE_OK;
}

/* The summands must be those of this row: their sum is its logit, but for rounding. */
static enum moe_err check_sum(const struct moe_frame *f, const struct moe_attributed *to, const struct moe_summand *list, struct moe_diag *d)
{
	double sum = 0, size = fabs(to->logit);

	for (size_t i = 0; i < to->n; i++) {
		sum += list[i].logit;
		size += fabs(list[i].logit);
	}
	if (fabs(sum - to->logit) <= 0.02 * size)       /* fast arithmetic rounds the row before the head to 8 bits */
		return MOE_OK;
	return moe_frame_fail(f, d, MOE_EINPUT, "row %llu: its parts add up to a logit of %g, but it has %g: they belong to another run",
			      (unsigned long long)to->row, sum, to->logit);
}

/* Row r of those with parts. */
static enum moe_err attribute_row(struct moe_attribution *a, const struct moe_frame *f, const struct page *p, size_t r, struct moe_attributed *to,
				  struct moe_diag *d)
{
	const struct moe_model *m = a->model;
	size_t hidden = (size_t)m->spec->hidden, layers = (size_t)m->spec->n_layers, at = (size_t)(p->n - p->rows) + r;
	struct reader reader = {hidden, m->final_norm.bias != NULL, norm_scale(m, p->x + at * hidden), moe_arena_get(&a->scratch, hidden, sizeof(double)),
				moe_arena_zero(&a->scratch, hidden, sizeof(double))};
	float *room = moe_arena_get(&a->scratch, hidden, sizeof *room);
	struct moe_summand *list = moe_arena_get(&a->scratch, 2 + layers * (2 + moe_router_width(&m->spec->router)), sizeof *list);
	struct reading v;

	if (!reader.answer || !reader.second || !room || !list)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	MOE_TRY(choose(a, to, p->x + at * hidden, d));
	set_direction(reader.answer, room, m, to->token);
	if (to->second >= 0)
		set_direction(reader.second, room, m, to->second);
	else
		memcpy(reader.second, reader.answer, hidden * sizeof *reader.second);
	MOE_TRY(moe_frame_blame(f, moe_embed_forward(m, &p->token[at], 1, room, d), d));
	v = read_vector(&reader, room, 1);
	add_summand(to, list, (struct moe_summand){MOE_SUMMAND_EMBEDDING, 0, -1, 1, v.logit, v.lead});
	read_layers(to, list, &reader, p, layers, r, v);
	read_bias(to, list, m, room);
	to->summand = list;
	MOE_TRY(check_sum(f, to, list, d));
	return a->row(a->to, to, d);
}

static enum moe_err attribute_frame(struct moe_attribution *a, struct moe_frame *f, struct moe_diag *d)
{
	struct moe_attributed row = {.name = moe_frame_meta(f, "moe.name")};
	struct page p;
	uint64_t first;

	MOE_TRY(open_page(a, f, &p, d));
	MOE_TRY(moe_wanted_rows(f, p.n, &first, d));
	MOE_TRY(moe_frame_number(f, "moe.seq", UINT64_MAX, &row.seq, d));
	MOE_TRY(moe_frame_number(f, "moe.step", 0, &row.step, d));
	for (uint64_t r = 0; r < p.rows; r++) {
		struct moe_arena_mark mark = moe_arena_mark(&a->scratch);
		uint64_t at = p.n - p.rows + r;
		row.row = p.start + at;
		row.n = 0;
		if (at >= first && p.patch[at] < 0)
			MOE_TRY(attribute_row(a, f, &p, (size_t)r, &row, d));
		moe_arena_release(&a->scratch, mark);
	}
	return MOE_OK;
}

static enum moe_err run(void *self, struct moe_frame **f, size_t n, struct moe_output *out, struct moe_diag *d)
{
	struct moe_attribution *a = self;
	char want[40];

	(void)out;
	snprintf(want, sizeof want, "%lld.expert", (long long)a->model->spec->n_layers - 1);
	for (size_t i = 0; i < n; i++) {
		moe_arena_reset(&a->scratch);
		MOE_TRY(moe_at_check(f[i], want, a->any_order, d));
		MOE_TRY(attribute_frame(a, f[i], d));
	}
	return MOE_OK;
}

static enum moe_err notice(void *self, struct moe_frame *f, struct moe_output *out, struct moe_diag *d)
{
	struct moe_attribution *a = self;
	const char *why = moe_frame_meta(f, "moe.error");

	(void)out;
	return f->kind == MOE_KIND_FAILED ? a->failed(a->to, moe_frame_meta(f, "moe.name"), why ? why : "failed without a message", d) : MOE_OK;
}

static enum moe_err use_math(void *self, enum moe_math math, struct moe_diag *d)
{
	struct moe_attribution *a = self;

	return moe_model_use_math(a->model, math, &(struct moe_math_range){.first = 1, .last = 0, .head = true}, a->pool, d);
}

struct moe_stage moe_attribution_stage(struct moe_attribution *a)
{
	return (struct moe_stage){.self = a, .kinds = 1u << MOE_KIND_HIDDEN, .sink = true, .run = run, .notice = notice, .math = use_math};
}

void moe_attribution_free(struct moe_attribution *a) { moe_arena_free(&a->scratch); }
