#include "common/whatif.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/experts.h"
#include "io/source.h"
#include "stage/layers.h"

enum { BIAS_LIMIT = 64 << 20 };

struct what_if_options what_if_options;

/* One value of an option, taken apart. */
struct rule {
	const struct moe_model *m;
	const char *option;             /* its name */
	char *text;                     /* the value without where it holds */
	size_t first, last;             /* layers */
	size_t layer;                   /* of them, the one that is being set */
	unsigned from, to;              /* modalities */
	/* What the value means, of which an option sets its own: */
	bool *expert;                   /* [experts] */
	int32_t a, b;
	double number;
	float *bias;                    /* [n_bias]: experts, or layers × experts */
	size_t n_bias;
};

static size_t n_experts(const struct rule *r) { return (size_t)r->m->spec->router.experts; }

/* n zeroed elements that live as long as the program. */
static void *table(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		cli_fail("out of memory");
	return p;
}

/* ---- values ---- */

static void read_list(struct rule *r) { r->expert = experts_parse(r->option, r->text, n_experts(r), false); }

static void read_number(struct rule *r, double lo, double hi)
{
	char *end;

	r->number = strtod(r->text, &end);
	if (!*r->text || *end || !(r->number >= lo && r->number <= hi))
		cli_fail("--%s %s: expected a number from %g to %g", r->option, r->text, lo, hi);
}

static void read_temperature(struct rule *r) { read_number(r, 1e-3, 1e3); }

static void read_top_k(struct rule *r)
{
	long long most = (long long)r->m->spec->router.top_k;

	if (r->m->spec->router.chooses == MOE_CHOICE_EXPERT)
		cli_fail("--%s %s: the model's experts choose tokens, and a token has as many as choose it (--drop and --bias change who does)", r->option, r->text);
	read_number(r, 1, 256);
	if (r->number != floor(r->number))
		cli_fail("--%s %s: expected a whole number", r->option, r->text);
	if (r->number > (double)most)
		cli_fail("--%s %s: the model chooses %lld experts; more have no place in its tables", r->option, r->text, most);
}

static void read_pair(struct rule *r)
{
	size_t n = n_experts(r);
	char *end;
	unsigned long a = strtoul(r->text, &end, 10), b = 0;
	bool ok = *r->text >= '0' && *r->text <= '9' && *end == '=' && end[1] >= '0' && end[1] <= '9';

	if (ok)
		b = strtoul(end + 1, &end, 10);
	if (!ok || *end || a >= n || b >= n || a == b)
		cli_fail("--%s %s: expected two experts from 0 to %zu, such as 3=5", r->option, r->text, n - 1);
	if (r->m->spec->router.pools.n && r->m->spec->router.pools.of[a] != r->m->spec->router.pools.of[b])
		cli_fail("--%s %s: the two are in different pools, and tokens of a modality have the experts of its pool alone", r->option, r->text);
	r->a = (int32_t)a;
	r->b = (int32_t)b;
}

/* Numbers with white space between them. */
static void read_bias(struct rule *r)
{
	static const char blank[] = " \t\r\n";
	size_t n = 0, length, all = n_experts(r) * (size_t)r->m->spec->n_layers;
	struct moe_diag d = {0};
	char *text, *p, *end;

	if (!strcmp(r->text, "-"))
		cli_fail("--%s -: standard input is for other things; expected the name of a file", r->option);
	cli_check(moe_read_file(r->text, BIAS_LIMIT, &text, &length, &d), &d);
	r->bias = table(all, sizeof *r->bias);
	for (p = text + strspn(text, blank); *p; p = end + strspn(end, blank), n++) {
		double v = strtod(p, &end);
		if (end == p || (*end && !strchr(blank, *end)) || !isfinite((float)v))
			cli_fail("%s: byte %zu: expected a number", r->text, (size_t)(p - text));
		if (n < all)
			r->bias[n] = (float)v;
	}
	if ((size_t)(p - text) != length)       /* a NUL */
		cli_fail("%s: byte %zu: expected a number", r->text, (size_t)(p - text));
	if (n != n_experts(r) && n != all)
		cli_fail("%s: %zu numbers; expected one for each of the %zu experts, or a line of them for each of the %lld layers", r->text, n, n_experts(r),
			 (long long)r->m->spec->n_layers);
	r->n_bias = n;
	free(text);
}

/* ---- what they set ---- */

/* The table *to gets the experts of the rule. */
static void add_experts(const bool **to, const struct rule *r)
{
	bool *t = *to ? (bool *)(uintptr_t)*to : table(n_experts(r), sizeof *t);

	for (size_t e = 0; e < n_experts(r); e++)
		t[e] |= r->expert[e];
	*to = t;
}

static void set_drop(struct moe_what_if *w, const struct rule *r) { add_experts(&w->drop, r); }

/* Is the expert for tokens of the modality? */
static bool in_pool(const struct moe_model *m, size_t expert, unsigned modality)
{
	const struct moe_pools *p = &m->spec->router.pools;

	return !p->n || (modality < p->n && p->of[expert] == modality);
}

static void set_force(struct moe_what_if *w, const struct rule *r)
{
	for (size_t e = 0; e < n_experts(r) && r->from == r->to; e++)
		if (r->expert[e] && !in_pool(r->m, e, r->from))
			cli_fail("--%s: expert %zu is not in the pool of %s", r->option, e, moe_modality_name(r->from));
	add_experts(&w->force, r);
}

static void set_mute(struct moe_what_if *w, const struct rule *r) { add_experts(&w->mute, r); }
static void set_top_k(struct moe_what_if *w, const struct rule *r) { w->top_k = (int64_t)r->number; }
static void set_temperature(struct moe_what_if *w, const struct rule *r) { w->temperature = (float)r->number; }

