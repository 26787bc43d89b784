/* Reports of saturation, and of the tokens that experts weigh most. */
#include <stdlib.h>
#include <string.h>

#include "report/escape.h"
#include "report/routing_priv.h"

/* ---- saturation ---- */

static void join(struct moe_saturation_part *to, const struct moe_saturation_part *from)
{
	to->tokens += from->tokens;
	to->shared += from->shared;
	to->chance += from->chance;
	to->same_first += from->same_first;
	to->first_chance += from->first_chance;
}

/* A row of the report, whose TSV and JSON name the run. */
struct compared { size_t layer; const char *modality, *name, *last; };

static json_t *saturation_json(const struct compared *c, const struct moe_saturation_part *p, const double figure[4])
{
	static const char *const keys[4] = {"saturation", "saturation_chance", "first", "first_chance"};
	json_t *o = json_object();

	moe_set_text(o, "what", "saturation");
	moe_set_text(o, "trace", c->name);
	moe_set_text(o, "last", c->last);
	moe_set_number(o, "layer", c->layer);
	moe_set_text(o, "modality", c->modality);
	moe_set_number(o, "tokens", p->tokens);
	for (int i = 0; i < 4; i++)
		moe_set_real(o, keys[i], figure[i]);
	return o;
}

static void print_saturation(FILE *f, const struct compared *c, const struct moe_saturation_part *p, enum moe_load_format format)
{
	double n = (double)p->tokens, figure[4] = {p->shared / n, p->chance / n, (double)p->same_first / n, p->first_chance / n};

	if (format == MOE_LOAD_JSON) {
		moe_print_json(f, saturation_json(c, p, figure));
	} else if (format == MOE_LOAD_TSV) {
		moe_print_escaped(f, c->name, strlen(c->name));
		fprintf(f, "\t%zu\t%s\t%llu\t%.9g\t%.9g\t%.9g\t%.9g\n", c->layer, c->modality, (unsigned long long)p->tokens, figure[0], figure[1],
			figure[2], figure[3]);
	} else {
		fprintf(f, "%5zu  %-8s%10llu%10.4f%10.4f%10.4f%10.4f\n", c->layer, c->modality, (unsigned long long)p->tokens, figure[0], figure[1],
			figure[2], figure[3]);
	}
}

enum moe_err moe_report_saturation(FILE *f, const struct moe_saturation *s, const char *name, const char *last, enum moe_load_format format, bool header,
				   struct moe_diag *d)
{
	if (format == MOE_LOAD_TSV && header)
		fputs("trace\tlayer\tmodality\ttokens\tsaturation\tsaturation_chance\tfirst\tfirst_chance\n", f);
	if (format == MOE_LOAD_TEXT) {
		fputs(header ? "" : "\n", f);
		moe_print_escaped(f, name, strlen(name));
		fputs(" against ", f);
		moe_print_escaped(f, last, strlen(last));
		fprintf(f, "\n%5s  %-8s%10s%10s%10s%10s%10s\n", "layer", "modality", "tokens", "experts", "chance", "first", "chance");
	}
	for (size_t l = 0; l < s->n_layers; l++) {
		struct moe_saturation_part all = {0};
		for (unsigned m = 0; m < MOE_N_MODALITIES; m++)
			join(&all, &s->layer[l].part[m]);
		if (all.tokens)
			print_saturation(f, &(struct compared){s->layer[l].number, "all", name, last}, &all, format);
		for (unsigned m = 0; m < MOE_N_MODALITIES; m++)
			if (s->layer[l].part[m].tokens)
				print_saturation(f, &(struct compared){s->layer[l].number, moe_modality_name(m), name, last}, &s->layer[l].part[m], format);
	}
	return moe_report_done(f, d);
}

/* ---- the tokens that experts weigh most ---- */

