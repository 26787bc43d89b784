#include <math.h>

#include "eval/tables.h"
#include "report/escape.h"

struct row { const char *choice, *kind; const struct moe_loss_pair *pair; };

/* How many standard errors the difference is; 0 where there is none. */
static double errors_of(const struct moe_loss_pair *p) { return p->error > 0 ? (p->other - p->own) / p->error : 0; }

static bool print_row(FILE *f, const struct row *r, enum moe_table_format format)
{
	const struct moe_loss_pair *p = r->pair;
	json_t *o;

	if (format == MOE_TABLE_TEXT)
		return fprintf(f, "%-18s%-7s%9llu%12.4f%12.4f%14.4f%10.4f%10.1f\n", r->choice, r->kind, (unsigned long long)p->targets, p->own, p->other,
			       p->other - p->own, p->error, errors_of(p)) > 0;
	if (format == MOE_TABLE_TSV)
		return fprintf(f, "%s\t%s\t%llu\t%.9g\t%.9g\t%.9g\n", r->choice, r->kind, (unsigned long long)p->targets, p->own, p->other, p->error) > 0;
	o = json_pack("{s:s, s:s, s:s, s:I, s:f, s:f, s:f}", "what", "loss", "choice", r->choice, "kind", r->kind, "targets", (json_int_t)p->targets, "own", p->own, "other",
		      p->other, "error", p->error);
	return moe_print_json(f, o);
}

static bool print_head(FILE *f, const struct moe_losses *l, const char *model, enum moe_table_format format)
{
	if (format == MOE_TABLE_TEXT)
		return fprintf(f, "%llu samples, with their own pictures and with others'\n%-18s%-7s%9s%12s%12s%14s%10s%10s\n", (unsigned long long)l->samples, "choice", "loss",
			       "targets", "own", "other", "difference", "error", "errors") > 0;
	if (format == MOE_TABLE_TSV)
		return fputs("choice\tkind\ttargets\town\tother\terror\n", f) >= 0;
	return moe_print_json(f, json_pack("{s:s, s:s, s:I, s:I}", "what", "losses", "model", model, "samples", (json_int_t)l->samples, "failed", (json_int_t)l->failed));
}

enum moe_err moe_tables_losses(FILE *f, const struct moe_losses *l, size_t n, const char *model, enum moe_table_format format, struct moe_diag *d)
{
	bool ok = print_head(f, l, model, format);

	for (size_t i = 0; i < n && ok; i++) {
		const struct row rows[] = {{l[i].choice ? l[i].choice : "token", "text", &l[i].text}, {l[i].choice ? l[i].choice : "token", "image", &l[i].image}};
		for (size_t k = 0; k < 2 && ok; k++)
			ok = !rows[k].pair->targets || print_row(f, &rows[k], format);
	}
	return ok ? MOE_OK : moe_fail(d, MOE_EIO, "cannot write the losses");
}