static void set_swap(struct moe_what_if *w, const struct rule *r)
{
	int32_t *t = (int32_t *)(uintptr_t)w->swap, at;

	if (!t) {
		t = table(n_experts(r), sizeof *t);
		for (size_t e = 0; e < n_experts(r); e++)
			t[e] = (int32_t)e;
	}
	at = t[r->a];
	t[r->a] = t[r->b];
	t[r->b] = at;
	w->swap = t;
}

static void set_bias(struct moe_what_if *w, const struct rule *r)
{
	size_t n = n_experts(r);
	float *t = w->bias ? (float *)(uintptr_t)w->bias : table(n, sizeof *t);
	const float *from = r->bias + (r->n_bias > n ? r->layer * n : 0);

	for (size_t e = 0; e < n; e++)
		t[e] += from[e];
	w->bias = t;
}

static const struct kind {
	const struct opt_list *list;
	void (*read)(struct rule *r);
	void (*set)(struct moe_what_if *w, const struct rule *r);
} kinds[] = {
	{&what_if_options.drop, read_list, set_drop}, {&what_if_options.force, read_list, set_force}, {&what_if_options.mute, read_list, set_mute},
	{&what_if_options.swap, read_pair, set_swap}, {&what_if_options.top_k, read_top_k, set_top_k},
	{&what_if_options.temperature, read_temperature, set_temperature}, {&what_if_options.bias, read_bias, set_bias},
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

/* ---- where they hold ---- */

static const char *option_name(const struct opt_list *list)
{
	for (const struct opt *o = cli.tool->opts; o->name; o++)
		if (o->to == list)
			return o->name;
	return "";
}

static bool parse_modality(struct rule *r, const char *name)
{
	for (unsigned i = 0; i < MOE_N_MODALITIES; i++)
		if (!strcmp(name, moe_modality_name(i))) {
			r->from = r->to = i;
			return true;
		}
	return false;
}

/* Takes "@LAYERS:MODALITY" off the value: behind the last "@" there is nothing else; without one, a modality may stand behind the last ":". */
static void parse_where(struct rule *r, const char *value)
{
	size_t n_layers = (size_t)r->m->spec->n_layers;
	char *text = strdup(value), *at, *colon;

	if (!text)
		cli_fail("out of memory");
	r->text = text;
	r->last = n_layers - 1;
	r->to = MOE_N_MODALITIES - 1;
	at = strrchr(text, '@');
	colon = strrchr(at ? at : text, ':');
	if (colon && !parse_modality(r, colon + 1))
		cli_fail("--%s %s: expected a modality behind the colon: text, image, audio, video or other", r->option, value);
	if (colon)
		*colon = 0;
	if (at && !moe_layers_parse(at + 1, strlen(at + 1), n_layers, &r->first, &r->last))
		cli_fail("--%s %s: expected layers from 0 to %zu behind the @, such as 3, 0-1 or 2-", r->option, value, n_layers - 1);
	if (at)
		*at = 0;
}

/* Sets rows [layers][MOE_N_MODALITIES]. Does the value tell modalities apart? */
static bool apply(struct moe_what_if *row, const struct kind *k, const char *value, const struct moe_model *m)
{
	struct rule r = {.m = m, .option = option_name(k->list)};
	size_t routing = 0;

	parse_where(&r, value);
	k->read(&r);
	for (r.layer = r.first; r.layer <= r.last; r.layer++) {
		routing += moe_spec_top_k(m->spec, r.layer) > 0;
		for (unsigned i = r.from; i <= r.to; i++)
			k->set(&row[r.layer * MOE_N_MODALITIES + i], &r);
	}
	if (!routing)
		cli_fail("--%s %s: no experts are chosen in layers %zu to %zu", r.option, value, r.first, r.last);
	free(r.text);
	free(r.expert);
	free(r.bias);
	return r.from == r.to;
}

/* What cannot be done in a layer for a modality. */
static void check(const struct moe_what_if *w, const struct moe_model *m, size_t layer, unsigned modality)
{
	long long forced = 0, chosen = w->top_k ? (long long)w->top_k : (long long)moe_router_width(&m->spec->router);

	for (size_t e = 0; w->force && e < (size_t)m->spec->router.experts; e++) {
		forced += w->force[e] && in_pool(m, e, modality);
		if (w->force[e] && w->drop && w->drop[e])
			cli_fail("expert %zu is in --drop and in --force (layer %zu, %s)", e, layer, moe_modality_name(modality));
	}
	if (forced > chosen)
		cli_fail("--force: %lld experts, but only %lld are chosen for a token (layer %zu, %s)", forced, chosen, layer, moe_modality_name(modality));
}

bool what_if_given(void)
{
	for (size_t i = 0; i < N_KINDS; i++)
		if (kinds[i].list->n)
			return true;
	return false;
}

const struct moe_what_if_table *what_if_table(const struct moe_model *m)
{
	static struct moe_what_if_table t;
	struct moe_what_if *row;
	size_t n_layers = (size_t)m->spec->n_layers;

	if (!what_if_given())
		return NULL;
	if (m->spec->router.experts < 1)
		cli_fail("the model has no experts to choose another way");
	t.row = row = table(n_layers * MOE_N_MODALITIES, sizeof *row);
	for (size_t k = 0; k < N_KINDS; k++)
		for (size_t i = 0; i < kinds[k].list->n; i++)
			t.by_modality |= apply(row, &kinds[k], kinds[k].list->item[i], m);
	for (size_t i = 0; i < n_layers * MOE_N_MODALITIES; i++)
		check(&row[i], m, i / MOE_N_MODALITIES, (unsigned)(i % MOE_N_MODALITIES));
	return &t;
}
