#include "report/likened.h"

#include "report/escape.h"

/* The expert beside e with the largest cosine; e itself where it is alone. */
static size_t nearest(const double *cosine, size_t n, size_t e)
{
	size_t best = e;

	for (size_t i = 0; i < n; i++)
		if (i != e && (best == e || cosine[e * n + i] > cosine[e * n + best]))
			best = i;
	return best;
}

static json_t *matrix_json(const double *x, size_t n)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < n; i++) {
		json_t *row = json_array();
		for (size_t j = 0; j < n; j++)
			json_array_append_new(row, json_real(x[i * n + j]));
		json_array_append_new(rows, row);
	}
	return rows;
}

static json_t *words_json(const struct moe_likeness *l, const struct moe_tokenizer *t)
{
	json_t *experts = json_array();

	for (size_t e = 0; e < l->experts; e++) {
		json_t *words = json_array();
		for (size_t i = e * l->words; i < (e + 1) * l->words; i++) {
			json_t *o = moe_json_token(t, l->written[i].token);
			json_object_set_new(o, "ratio", json_real(l->written[i].ratio));
			json_array_append_new(words, o);
		}
		json_array_append_new(experts, words);
	}
	return experts;
}

static bool print_json(FILE *f, const struct moe_likeness *l, size_t layer, const struct moe_tokenizer *t)
{
	json_t *o = json_pack("{s:I, s:I}", "layer", (json_int_t)layer, "experts", (json_int_t)l->experts);

	json_object_set_new(o, "router_cosine", matrix_json(l->router, l->experts));
	json_object_set_new(o, "weight_cosine", matrix_json(l->weights, l->experts));
	if (l->words)
		json_object_set_new(o, "writes", words_json(l, t));
	return moe_print_json(f, o);
}

/* Least, mean and largest cosine of two different experts. */
static void print_range(FILE *f, const char *name, const double *x, size_t n)
{
	double least = 1, most = -1, sum = 0;

	for (size_t i = 0; i < n * n; i++)
		if (i / n != i % n) {
			least = x[i] < least ? x[i] : least;
			most = x[i] > most ? x[i] : most;
			sum += x[i];
		}
	if (n > 1)
		fprintf(f, "  %s: cosines from %.3f to %.3f, mean %.3f\n", name, least, most, sum / (double)(n * n - n));
}

static void print_text(FILE *f, const struct moe_likeness *l, size_t layer, const struct moe_tokenizer *t)
{
	size_t n = l->experts;

	fprintf(f, "layer %zu\n", layer);
	print_range(f, "rows of the router", l->router, n);
	print_range(f, "weights of the experts", l->weights, n);
	fprintf(f, "  expert  nearest by router  by weights%s\n", l->words ? "     writes more than others" : "");
	for (size_t e = 0; e < n; e++) {
		size_t r = nearest(l->router, n, e), w = nearest(l->weights, n, e);
		fprintf(f, "  %6zu  %8zu %8.3f  %4zu %6.3f", e, r, l->router[e * n + r], w, l->weights[e * n + w]);
		for (size_t i = e * l->words; i < (e + 1) * l->words; i++) {
			fprintf(f, i == e * l->words ? "     " : " ");
			moe_print_token(f, t, l->written[i].token);
		}
		fputc('\n', f);
	}
}

enum moe_err moe_likened_print(FILE *f, const struct moe_likeness *l, size_t layer, const struct moe_tokenizer *t, bool json, struct moe_diag *d)
{
	bool ok = true;

	if (json)
		ok = print_json(f, l, layer, t);
	else
		print_text(f, l, layer, t);
	return ok && !ferror(f) ? MOE_OK : moe_fail_errno(d, "cannot write");
}
