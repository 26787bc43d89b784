#include "ablate/effect_tables.h"

#include "eval/tally.h"
#include "report/escape.h"

void moe_effects_print_head(FILE *f, const struct moe_effects *e, const char *model)
{
	fprintf(f, "model %s\n%llu samples, %llu questions, %llu failed: loss %.4f a token, %.1f%% right\n\n", model, (unsigned long long)e->samples,
		(unsigned long long)e->questions, (unsigned long long)e->a->e->failed, e->loss, 100 * moe_share(e->right, e->questions));
}

static void print_text(FILE *f, const struct moe_effects *e)
{
	fprintf(f, "%5s  %6s  %-5s  %-11s  %7s  %8s  %19s  %7s  %15s  %7s\n", "layer", "expert", "rows", "way", "touched", "loss", "95 % interval", "right",
		"95 % interval", "changed");
	for (size_t i = 0; i < e->a->n; i++) {
		const struct moe_effect *x = &e->effect[i];
		fprintf(f, "%5zu  %6zu  %-5s  %-11s  %7llu  %+8.5f  %+8.5f - %+8.5f  %+6.1f%%  %+6.1f - %+6.1f  %7llu\n", x->c.layer, x->c.expert,
			moe_ablate_rows_name(x->c.rows), moe_ablate_way_name(x->c.way), (unsigned long long)x->touched, x->loss.by, x->loss.low, x->loss.high,
			100 * x->right.by, 100 * x->right.low, 100 * x->right.high, (unsigned long long)x->changed);
	}
}

static bool print_json(FILE *f, const struct moe_effects *e, const char *model)
{
	bool ok = moe_print_json(f, json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:f, s:I, s:f}", "what", "ablation", "model", model, "samples",
		(json_int_t)e->samples, "failed", (json_int_t)e->a->e->failed, "questions", (json_int_t)e->questions, "tokens",
		(json_int_t)e->tokens, "loss", e->loss, "right",
		(json_int_t)e->right, "accuracy", moe_share(e->right, e->questions)));

	for (size_t i = 0; ok && i < e->a->n; i++) {
		const struct moe_effect *x = &e->effect[i];
		ok = moe_print_json(f, json_pack("{s:s, s:I, s:I, s:s, s:s, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:I}", "what", "effect", "layer",
			(json_int_t)x->c.layer, "expert", (json_int_t)x->c.expert, "rows", moe_ablate_rows_name(x->c.rows), "way",
			moe_ablate_way_name(x->c.way), "touched",
			(json_int_t)x->touched, "loss_change", x->loss.by, "loss_low", x->loss.low, "loss_high", x->loss.high, "accuracy_change", x->right.by,
			"accuracy_low", x->right.low, "accuracy_high", x->right.high, "changed", (json_int_t)x->changed));
	}
	return ok;
}

static void print_tsv(FILE *f, const struct moe_effects *e)
{
	fputs("layer\texpert\trows\tway\tquestions\ttouched\tloss_change\tloss_low\tloss_high\taccuracy_change\taccuracy_low\taccuracy_high\tchanged\n", f);
	for (size_t i = 0; i < e->a->n; i++) {
		const struct moe_effect *x = &e->effect[i];
		fprintf(f, "%zu\t%zu\t%s\t%s\t%llu\t%llu\t%.9g\t%.9g\t%.9g\t%.6f\t%.6f\t%.6f\t%llu\n", x->c.layer, x->c.expert, moe_ablate_rows_name(x->c.rows),
			moe_ablate_way_name(x->c.way), (unsigned long long)e->questions, (unsigned long long)x->touched, x->loss.by, x->loss.low, x->loss.high,
			x->right.by, x->right.low, x->right.high, (unsigned long long)x->changed);
	}
}

enum moe_err moe_effects_print(FILE *f, const struct moe_effects *e, const char *model, enum moe_effect_format format, struct moe_diag *d)
{
	bool ok = true;

	if (format == MOE_EFFECT_TEXT)
		print_text(f, e);
	else if (format == MOE_EFFECT_JSON)
		ok = print_json(f, e, model);
	else
		print_tsv(f, e);
	return ok && !ferror(f) ? MOE_OK : moe_fail(d, MOE_EIO, "cannot write the effects");
}
