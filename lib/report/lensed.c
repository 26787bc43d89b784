#include "report/lensed.h"

#include <math.h>
#include <string.h>

#include "report/escape.h"

static json_t *top_json(const struct moe_lens_row *r, const struct moe_tokenizer *t)
{
	json_t *top = json_array();

	for (size_t i = 0; i < r->n_top; i++) {
		json_t *o = moe_json_token(t, r->top[i].token);
		json_object_set_new(o, "logprob", json_real(r->top[i].logprob));
		json_array_append_new(top, o);
	}
	return top;
}

static bool print_json(FILE *f, const struct moe_lens_row *r, const struct moe_lensed_style *style)
{
	json_t *o = json_object();

	if (r->name)
		json_object_set_new(o, "name", moe_json_text(r->name, strlen(r->name)));
	json_object_set_new(o, "seq", json_integer((json_int_t)r->seq));
	json_object_set_new(o, "step", json_integer((json_int_t)r->step));
	if (r->at)
		json_object_set_new(o, "at", moe_json_text(r->at, strlen(r->at)));
	json_object_set_new(o, "row", json_integer((json_int_t)r->row));
	json_object_set_new(o, "modality", json_integer(r->modality));
	if (r->patch >= 0)
		json_object_set_new(o, "patch", json_integer(r->patch));
	else if (r->token >= 0)
		json_object_set_new(o, "token", moe_json_token(style->tokenizer, r->token));
	json_object_set_new(o, "entropy", json_real(r->entropy));
	if (style->suppresses)
		json_object_set_new(o, "logprob_over", json_string("allowed"));
	json_object_set_new(o, "top", top_json(r, style->tokenizer));
	return moe_print_json(f, o);
}

static void print_text(FILE *f, const struct moe_lens_row *r, const struct moe_tokenizer *t)
{
	if (r->name) {
		moe_print_escaped(f, r->name, strlen(r->name));
		fputc('\t', f);
	}
	if (r->at)
		moe_print_escaped(f, r->at, strlen(r->at));
	fprintf(f, "\t%llu\t", (unsigned long long)r->row);
	if (r->patch >= 0)
		fprintf(f, "patch %d", r->patch);
	else if (r->token >= 0)
		moe_print_token(f, t, r->token);
	for (size_t i = 0; i < r->n_top; i++) {
		fputc('\t', f);
		moe_print_token(f, t, r->top[i].token);
		fprintf(f, " %.3f", exp((double)r->top[i].logprob));
	}
	fputc('\n', f);
}

enum moe_err moe_lensed_print(FILE *f, const struct moe_lens_row *r, const struct moe_lensed_style *style, struct moe_diag *d)
{
	bool ok = true;

	if (style->json)
		ok = print_json(f, r, style);
	else
		print_text(f, r, style->tokenizer);
	return ok && !ferror(f) ? MOE_OK : moe_fail_errno(d, "cannot write");
}
