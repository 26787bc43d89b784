#include "report/answers.h"

#include <string.h>

#include "report/escape.h"

static bool print_json(FILE *f, const struct moe_answer *a, const struct moe_answer_style *style)
{
	json_t *o = json_object(), *ids = json_array();

	if (a->name)
		json_object_set_new(o, "name", moe_json_text(a->name, strlen(a->name)));
	if (a->error) {
		json_object_set_new(o, "error", moe_json_text(a->error, strlen(a->error)));
		json_decref(ids);
	} else {
		for (size_t i = 0; i < a->ids.n; i++)
			json_array_append_new(ids, json_integer(a->ids.id[i]));
		json_object_set_new(o, "text", moe_json_text(a->text, a->n_text));
		json_object_set_new(o, "ids", ids);
		json_object_set_new(o, "logprob", json_real(a->logprob));
		json_object_set_new(o, "prompt_tokens", json_integer((json_int_t)a->n_prompt));
		json_object_set_new(o, "generated_tokens", json_integer((json_int_t)a->ids.n));
		if (style->seconds > 0)
			json_object_set_new(o, "seconds", json_real(style->seconds));
	}
	return moe_print_json(f, o);
}

static void print_text(FILE *f, const struct moe_answer *a, const struct moe_answer_style *style)
{
	if (style->names && a->name) {
		moe_print_escaped(f, a->name, strlen(a->name));
		fputc('\t', f);
	}
	if (style->lines)
		moe_print_escaped(f, a->text, a->n_text);
	else
		fwrite(a->text, 1, a->n_text, f);
	fputc('\n', f);
}

enum moe_err moe_answer_print(FILE *f, const struct moe_answer *a, const struct moe_answer_style *style, struct moe_diag *d)
{
	bool ok = true;

	if (style->json)
		ok = print_json(f, a, style);
	else if (!a->error)             /* that the caller reports on standard error */
		print_text(f, a, style);
	return ok && !fflush(f) && !ferror(f) ? MOE_OK : moe_fail_errno(d, "cannot write the answer");
}
