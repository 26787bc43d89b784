#include "plot/plot_priv.h"

/* The run that is drawn, and that which it is compared with, or NULL. */
struct runs { const struct moe_tokens *t, *other; };

/* Fills in what all facets of a picture have. */
static void describe(struct moe_picture_facet *p, const struct moe_picture *picture, const struct moe_seen *s, unsigned number)
{
	*p = (struct moe_picture_facet){.picture = picture, .number = number, .width = s->width, .height = s->height, .x = s->x, .y = s->y, .w = s->w, .h = s->h,
					.paper = s->paper, .rows = s->rows, .columns = s->columns};
}

static enum moe_err add_bare(struct moe_figure *f, const struct moe_picture *picture, const struct moe_seen *s, unsigned number, bool several,
			     struct moe_diag *d)
{
	struct moe_facet *facet;

	MOE_TRY(moe_figure_add(f, &facet, MOE_FACET_PICTURE, several ? moe_figure_text(f, "picture %u", number + 1) : "the picture", d));
	facet->about = moe_figure_text(f, "%u x %u patches", s->rows, s->columns);
	describe(&facet->picture, picture, s, number);
	facet->picture.bare = true;
	return MOE_OK;
}

/* The patches of picture `number` in a layer, each in its place. */
static size_t place(struct moe_patch_place *to, struct moe_figure *f, const struct runs *r, size_t layer, const struct moe_seen *s, unsigned number)
{
	const struct moe_tokens *t = r->t;
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++) {
		uint32_t at = (uint32_t)t->patch[i];
		if (t->image[i] != (int32_t)number || t->patch[i] < 0 || at >= s->rows * s->columns || n == (size_t)s->rows * s->columns)
			continue;
		to[n] = (struct moe_patch_place){
			.x = (double)(at % s->columns) * s->patch, .y = (double)(at / s->columns) * s->patch, .width = s->patch, .height = s->patch,
			.row = at / s->columns, .column = at % s->columns, .token = i, .chosen = moe_tokens_chosen(t, layer, i),
			.differs = moe_tokens_differ(t, r->other, layer, i),
		};
		if (to[n].chosen.expert[0] != MOE_NO_EXPERT)
			moe_figure_mark(f, to[n].chosen.expert[0]);
		n++;
	}
	return n;
}

static enum moe_err add_layer(struct moe_figure *f, const struct runs *r, size_t layer, const struct moe_picture *picture, const struct moe_seen *s,
			      unsigned number, struct moe_diag *d)
{
	const struct moe_tokens *t = r->t;
	struct moe_patch_place *places = moe_figure_get(f, (size_t)s->rows * s->columns, sizeof *places);
	struct moe_facet *facet;

	if (!places)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	MOE_TRY(moe_figure_add(f, &facet, MOE_FACET_PICTURE, moe_figure_text(f, "layer %zu", t->layer[layer].number), d));
	facet->layer = (int)t->layer[layer].number;
	describe(&facet->picture, picture, s, number);
	facet->picture.layer = t->layer[layer].number;
	facet->picture.k = t->k;
	facet->picture.place = places;
	facet->picture.n = place(places, f, r, layer, s, number);
	if (r->other) {
		size_t n = 0;
		for (size_t i = 0; i < facet->picture.n; i++)
			n += places[i].differs;
		facet->about = moe_figure_text(f, "%zu of %zu differ", n, facet->picture.n);
	}
	return MOE_OK;
}

/* The patches of a picture in the trace, and, where positions tell of a grid, its rows and columns; 0 where they do not. */
struct traced { int64_t n, rows, columns; };

static struct traced traced(const struct moe_tokens *t, unsigned number)
{
	int64_t row[2] = {INT64_MAX, INT64_MIN}, column[2] = {INT64_MAX, INT64_MIN};
	struct traced c = {0};

