#include "stage/patchify.h"

#include <stdio.h>
#include <string.h>

#include "stage/prompts.h"

static void fit_from_spec(struct moe_fit *fit, const struct moe_spec *s)
{
	*fit = (struct moe_fit){
		.n_grids = s->image.grids.n, .patch_height = (uint32_t)s->image.patch, .patch_width = (uint32_t)s->image.patch, .filter = MOE_BICUBIC,
		.pad = s->image.pad == MOE_PAD_BORDER_MEDIAN ? MOE_FIT_PAD_BORDER_MEDIAN : MOE_FIT_PAD_CONSTANT, .place = MOE_FIT_LEFT,
	};
	for (size_t i = 0; i < s->image.grids.n; i++)
		fit->grid[i] = (struct moe_grid){(uint32_t)s->image.grids.v[i][0], (uint32_t)s->image.grids.v[i][1]};
	for (int c = 0; c < 3; c++) {
		fit->pad_colour[c] = (uint8_t)s->image.pad_colour[c];
		fit->mean[c] = (float)s->image.mean[c];
		fit->std[c] = (float)s->image.std[c];
	}
}

/* The side of the canvas that was asked for. */
static enum moe_err choose_size(struct moe_canvas *c, const struct moe_spec *s, int64_t size, struct moe_diag *d)
{
	char list[200] = "";

	c->size = (uint32_t)(size ? size : s->image.size);
	for (size_t i = 0, n = 0; i < s->image.sizes.n; i++) {
		if (s->image.sizes.v[i] == c->size)
			return MOE_OK;
		if (n < sizeof list)
			n += (size_t)snprintf(list + n, sizeof list - n, "%s%lld", i ? ", " : "", (long long)s->image.sizes.v[i]);
	}
	return moe_fail(d, MOE_EUSAGE, "pictures of %u pixels: the model takes %s", c->size, list);
}

static enum moe_err canvas_from_spec(struct moe_canvas *c, const struct moe_spec *s, const struct moe_image_choice *choice, struct moe_diag *d)
{
	*c = (struct moe_canvas){.min_side = (uint32_t)s->image.min_side, .patch = (uint32_t)s->image.patch, .filter = MOE_BICUBIC, .n_ratios = s->image.ratios.n,
				 .split = s->image.split ? MOE_SPLIT_ORIGINAL : MOE_SPLIT_NONE};
	for (size_t i = 0; i < c->n_ratios; i++)
		for (int j = 0; j < 2; j++)
			c->ratio[i][j] = (uint32_t)s->image.ratios.v[i][j];
	moe_canvas_values(c, s->image.mean, s->image.std);
	if (choice && choice->split && (c->split = moe_split_find(choice->split)) == MOE_N_SPLITS)
		return moe_fail(d, MOE_EUSAGE, "pictures split by \"%s\": expected none, original or hf", choice->split);
	if (c->split != MOE_SPLIT_NONE && !c->n_ratios)
		return moe_fail(d, MOE_EUSAGE, "the family %s has no ratios to split pictures by (image.ratios)", s->family);
	MOE_TRY(choose_size(c, s, choice ? choice->size : 0, d));
	return moe_canvas_check(c, d);
}

enum moe_err moe_plan_from_spec(struct moe_image_plan *plan, const struct moe_spec *s, const struct moe_image_choice *choice, struct moe_diag *d)
{
	*plan = (struct moe_image_plan){.on_canvas = s->image.kind == MOE_IMAGE_CANVAS};
	if (plan->on_canvas)
		return canvas_from_spec(&plan->canvas, s, choice, d);
	if (choice && (choice->size || choice->split))
		return moe_fail(d, MOE_EUSAGE, "the family %s has one size of pictures, and splits none", s->family);
	fit_from_spec(&plan->fit, s);
	return moe_fit_check(&plan->fit, d);
}

size_t moe_plan_most_features(const struct moe_image_plan *p, const struct moe_spec *s)
{
	uint64_t side = p->on_canvas ? p->canvas.size / p->canvas.patch : 0;

	return p->on_canvas ? moe_plan_most_patches(p) / (side * side) * moe_spec_features(s, side, side) : moe_plan_most_patches(p);
}

struct moe_decode_options moe_decode_from_spec(const struct moe_spec *s)
{
	struct moe_decode_options o = {.alpha = s->image.alpha == MOE_ALPHA_RULE_DROP ? MOE_ALPHA_DROP : MOE_ALPHA_OVER};

	for (int c = 0; c < 3; c++)
		o.background[c] = (uint8_t)s->image.background[c];
	return o;
}

