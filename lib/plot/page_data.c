#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "plot/page_priv.h"
#include "report/escape.h"
#include "trace/trace.h"

static const struct moe_text_facet *find_text(const struct moe_page *p)
{
	for (size_t i = 0; i < p->n; i++)
		for (size_t j = 0; j < p->figure[i].n_facets; j++)
			if (p->figure[i].facet[j].kind == MOE_FACET_TEXT)
				return &p->figure[i].facet[j].text;
	return NULL;
}

/* [expert, weight, expert, weight, ...] for each layer; without weights those are null. */
static json_t *routes(const struct moe_text_facet *t, size_t token)
{
	json_t *all = json_array();

	for (size_t l = 0; l < t->n_layers; l++) {
		const struct moe_chosen *c = &t->chosen[l][token];
		json_t *one = json_array();
		for (size_t i = 0; i < t->k && c->expert[i] != MOE_NO_EXPERT; i++) {
			json_array_append_new(one, json_integer(c->expert[i]));
			json_array_append_new(one, c->weight ? json_real((double)(int)(1000 * c->weight[i] + 0.5f) / 1000) : json_null());
		}
		json_array_append_new(all, one);
	}
	return all;
}

static json_t *tokens(const struct moe_text_facet *t)
{
	json_t *all = json_array();

	for (size_t i = 0; i < t->n; i++)
		for (size_t j = t->word[i].token; j < t->word[i].token + t->word[i].n; j++) {
			json_t *one = json_array();
			json_array_append_new(one, t->word[i].patches ? json_null() : moe_json_text(t->word[i].text, strlen(t->word[i].text)));
			json_array_append_new(one, routes(t, j));
			json_array_append_new(all, one);
		}
	return all;
}

static json_t *colours(const struct moe_text_facet *t)
{
	json_t *all = json_array();
	unsigned most = 0;

	for (size_t l = 0; l < t->n_layers; l++)
		for (size_t i = 0; i < t->n; i++)
			for (size_t j = t->word[i].token; j < t->word[i].token + t->word[i].n; j++)
				for (size_t k = 0; k < t->k && t->chosen[l][j].expert[k] != MOE_NO_EXPERT; k++)
					most = t->chosen[l][j].expert[k] > most ? t->chosen[l][j].expert[k] : most;
	for (unsigned e = 0; e <= most; e++) {
		struct moe_rgb c = moe_expert_colour(e);
		json_array_append_new(all, json_sprintf("#%02x%02x%02x", c.r, c.g, c.b));
	}
	return all;
}

/* JSON inside a script element must not end it, nor begin a comment. */
static void print_safe(FILE *f, const char *json)
{
	for (; *json; json++)
		if (*json == '<')
			fputs("\\u003c", f);
		else
			fputc(*json, f);
}

enum moe_err moe_page_data(FILE *f, const struct moe_page *p, struct moe_diag *d)
{
	const struct moe_text_facet *t = find_text(p);
	json_t *layers = json_array(), *o;
	char *text;

	if (!t) {
		json_decref(layers);
		return MOE_OK;
	}
	for (size_t l = 0; l < t->n_layers; l++)
		json_array_append_new(layers, json_integer((json_int_t)t->layer[l]));
	o = json_pack("{s:o, s:o, s:o}", "layers", layers, "colours", colours(t), "tokens", tokens(t));
	text = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(4)) : NULL;
	json_decref(o);
	if (!text)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	fputs("<script type=\"application/json\" id=\"tokens\">", f);
	print_safe(f, text);
	fputs("</script>\n", f);
	free(text);
	return MOE_OK;
}
