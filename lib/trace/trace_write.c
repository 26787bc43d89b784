#include "trace/trace_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "stream/account.h"

struct moe_trace_writer {
	struct moe_writer *writer;
	struct moe_account account;
	struct moe_trace_info info;
	struct moe_frame frame;
	struct moe_arena arena;
};

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory for a trace"); }

enum moe_err moe_trace_info_write(struct moe_frame *head, const struct moe_trace_info *i, struct moe_diag *d)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	enum moe_err err;

	if (!f)
		return no_memory(d);
	fputs("{\"layers\": [", f);
	for (size_t l = 0; l < i->n_layers; l++)
		fprintf(f, l ? ", %zu" : "%zu", i->layer[l]);
	fprintf(f, "], \"experts\": %zu, \"k\": %zu, \"score\": \"%s\", \"renormalise\": %s, \"detail\": \"%s\"}", i->experts, i->k,
		moe_trace_score_name(i->score), i->renormalise ? "true" : "false", moe_trace_detail_name(i->detail));
	err = fclose(f) ? no_memory(d) : moe_frame_set(head, "moe.trace", text, d);
	free(text);
	if (!err)
		err = moe_frame_set(head, "moe.stream", MOE_STREAM_VERSION, d);
	if (!err && i->model[0])
		err = moe_frame_set(head, "moe.model", i->model, d);
	if (!err && i->tokenizer[0])
		err = moe_frame_set(head, "moe.tokenizer", i->tokenizer, d);
	return err;
}

static enum moe_err put_experts(struct moe_frame *f, const struct moe_trace_block *b, const struct moe_trace_info *i, struct moe_arena *a,
				struct moe_diag *d)
{
	uint64_t shape[] = {i->n_layers, b->rows, i->k};
	size_t n = i->n_layers * b->rows * i->k;
	uint8_t *narrow;

	if (i->experts > 255)
		return moe_frame_put_shape(f, "expert_id", MOE_U16, 3, shape, b->expert, d);
	narrow = moe_arena_get(a, n, 1);
	if (!narrow)
		return no_memory(d);
	for (size_t e = 0; e < n; e++)
		narrow[e] = (uint8_t)moe_min(b->expert[e], 255);
	return moe_frame_put_shape(f, "expert_id", MOE_U8, 3, shape, narrow, d);
}

/* Rounds to binary16 as moe_f16_from_f32 does, but for what is finite and too large, which becomes the largest number. Both ways of rounding
 * are computed, that of subnormal numbers by letting an addition of 1/2 round (its last bit is worth 2^-24), so that groups of 16 become vectors. */
static inline void narrow_some(uint16_t *to, const float *from, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t u, sign, normal, rounded;
		float size;
		memcpy(&u, &from[i], sizeof u);
		sign = u >> 16 & 0x8000;
		u &= 0x7fffffff;
		memcpy(&size, &u, sizeof size);
		size += 0.5f;
		memcpy(&rounded, &size, sizeof rounded);
		normal = (u - 0x38000000 + 0xfff + (u >> 13 & 1)) >> 13;
		normal = normal > 0x7bff ? 0x7bff : normal;
		normal = u < 0x38800000 ? rounded - 0x3f000000 : normal;
		to[i] = (uint16_t)((u >= 0x7f800000 ? 0x7c00u | (uint32_t)(u > 0x7f800000) << 9 : normal) | sign);
	}
}

static void narrow(uint16_t *to, const float *from, size_t n)
{
	size_t i = 0;

	for (; i + 16 <= n; i += 16)
		narrow_some(to + i, from + i, 16);
	narrow_some(to + i, from + i, n - i);
}

/* [layers][rows][width] as binary16. */
static enum moe_err put_halves(struct moe_frame *f, const char *name, const float *from, size_t width, const struct moe_trace_block *b,
			       const struct moe_trace_info *i, struct moe_arena *a, struct moe_diag *d)
{
	uint64_t shape[] = {i->n_layers, b->rows, width};
	size_t n = i->n_layers * b->rows * width;
	uint16_t *half = moe_arena_get(a, n, sizeof *half);

	if (!half)
		return no_memory(d);
	narrow(half, from, n);
	return moe_frame_put_shape(f, name, MOE_F16, 3, shape, half, d);
}

static enum moe_err put_rows(struct moe_frame *f, const struct moe_trace_block *b, const struct moe_trace_info *i, struct moe_arena *a, struct moe_diag *d)
{
	MOE_TRY(moe_frame_set_number(f, "moe.seq", b->seq, d));
	if (b->name)
		MOE_TRY(moe_frame_set(f, "moe.name", b->name, d));
	MOE_TRY(moe_frame_set_number(f, "moe.step", b->step, d));
	MOE_TRY(moe_frame_set_number(f, "moe.start", b->start, d));
	MOE_TRY(moe_frame_put(f, "token", MOE_I32, 1, b->rows, 0, b->token, d));
	MOE_TRY(moe_frame_put(f, "position", MOE_I32, 2, b->axes, b->rows, b->position, d));
	MOE_TRY(moe_frame_put(f, "image", MOE_I32, 1, b->rows, 0, b->image, d));
	MOE_TRY(moe_frame_put(f, "patch_index", MOE_I32, 1, b->rows, 0, b->patch, d));
	MOE_TRY(moe_frame_put(f, "modality", MOE_U8, 1, b->rows, 0, b->modality, d));
	MOE_TRY(put_experts(f, b, i, a, d));
	if (i->detail >= MOE_TRACE_WEIGHTS)
		MOE_TRY(put_halves(f, "weight", b->weight, i->k, b, i, a, d));
	if (i->detail == MOE_TRACE_LOGITS)
		MOE_TRY(put_halves(f, "router_logit", b->logit, i->experts, b, i, a, d));
	if (i->detail == MOE_TRACE_LOGITS && b->compared)
		MOE_TRY(put_halves(f, "choice", b->compared, i->experts, b, i, a, d));
	return b->depth ? moe_frame_put(f, "depth", MOE_U8, 2, i->n_layers, b->rows, b->depth, d) : MOE_OK;
}

