#include "plot/figure.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trace/trace.h"

void moe_figure_init(struct moe_figure *f, const char *name) { *f = (struct moe_figure){.name = name}; }

void moe_figure_free(struct moe_figure *f)
{
	free(f->facet);
	moe_arena_free(&f->memory);
	*f = (struct moe_figure){0};
}

enum moe_err moe_figure_add(struct moe_figure *f, struct moe_facet **out, enum moe_facet_kind kind, const char *name, struct moe_diag *d)
{
	MOE_TRY(moe_grow(&f->facet, &f->cap, f->n_facets + 1, sizeof *f->facet, d));
	*out = &f->facet[f->n_facets++];
	**out = (struct moe_facet){.kind = kind, .name = moe_figure_text(f, "%s", name), .layer = -1};
	return MOE_OK;
}

const char *moe_figure_text(struct moe_figure *f, const char *fmt, ...)
{
	char *to;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	to = n >= 0 ? moe_arena_get(&f->memory, (size_t)n + 1, 1) : NULL;
	if (!to)
		return "";
	va_start(ap, fmt);
	vsnprintf(to, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return to;
}

void *moe_figure_get(struct moe_figure *f, size_t n, size_t size) { return moe_arena_zero(&f->memory, n, size); }

enum moe_err moe_figure_fields(struct moe_figure *f, struct moe_fields *g, size_t rows, size_t columns, bool counted, struct moe_diag *d)
{
	g->rows = rows;
	g->columns = columns;
	g->value = moe_figure_get(f, rows * columns, sizeof *g->value);
	g->chance = moe_figure_get(f, rows * columns, sizeof *g->chance);
	g->count = counted ? moe_figure_get(f, rows * columns, sizeof *g->count) : NULL;
	if (!g->value || !g->chance || (counted && !g->count))
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < rows * columns; i++)
		g->value[i] = g->chance[i] = NAN;
	return MOE_OK;
}

const char **moe_figure_numbers(struct moe_figure *f, const size_t *number, size_t n)
{
	const char **label = moe_figure_get(f, n, sizeof *label);

	for (size_t i = 0; label && i < n; i++)
		label[i] = moe_figure_text(f, "%zu", number ? number[i] : i);
	return label;
}

void moe_figure_mark(struct moe_figure *f, size_t expert)
{
	if (f->key && expert < f->experts)
		f->key[expert] = true;
}

const char *moe_field_text(const struct moe_fields *g, double value, char to[8])
{
	double v = fmin(fmax((g->unit == MOE_UNIT_MILLINATS ? 1000 : 100) * value, -999), 999);

	if (isnan(value))
		*to = 0;
	else if (g->unit != MOE_UNIT_SHARE)
		snprintf(to, 8, fabs(v) < 0.5 ? "0" : "%+.0f", v);
	else if (g->fine && v > 0 && v < 9.95)
		snprintf(to, 8, v < 0.05 ? "<.1" : "%.1f", v);
	else
		snprintf(to, 8, v > 0 && v < 0.5 ? "<1" : "%.0f", v);
	return to;
}

double moe_field_place(const struct moe_figure *f, const struct moe_fields *g, size_t i) { return moe_scale_place(&f->scale, g->value[i], g->chance[i]); }

const char *moe_unit_text(enum moe_unit unit, double value, char to[32])
{
	if (unit == MOE_UNIT_CENTINATS || unit == MOE_UNIT_MILLINATS)
		snprintf(to, 32, "%+.5f nats", value);
	else
		snprintf(to, 32, unit == MOE_UNIT_POINTS ? "%+.1f points" : "%.1f %%", 100 * value);
	return to;
}

const char *moe_chosen_text(const struct moe_chosen *c, size_t k, char *to, size_t room)
{
	size_t n = 0;

	snprintf(to, room, "none");
	for (size_t i = 0; i < k && c->expert[i] != MOE_NO_EXPERT && n < room; i++) {
		n += (size_t)snprintf(to + n, room - n, i ? ", %u" : "%u", c->expert[i]);
		if (c->weight && n < room)
			n += (size_t)snprintf(to + n, room - n, " (%.0f %%)", 100 * (double)c->weight[i]);
	}
	return to;
}