enum moe_err moe_patchify_init(struct moe_patchify *p, const struct moe_spec *s, const struct moe_image_choice *choice, struct moe_feed *feed,
				struct moe_diag *d)
{
	*p = (struct moe_patchify){.spec = s, .feed = feed};
	return moe_plan_from_spec(&p->plan, s, choice, d);
}

void moe_patchify_free(struct moe_patchify *p)
{
	if (p->has_ahead)
		moe_feed_item_clear(&p->ahead);
	moe_arena_free(&p->memory);
}

static enum moe_err next_item(struct moe_patchify *p, struct moe_feed_item *item, struct moe_diag *d)
{
	if (p->has_ahead) {
		*item = p->ahead;
		p->has_ahead = false;
		return MOE_OK;
	}
	MOE_TRY(moe_feed_next(p->feed, item, d));
	p->given++;
	return MOE_OK;
}

/* Takes the next picture of the feed into *item. One that cannot be used leaves its message in *why (from the arena); MOE_END: there is none. */
static enum moe_err take_picture(struct moe_patchify *p, struct moe_feed_item *item, const char **why, struct moe_diag *d)
{
	char text[700];

	MOE_TRY(next_item(p, item, d));
	if (item->failure.code) {
		moe_diag_string(&item->failure, text, sizeof text);
		*why = moe_arena_string(&p->memory, text, strlen(text));
	}
	return MOE_OK;
}

static enum moe_err emit_failed(struct moe_frame *f, const char *why, struct moe_output *out, struct moe_diag *d)
{
	f->kind = MOE_KIND_FAILED;
	f->h.n_tensors = 0;
	MOE_TRY(moe_frame_set(f, "moe.kind", "failed", d));
	MOE_TRY(moe_frame_set(f, "moe.error", why, d));
	return moe_emit(out, f, d);
}

static enum moe_err emit_patches(const struct moe_patchify *p, struct moe_frame *f, const struct moe_patches *b, struct moe_output *out, struct moe_diag *d)
{
	int32_t grid[2] = {(int32_t)b->rows, (int32_t)b->columns}, valid[2] = {(int32_t)b->height, (int32_t)b->width};

	f->kind = MOE_KIND_PATCHES;
	f->h.n_tensors = 0;
	MOE_TRY(moe_frame_set(f, "moe.kind", "patches", d));
	MOE_TRY(moe_frame_put(f, "pixel", MOE_F32, 2, (uint64_t)b->rows * b->columns, moe_plan_patch_size(&p->plan), b->pixel, d));
	MOE_TRY(moe_frame_put(f, "grid", MOE_I32, 1, 2, 0, grid, d));
	MOE_TRY(moe_frame_put(f, "valid", MOE_I32, 1, 2, 0, valid, d));
	return moe_emit(out, f, d);
}

/* One frame for each crop of the picture. */
static enum moe_err emit_crops(struct moe_patchify *p, struct moe_frame *f, struct moe_crops *c, struct moe_output *out, struct moe_diag *d)
{
	while (c->at < c->n) {
		struct moe_arena_mark mark = moe_arena_mark(&p->memory);
		struct moe_patches b;
		if (c->n > 1) {
			MOE_TRY(moe_frame_set_number(f, "moe.crop", c->at, d));
			MOE_TRY(moe_frame_set_number(f, "moe.crops", c->n, d));
		}
		MOE_TRY(moe_crops_next(c, &b, &p->memory, d));
		MOE_TRY(emit_patches(p, f, &b, out, d));
		moe_arena_release(&p->memory, mark);
	}
	moe_frame_unset(f, "moe.crop");
	moe_frame_unset(f, "moe.crops");
	return MOE_OK;
}

static enum moe_err emit_picture(struct moe_patchify *p, struct moe_frame *f, const struct moe_picture *picture, struct moe_output *out, struct moe_diag *d)
{
	struct moe_crops c;
	enum moe_err err = moe_crops_open(&c, &p->plan, picture, d);

	if (!err)
		err = emit_crops(p, f, &c, out, d);
	moe_crops_close(&c);
	return err;
}

/* The n pictures of a sequence, all of them before anything goes out: a bad one fails the sequence as a whole. */
static enum moe_err run_pictures(struct moe_patchify *p, struct moe_frame *f, struct moe_feed_item *item, size_t n, struct moe_output *out, struct moe_diag *d)
{
	const char *why = NULL;

	for (size_t i = 0; i < n; i++) {
		enum moe_err err = take_picture(p, &item[i], &why, d);
		if (err == MOE_END)
			return moe_frame_fail(f, d, MOE_EINPUT, "the prompts up to here ask for %llu pictures, but only %llu were given", (unsigned long long)p->wanted,
					      (unsigned long long)p->given);
		MOE_TRY(err);
	}
	if (why)
		return emit_failed(f, why, out, d);
	MOE_TRY(moe_emit(out, f, d));
	for (size_t i = 0; i < n; i++)
		MOE_TRY(emit_picture(p, f, &item[i].picture, out, d));
	return MOE_OK;
}

