#include "report/load.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "report/escape.h"

enum { BAR = 10, SOME = 64 };   /* rows that are added at once */

enum moe_err moe_load_init(struct moe_load *l, size_t experts, size_t k, struct moe_diag *d)
{
	struct moe_trace_info info = {.experts = experts, .k = k};
	struct moe_routing_layer *layer;

	*l = (struct moe_load){.experts = experts, .k = k, .choice = "token", .id = moe_calloc(SOME * k + 1, sizeof *l->id)};
	if (!l->id)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	MOE_TRY(moe_routing_init(&l->sums, &info, NULL, 0, d));
	layer = moe_routing_layer(&l->sums, 0);
	for (int m = 0; layer && m < MOE_N_MODALITIES; m++)
		if (!(layer->part[m] = moe_routing_part_new(experts, k, 0)))
			layer = NULL;
	return layer ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
}

void moe_load_free(struct moe_load *l)
{
	moe_routing_free(&l->sums);
	free(l->id);
}

void moe_load_add(struct moe_load *l, size_t rows, const uint8_t *modality, const float *logit, const int32_t *expert_id, const float *weight,
		  const uint8_t *depth)
{
	for (size_t r = 0, n; r < rows; r += n) {
		struct moe_routed_rows part = {.modality = modality + r, .depth = depth ? depth + r : NULL, .expert = l->id, .weight = weight + r * l->k,
					       .logit = logit ? logit + r * l->experts : NULL};
		part.rows = n = rows - r < SOME ? rows - r : SOME;
		for (size_t i = 0; i < n * l->k; i++)
			l->id[i] = expert_id[r * l->k + i] < 0 ? MOE_NO_EXPERT : (uint16_t)expert_id[r * l->k + i];
		if (moe_routing_add(&l->sums, l->sums.layer, &part, NULL))
			return;         /* never: all parts are there */
	}
}

void moe_load_join(struct moe_load *l, const struct moe_load *from)
{
	for (unsigned m = 0; m < MOE_N_MODALITIES; m++)
		moe_routing_part_join(l->sums.layer->part[m], moe_load_part(from, m), l->experts, l->k);
}

/* Sums the parts `first` to `last` into *sum (its arrays are [experts], the caller's) and summarises them. */
static void sum_parts(const struct moe_load *l, unsigned first, unsigned last, struct moe_routing_part *sum, struct moe_load_summary *out)
{
	double entropy = 0, weight = 0;

	for (unsigned m = first; m <= last; m++)
		moe_routing_part_join(sum, moe_load_part(l, m), l->experts, l->k);
	*out = (struct moe_load_summary){.tokens = sum->tokens, .choices = sum->choices, .passed = sum->passed};
	for (size_t e = 0; e < l->experts; e++) {
		double share = sum->choices ? (double)sum->count[e] / (double)sum->choices : 0;
		entropy -= share > 0 ? share * log(share) : 0;
		weight += sum->weight[e];
		out->unused += !sum->count[e];
		if (share > out->busiest) {
			out->busiest = share;
			out->busiest_expert = e;
		}
	}
	out->load_entropy = l->experts > 1 ? entropy / log((double)l->experts) : 0;
	if (l->experts > 1 && sum->scored)
		out->router_entropy = sum->open == sum->choices ? sum->entropy / (double)sum->scored / log((double)l->experts) : sum->entropy_share / (double)sum->scored;
	out->per_token = sum->tokens ? (double)sum->choices / (double)sum->tokens : 0;
	out->without = sum->tokens ? (double)sum->chosen[0] / (double)sum->tokens : 0;
	out->mean_weight = sum->choices ? weight / (double)sum->choices : 0;
	if (sum->logit_margin.n && !moe_routing_by_experts(l->choice, sum, l->k)) {
		out->mean_margin = sum->logit_margin.sum / (double)sum->logit_margin.n;
		out->least_margin = sum->logit_margin.least;
	}
}

/* The columns of a report: everything together, then each modality that has tokens. */
struct column {
	const char *name;
	struct moe_routing_part *sum;
	struct moe_load_summary s;
};