enum moe_err moe_trace_block_write(struct moe_frame *f, const struct moe_trace_block *b, const struct moe_trace_info *i, struct moe_arena *a,
				   struct moe_diag *d)
{
	MOE_TRY(moe_frame_reset(f, MOE_KIND_TRACE, d));
	MOE_TRY(moe_frame_set(f, "moe.choice", b->choice ? b->choice : "token", d));
	if (i->detail == MOE_TRACE_COUNTS)
		return b->count ? moe_frame_put(f, "count", MOE_U64, 2, i->n_layers, i->experts, b->count, d)
				: moe_fail(d, MOE_EUSAGE, "a block without counts in a trace of counts");
	if (!b->rows || b->rows > MOE_TRACE_ROWS)
		return moe_fail(d, MOE_EUSAGE, "a block of a trace has 1 to %d rows, not %zu", MOE_TRACE_ROWS, b->rows);
	if ((i->detail >= MOE_TRACE_WEIGHTS && !b->weight) || (i->detail == MOE_TRACE_LOGITS && !b->logit))
		return moe_fail(d, MOE_EUSAGE, "a block without %s in a trace that promises them", b->weight ? "router logits" : "weights");
	return put_rows(f, b, i, a, d);
}

static enum moe_err put(struct moe_trace_writer *t, const struct moe_frame *f, struct moe_diag *d)
{
	MOE_TRY(moe_account_frame(&t->account, f, d));
	return moe_writer_put(t->writer, f, d);
}

/* The writer's own copy of what the trace is about. */
static enum moe_err copy_info(struct moe_trace_writer *t, const struct moe_trace_info *i, struct moe_diag *d)
{
	t->info = *i;
	t->info.layer = calloc(i->n_layers + 1, sizeof *t->info.layer);
	if (!t->info.layer)
		return no_memory(d);
	if (i->n_layers)
		memcpy(t->info.layer, i->layer, i->n_layers * sizeof *i->layer);
	return MOE_OK;
}

static enum moe_err begin(struct moe_trace_writer *t, struct moe_frame *head, const struct moe_trace_info *i, struct moe_diag *d)
{
	if (!i->n_layers)
		return moe_fail(d, MOE_EUSAGE, "there is nothing to trace: none of these layers has a router");
	if (!i->experts || i->experts > MOE_TRACE_EXPERTS)
		return moe_fail(d, MOE_EUSAGE, "a trace has 1 to %d experts, not %zu", MOE_TRACE_EXPERTS, i->experts);
	MOE_TRY(copy_info(t, i, d));
	if (!head) {
		MOE_TRY(moe_frame_reset(&t->frame, MOE_KIND_HEAD, d));
		head = &t->frame;
	}
	MOE_TRY(moe_trace_info_write(head, i, d));
	return put(t, head, d);
}

enum moe_err moe_trace_writer_new(struct moe_trace_writer **out, struct moe_writer *w, struct moe_frame *head, const struct moe_trace_info *info,
				  struct moe_diag *d)
{
	struct moe_trace_writer *t = calloc(1, sizeof *t);
	enum moe_err err;

	*out = NULL;
	if (!t)
		return no_memory(d);
	t->writer = w;
	err = begin(t, head, info, d);
	if (err)
		moe_trace_writer_free(t);
	else
		*out = t;
	return err;
}

void moe_trace_writer_free(struct moe_trace_writer *t)
{
	if (!t)
		return;
	moe_account_free(&t->account);
	moe_trace_info_free(&t->info);
	moe_frame_free(&t->frame);
	moe_arena_free(&t->arena);
	free(t);
}

enum moe_err moe_trace_writer_put(struct moe_trace_writer *t, const struct moe_trace_block *b, struct moe_diag *d)
{
	moe_arena_reset(&t->arena);
	MOE_TRY(moe_trace_block_write(&t->frame, b, &t->info, &t->arena, d));
	return put(t, &t->frame, d);
}

enum moe_err moe_trace_writer_end(struct moe_trace_writer *t, struct moe_diag *d)
{
	MOE_TRY(moe_frame_reset(&t->frame, MOE_KIND_END, d));
	MOE_TRY(moe_account_sign(&t->account, &t->frame, d));
	MOE_TRY(put(t, &t->frame, d));
	return moe_writer_flush(t->writer, d);
}
