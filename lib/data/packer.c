#include "data/packer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/rng.h"
#include "data/words.h"

enum { C = MOE_FIT_CHANNELS };
enum { STREAM_QUESTIONS = 1, STREAM_COLOURS = 2, STREAM_DRAW = 3 };      /* of random numbers under the sample's key */

static enum moe_err no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory"); }

void moe_packing_free(struct moe_packing *out)
{
	moe_arena_free(&out->memory);
	free(out->ids.id);
	*out = (struct moe_packing){0};
}

/* ---- labels ---- */

/* A picture's place on the canvas: x of the canvas = x · scale_x + left. */
struct placing { double scale_x, scale_y, left, top; };

static struct placing place(const struct moe_fit *f, size_t g, uint32_t w, uint32_t h)
{
	uint32_t W = moe_fit_width(f, g), H = moe_fit_height(f, g), nw, nh;

	moe_fit_size(w, h, W, H, &nw, &nh);
	return (struct placing){(double)nw / w, (double)nh / h, f->place == MOE_FIT_CENTRE ? (W - nw) / 2 : 0, (H - nh) / 2};
}

/* First and one past the last patch of `count` that [a, b) touches. */
static void touched(double a, double b, uint32_t patch, uint32_t count, uint32_t *first, uint32_t *end)
{
	double from = floor(a / patch), to = ceil(b / patch);

	*first = from <= 0 ? 0 : from >= count ? count : (uint32_t)from;
	*end = to <= 0 || b <= a ? 0 : to >= count ? count : (uint32_t)to;
}

static void mark(int32_t *box_of, const struct moe_fit *f, size_t g, const struct placing *at, const struct moe_box *b, int32_t number)
{
	double x0 = b->x0 * at->scale_x + at->left, x1 = b->x1 * at->scale_x + at->left, y0 = b->y0 * at->scale_y + at->top, y1 = b->y1 * at->scale_y + at->top;
	uint32_t i0, i1, j0, j1, columns = f->grid[g].cols;

	touched(y0, y1, f->patch_height, f->grid[g].rows, &i0, &i1);
	touched(x0, x1, f->patch_width, columns, &j0, &j1);
	for (uint32_t i = i0; i < i1; i++)
		for (uint32_t j = j0; j < j1; j++) {
			double y = (i + 0.5) * f->patch_height, x = (j + 0.5) * f->patch_width;
			int32_t *l = &box_of[(size_t)i * columns + j];
			if (y0 <= y && y < y1 && x0 <= x && x < x1)
				*l = number;
			else if (*l == MOE_PATCH_UNTOUCHED)
				*l = MOE_PATCH_TOUCHED;
		}
}

void moe_box_patches(int32_t *box_of, const struct moe_fit *f, size_t g, uint32_t w, uint32_t h, const struct moe_box *box, size_t n)
{
	struct placing at = place(f, g, w, h);

	for (size_t i = 0; i < moe_fit_n_patches(f, g); i++)
		box_of[i] = MOE_PATCH_UNTOUCHED;
	for (size_t i = 0; i < n; i++)
		mark(box_of, f, g, &at, &box[i], (int32_t)i);
}

enum moe_err moe_packer_labels(int32_t *label, const struct moe_packer *p, size_t g, uint32_t w, uint32_t h, const struct moe_box *box, size_t n,
			     struct moe_diag *d)
{
	for (size_t i = 0; i < n; i++)
		if (*box[i].label && moe_tokenizer_find(p->tokenizer, box[i].label, strlen(box[i].label)) < 0)
			return moe_fail(d, MOE_EINPUT, "the label \"%.40s\" of a box is no token of the vocabulary", box[i].label);
	moe_box_patches(label, p->fit, g, w, h, box, n);
	for (size_t i = 0; i < moe_fit_n_patches(p->fit, g); i++)
		if (label[i] == MOE_PATCH_UNTOUCHED)
			label[i] = p->pad;
		else if (label[i] >= 0)
			label[i] = *box[label[i]].label ? moe_tokenizer_find(p->tokenizer, box[label[i]].label, strlen(box[label[i]].label)) : -1;
	return MOE_OK;
}

/* ---- the picture ---- */

