#include "stage/embed.h"

#include <string.h>

#include "base/check.h"
#include "stage/encode.h"

/* Rows [from, to) as a hidden frame. */
static enum moe_err emit_rows(struct moe_embed *e, struct moe_frame *f, const struct moe_layout *l, const float *x, size_t from, size_t to, uint64_t start,
			      struct moe_output *out, struct moe_diag *d)
{
	size_t n = to - from, hidden = (size_t)e->model->spec->hidden;
	int32_t *position = moe_arena_get(&e->memory, n * l->axes, sizeof *position);

	if (!position)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t a = 0; a < l->axes; a++)
		memcpy(position + a * n, l->position + a * l->rows + from, n * sizeof *position);
	MOE_TRY(moe_frame_set_number(f, "moe.start", start + from, d));
	MOE_TRY(moe_frame_put(f, "hidden", MOE_F32, 2, n, hidden, x + from * hidden, d));
	MOE_TRY(moe_frame_put(f, "token", MOE_I32, 1, n, 0, l->token + from, d));
	MOE_TRY(moe_frame_put(f, "position", MOE_I32, 2, l->axes, n, position, d));
	MOE_TRY(moe_frame_put(f, "image", MOE_I32, 1, n, 0, l->image + from, d));
	MOE_TRY(moe_frame_put(f, "patch_index", MOE_I32, 1, n, 0, l->patch + from, d));
	MOE_TRY(moe_frame_put(f, "modality", MOE_U8, 1, n, 0, l->modality + from, d));
	return moe_emit(out, f, d);
}

static enum moe_err emit_hidden(struct moe_embed *e, struct moe_frame *f, const struct moe_layout *l, const float *x, struct moe_output *out, struct moe_diag *d)
{
	const char *more = moe_frame_meta(f, "moe.more"), *logits = moe_frame_meta(f, "moe.logits");
	const char *last_more = more ? moe_arena_string(&e->memory, more, strlen(more)) : "0";
	const char *last_logits = logits ? moe_arena_string(&e->memory, logits, strlen(logits)) : "last";
	uint64_t start;

	MOE_TRY(moe_frame_number(f, "moe.start", 0, &start, d));
	f->kind = MOE_KIND_HIDDEN;
	MOE_TRY(moe_frame_set(f, "moe.kind", "hidden", d));
	MOE_TRY(moe_frame_set(f, "moe.at", "embed", d));
	MOE_TRY(moe_frame_set_number(f, "moe.next", l->next.position, d));
	if (l->next.picture)
		MOE_TRY(moe_frame_set_number(f, "moe.picture", l->next.picture, d));
	else
		moe_frame_unset(f, "moe.picture");
	for (size_t from = 0, to; from < l->rows; from = to) {
		to = moe_layout_chunk(l, e->model->spec, from, e->chunk ? e->chunk : l->rows);
		MOE_TRY(moe_frame_set(f, "moe.more", to < l->rows ? "1" : last_more, d));
		if (to < l->rows)       /* its logits, even if wanted, are not those that the next token comes from */
			MOE_TRY(moe_frame_set_number(f, "moe.rest", l->rows - to, d));
		else
			moe_frame_unset(f, "moe.rest");
		MOE_TRY(moe_frame_set(f, "moe.logits", to < l->rows && !strcmp(last_logits, "last") ? "none" : last_logits, d));
		MOE_TRY(emit_rows(e, f, l, x, from, to, start, out, d));
	}
	return MOE_OK;
}

enum moe_err moe_rows_forward(const struct moe_model *m, const struct moe_layout *l, const struct moe_patch_grid *grid, float *const *feature, float *x,
			      struct moe_diag *d)
{
	size_t hidden = (size_t)m->spec->hidden;

	for (size_t r = 0; r < l->rows;) {
		int32_t image = l->image[r];
		if (image < 0) {
			MOE_TRY(moe_embed_forward(m, l->token + r, 1, x + r * hidden, d));
			if (l->place && l->place[r] >= 0)
				moe_place_token(m, (size_t)l->place[r], x + r * hidden);
			r++;
		} else {
			moe_place_forward(m, feature[image], &grid[image], x + r * hidden);
			r += grid[image].features;
		}
	}
	return MOE_OK;
}

/* Rows of a sequence whose pictures are all there. */
static enum moe_err embed_rows(struct moe_embed *e, struct moe_frame *f, const int32_t *token, size_t n, struct moe_output *out, struct moe_diag *d)
{
	const struct moe_spec *s = e->model->spec;
	struct moe_layout l;
	uint64_t next, picture;
	float *x;

