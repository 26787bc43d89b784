#include "plot/patches.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "image/resize.h"

enum {
	CELL = 48, GAP = 4,             /* pixels: side of a cell, and between cells */
	MARGIN = 64,                    /* for the numbers of layer and expert */
	AROUND = 3,                     /* a cell shows so many patches' sides */
	SIDE = 65535, MOST_PIXELS = 256 << 20,
};

/* Digits as five rows of three dots, the highest bit first. */
static const uint8_t digits[10][5] = {
	{7, 5, 5, 5, 7}, {2, 6, 2, 2, 7}, {7, 1, 7, 4, 7}, {7, 1, 7, 1, 7}, {5, 5, 7, 1, 1}, {7, 4, 7, 1, 7}, {7, 4, 7, 5, 7},
	{7, 1, 1, 1, 1}, {7, 5, 7, 5, 7}, {7, 5, 7, 1, 7},
};
enum { DOT = 2 };

static const struct moe_rgb paper = {255, 255, 255}, ink = {64, 64, 64}, empty = {236, 236, 236}, frame = {255, 64, 0};

static void fill(struct moe_patch_sheet *s, size_t x, size_t y, size_t w, size_t h, struct moe_rgb c)
{
	for (size_t j = y; j < y + h && j < s->height; j++)
		for (size_t i = x; i < x + w && i < s->width; i++)
			memcpy(s->rgb + (j * s->width + i) * 3, &c, 3);
}

static void draw_number(struct moe_patch_sheet *s, size_t x, size_t y, size_t number)
{
	char text[24];

	snprintf(text, sizeof text, "%zu", number);
	for (const char *c = text; *c; c++, x += 4 * DOT)
		for (size_t j = 0; j < 5; j++)
			for (size_t i = 0; i < 3; i++)
				if (digits[*c - '0'][j] >> (2 - i) & 1)
					fill(s, x + i * DOT, y + j * DOT, DOT, DOT, ink);
}

/* The row of expert e of layer l, which begins `y` pixels down. */
static size_t row_of(const struct moe_top *t, size_t l, size_t e) { return GAP + (l * t->experts + e) * (CELL + GAP) + l * GAP * 3; }
static size_t column_of(size_t i) { return MARGIN + i * (CELL + GAP); }

/* Patches in a list; text has none. */
static size_t count_patches(const struct moe_top_list *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++)
		n += l->token[i].picture != UINT64_MAX && l->token[i].patch >= 0;
	return n;
}

static void draw_frame(struct moe_patch_sheet *s)
{
	for (size_t l = 0; l < s->top->n_layers; l++)
		for (size_t e = 0; e < s->top->experts; e++) {
			size_t y = row_of(s->top, l, e);
			draw_number(s, GAP, y + CELL / 2 - 5, s->top->layer[l].number);
			draw_number(s, MARGIN / 2, y + CELL / 2 - 5, e);
			for (size_t i = 0; i < s->columns; i++)
				fill(s, column_of(i), y, CELL, CELL, empty);
		}
}

enum moe_err moe_patch_sheet_init(struct moe_patch_sheet *s, const struct moe_top *top, struct moe_diag *d)
{
	size_t height;

	*s = (struct moe_patch_sheet){.top = top};
	for (size_t l = 0; l < top->n_layers; l++)
		for (size_t e = 0; e < top->experts; e++) {
			size_t n = count_patches(&top->layer[l].list[e]);
			s->columns = moe_max(s->columns, n);
			s->wanted += n;
		}
	if (!s->wanted)
		return moe_fail(d, MOE_EUSAGE, "no expert has a patch among its tokens");
	height = row_of(top, top->n_layers - 1, top->experts);
	if (height > SIDE || column_of(s->columns) > SIDE || height * column_of(s->columns) > MOST_PIXELS)
		return moe_fail(d, MOE_EUSAGE, "%zu layers of %zu experts with %zu patches are too many for one picture", top->n_layers, top->experts,
				s->columns);
	s->width = (uint32_t)column_of(s->columns);
	s->height = (uint32_t)height;
	s->rgb = moe_calloc((size_t)s->width * s->height, 3);
	if (!s->rgb)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	fill(s, 0, 0, s->width, s->height, paper);
	draw_frame(s);
	return MOE_OK;
}