/* Tokens one after the other, as text without a gap or as numbers with one. */
static char *words(const struct moe_token_text *t, const int32_t *token, size_t n)
{
	char *text = NULL;
	size_t bytes;
	FILE *f = open_memstream(&text, &bytes);

	for (size_t i = 0; f && i < n; i++) {
		size_t have = 0;
		const char *s = t->text ? t->text(t->self, token[i], &have) : NULL;
		if (s)
			fwrite(s, 1, have, f);
		else
			fprintf(f, i ? " %d" : "%d", token[i]);
	}
	if (!f || fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

struct shown { char *before, *token, *behind; };

static bool show(struct shown *s, const struct moe_top_token *x, const struct moe_token_text *t)
{
	*s = (struct shown){words(t, x->before, x->n_before), words(t, &x->token, 1), words(t, x->behind, x->n_behind)};
	return s->before && s->token && s->behind;
}

/* A token's place in a list. */
struct placed { size_t layer, expert, rank; };

static void print_top_json(FILE *f, const struct moe_top *t, const struct placed *at, const struct moe_top_token *x, const struct shown *s)
{
	json_t *o = json_object();

	moe_set_text(o, "what", "top");
	moe_set_number(o, "layer", at->layer);
	moe_set_number(o, "expert", at->expert);
	moe_set_number(o, "rank", at->rank);
	moe_set_real(o, "weight", (double)x->weight);
	if (x->name == UINT32_MAX)
		json_object_set_new(o, "name", json_null());
	else
		moe_set_text(o, "name", t->name[x->name]);
	moe_set_number(o, "sequence", x->seq);
	moe_set_number(o, "row", x->row);
	moe_set_text(o, "modality", moe_modality_name(x->modality));
	json_object_set_new(o, "token", json_integer(x->token));
	moe_set_text(o, "text", s->token);
	moe_set_text(o, "before", s->before);
	moe_set_text(o, "behind", s->behind);
	json_object_set_new(o, "image", json_integer(x->image));
	json_object_set_new(o, "patch", json_integer(x->patch));
	moe_print_json(f, o);
}

static void print_top_tsv(FILE *f, const struct moe_top *t, const struct placed *at, const struct moe_top_token *x, const struct shown *s)
{
	const char *name = x->name == UINT32_MAX ? "" : t->name[x->name];

	fprintf(f, "%zu\t%zu\t%zu\t%.9g\t", at->layer, at->expert, at->rank, (double)x->weight);
	moe_print_escaped(f, name, strlen(name));
	fprintf(f, "\t%llu\t%llu\t%s\t%d\t", (unsigned long long)x->seq, (unsigned long long)x->row, moe_modality_name(x->modality), x->token);
	moe_print_escaped(f, s->token, strlen(s->token));
	fputc('\t', f);
	moe_print_escaped(f, s->before, strlen(s->before));
	fputc('\t', f);
	moe_print_escaped(f, s->behind, strlen(s->behind));
	fprintf(f, "\t%d\t%d\n", x->image, x->patch);
}

static void print_top_text(FILE *f, const struct moe_top *t, const struct moe_top_token *x, const struct shown *s)
{
	fprintf(f, "  %.4f  ", (double)x->weight);
	if (x->name != UINT32_MAX)
		moe_print_escaped(f, t->name[x->name], strlen(t->name[x->name]));
	else
		fprintf(f, "%llu", (unsigned long long)x->seq);
	fprintf(f, ":%llu  ", (unsigned long long)x->row);
	if (x->image >= 0) {
		fprintf(f, "%s %d, patch %d\n", moe_modality_name(x->modality), x->image, x->patch);
		return;
	}
	moe_print_escaped(f, s->before, strlen(s->before));
	fputs(" [", f);
	moe_print_escaped(f, s->token, strlen(s->token));
	fputs(*s->behind ? "] " : "]", f);
	moe_print_escaped(f, s->behind, strlen(s->behind));
	fputc('\n', f);
}

static enum moe_err print_list(FILE *f, const struct moe_top *t, size_t l, size_t e, const struct moe_token_text *text, enum moe_load_format format,
			       struct moe_diag *d)
{
	const struct moe_top_list *list = &t->layer[l].list[e];

	if (format == MOE_LOAD_TEXT)
		fprintf(f, "layer %zu, expert %zu%s\n", t->layer[l].number, e, list->n ? "" : ": no token");
	for (size_t i = 0; i < list->n; i++) {
		struct shown s;
		struct placed at = {t->layer[l].number, e, i};
		bool ok = show(&s, &list->token[i], text);
		if (ok && format == MOE_LOAD_JSON)
			print_top_json(f, t, &at, &list->token[i], &s);
		else if (ok && format == MOE_LOAD_TSV)
			print_top_tsv(f, t, &at, &list->token[i], &s);
		else if (ok)
			print_top_text(f, t, &list->token[i], &s);
		free(s.before);
		free(s.token);
		free(s.behind);
		if (!ok)
			return moe_fail(d, MOE_ENOMEM, "out of memory");
	}
	return MOE_OK;
}

enum moe_err moe_report_top(FILE *f, const struct moe_top *t, const struct moe_token_text *text, enum moe_load_format format, struct moe_diag *d)
{
	if (format == MOE_LOAD_TSV)
		fputs("layer\texpert\trank\tweight\tname\tsequence\trow\tmodality\ttoken\ttext\tbefore\tbehind\timage\tpatch\n", f);
	for (size_t l = 0; l < t->n_layers; l++)
		for (size_t e = 0; e < t->experts; e++)
			MOE_TRY(print_list(f, t, l, e, text, format, d));
	return moe_report_done(f, d);
}
