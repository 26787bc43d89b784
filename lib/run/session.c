#include "run/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "model/plan.h"
#include "stage/embed.h"
#include "sys/clock.h"

enum { HEAD_ROWS = 32 };        /* rows of logits at a time */

/* Who wants the logits. */
struct sink {
	enum moe_err (*logits)(void *self, size_t first, size_t count, const float *logit, struct moe_diag *d);
	void *self;
	bool all;
};

static const char *const time_names[MOE_N_TIMES] = {"attention", "router", "experts", "head", "other"};

const char *moe_time_name(enum moe_time t) { return time_names[t]; }

/* The time since the last call goes to that part. */
static void add_time(const struct moe_session *s, enum moe_time part)
{
	double now;

	if (!s->times)
		return;
	now = moe_clock();
	s->times->seconds[part] += now - s->times->last;
	s->times->last = now;
}

enum moe_err moe_session_init(struct moe_session *s, const struct moe_model *m, struct moe_pool *pool, struct moe_diag *d)
{
	*s = (struct moe_session){.model = m, .pool = pool, .next = moe_first_position(m->spec), .cache = calloc((size_t)m->spec->n_layers, sizeof *s->cache),
				  .blocks = {.kv_heads = (size_t)m->spec->attention.kv_heads, .dim = (size_t)m->spec->attention.head_dim}};
	return s->cache ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
}

void moe_session_clear(struct moe_session *s)
{
	for (int64_t l = 0; s->cache && l < s->model->spec->n_layers; l++)
		moe_cache_clear(&s->cache[l], &s->blocks);
	s->slots = 0;
	s->next = moe_first_position(s->model->spec);
}

enum moe_err moe_session_next(struct moe_session *s, struct moe_diag *d)
{
	enum moe_err err = MOE_OK;

	if (s->tracing && s->slots)
		err = moe_tracing_over(s->tracing, s->seq++, d);
	moe_session_clear(s);
	return err;
}

void moe_session_free(struct moe_session *s)
{
	for (int64_t l = 0; s->cache && l < s->model->spec->n_layers; l++)
		moe_cache_free(&s->cache[l], &s->blocks);
	free(s->cache);
	moe_cache_pool_free(&s->blocks);
	moe_arena_free(&s->scratch);
	*s = (struct moe_session){0};
}

/* Logits of n rows x, the first of which is row `first` of what was appended. */
static enum moe_err give_logits(struct moe_session *s, const float *x, size_t first, size_t n, const struct sink *to, struct moe_diag *d)
{
	struct moe_compute work = {&s->scratch, s->pool, &s->blocks};
	size_t hidden = (size_t)s->model->spec->hidden;

	for (size_t at = 0, count; at < n; at += count) {
		struct moe_arena_mark mark = moe_arena_mark(&s->scratch);
		float *logit;
		count = moe_min(HEAD_ROWS, n - at);
		logit = moe_arena_get(&s->scratch, count * (size_t)s->model->spec->vocab, sizeof *logit);
		if (!logit)
			return moe_fail(d, MOE_ENOMEM, "out of memory for the logits of %zu rows", count);
		MOE_TRY(moe_head_forward(s->model, x + at * hidden, count, logit, &work, d));
		add_time(s, MOE_TIME_HEAD);
		MOE_TRY(to->logits(to->self, first + at, count, logit, d));
		moe_arena_release(&s->scratch, mark);
	}
	return MOE_OK;
}

/* The router of a layer has seen rows of the layout from `from` on, which are the batch: tells those who want to know. */
static enum moe_err trace(const struct moe_session *s, size_t layer, const struct moe_batch *b, const struct moe_layout *l, size_t from,
			  const struct moe_routed *routed, struct moe_diag *d)
{
	struct moe_trace_rows r = {.seq = s->seq, .step = s->step, .name = s->name, .token = l->token + from, .image = l->image + from, .patch = l->patch + from,
				   .modality = l->modality + from};

	if (s->routed && routed->top_k)
		s->routed(s->observer, layer, routed, b->rows);
	return s->tracing && routed->top_k ? moe_tracing_span(s->tracing, layer, b, b->span, routed, &r, d) : MOE_OK;
}