/* Channel c of the result comes from channel from[c] of the picture, value[c][v] for its byte v. */
struct colours { unsigned from[C]; float value[C][256]; };

/* One of the six orders of three channels. */
static void permute(unsigned from[C], unsigned which)
{
	static const unsigned char order[6][C] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

	for (int c = 0; c < C; c++)
		from[c] = order[which][c];
}

static void choose_colours(struct colours *out, const struct moe_fit *f, const struct moe_augment *a, uint64_t key)
{
	bool negative = a->invert && moe_random_u64(key, STREAM_COLOURS, 0) & 1;

	permute(out->from, a->permute ? (unsigned)(moe_random_unit(key, STREAM_COLOURS, 1) * 6) : 0);
	for (int c = 0; c < C; c++) {
		double gain = 1 + a->gain * (2 * moe_random_unit(key, STREAM_COLOURS, 2 + 2 * (uint64_t)c) - 1);
		double offset = a->offset * (2 * moe_random_unit(key, STREAM_COLOURS, 3 + 2 * (uint64_t)c) - 1);
		for (int v = 0; v < 256; v++) {
			double x = gain * ((negative ? 255 - v : v) - 127.5) + 127.5 + offset, byte = fmin(fmax(floor(x + 0.5), 0), 255);
			out->value[c][v] = ((float)byte - f->mean[c]) / f->std[c];
		}
	}
}

static void make_planes(float *planes, const uint8_t *canvas, size_t pixels, const struct colours *k)
{
	for (int c = 0; c < C; c++)
		for (size_t i = 0; i < pixels; i++)
			*planes++ = k->value[c][canvas[i * C + k->from[c]]];
}

/* Image tokens in the place of planes. */
static enum moe_err make_codes(struct moe_packing *out, const struct moe_packer_tokens *t, int32_t *code, struct moe_diag *d)
{
	MOE_TRY(t->codes(t->self, out->packed.planes, out->packed.rows, out->packed.columns, code, d));
	for (size_t i = 0; i < (size_t)out->packed.rows * out->packed.columns; i++)
		code[i] += t->first;
	out->packed.code = code;
	out->packed.planes = NULL;
	return MOE_OK;
}

/* The decoded picture into planes, or image tokens, and labels. */
static enum moe_err lay_out(struct moe_packing *out, const struct moe_packer *p, const struct moe_sample *s, const struct moe_picture *in,
			    const struct moe_augment *a, uint64_t key, struct moe_diag *d)
{
	static const struct moe_augment none;
	size_t g = moe_fit_choose(p->fit, in->width, in->height), pixels = (size_t)moe_fit_width(p->fit, g) * moe_fit_height(p->fit, g);
	uint8_t *canvas = moe_arena_get(&out->memory, pixels, C);
	float *planes = moe_arena_get(&out->memory, pixels, C * sizeof *planes);
	int32_t *label = moe_arena_get(&out->memory, moe_fit_n_patches(p->fit, g), sizeof *label);
	int32_t *code = moe_arena_get(&out->memory, moe_fit_n_patches(p->fit, g), sizeof *code);
	struct colours colours;

	if (!canvas || !planes || !label || !code)
		return no_memory(d);
	MOE_TRY(moe_fit_canvas(p->fit, g, in, canvas, d));
	choose_colours(&colours, p->fit, a ? a : &none, key);
	make_planes(planes, canvas, pixels, &colours);
	out->grid = g;
	out->packed.planes = planes;
	out->packed.rows = p->fit->grid[g].rows;
	out->packed.columns = p->fit->grid[g].cols;
	if (p->tokens)
		MOE_TRY(make_codes(out, p->tokens, code, d));
	if (!s->labelled || !p->most_text)
		return MOE_OK;
	out->packed.label = label;
	return moe_packer_labels(label, p, g, in->width, in->height, s->box, s->n_boxes, d);
}

static enum moe_err pack_picture(struct moe_packing *out, const struct moe_packer *p, const struct moe_sample *s, const struct moe_augment *a,
				 uint64_t key, struct moe_decoder *decoder, struct moe_diag *d)
{
	struct moe_picture in = {0};
	enum moe_err err;

	if (!s->picture)
		return MOE_OK;
	if (!p->fit)
		return moe_fail(d, MOE_EMATCH, "there is a picture, but the model takes none");
	err = moe_decoder_run(decoder, s->picture, s->n_picture, &in, d);
	if (!err)
		err = lay_out(out, p, s, &in, a, key, d);
	free(in.rgb);
	return err;
}