static size_t make_columns(const struct moe_load *l, struct column *c, bool *ok)
{
	size_t n = 0;

	*ok = true;
	for (int m = -1; m < MOE_N_MODALITIES; m++) {
		if (m >= 0 && !moe_load_part(l, (unsigned)m)->tokens && !moe_load_part(l, (unsigned)m)->passed)
			continue;
		c[n].name = m < 0 ? "all" : moe_modality_name((unsigned)m);
		c[n].sum = moe_routing_part_new(l->experts, l->k, 0);
		*ok &= c[n].sum != NULL;
		if (c[n].sum)
			sum_parts(l, m < 0 ? 0 : (unsigned)m, m < 0 ? MOE_N_MODALITIES - 1 : (unsigned)m, c[n].sum, &c[n].s);
		n++;
	}
	return n;
}

static double share(const struct column *c, size_t e) { return c->s.choices ? (double)c->sum->count[e] / (double)c->s.choices : 0; }

/* A bar of BAR cells in eighths; `full` is the value of a whole bar. */
static void print_bar(FILE *f, double value, double full)
{
	static const char *const eighth[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
	int cells = full > 0 ? (int)(value / full * BAR * 8 + 0.5) : 0, used = (cells + 7) / 8;

	fputc(' ', f);
	for (int i = 0; i < cells / 8; i++)
		fputs("█", f);
	fputs(eighth[cells % 8], f);
	fprintf(f, "%*s", BAR - used, "");
}

/* Does each token choose, and take the layer? Then a token has k experts, and there is nothing to say of it. */
static bool is_plain(const struct moe_load *l, const struct column *all) { return !strcmp(l->choice, "token") && !all->s.passed; }

/* How many tokens have how many experts, and how many skip the layer. */
static void print_numbers(FILE *f, const struct moe_load *l, const struct column *c, size_t n, int width)
{
	for (size_t e = 0; e <= l->k; e++) {
		if (!c->sum->chosen[e])
			continue;
		fprintf(f, "\nwith %-9zu", e);
		for (size_t i = 0; i < n; i++)
			fprintf(f, "  %*.1f%%", width < 0 ? width + 1 : width - 1, c[i].s.tokens ? 100 * (double)c[i].sum->chosen[e] / (double)c[i].s.tokens : 0.0);
	}
	fprintf(f, "\n%-14s", "skipped");
	for (size_t i = 0; i < n; i++)
		fprintf(f, "  %*llu", width, (unsigned long long)c[i].s.passed);
}

static void print_text(FILE *f, const struct moe_load *l, size_t layer, const struct column *c, size_t n, bool bars)
{
	static const struct { const char *label; size_t at; bool percent; } rows[] = {
		{"load entropy", offsetof(struct moe_load_summary, load_entropy), false}, {"router entropy", offsetof(struct moe_load_summary, router_entropy), false},
		{"busiest", offsetof(struct moe_load_summary, busiest), true}, {"mean weight", offsetof(struct moe_load_summary, mean_weight), false},
		{"mean margin", offsetof(struct moe_load_summary, mean_margin), false}, {"least margin", offsetof(struct moe_load_summary, least_margin), false},
	};
	int width = bars ? BAR + 8 : 9;
	double full = 0;

	if (is_plain(l, c))
		fprintf(f, "layer %zu: %zu experts, top %zu\n%-14s", layer, l->experts, l->k, "expert");
	else
		fprintf(f, "layer %zu: %zu experts, up to %zu, chosen by %s\n%-14s", layer, l->experts, l->k, l->choice, "expert");
	for (size_t i = 0; i < n; i++) {
		fprintf(f, "  %*s", bars ? -(width) : width, c[i].name);
		full = c[i].s.busiest > full ? c[i].s.busiest : full;
	}
	for (size_t e = 0; e < l->experts; e++) {
		fprintf(f, "\n%-14zu", e);
		for (size_t i = 0; i < n; i++) {
			fprintf(f, bars ? "  %5.1f%%" : "  %8.1f%%", 100 * share(&c[i], e));
			if (bars)
				print_bar(f, share(&c[i], e), full);
		}
	}
	fprintf(f, "\n%-14s", "tokens");
	for (size_t i = 0; i < n; i++)
		fprintf(f, "  %*llu", bars ? -width : width, (unsigned long long)c[i].s.tokens);
	for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
		fprintf(f, "\n%-14s", rows[r].label);
		for (size_t i = 0; i < n; i++) {
			char text[32];
			double v;
			memcpy(&v, (const char *)&c[i].s + rows[r].at, sizeof v);
			snprintf(text, sizeof text, rows[r].percent ? "%.1f%%" : "%.3f", rows[r].percent ? 100 * v : v);
			fprintf(f, "  %*s", bars ? -width : width, text);
		}
	}
	fprintf(f, "\n%-14s", "unused");
	for (size_t i = 0; i < n; i++)
		fprintf(f, "  %*zu", bars ? -width : width, c[i].s.unused);
	if (!is_plain(l, c))
		print_numbers(f, l, c, n, bars ? -width : width);
	fputs("\n", f);
}