/* Rows [from, to) of the layout through all layers. */
static enum moe_err run_chunk(struct moe_session *s, const struct moe_layout *l, float *x, size_t from, size_t to, struct moe_span *span, struct moe_diag *d)
{
	struct moe_compute work = {&s->scratch, s->pool, &s->blocks};
	size_t n = to - from, hidden = (size_t)s->model->spec->hidden;
	int32_t *position = moe_arena_get(&s->scratch, n * l->axes, sizeof *position);
	struct moe_batch b = {.rows = n, .hidden = hidden, .axes = l->axes, .position = position, .image = l->image + from,
			     .modality = l->modality + from, .span = span, .spans = 1};

	if (!position)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t a = 0; a < l->axes; a++)
		memcpy(position + a * n, l->position + a * l->rows + from, n * sizeof *position);
	*span = (struct moe_span){.n = n, .x = x + from * hidden, .start = (uint32_t)s->slots, .cache = s->cache};
	add_time(s, MOE_TIME_OTHER);
	for (size_t layer = 0; layer < (size_t)s->model->spec->n_layers; layer++) {
		struct moe_arena_mark mark;
		struct moe_routed routed;
		MOE_TRY(moe_layer_attend(s->model, layer, &b, &work, d));
		add_time(s, MOE_TIME_ATTENTION);
		mark = moe_arena_mark(&s->scratch);
		MOE_TRY(moe_layer_route(s->model, layer, &b, NULL, &routed, &work, d));
		MOE_TRY(trace(s, layer, &b, l, from, &routed, d));
		add_time(s, MOE_TIME_ROUTER);
		MOE_TRY(moe_layer_expert(s->model, layer, &b, &routed, &work, d));
		add_time(s, MOE_TIME_EXPERTS);
		moe_arena_release(&s->scratch, mark);
	}
	s->slots += n;
	return MOE_OK;
}

static enum moe_err extend(struct moe_session *s, const struct moe_layout *l, float *x, const struct sink *to, struct moe_diag *d)
{
	size_t hidden = (size_t)s->model->spec->hidden;

	for (size_t from = 0, end; from < l->rows; from = end) {
		struct moe_arena_mark mark = moe_arena_mark(&s->scratch);
		struct moe_span span;
		end = moe_layout_chunk(l, s->model->spec, from, MOE_PASS_ROWS);
		MOE_TRY(run_chunk(s, l, x, from, end, &span, d));
		if (to->all)
			MOE_TRY(give_logits(s, span.x, from, end - from, to, d));
		else if (end == l->rows)
			MOE_TRY(give_logits(s, x + (end - 1) * hidden, end - 1, 1, to, d));
		moe_arena_release(&s->scratch, mark);
	}
	s->next = l->next;
	return MOE_OK;
}

enum moe_err moe_session_extend(struct moe_session *s, const int32_t *token, size_t n, const struct moe_patch_grid *grid, float *const *feature, bool all,
				enum moe_err (*logits)(void *self, size_t first, size_t count, const float *logit, struct moe_diag *d), void *self, struct moe_diag *d)
{
	struct sink to = {logits, self, all};
	struct moe_layout l;
	enum moe_err err;
	float *x;

	if (s->times)
		s->times->last = moe_clock();
	moe_arena_reset(&s->scratch);
	MOE_TRY(moe_layout_make(&l, s->model->spec, token, n, grid, s->next, &s->scratch, d));
	x = moe_arena_get(&s->scratch, l.rows * (size_t)s->model->spec->hidden, sizeof *x);
	if (!x)
		return moe_fail(d, MOE_ENOMEM, "out of memory for %zu rows", l.rows);
	MOE_TRY(moe_rows_forward(s->model, &l, grid, feature, x, d));
	err = extend(s, &l, x, &to, d);
	add_time(s, MOE_TIME_OTHER);
	return err;
}
