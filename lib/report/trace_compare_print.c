#include <math.h>
#include <string.h>

#include "base/check.h"
#include "report/escape.h"
#include "report/trace_compare.h"

static double share(uint64_t n, uint64_t of) { return of ? (double)n / (double)of : NAN; }

static json_t *number(double v) { return isfinite(v) ? json_real(v) : json_null(); }

static json_t *part_json(size_t layer, unsigned modality, const struct moe_routing_diff *p)
{
	return json_pack("{s:I, s:s, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "layer", (json_int_t)layer, "modality", moe_modality_name(modality), "rows",
			 (json_int_t)p->rows,
			 "equal", (json_int_t)p->equal, "ties", (json_int_t)p->ties, "differing", (json_int_t)p->differing, "equal_share", number(share(p->equal, p->rows)),
			 "overlap", number(share(p->common, p->chosen)), "weight_change", number(p->weights ? p->weight / (double)p->weights : NAN));
}

static json_t *parting_json(const struct moe_parting *p)
{
	if (!p->there)
		return json_null();
	return json_pack("{s:I, s:I, s:o, s:I, s:I, s:s, s:s, s:o}", "layer", (json_int_t)p->layer, "seq", (json_int_t)p->seq, "name",
			 moe_json_text(p->name, strlen(p->name)),
			 "row", (json_int_t)p->row, "step", (json_int_t)p->step, "first", p->a, "second", p->b, "margin", number(p->margin));
}

static json_t *whole_json(const struct moe_trace_diff *t)
{
	json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:I, s:b, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:b}", "sequences", (json_int_t)t->sequences, "only_in_first",
			      (json_int_t)t->missing_b, "only_in_second", (json_int_t)t->missing_a, "layers_only_in_first", (json_int_t)t->only_a, "layers_only_in_second",
			      (json_int_t)t->only_b, "ties_told", t->margins, "lowest", parting_json(&t->shallow), "earliest", parting_json(&t->early), "prompts_differing",
			      (json_int_t)t->given_apart, "answers", (json_int_t)t->answers, "answers_differing", (json_int_t)t->answers_apart, "generated",
			      (json_int_t)t->generated, "rows_not_compared", (json_int_t)t->unread, "same", moe_trace_diff_same(t));

	if (o && t->answers_apart)
		json_object_set_new(o, "answer", json_pack("{s:I, s:I, s:i, s:i}", "seq", (json_int_t)t->apart_seq, "row", (json_int_t)t->apart_row, "first", (int)t->apart_a,
							   "second", (int)t->apart_b));
	return o;
}

static void print_part(FILE *f, size_t layer, unsigned modality, const struct moe_routing_diff *p)
{
	fprintf(f, "%5zu  %-8s %9llu %8.2f%% %8llu %8llu %8.2f%%", layer, moe_modality_name(modality), (unsigned long long)p->rows, 100 * share(p->equal, p->rows),
		(unsigned long long)p->ties, (unsigned long long)p->differing, p->chosen ? 100 * share(p->common, p->chosen) : 100.0);
	if (p->weights)
		fprintf(f, " %10.2g", p->weight / (double)p->weights);
	fputc('\n', f);
}

static void print_parting(FILE *f, const char *what, const struct moe_parting *p)
{
	fprintf(f, "%s: layer %zu, sequence %llu", what, p->layer, (unsigned long long)p->seq);
	if (p->name[0]) {
		fputs(" (", f);
		moe_print_escaped(f, p->name, strlen(p->name));
		fputc(')', f);
	}
	fprintf(f, ", row %llu", (unsigned long long)p->row);
	if (p->step)
		fprintf(f, " (generated token %llu)", (unsigned long long)p->step);
	fprintf(f, ": experts %s against %s", p->a, p->b);
	if (isfinite(p->margin))
		fprintf(f, ", margin %.3g", p->margin);
	fputc('\n', f);
}

static void print_token(FILE *f, int32_t token)
{
	if (token < 0)
		fputs("none", f);
	else
		fprintf(f, "%d", token);
}

static void print_lines(FILE *f, const struct moe_trace_diff *t)
{
	if (t->shallow.there) {
		print_parting(f, "lowest difference", &t->shallow);
		print_parting(f, "earliest difference", &t->early);
	}
	if (!t->margins)
		fputs("ties are not told: neither trace has router logits\n", f);
	if (t->only_a || t->only_b)
		fprintf(f, "layers of one trace alone: %zu of the first, %zu of the second\n", t->only_a, t->only_b);
	if (t->missing_a || t->missing_b)
		fprintf(f, "sequences of one trace alone: %llu of the first, %llu of the second\n", (unsigned long long)t->missing_b, (unsigned long long)t->missing_a);
	if (t->given_apart)
		fprintf(f, "sequences with another prompt: %llu\n", (unsigned long long)t->given_apart);
	if (t->answers_apart) {
		fprintf(f, "answers that differ: %llu of %llu; the first in sequence %llu, row %llu: token ", (unsigned long long)t->answers_apart,
			(unsigned long long)moe_max(t->answers, t->answers_apart), (unsigned long long)t->apart_seq, (unsigned long long)t->apart_row);
		print_token(f, t->apart_a);
		fputs(" against ", f);
		print_token(f, t->apart_b);
		fputc('\n', f);
	} else if (t->answers) {
		fprintf(f, "answers that differ: none of %llu, %llu tokens\n", (unsigned long long)t->answers, (unsigned long long)t->generated);
	}
	if (t->unread)
		fprintf(f, "rows not compared, behind other tokens or of one trace alone: %llu\n", (unsigned long long)t->unread);
}

enum moe_err moe_trace_diff_print(FILE *f, const struct moe_trace_diff *t, bool json, struct moe_diag *d)
{
	bool ok = true;

	if (!json)
		fputs("layer  modality      rows     equal     ties   differ   overlap     weight\n", f);
	for (size_t l = 0; l < t->n_layers; l++)
		for (unsigned m = 0; m < MOE_N_MODALITIES; m++) {
			const struct moe_routing_diff *p = &t->part[l][m];
			if (p->rows && json)
				ok &= moe_print_json(f, part_json(t->layer[l], m, p));
			else if (p->rows)
				print_part(f, t->layer[l], m, p);
		}
	if (json)
		ok &= moe_print_json(f, whole_json(t));
	else
		print_lines(f, t);
	return ok && !ferror(f) ? MOE_OK : moe_fail_errno(d, "cannot write");
}