static enum moe_err run_frame(struct moe_patchify *p, struct moe_frame *f, struct moe_output *out, struct moe_diag *d)
{
	struct moe_feed_item *item;
	const int32_t *token;
	const uint64_t *shape;
	enum moe_err err;
	size_t n = 0;
	uint64_t step;

	MOE_TRY(moe_frame_tensor(f, "token", MOE_I32, 1, (const void **)&token, &shape, d));
	MOE_TRY(moe_frame_number(f, "moe.step", 0, &step, d));
	for (uint64_t i = 0; !step && i < shape[0]; i++)
		n += token[i] == p->spec->merge.placeholder;
	if (!n)
		return moe_emit(out, f, d);
	p->wanted += n;
	moe_arena_reset(&p->memory);
	item = moe_arena_zero(&p->memory, n, sizeof *item);
	if (!item)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	err = run_pictures(p, f, item, n, out, d);
	for (size_t i = 0; i < n; i++)
		moe_feed_item_clear(&item[i]);
	return err;
}

static enum moe_err run(void *self, struct moe_frame **f, size_t n, struct moe_output *out, struct moe_diag *d)
{
	for (size_t i = 0; i < n; i++)
		MOE_TRY(run_frame(self, f[i], out, d));
	return MOE_OK;
}

/* At the end of the last member no picture may be left over. */
static enum moe_err notice(void *self, struct moe_frame *f, struct moe_output *out, struct moe_diag *d)
{
	struct moe_patchify *p = self;
	struct moe_feed_item item;
	enum moe_err err;
	bool more;

	if (f->kind != MOE_KIND_END)
		return MOE_OK;
	err = next_item(p, &p->ahead, d);
	if (err)
		return err == MOE_END ? MOE_OK : err;
	p->has_ahead = true;
	MOE_TRY(moe_writer_flush(out->writer, d));
	MOE_TRY(moe_reader_more(out->in, &more, d));
	if (more)
		return MOE_OK;
	while (!(err = next_item(p, &item, d)))
		moe_feed_item_clear(&item);
	if (err != MOE_END)
		return err;
	return moe_frame_fail(f, d, MOE_EINPUT, "the prompts ask for %llu pictures, but %llu were given", (unsigned long long)p->wanted,
			      (unsigned long long)p->given);
}

struct moe_stage moe_patchify_stage(struct moe_patchify *p)
{
	return (struct moe_stage){.self = p, .kinds = 1u << MOE_KIND_TOKENS, .run = run, .notice = notice};
}

/* A picture of the feed as a sequence of its own. */
static enum moe_err source_frame(struct moe_patchify *p, uint64_t seq, struct moe_frame *f, struct moe_feed_item *item, struct moe_output *out, struct moe_diag *d)
{
	const char *why = NULL;

	MOE_TRY(take_picture(p, item, &why, d));
	MOE_TRY(moe_frame_reset(f, MOE_KIND_PATCHES, d));
	MOE_TRY(moe_frame_set_number(f, "moe.seq", seq, d));
	MOE_TRY(moe_frame_set(f, "moe.name", item->label, d));
	return why ? emit_failed(f, why, out, d) : emit_picture(p, f, &item->picture, out, d);
}

static enum moe_err source_frames(struct moe_patchify *p, struct moe_frame *f, struct moe_output *out, struct moe_diag *d)
{
	for (uint64_t seq = 0;; seq++) {
		struct moe_feed_item item = {0};
		enum moe_err err;
		moe_arena_reset(&p->memory);
		err = source_frame(p, seq, f, &item, out, d);
		moe_feed_item_clear(&item);
		if (err)
			return err == MOE_END ? MOE_OK : err;
	}
}

enum moe_err moe_patchify_source(struct moe_patchify *p, const struct moe_identity *id, struct moe_output *out, struct moe_diag *d)
{
	struct moe_frame f = {0};
	enum moe_err err = moe_head_make(&f, id, d);

	if (!err)
		err = moe_emit(out, &f, d);
	if (!err)
		err = source_frames(p, &f, out, d);
	if (!err)
		err = moe_frame_reset(&f, MOE_KIND_END, d);
	if (!err)
		err = moe_account_sign(&out->account, &f, d);
	if (!err)
		err = moe_emit(out, &f, d);
	if (!err)
		err = moe_writer_flush(out->writer, d);
	moe_frame_free(&f);
	return err;
}
