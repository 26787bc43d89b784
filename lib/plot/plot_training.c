#include <math.h>
#include <string.h>

#include "plot/plot_priv.h"

enum { COLOURED = 16, SHOWN_EXTREMES = 8 };

/* The numbers at the ends of the names' stems ("step-1200.sts": 1200), where all have one and they ascend. */
static bool numbers_of(double *x, const struct moe_checkpoint_sums *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *base = strrchr(c[i].name, '/'), *end;
		double v = 0;
		base = base ? base + 1 : c[i].name;
		end = base + strcspn(base, ".");
		while (end > base && (end[-1] < '0' || end[-1] > '9'))
			end--;
		base = end;
		while (base > c[i].name && base[-1] >= '0' && base[-1] <= '9')
			base--;
		if (base == end || end - base > 15)
			return false;
		for (; base < end; base++)
			v = 10 * v + (*base - '0');
		if (i && v <= x[i - 1])
			return false;
		x[i] = v;
	}
	return n > 1;
}

/* The share of a layer's choices that each expert got at checkpoint i; NAN where there were none. share: [n][experts]. */
static enum moe_err shares_of(double *share, const struct moe_checkpoint_sums *c, size_t i, size_t layer, int modality, struct moe_diag *d)
{
	const struct moe_routing *r = c[i].sums;
	struct moe_routing_part *p = moe_plot_part(r, layer, modality);

	if (!p)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t e = 0; e < r->experts; e++)
		share[i * r->experts + e] = p->choices ? (double)p->count[e] / (double)p->choices : NAN;
	moe_routing_part_free(p);
	return MOE_OK;
}

/* Lines in colours of their own: all where they are few; else those that lie highest at the end. */
static bool is_coloured(const double *share, size_t n, size_t experts, size_t e)
{
	size_t higher = 0;

	for (size_t i = 0; i < experts; i++)
		higher += share[(n - 1) * experts + i] > share[(n - 1) * experts + e];
	return experts <= COLOURED || higher < SHOWN_EXTREMES;
}

static enum moe_err add_layer(struct moe_figure *f, const struct moe_checkpoint_sums *c, size_t n, size_t layer, const double *x, const char **tick,
			      int modality, struct moe_diag *d)
{
	const struct moe_routing *r = c[0].sums;
	double *share = moe_figure_get(f, n * r->experts, sizeof *share), *y = moe_figure_get(f, n * r->experts, sizeof *y);
	struct moe_line *line = moe_figure_get(f, r->experts, sizeof *line);
	struct moe_facet *facet;
	size_t at = 0;

	if (!share || !y || !line)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		MOE_TRY(shares_of(share, c, i, layer, modality, d));
	for (int coloured = 0; coloured < 2; coloured++)        /* the faint ones first, behind the others */
		for (size_t e = 0; e < r->experts; e++) {
			if (is_coloured(share, n, r->experts, e) != coloured)
				continue;
			for (size_t i = 0; i < n; i++)
				y[e * n + i] = share[i * r->experts + e];
			line[at++] = (struct moe_line){moe_figure_text(f, "expert %zu", e), x, y + e * n, n, e, !coloured};
			if (coloured)
				moe_figure_mark(f, e);
		}
	MOE_TRY(moe_figure_add(f, &facet, MOE_FACET_LINES, moe_figure_text(f, "layer %zu", r->layer[layer].number), d));
	facet->layer = (int)r->layer[layer].number;
	facet->lines = (struct moe_line_facet){.x_name = "checkpoint", .y_name = "share of the choices", .chance_name = "chance", .line = line, .n = at,
					       .chance = 1 / (double)r->experts, .tick = tick, .n_ticks = tick ? n : 0};
	return MOE_OK;
}

/* All checkpoints have the same layers and experts. */
static enum moe_err check(const struct moe_checkpoint_sums *c, size_t n, struct moe_diag *d)
{
	for (size_t i = 1; i < n; i++) {
		bool same = c[i].sums->experts == c[0].sums->experts && c[i].sums->n_layers == c[0].sums->n_layers;
		for (size_t l = 0; same && l < c[0].sums->n_layers; l++)
			same = c[i].sums->layer[l].number == c[0].sums->layer[l].number;
		if (!same)
			return moe_fail(d, MOE_EMATCH, "%s and %s have other layers or experts", c[0].name, c[i].name);
	}
	return n ? MOE_OK : moe_fail(d, MOE_EUSAGE, "no checkpoints");
}

enum moe_err moe_plot_training(struct moe_figure *f, const struct moe_checkpoint_sums *c, size_t n, int modality, struct moe_diag *d)
{
	const char **tick = NULL;
	double *x;

	moe_figure_init(f, "training");
	MOE_TRY(check(c, n, d));
	f->title = "How the load of the experts changed in training";
	f->about = moe_figure_text(f, "Share of the choices of a layer that each expert got, in %zu checkpoints, %s each; top %zu of %zu experts%s.", n,
				   moe_plot_tokens(f, c[0].sums, modality), c[0].sums->k, c[0].sums->experts,
				   modality == MOE_ALL_MODALITIES ? "" : moe_figure_text(f, ", tokens of %s", moe_plot_modality(modality)));
	f->reading = moe_figure_text(f, "%sAn expert keeps its number through the training.",
				     c[0].sums->experts > COLOURED ? "In colour: the experts with most at the end. " : "");
	f->experts = c[0].sums->experts;
	f->key = moe_figure_get(f, f->experts, sizeof *f->key);
	x = moe_figure_get(f, n, sizeof *x);
	if (!x || !f->key)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	if (!numbers_of(x, c, n)) {
		tick = moe_figure_get(f, n, sizeof *tick);
		for (size_t i = 0; i < n; i++)
			x[i] = (double)i;
		for (size_t i = 0; tick && i < n; i++) {
			const char *slash = strrchr(c[i].name, '/');
			tick[i] = moe_figure_text(f, "%s", slash ? slash + 1 : c[i].name);
		}
	}
	for (size_t l = 0; l < c[0].sums->n_layers; l++)
		MOE_TRY(add_layer(f, c, n, l, x, tick, modality, d));
	return MOE_OK;
}
