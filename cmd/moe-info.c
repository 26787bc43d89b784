/* moe-info: what a model is. */
#include <stdlib.h>
#include <string.h>

#include "common/cli.h"
#include "common/tokenizer.h"
#include "report/info.h"
#include "report/likened.h"
#include "stage/layers.h"
#include "stage/reply.h"

static bool json, spec, experts;
static long tokens = 1024, words = 5;
static const char *layers;

static void print_spec(const struct moe_model *m)
{
	char *text = moe_spec_string(m->spec);

	if (!text)
		cli_fail("out of memory");
	fputs(text, stdout);
	free(text);
}

static void print_experts(const struct moe_model *m)
{
	char fingerprint[33];
	size_t first = 0, last = (size_t)m->spec->n_layers - 1, n = last + 1;
	struct moe_tokenizer *t = words ? tokenizer_load(fingerprint) : NULL;
	struct moe_generation generation = {.spec = m->spec};
	struct moe_pool *pool = cli_pool();
	struct moe_diag d = {0};

	if (layers && !moe_layers_parse(layers, strlen(layers), n, &first, &last))
		cli_fail("-l %s: expected a layer or a range of 0 to %zu, such as 3, 0-1 or 2-", layers, n - 1);
	cli_check(moe_generation_init(&generation, &d), &d);
	for (size_t l = first; l <= last; l++) {
		struct moe_likeness likeness;
		if (!moe_spec_top_k(m->spec, l))        /* a dense layer */
			continue;
		cli_check(moe_likeness_make(&likeness, m, l, (size_t)words, generation.suppress, pool, &d), &d);
		cli_check(moe_likened_print(stdout, &likeness, l, t, json, &d), &d);
		moe_likeness_free(&likeness);
		fflush(stdout);
	}
	moe_generation_free(&generation);
	moe_pool_free(pool);
	moe_tokenizer_free(t);
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{0, "json", OPT_FLAG, &json, 0, "one JSON object; with --experts, one per layer", 0, 0, 0},
		{0, "tokens", OPT_INT, &tokens, "N", "tell the memory for a sequence of N tokens, those of pictures included", 1, 1e9, "1024"},
		{0, "spec", OPT_FLAG, &spec, 0, "every setting as it was understood", 0, 0, 0},
		{0, "experts", OPT_FLAG, &experts, 0, "how alike the experts of each layer are, and which words they write", 0, 0, 0},
		{'l', "layers", OPT_TEXT, &layers, "LAYERS", "with --experts: only these layers: 3, 0-11 or 12-", 0, 0, "all"},
		{0, "words", OPT_INT, &words, "N", "with --experts: N words for each, 0 to spare the work", 0, 1000, "5"},
		OPT_MODEL, OPT_END,
	};
	static const struct tool tool = {"moe-info", "[MODEL]", "Family, shapes, parameters, memory and cost of a model.", opts};
	struct moe_diag d = {0};
	struct moe_model *m;
	int at;

	cli_start(argc, argv);
	at = opt_parse(&tool, argc, argv);
	if (at + 1 < argc || (spec && experts))
		opt_usage(&tool);
	if (layers && !experts)
		cli_fail("-l goes with --experts");
	if (at < argc)
		cli.model = argv[at];
	cli.config_only = !experts;
	m = cli_model();
	if (spec)
		print_spec(m);
	else if (experts)
		print_experts(m);
	else
		cli_check(moe_info_print(stdout, m, (uint64_t)tokens, json, &d), &d);
	moe_model_close(m);
	return cli_close_stdout();
}
