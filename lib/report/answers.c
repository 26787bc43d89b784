#include "report/answers.h"

#include <math.h>
#include <string.h>

#include "report/escape.h"

double moe_answer_confidence(const struct moe_answer *a) { return exp(a->logprob); }

/* One token: id, text, log-probability. */
static json_t *token_json(const struct moe_answer *a, const struct moe_choice *c)
{
	json_t *o = moe_json_token(a->tokenizer, c->token);

	json_object_set_new(o, "logprob", json_real(c->logprob));
	return o;
}

static json_t *tokens_json(const struct moe_answer *a)
{
	json_t *list = json_array();

	for (size_t i = 0; i < a->ids.n; i++) {
		json_t *o = token_json(a, &a->token[i]), *top = json_array();
		for (size_t j = 0; j < a->n_best && a->best[i * a->n_best + j].token >= 0; j++)
			json_array_append_new(top, token_json(a, &a->best[i * a->n_best + j]));
		if (a->n_best)
			json_object_set(o, "top", top);
		json_decref(top);
		json_array_append_new(list, o);
	}
	return list;
}

static bool print_json(FILE *f, const struct moe_answer *a, const struct moe_answer_style *style)
{
	static const char *const finish[] = {[MOE_FINISH_LENGTH] = "length", [MOE_FINISH_END] = "end", [MOE_FINISH_STOP] = "stop"};
	json_t *o = json_object(), *ids = json_array();

	if (a->name)
		json_object_set_new(o, "name", moe_json_text(a->name, strlen(a->name)));
	if (a->prompt)
		json_object_set_new(o, "prompt", moe_json_text(a->prompt, strlen(a->prompt)));
	if (a->error) {
		json_object_set_new(o, "error", moe_json_text(a->error, strlen(a->error)));
		json_decref(ids);
	} else {
		bool withheld = moe_answer_confidence(a) < style->min_confidence;
		for (size_t i = 0; i < a->ids.n; i++)
			json_array_append_new(ids, json_integer(a->ids.id[i]));
		json_object_set_new(o, "text", withheld ? json_null() : moe_json_text(a->text, a->n_text));
		json_object_set_new(o, "ids", ids);
		json_object_set_new(o, "logprob", json_real(a->logprob));
		json_object_set_new(o, "confidence", json_real(moe_answer_confidence(a)));
		if (a->suppresses)
			json_object_set_new(o, "logprob_over", json_string("allowed"));
		json_object_set_new(o, "finish", json_string(finish[a->finish]));
		json_object_set_new(o, "prompt_tokens", json_integer((json_int_t)a->n_prompt));
		json_object_set_new(o, "generated_tokens", json_integer((json_int_t)a->ids.n));
		if (a->token)
			json_object_set_new(o, "tokens", tokens_json(a));
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
	if (style->names && a->prompt) {
		moe_print_escaped(f, a->prompt, strlen(a->prompt));
		fputc('\t', f);
	}
	if (style->lines)
		moe_print_escaped(f, a->text, a->n_text);
	else
		fwrite(a->text + style->told, 1, a->n_text - style->told, f);
	fputc('\n', f);
}

enum moe_err moe_answer_print(FILE *f, const struct moe_answer *a, const struct moe_answer_style *style, struct moe_diag *d)
{
	bool ok = true;

	if (style->json)
		ok = print_json(f, a, style);
	else if (!a->error && moe_answer_confidence(a) >= style->min_confidence)        /* else the caller reports it on standard error */
		print_text(f, a, style);
	return ok && !fflush(f) && !ferror(f) ? MOE_OK : moe_fail_errno(d, "cannot write the answer");
}
