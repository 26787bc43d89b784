#include "stage/tracing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trace/pools.h"

struct moe_tracing {
	struct moe_tracing_options o;
	struct moe_trace_info info;
	struct moe_trace_writer *writer;        /* of the member that was begun, or NULL */
	struct moe_collector *collector;
};

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory for a trace"); }

/* What the trace is about. */
static enum moe_err describe(struct moe_trace_info *i, const struct moe_tracing_options *o, struct moe_diag *d)
{
	static const enum moe_trace_score scores[] = {
		[MOE_SCORE_SOFTMAX] = MOE_TRACE_SOFTMAX, [MOE_SCORE_SIGMOID] = MOE_TRACE_SIGMOID, [MOE_SCORE_LOGIT] = MOE_TRACE_LOGIT,
	};
	const struct moe_router_settings *s = &o->model->spec->router;

	i->layer = calloc(o->last - o->first + 1, sizeof *i->layer);
	if (!i->layer)
		return no_memory(d);
	for (size_t l = o->first; l <= o->last; l++)
		if (moe_spec_top_k(o->model->spec, l))
			i->layer[i->n_layers++] = l;
	if (!i->n_layers)
		return moe_fail(d, MOE_EUSAGE, "there is nothing to trace: none of these layers has a router");
	i->experts = (size_t)s->experts;
	i->k = moe_router_width(s);
	i->score = scores[s->score];
	i->renormalise = s->renormalise || s->weight == MOE_WEIGHT_SOFTMAX_OF_CHOSEN;
	i->detail = o->detail;
	snprintf(i->model, sizeof i->model, "%s", o->model->fingerprint);
	return MOE_OK;
}

enum moe_err moe_tracing_new(struct moe_tracing **out, const struct moe_tracing_options *o, struct moe_diag *d)
{
	struct moe_tracing *t = calloc(1, sizeof *t);
	enum moe_err err;

	*out = NULL;
	if (!t)
		return no_memory(d);
	t->o = *o;
	err = describe(&t->info, o, d);
	if (err)
		moe_tracing_free(t);
	else
		*out = t;
	return err;
}

void moe_tracing_free(struct moe_tracing *t)
{
	if (!t)
		return;
	moe_collector_free(t->collector);
	moe_trace_writer_free(t->writer);
	moe_trace_info_free(&t->info);
	free(t);
}

static enum moe_err write_head(struct moe_tracing *t, const struct moe_frame *head, struct moe_frame *own, struct moe_diag *d)
{
	if (head)
		MOE_TRY(moe_frame_copy(own, head, d));
	else
		MOE_TRY(moe_frame_reset(own, MOE_KIND_HEAD, d));
	moe_frame_unset(own, "moe.end");        /* what is said of the frames of the other stream */
	moe_frame_unset(own, "moe.crc");
	if (!head) {
		MOE_TRY(moe_frame_set(own, "moe.stream", MOE_STREAM_VERSION, d));
		MOE_TRY(moe_frame_set(own, "moe.math", moe_math_name(t->o.identity->math), d));
		if (t->o.identity->tokenizer)
			MOE_TRY(moe_frame_set(own, "moe.tokenizer", t->o.identity->tokenizer, d));
		MOE_TRY(moe_pools_write(own, &t->o.model->spec->router.pools, t->info.experts, d));
	}
	MOE_TRY(moe_head_mark(own, t->o.identity, d));
	return moe_trace_writer_new(&t->writer, t->o.writer, own, &t->info, d);
}

/* May rows skip a layer that is traced? */
static bool skips_layers(const struct moe_tracing *t)
{
	bool any = false;

	for (size_t i = 0; i < t->info.n_layers; i++)
		any |= moe_spec_has_depth(t->o.model->spec, t->info.layer[i]);
	return any;
}

enum moe_err moe_tracing_begin(struct moe_tracing *t, const struct moe_frame *head, struct moe_diag *d)
{
	struct moe_frame own = {0};
	enum moe_err err;

	MOE_TRY(moe_tracing_end(t, d));
	err = write_head(t, head, &own, d);
	moe_frame_free(&own);
	return err ? err : moe_collector_new(&t->collector, t->writer, &t->info, t->o.in_order, skips_layers(t), d);
}

enum moe_err moe_tracing_span(struct moe_tracing *t, size_t layer, const struct moe_batch *b, const struct moe_span *span, const struct moe_routed *routed,
			      const struct moe_trace_rows *r, struct moe_diag *d)
{
	size_t k = t->info.k, e = t->info.experts, at = span->first;
	struct moe_trace_choice choice = {
		.expert_id = routed->expert_id + at * k, .weight = routed->weight + at * k, .logit = routed->logit ? routed->logit + at * e : NULL,
		.compared = routed->choice ? routed->choice + at * e : NULL, .depth = b->depth.on ? b->depth.taken + at : NULL,
	};
	struct moe_trace_rows rows = *r;

	rows.choice = t->o.model->choice;
	rows.start = span->start;
	rows.n = span->n;
	rows.position = b->position + at;
	rows.axes = b->axes;
	rows.stride = b->rows;
	return moe_collect(t->collector, layer, &rows, &choice, d);
}

enum moe_err moe_tracing_flow(struct moe_tracing *t, size_t layer, const struct moe_flow *flow, struct moe_diag *d)
{
	for (size_t i = 0; i < flow->n; i++) {
		struct moe_frame *f = flow->frame[i];
		size_t n = flow->span[i].n;
		struct moe_trace_rows r = {.name = moe_frame_meta(f, "moe.name")};
		MOE_TRY(moe_frame_number(f, "moe.seq", UINT64_MAX, &r.seq, d));
		MOE_TRY(moe_frame_number(f, "moe.step", 0, &r.step, d));
		MOE_TRY(moe_frame_column(f, "token", MOE_I32, n, (const void **)&r.token, d));
		MOE_TRY(moe_frame_column(f, "image", MOE_I32, n, (const void **)&r.image, d));
		MOE_TRY(moe_frame_column(f, "patch_index", MOE_I32, n, (const void **)&r.patch, d));
		MOE_TRY(moe_frame_column(f, "modality", MOE_U8, n, (const void **)&r.modality, d));
		MOE_TRY(moe_tracing_span(t, layer, &flow->batch, &flow->span[i], &flow->routed, &r, d));
	}
	return MOE_OK;
}

enum moe_err moe_tracing_over(struct moe_tracing *t, uint64_t seq, struct moe_diag *d)
{
	return t->collector ? moe_collect_over(t->collector, seq, d) : MOE_OK;
}

enum moe_err moe_tracing_end(struct moe_tracing *t, struct moe_diag *d)
{
	if (!t->writer)
		return MOE_OK;
	if (t->collector)
		MOE_TRY(moe_collect_rest(t->collector, d));
	MOE_TRY(moe_trace_writer_end(t->writer, d));
	moe_collector_free(t->collector);
	moe_trace_writer_free(t->writer);
	t->collector = NULL;
	t->writer = NULL;
	return MOE_OK;
}