/* ---- the questions ---- */

struct text {
	int32_t *token, *target, *segment;
	float *weight;
	size_t *order;                  /* [n_questions] */
};

static enum moe_err get_text(struct text *t, struct moe_packing *out, const struct moe_packer *p, size_t n_questions, struct moe_diag *d)
{
	struct moe_arena *a = &out->memory;

	*t = (struct text){
		moe_arena_get(a, p->most_text, sizeof(int32_t)), moe_arena_get(a, p->most_text, sizeof(int32_t)), moe_arena_get(a, p->most_text, sizeof(int32_t)),
		moe_arena_get(a, p->most_text, sizeof(float)), moe_arena_get(a, n_questions, sizeof(size_t)),
	};
	out->question = moe_arena_get(a, n_questions, sizeof *out->question);
	return t->token && t->target && t->segment && t->weight && t->order && out->question ? MOE_OK : no_memory(d);
}

/* Fisher and Yates. */
static void shuffle(size_t *order, size_t n, uint64_t key)
{
	for (size_t i = 0; i < n; i++)
		order[i] = i;
	for (size_t i = n; i-- > 1;) {
		size_t j = (size_t)(((unsigned __int128)moe_random_u64(key, STREAM_QUESTIONS, i) * (i + 1)) >> 64), t = order[i];
		order[i] = order[j];
		order[j] = t;
	}
}

static float weight_of(const struct moe_packer *p, const char *type)
{
	for (size_t i = 0; i < p->n_weights; i++)
		if (!strcmp(p->weight[i].type, type))
			return (float)p->weight[i].weight;
	return 1;
}

static enum moe_err add_question(struct moe_packing *out, const struct text *t, const struct moe_packer *p, const struct moe_question *q, size_t index,
				 struct moe_diag *d)
{
	size_t at = out->packed.n_text, n_prompt;
	float weight = weight_of(p, q->type);

	out->ids.n = 0;
	MOE_TRY(moe_words_prompt(p->tokenizer, q->prompt ? q->prompt : p->prompt, p->placeholder, &out->ids, d));
	n_prompt = out->ids.n;
	MOE_TRY(moe_words_answer(p->tokenizer, q->answer, q->spell, &out->ids, d));
	if (out->ids.n > p->most_text - at) {
		out->left_out++;
		return MOE_OK;
	}
	for (size_t i = 0; i < out->ids.n; i++) {
		t->token[at + i] = out->ids.id[i];
		t->target[at + i] = i + 1 < n_prompt ? -1 : i + 1 < out->ids.n ? out->ids.id[i + 1] : p->eos;
		t->segment[at + i] = (int32_t)out->n_questions;
		t->weight[at + i] = weight;
	}
	out->question[out->n_questions++] = (struct moe_packed_question){index, moe_arena_string(&out->memory, q->type, strlen(q->type)), at, n_prompt, out->ids.n};
	out->packed.n_text += out->ids.n;
	return out->question[out->n_questions - 1].type ? MOE_OK : no_memory(d);
}

static enum moe_err pack_questions(struct moe_packing *out, const struct moe_packer *p, const struct moe_sample *s, uint64_t key, struct moe_diag *d)
{
	struct text t;

	MOE_TRY(get_text(&t, out, p, s->n_questions, d));
	shuffle(t.order, s->n_questions, key);
	for (size_t i = 0; i < s->n_questions; i++)
		MOE_TRY(add_question(out, &t, p, &s->question[t.order[i]], t.order[i], d));
	if (!out->n_questions)
		return moe_fail(d, MOE_EINPUT, "no question fits into %zu rows of text", p->most_text);
	out->packed.token = t.token;
	out->packed.target = t.target;
	out->packed.segment = t.segment;
	out->packed.weight = t.weight;
	return MOE_OK;
}

/* ---- a picture behind its caption ---- */