/* Tokens by number of experts, from 0 on, and those that skip the layer. */
static void put_numbers(json_t *part, const struct moe_load *l, const struct column *c)
{
	json_t *by = json_array();

	for (size_t e = 0; e <= l->k; e++)
		json_array_append_new(by, json_integer((json_int_t)c->sum->chosen[e]));
	json_object_set_new(part, "by_number", by);
	json_object_set_new(part, "per_token", json_real(c->s.per_token));
	json_object_set_new(part, "without", json_real(c->s.without));
	json_object_set_new(part, "skipped", json_integer((json_int_t)c->s.passed));
}

static enum moe_err print_json(FILE *f, const struct moe_load *l, size_t layer, const struct column *c, size_t n, struct moe_diag *d)
{
	json_t *o = json_pack("{s:I, s:I, s:I}", "layer", (json_int_t)layer, "experts", (json_int_t)l->experts, "top_k", (json_int_t)l->k);

	if (!is_plain(l, c))
		json_object_set_new(o, "choice", json_string(l->choice));
	for (size_t i = 0; o && i < n; i++) {
		const struct moe_load_summary *s = &c[i].s;
		json_t *load = json_array(), *part;
		for (size_t e = 0; e < l->experts; e++)
			json_array_append_new(load, json_integer((json_int_t)c[i].sum->count[e]));
		part = json_pack("{s:I, s:I, s:o, s:f, s:f, s:f, s:I, s:I, s:f, s:f, s:f}", "tokens", (json_int_t)s->tokens, "choices", (json_int_t)s->choices,
				 "load", load, "load_entropy", s->load_entropy, "router_entropy", s->router_entropy, "busiest_share", s->busiest,
				 "busiest_expert", (json_int_t)s->busiest_expert, "unused", (json_int_t)s->unused, "mean_weight", s->mean_weight,
				 "mean_margin", s->mean_margin, "least_margin", s->least_margin);
		if (!is_plain(l, c))
			put_numbers(part, l, &c[i]);
		json_object_set_new(o, c[i].name, part);
	}
	return moe_print_json(f, o) ? MOE_OK : moe_fail(d, MOE_EIO, "cannot write the statistics");
}

static void print_tsv(FILE *f, const struct moe_load *l, size_t layer, const struct column *c, size_t n, bool header)
{
	if (header)
		fputs("layer\tmodality\texpert\ttokens\tchoices\tshare\tmean_weight\t"
		      "load_entropy\trouter_entropy\tbusiest_share\tunused\tmean_margin\tleast_margin\n", f);
	for (size_t i = 0; i < n; i++)
		for (size_t e = 0; e < l->experts; e++)
			fprintf(f, "%zu\t%s\t%zu\t%llu\t%llu\t%.6f\t%.6f\t%.6f\t%.6f\t%.6f\t%zu\t%.6f\t%.6f\n", layer, c[i].name, e,
				(unsigned long long)c[i].s.tokens, (unsigned long long)c[i].sum->count[e], share(&c[i], e),
				c[i].sum->count[e] ? c[i].sum->weight[e] / (double)c[i].sum->count[e] : 0.0, c[i].s.load_entropy, c[i].s.router_entropy,
				c[i].s.busiest, c[i].s.unused, c[i].s.mean_margin, c[i].s.least_margin);
}

enum moe_err moe_load_print(FILE *f, const struct moe_load *l, size_t layer, enum moe_load_format format, bool bars, bool header, struct moe_diag *d)
{
	struct column c[MOE_N_MODALITIES + 1];
	enum moe_err err = MOE_OK;
	bool ok;
	size_t n = make_columns(l, c, &ok);

	if (!ok)
		err = moe_fail(d, MOE_ENOMEM, "out of memory");
	else if (format == MOE_LOAD_JSON)
		err = print_json(f, l, layer, c, n, d);
	else if (format == MOE_LOAD_TSV)
		print_tsv(f, l, layer, c, n, header);
	else
		print_text(f, l, layer, c, n, bars);
	for (size_t i = 0; i < n; i++)
		moe_routing_part_free(c[i].sum);
	if (!err && ferror(f))
		err = moe_fail(d, MOE_EIO, "cannot write the statistics");
	return err;
}