	for (size_t i = 0; i < t->n; i++) {
		if (t->image[i] != (int32_t)number)
			continue;
		c.n++;
		row[0] = t->row[i] < row[0] ? t->row[i] : row[0];
		row[1] = t->row[i] > row[1] ? t->row[i] : row[1];
		column[0] = t->column[i] < column[0] ? t->column[i] : column[0];
		column[1] = t->column[i] > column[1] ? t->column[i] : column[1];
	}
	if (row[1] > row[0] && column[1] > column[0] && (row[1] - row[0] + 1) * (column[1] - column[0] + 1) == c.n) {
		c.rows = row[1] - row[0] + 1;
		c.columns = column[1] - column[0] + 1;
	}
	return c;
}

/* As many patches as the model makes of it, in as many rows, or it is another picture. */
static enum moe_err check(struct moe_figure *f, const struct moe_tokens *t, const struct moe_seen *s, unsigned number, struct moe_diag *d)
{
	struct traced c = traced(t, number);
	int64_t patches = (int64_t)s->rows * s->columns;
	const char *grid = "";

	if ((c.n == patches && (!c.rows || c.rows == s->rows)) || (t->left_out && c.n < patches))
		return MOE_OK;
	if (c.rows)
		grid = moe_figure_text(f, " in %lld row%s", (long long)c.rows, c.rows == 1 ? "" : "s");
	return moe_fail(d, MOE_EMATCH, "the model cuts this picture into %u x %u patches, but picture %u of the trace has %lld%s: is it another picture, or another "
			"model (-m)?", s->rows, s->columns, number + 1, (long long)c.n, grid);
}

/* Is there a patch that no expert works on, in some layer? */
static bool has_bare(const struct moe_tokens *t)
{
	bool any = false;

	for (size_t l = 0; l < t->n_layers; l++)
		for (size_t i = 0; i < t->n; i++)
			any |= t->image[i] >= 0 && *moe_tokens_chosen(t, l, i).expert == MOE_NO_EXPERT;
	return any;
}

/* Did the model write a picture itself? */
static bool has_drawn(const struct moe_tokens *t)
{
	bool any = false;

	for (size_t i = 0; i < t->n; i++)
		any |= t->image[i] >= 0 && t->made[i];
	return any;
}

enum moe_err moe_plot_picture(struct moe_figure *f, const struct moe_tokens *t, const struct moe_tokens *other, const struct moe_picture *picture,
			      const struct moe_seen *seen, struct moe_diag *d)
{
	const struct runs runs = {t, other};
	size_t pictures = moe_tokens_pictures(t);

	moe_figure_init(f, "picture");
	f->title = has_drawn(t) ? "Which expert draws which part of the picture" : "Which expert looks at which part of the picture";
	f->about = moe_figure_text(f, "Each patch in the colour of the expert that it gives the largest weight; top %zu of %zu experts.", t->k, t->experts);
	f->drawn = t->k > 1 ? "The small square is the expert with the second largest weight." : NULL;
	f->reading = moe_figure_text(f, "%s%s%sThe number is the expert's. The same colour in two layers is no more than the same number: they are different experts.",
				     other ? "Framed (*): patches to which the second run gives another expert. " : "",
				     has_bare(t) ? "Patches without a colour have no expert in the layer. " : "",
				     has_drawn(t) ? "A drawn patch has been chosen before: its experts go on to the next one. " : "");
	f->experts = t->experts;
	f->key = moe_figure_get(f, t->experts, sizeof *f->key);
	if (!pictures)
		return moe_fail(d, MOE_EUSAGE, "the sequence has no picture");
	for (unsigned i = 0; i < pictures; i++) {
		MOE_TRY(check(f, t, &seen[i], i, d));
		MOE_TRY(add_bare(f, &picture[i], &seen[i], i, pictures > 1, d));
		for (size_t l = 0; l < t->n_layers; l++)
			MOE_TRY(add_layer(f, &runs, l, &picture[i], &seen[i], i, d));
	}
	return MOE_OK;
}
