#include "model/merge.h"

#include "base/check.h"

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

uint32_t moe_first_position(const struct moe_spec *s) { return (uint32_t)s->merge.text_offset; }

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
			l->position[r] = (int32_t)l->next++;
		}
	}
	return r;
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
			     uint32_t next, struct moe_arena *a, struct moe_diag *d)
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
	if (!out->token || !out->image || !out->patch || !out->modality || !out->position)
		return moe_fail(d, MOE_ENOMEM, "out of memory for a prompt of %zu rows", rows);
	picture = 0;
	for (size_t i = 0; i < n; i++) {
		if (grid && is_picture(s, token[i])) {
			r = place_picture(out, r, token[i], (int32_t)picture, grid[picture], s->merge.position);
			picture++;
			continue;
		}
		set_row(out, r, token[i], -1, -1);
		for (size_t x = 0; x < axes; x++)
			out->position[x * rows + r] = (int32_t)out->next;
		out->next++;
		r++;
	}
	return MOE_OK;
}
