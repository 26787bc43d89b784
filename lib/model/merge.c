#include "model/merge.h"

#include "base/check.h"
#include "base/modality.h"

static bool is_picture(const struct moe_spec *s, int32_t token) { return s->merge.placeholder >= 0 && token == s->merge.placeholder; }

enum moe_err moe_prompt_check(const struct moe_spec *s, const int32_t *token, size_t n, size_t *n_pictures, struct moe_diag *d)
{
	size_t pictures = 0;

	for (size_t i = 0; i < n; i++)
		pictures += is_picture(s, token[i]);
	if (!n)
		return moe_fail(d, MOE_EINPUT, "the prompt has no tokens");
	if (s->merge.image_first && pictures != 1)
		return moe_fail(d, MOE_EINPUT, "the prompt has %zu pictures; the family %s is defined for exactly one, before the text", pictures, s->family);
	if (s->merge.image_first && !is_picture(s, token[0]))
		return moe_fail(d, MOE_EINPUT, "the prompt has text before its picture; the family %s is defined for the picture first", s->family);
	if (s->merge.image_first && n < 2)
		return moe_fail(d, MOE_EINPUT, "the prompt has no text behind its picture (the default prompt is \"%s\")", s->text.prompt);
	if (n_pictures)
		*n_pictures = pictures;
	return MOE_OK;
}

struct moe_cursor moe_first_position(const struct moe_spec *s) { return (struct moe_cursor){(uint32_t)s->merge.text_offset, 0}; }

size_t moe_picture_tokens(const struct moe_spec *s)
{
	return s->image_tokens.count ? (size_t)(s->image.grids.v[0][0] * s->image.grids.v[0][1]) : 0;
}

uint32_t moe_picture_after(const struct moe_spec *s, uint32_t picture, int32_t token)
{
	if (!s->image_tokens.count)
		return 0;
	if (moe_spec_code(s, token) >= 0)
		return picture && picture <= moe_picture_tokens(s) ? picture + 1 : 0;
	return token == s->image_tokens.begin;
}

struct moe_cursor moe_cursor_after(const struct moe_spec *s, struct moe_cursor at, int32_t token)
{
	return (struct moe_cursor){at.position + (moe_spec_code(s, token) < 0), moe_picture_after(s, at.picture, token)};
}

static void set_row(struct moe_layout *l, size_t r, int32_t token, int32_t image, int32_t patch)
{
	l->token[r] = token;
	l->modality[r] = image >= 0;
	l->image[r] = image;
	l->patch[r] = patch;
}

/* The features of a picture. Axial: (row, column) of the grid, whose patches they are. Sequential: each takes the next text position. */
static size_t place_picture(struct moe_layout *l, size_t r, int32_t token, int32_t image, struct moe_patch_grid g, int position)
{
	for (size_t i = 0; i < g.features; i++, r++) {
		set_row(l, r, token, image, (int32_t)i);
		if (position == MOE_POSITION_AXIAL) {
			l->position[r] = (int32_t)(i / g.columns);
			l->position[l->rows + r] = (int32_t)(i % g.columns);
		} else {
			l->position[r] = (int32_t)l->next.position++;
		}
	}
	return r;
}

/* The row of a token: text, or an image token, which stands where its patch does and moves no text. */
static enum moe_err place_token(struct moe_layout *l, const struct moe_spec *s, size_t r, struct moe_diag *d)
{
	uint32_t before = l->next.picture, columns = (uint32_t)s->image.grids.v[0][1];
	bool image = moe_spec_code(s, l->token[r]) >= 0;

	if (l->place)
		l->place[r] = image ? (int32_t)before - 1 : -1;
	if (!image) {
		for (size_t x = 0; x < l->axes; x++)
			l->position[x * l->rows + r] = (int32_t)l->next.position;
		l->next = moe_cursor_after(s, l->next, l->token[r]);
		return MOE_OK;
	}
	l->next = moe_cursor_after(s, l->next, l->token[r]);
	if (!l->next.picture)
		return moe_fail(d, MOE_EINPUT, "token %zu is an image token, but %s (token %lld begins a picture, which has %zu)", r,
				before ? "the picture before it is complete" : "no picture has begun", (long long)s->image_tokens.begin, moe_picture_tokens(s));
	l->modality[r] = MOE_IMAGE;
	for (size_t x = 0; x < l->axes; x++)
		l->position[x * l->rows + r] = (int32_t)(x ? (before - 1) % columns : (before - 1) / columns);
	return MOE_OK;
}

size_t moe_layout_chunk(const struct moe_layout *l, const struct moe_spec *s, size_t from, size_t n)
{
	size_t end = moe_min(l->rows - from, n) + from;

	if (s->attention.mask == MOE_MASK_BIDIRECTIONAL_IMAGE)
		while (end < l->rows && l->image[end] >= 0 && l->image[end] == l->image[end - 1])
			end++;
	return end;
}

enum moe_err moe_layout_make(struct moe_layout *out, const struct moe_spec *s, const int32_t *token, size_t n, const struct moe_patch_grid *grid,
			     struct moe_cursor next, struct moe_arena *a, struct moe_diag *d)
{
	size_t rows = 0, picture = 0, r = 0, axes = (size_t)s->attention.rope.axes;

	for (size_t i = 0; i < n; i++) {
		if (grid && is_picture(s, token[i])) {
			MOE_TRY(moe_spec_check_grid(s, grid[picture].rows, grid[picture].columns, d));
			if (!grid[picture].features || grid[picture].features % moe_spec_features(s, grid[picture].rows, grid[picture].columns))
				return moe_fail(d, MOE_EINPUT, "a picture of %zu features, which is not a number of whole crops", grid[picture].features);
			rows += grid[picture].features;
			picture++;
		} else {
			rows++;
		}
	}
	*out = (struct moe_layout){
		.rows = rows, .axes = axes, .next = next, .token = moe_arena_get(a, rows, sizeof(int32_t)), .image = moe_arena_get(a, rows, sizeof(int32_t)),
		.patch = moe_arena_get(a, rows, sizeof(int32_t)), .modality = moe_arena_get(a, rows, 1), .position = moe_arena_get(a, rows * axes, sizeof(int32_t)),
	};
	if (s->image_tokens.count)
		out->place = moe_arena_get(a, rows, sizeof(int32_t));
	if (!out->token || !out->image || !out->patch || !out->modality || !out->position || (!out->place && s->image_tokens.count))
		return moe_fail(d, MOE_ENOMEM, "out of memory for a prompt of %zu rows", rows);
	picture = 0;
	for (size_t i = 0; i < n; i++) {
		if (grid && is_picture(s, token[i])) {
			for (size_t f = 0; out->place && f < grid[picture].features; f++)
				out->place[r + f] = -1;
			r = place_picture(out, r, token[i], (int32_t)picture, grid[picture], s->merge.position);
			picture++;
			continue;
		}
		set_row(out, r, token[i], -1, -1);
		MOE_TRY(place_token(out, s, r++, d));
	}
	return MOE_OK;
}