	MOE_TRY(moe_frame_number(f, "moe.next", moe_first_position(s).position, &next, d));
	MOE_TRY(moe_frame_number(f, "moe.picture", 0, &picture, d));
	if (next > INT32_MAX)
		return moe_frame_fail(f, d, MOE_EINPUT, "moe.next is too large");
	if (picture > moe_picture_tokens(s) + 1)
		return moe_frame_fail(f, d, MOE_EINPUT, "moe.picture is too large: a picture has %zu image tokens", moe_picture_tokens(s));
	for (size_t i = 0; i < n; i++)
		if (token[i] < 0 || token[i] >= s->vocab)
			return moe_frame_fail(f, d, MOE_EINPUT, "token %zu is %d, outside the vocabulary of %lld", i, token[i], (long long)s->vocab);
	MOE_TRY(moe_layout_make(&l, s, token, n, e->grid, (struct moe_cursor){(uint32_t)next, (uint32_t)picture}, &e->memory, d));
	if (l.next.position > INT32_MAX)
		return moe_frame_fail(f, d, MOE_EINPUT, "moe.next is too large for %zu more rows", l.rows);
	x = moe_arena_get(&e->memory, l.rows * (size_t)s->hidden, sizeof *x);
	if (!x)
		return moe_fail(d, MOE_ENOMEM, "out of memory for %zu rows", l.rows);
	MOE_TRY(moe_rows_forward(e->model, &l, e->grid, e->feature, x, d));
	return emit_hidden(e, f, &l, x, out, d);
}

static enum moe_err take_tokens(struct moe_embed *e, struct moe_frame *f, struct moe_output *out, struct moe_diag *d)
{
	const int32_t *token;
	const uint64_t *shape;
	uint64_t step;

	if (e->waiting)
		return moe_frame_fail(f, d, MOE_EINPUT, "the sequence before it has %zu pictures, but features of %zu came (is moe-patchify or moe-encode missing?)",
				      e->wanted, e->have);
	moe_arena_reset(&e->memory);
	e->wanted = e->have = 0;
	e->coming = (struct moe_crop_features){0};
	e->grid = NULL;
	MOE_TRY(moe_frame_tensor(f, "token", MOE_I32, 1, (const void **)&token, &shape, d));
	if (!shape[0])
		return moe_frame_fail(f, d, MOE_EINPUT, "tensor \"token\" is empty");
	MOE_TRY(moe_frame_number(f, "moe.step", 0, &step, d));
	if (!step)
		MOE_TRY(moe_frame_blame(f, moe_prompt_check(e->model->spec, token, shape[0], &e->wanted, d), d));
	if (!e->wanted)
		return embed_rows(e, f, token, shape[0], out, d);
	if (e->given) {
		if (e->wanted != e->given->n)
			return moe_frame_fail(f, d, MOE_EINPUT, "the prompt has %zu pictures, but features of %zu were given", e->wanted, e->given->n);
		e->grid = e->given->grid;
		e->feature = e->given->feature;
		return embed_rows(e, f, token, shape[0], out, d);
	}
	e->grid = moe_arena_get(&e->memory, e->wanted, sizeof *e->grid);
	e->feature = moe_arena_get(&e->memory, e->wanted, sizeof *e->feature);
	if (!e->grid || !e->feature)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	e->waiting = true;
	return moe_frame_copy(&e->tokens, f, d);
}

/* The sequence has all that it waited for. */
static enum moe_err embed_waiting(struct moe_embed *e, struct moe_output *out, struct moe_diag *d)
{
	const int32_t *token;
	const uint64_t *shape;

	e->waiting = false;
	MOE_TRY(moe_frame_tensor(&e->tokens, "token", MOE_I32, 1, (const void **)&token, &shape, d));
	return embed_rows(e, &e->tokens, token, shape[0], out, d);
}

static enum moe_err take_features(struct moe_embed *e, struct moe_frame *f, struct moe_output *out, struct moe_diag *d)
{
	const char *seq = moe_frame_meta(f, "moe.seq"), *want = moe_frame_meta(&e->tokens, "moe.seq");
	bool complete;

	if (!e->waiting || !seq || !want || strcmp(seq, want))
		return moe_frame_fail(f, d, MOE_EINPUT, "features of a sequence that does not wait for any");
	MOE_TRY(moe_crop_take(&e->coming, f, e->model->spec, &e->memory, &complete, d));
	if (!complete)
		return MOE_OK;
	e->grid[e->have] = e->coming.grid;
	e->feature[e->have++] = e->coming.feature;
	e->coming = (struct moe_crop_features){0};
	return e->have < e->wanted ? MOE_OK : embed_waiting(e, out, d);
}

static enum moe_err run(void *self, struct moe_frame **f, size_t n, struct moe_output *out, struct moe_diag *d)
{
	for (size_t i = 0; i < n; i++)
		MOE_TRY(f[i]->kind == MOE_KIND_TOKENS ? take_tokens(self, f[i], out, d) : take_features(self, f[i], out, d));
	return MOE_OK;
}

static enum moe_err notice(void *self, struct moe_frame *f, struct moe_output *out, struct moe_diag *d)
{
	const struct moe_embed *e = self;

	(void)out;
	if (f->kind == MOE_KIND_END && e->waiting)
		return moe_frame_fail(f, d, MOE_EINPUT, "the last sequence has %zu pictures, but features of %zu came (is moe-patchify or moe-encode missing?)",
				      e->wanted, e->have);
	return MOE_OK;
}

struct moe_stage moe_embed_stage(struct moe_embed *e)
{
	return (struct moe_stage){.self = e, .kinds = 1u << MOE_KIND_TOKENS | 1u << MOE_KIND_FEATURES, .run = run, .notice = notice};
}

void moe_embed_free(struct moe_embed *e)
{
	moe_frame_free(&e->tokens);
	moe_arena_free(&e->memory);
}
