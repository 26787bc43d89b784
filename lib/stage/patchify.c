#include "stage/patchify.h"

#include <string.h>

#include "stage/prompts.h"

enum moe_err moe_fit_from_spec(struct moe_fit *fit, const struct moe_spec *s, struct moe_diag *d)
{
	*fit = (struct moe_fit){
		.n_grids = s->image.n_grids, .patch_height = (uint32_t)s->image.patch, .patch_width = (uint32_t)s->image.patch, .filter = MOE_BICUBIC,
		.pad = s->image.pad == MOE_PAD_BORDER_MEDIAN ? MOE_FIT_PAD_BORDER_MEDIAN : MOE_FIT_PAD_CONSTANT, .place = MOE_FIT_LEFT,
	};
	for (size_t i = 0; i < s->image.n_grids; i++)
		fit->grid[i] = (struct moe_grid){(uint32_t)s->image.grid[i][0], (uint32_t)s->image.grid[i][1]};
	for (int c = 0; c < 3; c++) {
		fit->pad_colour[c] = (uint8_t)s->image.pad_colour[c];
		fit->mean[c] = (float)s->image.mean[c];
		fit->std[c] = (float)s->image.std[c];
	}
	return moe_fit_check(fit, d);
}

struct moe_decode_options moe_decode_from_spec(const struct moe_spec *s)
{
	struct moe_decode_options o = {.alpha = MOE_ALPHA_OVER};

	for (int c = 0; c < 3; c++)
		o.background[c] = (uint8_t)s->image.background[c];
	return o;
}

enum moe_err moe_patchify_init(struct moe_patchify *p, const struct moe_spec *s, struct moe_feed *feed, struct moe_diag *d)
{
	*p = (struct moe_patchify){.spec = s, .feed = feed};
	return moe_fit_from_spec(&p->fit, s, d);
}

void moe_patchify_free(struct moe_patchify *p)
{
	if (p->has_ahead)
		moe_feed_item_clear(&p->ahead);
	moe_arena_free(&p->memory);
}

enum moe_err moe_picture_patches(const struct moe_fit *fit, const struct moe_picture *in, struct moe_arena *memory, float **pixel, int32_t grid[2],
				 int32_t valid[2], struct moe_diag *d)
{
	size_t g = moe_fit_choose(fit, in->width, in->height);
	uint32_t width, height;
	uint8_t *canvas = moe_arena_get(memory, (size_t)moe_fit_height(fit, g) * moe_fit_width(fit, g), MOE_FIT_CHANNELS);

	*pixel = moe_arena_get(memory, moe_fit_n_patches(fit, g) * moe_fit_patch_size(fit), sizeof(float));
	if (!canvas || !*pixel)
		return moe_fail(d, MOE_ENOMEM, "out of memory for a picture's patches");
	moe_fit_size(in->width, in->height, moe_fit_width(fit, g), moe_fit_height(fit, g), &width, &height);
	MOE_TRY(moe_fit_canvas(fit, g, in, canvas, d));
	moe_fit_patches(fit, g, canvas, *pixel);
	grid[0] = (int32_t)fit->grid[g].rows;
	grid[1] = (int32_t)fit->grid[g].cols;
	valid[0] = (int32_t)height;
	valid[1] = (int32_t)width;
	return MOE_OK;
}

/* A picture between decoding and its frame. */
struct patches {
	float *pixel;
	int32_t grid[2], valid[2];
	char *name;
};

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

/* Takes the next picture of the feed. A picture that cannot be used leaves its message in *why (from the arena); MOE_END: there is none. */
static enum moe_err take_picture(struct moe_patchify *p, struct patches *out, const char **why, struct moe_diag *d)
{
	struct moe_feed_item item;
	char text[700];
	enum moe_err err = next_item(p, &item, d);

	MOE_TRY(err);
	out->name = moe_arena_string(&p->memory, item.label, strlen(item.label));
	if (item.failure.code) {
		moe_diag_string(&item.failure, text, sizeof text);
		*why = moe_arena_string(&p->memory, text, strlen(text));
	} else {
		err = moe_picture_patches(&p->fit, &item.picture, &p->memory, &out->pixel, out->grid, out->valid, d);
	}
	moe_feed_item_clear(&item);
	return err;
}

static enum moe_err emit_failed(struct moe_frame *f, const char *why, struct moe_output *out, struct moe_diag *d)
{
	f->kind = MOE_KIND_FAILED;
	f->h.n_tensors = 0;
	MOE_TRY(moe_frame_set(f, "moe.kind", "failed", d));
	MOE_TRY(moe_frame_set(f, "moe.error", why, d));
	return moe_emit(out, f, d);
}

static enum moe_err emit_patches(struct moe_patchify *p, struct moe_frame *f, const struct patches *b, struct moe_output *out, struct moe_diag *d)
{
	uint64_t n = (uint64_t)b->grid[0] * (uint64_t)b->grid[1];

	f->kind = MOE_KIND_PATCHES;
	f->h.n_tensors = 0;
	MOE_TRY(moe_frame_set(f, "moe.kind", "patches", d));
	MOE_TRY(moe_frame_put(f, "pixel", MOE_F32, 2, n, moe_fit_patch_size(&p->fit), b->pixel, d));
	MOE_TRY(moe_frame_put(f, "grid", MOE_I32, 1, 2, 0, b->grid, d));
	MOE_TRY(moe_frame_put(f, "valid", MOE_I32, 1, 2, 0, b->valid, d));
	return moe_emit(out, f, d);
}

/* The pictures of one sequence, all of them before anything goes out: a bad one fails the sequence as a whole. */
static enum moe_err run_frame(struct moe_patchify *p, struct moe_frame *f, struct moe_output *out, struct moe_diag *d)
{
	const int32_t *token;
	const uint64_t *shape;
	const char *why = NULL;
	struct patches *b;
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
	b = moe_arena_zero(&p->memory, n, sizeof *b);
	if (!b)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		enum moe_err err = take_picture(p, &b[i], &why, d);
		if (err == MOE_END)
			return moe_frame_fail(f, d, MOE_EINPUT, "the prompts up to here ask for %llu pictures, but only %llu were given", (unsigned long long)p->wanted,
					      (unsigned long long)p->given);
		MOE_TRY(err);
	}
	if (why)
		return emit_failed(f, why, out, d);
	MOE_TRY(moe_emit(out, f, d));
	for (size_t i = 0; i < n; i++)
		MOE_TRY(emit_patches(p, f, &b[i], out, d));
	return MOE_OK;
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

static enum moe_err source_frames(struct moe_patchify *p, struct moe_frame *f, struct moe_output *out, struct moe_diag *d)
{
	for (uint64_t seq = 0;; seq++) {
		const char *why = NULL;
		struct patches b = {0};
		enum moe_err err;
		moe_arena_reset(&p->memory);
		err = take_picture(p, &b, &why, d);
		if (err == MOE_END)
			return MOE_OK;
		MOE_TRY(err);
		MOE_TRY(moe_frame_reset(f, MOE_KIND_PATCHES, d));
		MOE_TRY(moe_frame_set_number(f, "moe.seq", seq, d));
		MOE_TRY(moe_frame_set(f, "moe.name", b.name, d));
		MOE_TRY(why ? emit_failed(f, why, out, d) : emit_patches(p, f, &b, out, d));
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
