#include "ablate/effect_map.h"

#include <math.h>
#include <string.h>

#include "eval/tally.h"

/* The layers and experts that occur, ascending. */
struct axes {
	size_t *layer, *expert, n_layers, n_experts;
};

static size_t find(const size_t *list, size_t n, size_t number)
{
	size_t i = 0;

	while (i < n && list[i] != number)
		i++;
	return i;
}

static enum moe_err make_axes(struct axes *x, struct moe_figure *f, const struct moe_ablation *a, struct moe_diag *d)
{
	*x = (struct axes){moe_figure_get(f, a->n, sizeof *x->layer), moe_figure_get(f, a->n, sizeof *x->expert), 0, 0};
	if (!x->layer || !x->expert)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < a->n; i++) {     /* every layer has the same experts, and the cases are sorted */
		size_t l = a->list[i].layer, e = a->list[i].expert;
		if (!x->n_layers || x->layer[x->n_layers - 1] != l)
			x->layer[x->n_layers++] = l;
		if (x->n_layers == 1 && (!x->n_experts || x->expert[x->n_experts - 1] != e))
			x->expert[x->n_experts++] = e;
	}
	return MOE_OK;
}

static double value(const struct moe_effect *e, enum moe_effect_measure what) { return what == MOE_EFFECT_LOSS ? e->loss.by : e->right.by; }

static enum moe_err add_map(struct moe_figure *f, const struct moe_effects *e, enum moe_effect_measure what, const struct axes *x, enum moe_ablate_rows rows,
			    enum moe_ablate_way way, enum moe_unit unit, struct moe_diag *d)
{
	struct moe_facet *facet;
	struct moe_fields *g;

	MOE_TRY(moe_figure_add(f, &facet, MOE_FACET_FIELDS, moe_figure_text(f, "%s, %s", moe_ablate_rows_name(rows), moe_ablate_way_name(way)), d));
	g = &facet->fields;
	*g = (struct moe_fields){.row_name = "expert", .column_name = "layer", .row = moe_figure_numbers(f, x->expert, x->n_experts),
				 .column = moe_figure_numbers(f, x->layer, x->n_layers), .row_experts = x->n_experts == e->a->experts, .value_name = "change",
				 .count_name = "questions touched", .unit = unit};
	MOE_TRY(moe_figure_fields(f, g, x->n_experts, x->n_layers, true, d));
	if (!g->row || !g->column)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < e->a->n; i++) {
		const struct moe_ablate_case *c = &e->effect[i].c;
		size_t at = find(x->expert, x->n_experts, c->expert) * g->columns + find(x->layer, x->n_layers, c->layer);
		if (c->rows != rows || c->way != way)
			continue;
		g->value[at] = value(&e->effect[i], what);
		g->count[at] = (double)e->effect[i].touched;
	}
	return MOE_OK;
}

static bool has(const struct moe_ablation *a, enum moe_ablate_rows rows, enum moe_ablate_way way)
{
	for (size_t i = 0; i < a->n; i++)
		if (a->list[i].rows == rows && a->list[i].way == way)
			return true;
	return false;
}

/* Words of the figure; returns the unit of its fields. */
static enum moe_unit describe(struct moe_figure *f, const struct moe_effects *e, enum moe_effect_measure what)
{
	enum moe_unit unit = what == MOE_EFFECT_RIGHT ? MOE_UNIT_POINTS : f->scale.most < 0.1 ? MOE_UNIT_MILLINATS : MOE_UNIT_CENTINATS;
	char most[32];

	moe_unit_text(unit, f->scale.most, most);
	if (what == MOE_EFFECT_LOSS) {
		f->title = "What the answers lose without an expert";
		f->about = moe_figure_text(f, "Change of the loss for each token of the right answers, in %s of a nat; %llu questions, whole model: %.4f nats.",
					   unit == MOE_UNIT_MILLINATS ? "thousandths" : "hundredths", (unsigned long long)e->questions, e->loss);
		f->reading = "Orange: the expert is missed. Blue: the answers do better without it.";
	} else {
		f->title = "Right answers without an expert";
		f->about = moe_figure_text(f, "Change of the share of right answers, in points of a per cent; %llu questions, whole model: %.1f %%.",
					   (unsigned long long)e->questions, 100 * moe_share(e->right, e->questions));
		f->reading = "Blue: fewer answers are right without the expert. Orange: more.";
	}
	f->scale_end[0] = moe_figure_text(f, "-%s", most + 1);
	f->scale_end[1] = "no change";
	f->scale_end[2] = moe_figure_text(f, "%s", most);
	return unit;
}

enum moe_err moe_effects_map(struct moe_figure *f, const struct moe_effects *e, enum moe_effect_measure what, struct moe_diag *d)
{
	struct axes x;
	enum moe_unit unit;

	moe_figure_init(f, what == MOE_EFFECT_LOSS ? "loss" : "right");
	f->scale = (struct moe_scale){MOE_SCALE_CHANGE, what == MOE_EFFECT_LOSS ? 1e-4 : 0.01};
	for (size_t i = 0; i < e->a->n; i++)
		f->scale.most = fmax(f->scale.most, fabs(value(&e->effect[i], what)));
	unit = describe(f, e, what);
	MOE_TRY(make_axes(&x, f, e->a, d));
	for (unsigned way = 0; way < MOE_N_ABLATE_WAYS; way++)
		for (unsigned rows = 0; rows < MOE_N_ABLATE_ROWS; rows++)
			if (has(e->a, (enum moe_ablate_rows)rows, (enum moe_ablate_way)way))
				MOE_TRY(add_map(f, e, what, &x, (enum moe_ablate_rows)rows, (enum moe_ablate_way)way, unit, d));
	return MOE_OK;
}