void moe_patch_sheet_free(struct moe_patch_sheet *s) { free(s->rgb); }

bool moe_patch_sheet_wants(const struct moe_patch_sheet *s, uint64_t picture, const char **name)
{
	for (size_t l = 0; l < s->top->n_layers; l++)
		for (size_t e = 0; e < s->top->experts; e++)
			for (size_t i = 0; i < s->top->layer[l].list[e].n; i++) {
				const struct moe_top_token *x = &s->top->layer[l].list[e].token[i];
				if (x->picture == picture && x->patch >= 0) {
					*name = x->name == UINT32_MAX ? NULL : s->top->name[x->name];
					return true;
				}
			}
	return false;
}

/* What the model sees, so much larger that a cell is filled. */
struct view {
	const struct moe_seen *seen;
	struct moe_picture shown;
	uint32_t scale;
};

static enum moe_err open_view(struct view *v, const struct moe_picture *p, const struct moe_seen *seen, struct moe_diag *d)
{
	v->seen = seen;
	v->scale = (uint32_t)moe_max(1, CELL / (AROUND * seen->patch));
	return moe_resize(&v->shown, seen->w * v->scale, seen->h * v->scale, p, MOE_BICUBIC, d);
}

/* The colour at a place of the canvas, in its pixels. */
static struct moe_rgb colour_at(const struct view *v, double x, double y)
{
	double i = (x - v->seen->x) * v->scale, j = (y - v->seen->y) * v->scale;
	struct moe_rgb c;

	if (x < 0 || y < 0 || x >= v->seen->width || y >= v->seen->height)
		return paper;
	if (i < 0 || j < 0 || i >= v->shown.width || j >= v->shown.height)
		return v->seen->paper;
	memcpy(&c, v->shown.rgb + ((size_t)j * v->shown.width + (size_t)i) * 3, 3);
	return c;
}

/* The patch in the middle of the cell at (x, y), framed. */
static void draw_patch(struct moe_patch_sheet *s, const struct view *v, size_t x, size_t y, size_t patch)
{
	double side = v->seen->patch, step = AROUND * side / CELL;
	double left = (double)(patch % v->seen->columns) * side - side, top = (double)(patch / v->seen->columns) * side - side;
	size_t from = CELL / AROUND, to = 2 * from;

	for (size_t j = 0; j < CELL; j++)
		for (size_t i = 0; i < CELL; i++)
			fill(s, x + i, y + j, 1, 1, colour_at(v, left + ((double)i + 0.5) * step, top + ((double)j + 0.5) * step));
	fill(s, x + from - 1, y + from - 1, to - from + 2, 1, frame);
	fill(s, x + from - 1, y + to, to - from + 2, 1, frame);
	fill(s, x + from - 1, y + from - 1, 1, to - from + 2, frame);
	fill(s, x + to, y + from - 1, 1, to - from + 2, frame);
}

static enum moe_err draw_list(struct moe_patch_sheet *s, const struct view *v, size_t l, size_t e, uint64_t picture, struct moe_diag *d)
{
	const struct moe_top_list *list = &s->top->layer[l].list[e];
	size_t column = 0;

	for (size_t i = 0; i < list->n; i++) {
		const struct moe_top_token *x = &list->token[i];
		if (x->picture == UINT64_MAX || x->patch < 0)
			continue;
		if (x->picture == picture && (size_t)x->patch >= (size_t)v->seen->rows * v->seen->columns)
			return moe_fail(d, MOE_EMATCH, "the trace has a patch %d, this picture has %u: it is another picture, or another model", x->patch,
					v->seen->rows * v->seen->columns);
		if (x->picture == picture) {
			draw_patch(s, v, column_of(column), row_of(s->top, l, e), (size_t)x->patch);
			s->drawn++;
		}
		column++;
	}
	return MOE_OK;
}

enum moe_err moe_patch_sheet_draw(struct moe_patch_sheet *s, uint64_t picture, const struct moe_picture *p, const struct moe_seen *seen, struct moe_diag *d)
{
	struct view v = {0};
	enum moe_err err = open_view(&v, p, seen, d);

	for (size_t l = 0; !err && l < s->top->n_layers; l++)
		for (size_t e = 0; !err && e < s->top->experts; e++)
			err = draw_list(s, &v, l, e, picture, d);
	free(v.shown.rgb);
	return err;
}