/* The caption that this sample is drawn from; NULL: it is not drawn. */
static const struct moe_question *drawn_from(const struct moe_packer *p, const struct moe_sample *s, uint64_t key)
{
	if (!p->tokens || !s->picture || !(moe_random_unit(key, STREAM_DRAW, 0) < p->tokens->draw))
		return NULL;
	for (size_t i = 0; i < s->n_questions; i++)
		if (!strcmp(s->question[i].type, MOE_PACKER_CAPTION))
			return &s->question[i];
	return NULL;
}

/* Text, image tokens, and the two tokens around them: the rows of the picture that was packed become rows of text. What predicts an image token is the token before
 * it, and the end of the text is predicted by that of the picture, which itself comes of necessity. */
static enum moe_err lay_behind(struct moe_packing *out, const struct moe_packer *p, struct moe_diag *d)
{
	size_t n = (size_t)out->packed.rows * out->packed.columns, before = out->ids.n + 1, all = before + n + 1;
	int32_t *place = moe_arena_get(&out->memory, p->most_text, sizeof *place);
	float weight = weight_of(p, MOE_PACKER_DRAW), boxed = weight_of(p, MOE_PACKER_BOXED);
	const int32_t *label = out->packed.label;
	struct text t;

	if (all > p->most_text)
		return moe_fail(d, MOE_EINPUT, "a caption and %zu image tokens do not fit into %zu rows of text", n, p->most_text);
	MOE_TRY(get_text(&t, out, p, 1, d));
	if (!place)
		return no_memory(d);
	for (size_t i = 0; i < all; i++) {
		bool image = i >= before && i < before + n;
		t.token[i] = i + 1 < before ? out->ids.id[i] : i + 1 == before ? p->tokens->begin : image ? out->packed.code[i - before] : p->tokens->end;
		t.target[i] = i + 1 < before ? -1 : i + 1 < before + n ? out->packed.code[i + 1 - before] : image ? -1 : p->eos;
		t.segment[i] = 0;
		t.weight[i] = label && i + 1 >= before && i + 1 < before + n && label[i + 1 - before] != p->pad ? weight * boxed : weight;
		place[i] = image ? (int32_t)(i - before) : -1;
	}
	out->packed = (struct moe_packed){.n_text = all, .token = t.token, .target = t.target, .segment = t.segment, .place = place, .weight = t.weight};
	return MOE_OK;
}

static enum moe_err pack_drawing(struct moe_packing *out, const struct moe_packer *p, const struct moe_sample *s, const struct moe_question *caption,
				 const struct moe_augment *a, uint64_t key, struct moe_decoder *decoder, struct moe_diag *d)
{
	MOE_TRY(pack_picture(out, p, s, a, key, decoder, d));
	out->ids.n = 0;
	MOE_TRY(moe_words_prompt(p->tokenizer, "<" MOE_PACKER_DRAW ">", p->placeholder, &out->ids, d));
	if (!(moe_random_unit(key, STREAM_DRAW, 1) < p->tokens->blank))
		MOE_TRY(moe_words_answer(p->tokenizer, caption->answer, caption->spell, &out->ids, d));
	return lay_behind(out, p, d);
}

enum moe_err moe_packer_run(struct moe_packing *out, const struct moe_packer *p, const struct moe_sample *s, const struct moe_augment *a, uint64_t key,
		      struct moe_decoder *decoder, struct moe_diag *d)
{
	const struct moe_question *caption = drawn_from(p, s, key);
	enum moe_err err;

	moe_arena_reset(&out->memory);
	out->packed = (struct moe_packed){.document = XXH3_64bits(s->name, strlen(s->name))};
	out->n_questions = out->left_out = 0;
	if (caption) {
		err = pack_drawing(out, p, s, caption, a, key, decoder, d);
		return err ? moe_diag_path(d, s->name) : MOE_OK;
	}
	err = p->most_text ? pack_questions(out, p, s, key, d) : MOE_OK;
	if (!err && !p->most_text && !s->picture)
		err = moe_fail(d, MOE_EINPUT, "there is no picture, and nothing else is wanted");
	if (!err)
		err = pack_picture(out, p, s, a, key, decoder, d);
	if (err)
		moe_diag_path(d, s->name);
	return err;
}
