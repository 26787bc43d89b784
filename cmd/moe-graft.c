/* moe-graft: surgery on models. */
#include <stdlib.h>
#include <string.h>

#include "common/cli.h"
#include "common/progress.h"
#include "graft/graft.h"
#include "graft/graft_load.h"
#include "report/grafted.h"

enum { MOST_MODELS = 32 };

static struct {
	struct opt_list models, experts, load;
	const char *layers, *pools, *weights, *router, *types;
	long number, top_k, seed;
	double noise, deviation, shard;
	bool random, width, rescale, gumbel, unchecked, restart, json;
	struct moe_converted sums;
} o = {.shard = 5};

static void on_tensor(void *arg, const struct moe_target *t, const struct moe_loss *loss)
{
	(void)arg;
	moe_converted_tensor(&o.sums, NULL, o.json, t, loss);
}

/* "4,4" to numbers; how many. */
static size_t read_numbers(const char *option, const char *text, double *to, size_t most, bool whole)
{
	size_t n = 0;
	char *end;

	for (const char *p = text; p && n < most; p = *end ? end + 1 : NULL) {
		to[n] = strtod(p, &end);
		bool in = to[n] >= (whole ? 1 : 0) && to[n] <= (whole ? 65534 : 1e9);
		if (end == p || (*end && *end != ',') || !in || (whole && to[n] != (double)(int64_t)to[n]))
			cli_fail("%s %s: expected %snumbers with commas between them", option, text, whole ? "whole " : "");
		n++;
		if (*end && n == most)
			cli_fail("%s %s: expected at most %zu numbers", option, text, most);
	}
	return n;
}

static void read_pools(struct moe_graft_options *g)
{
	double n[MOE_N_MODALITIES];

	g->n_pools = read_numbers("--pools", o.pools, n, MOE_N_MODALITIES, true);
	for (size_t m = 0; m < g->n_pools; m++)
		g->pool[m] = (int64_t)n[m];
}

/* Options that the operation has no use for are mistakes. */
static void check_options(enum moe_graft_operation op)
{
	static const unsigned all = ~0u;
	const struct { const char *name; bool given; unsigned of; } rows[] = {
		{"--experts", o.experts.n, all & ~(1u << MOE_GRAFT_UPCYCLE | 1u << MOE_GRAFT_MIX | 1u << MOE_GRAFT_AVERAGE)},
		{"-n", o.number, 1u << MOE_GRAFT_UPCYCLE | 1u << MOE_GRAFT_ADD | 1u << MOE_GRAFT_SPLIT},
		{"-l", o.layers, 1u << MOE_GRAFT_UPCYCLE | 1u << MOE_GRAFT_MIX},
		{"--top-k", o.top_k, all & ~(1u << MOE_GRAFT_AVERAGE | 1u << MOE_GRAFT_REORDER | 1u << MOE_GRAFT_COPY)},
		{"--pools", o.pools, 1u << MOE_GRAFT_UPCYCLE},
		{"--noise", o.noise > 0, all & ~(1u << MOE_GRAFT_DROP | 1u << MOE_GRAFT_MERGE | 1u << MOE_GRAFT_REORDER | 1u << MOE_GRAFT_AVERAGE)},
		{"--router", o.router, 1u << MOE_GRAFT_UPCYCLE | 1u << MOE_GRAFT_ADD | 1u << MOE_GRAFT_COPY | 1u << MOE_GRAFT_MIX},
		{"--deviation", o.deviation > 0, 1u << MOE_GRAFT_UPCYCLE | 1u << MOE_GRAFT_ADD | 1u << MOE_GRAFT_COPY | 1u << MOE_GRAFT_MIX},
		{"--random", o.random, 1u << MOE_GRAFT_ADD}, {"--width", o.width, 1u << MOE_GRAFT_SPLIT}, {"--rescale", o.rescale, 1u << MOE_GRAFT_UPCYCLE},
		{"--gumbel", o.gumbel, 1u << MOE_GRAFT_UPCYCLE}, {"--weights", o.weights, 1u << MOE_GRAFT_MIX | 1u << MOE_GRAFT_AVERAGE},
		{"--load", o.load.n, 1u << MOE_GRAFT_MERGE | 1u << MOE_GRAFT_REORDER},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (rows[i].given && !(rows[i].of >> op & 1))
			cli_fail("%s has no use for %s", moe_graft_name(op), rows[i].name);
}

static enum moe_graft_router router(enum moe_graft_operation op)
{
	int r = o.router ? moe_graft_find_router(o.router) : MOE_GRAFT_ROUTER_DEFAULT;

	if (r < 0 || (r == MOE_GRAFT_ROUTER_KEEP && op != MOE_GRAFT_COPY) || (r == MOE_GRAFT_ROUTER_COPY && op == MOE_GRAFT_UPCYCLE))
		cli_fail("--router %s: expected %szero or random", o.router, op == MOE_GRAFT_COPY ? "copy, keep, " : op == MOE_GRAFT_UPCYCLE ? "" : "copy, ");
	return (enum moe_graft_router)r;
}

static size_t open_models(struct moe_model **model)
{
	const char *standard = cli.model;

	for (size_t i = 0; i < o.models.n; i++) {
		cli.model = o.models.item[i];
		model[i] = cli_model();
	}
	cli.model = standard;
	if (!o.models.n)
		model[0] = cli_model();
	return o.models.n ? o.models.n : 1;
}

static int graft(enum moe_graft_operation op)
{
	struct moe_graft_options g = {
		.operation = op, .list = o.experts.item, .n_lists = o.experts.n, .layers = o.layers, .number = o.number, .top_k = o.top_k, .noise = o.noise,
		.router = router(op), .deviation = o.deviation, .random = o.random, .width = o.width, .rescale = o.rescale, .noise_in_training = o.gumbel,
		.seed = (uint64_t)o.seed, .unchecked = o.unchecked, .program = "moe-graft " MOE_VERSION,
		.convert = {.family_file = cli.family, .types = o.types, .shard_nbytes = (uint64_t)(o.shard * 1e9), .anew = o.restart, .tensor = on_tensor,
			    .progress = progress_bytes, .note = cli_note},
	};
	struct moe_model *model[MOST_MODELS];
	double weight[MOST_MODELS], *load = NULL;
	struct moe_graft_check check;
	struct moe_diag d = {0};
	size_t n;
	bool kept;
	char *families;

	read_pools(&g);
	n = open_models(model);
	if (o.weights && read_numbers("--weights", o.weights, weight, MOST_MODELS, false) != n)
		cli_fail("--weights %s: expected one for each of the %zu models", o.weights, n);
	g.weight = o.weights ? weight : NULL;
	if (o.load.n)
		cli_check(moe_graft_load(&load, o.load.item, o.load.n, model[0], cli.any_model, &d), &d);
	g.load = load;
	g.convert.families = families = cli_share("families");
	g.convert.pool = cli_pool();
	if (moe_graft(model, n, cli.output, &g, &check, &kept, &d)) {
		progress_clear();
		if (kept && !cli.quiet)
			cli_say("what is done stays in %s.part; the same command goes on with it", cli.output);
		cli_die(&d);
	}
	progress_clear();
	if (!cli.quiet || o.json)
		moe_grafted_print(stdout, o.json, op, &check, &o.sums, cli.output);
	for (size_t i = 0; i < n; i++)
		moe_model_close(model[i]);
	moe_pool_free(g.convert.pool);
	free(families);
	free(load);
	return cli_close_stdout();
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{'m', "model", OPT_LIST, &o.models, "MODEL",
		 "model directory, or ORG/NAME[@REVISION] in the hub's local cache; several for copy, mix and average", 0, 0,
		 "$MOE_MODEL, else the model that ships with the toolkit"},
		{'o', "output", OPT_TEXT, &cli.output, "FOLDER", "the folder to write, which must be new or empty", 0, 0, 0},
		{0, "experts", OPT_LIST, &o.experts, "LIST",
		 "which: 3 or 0,4-7; merge: 0+1,2+3; copy: 3=5; reorder: the old numbers; @LAYERS behind it: in these alone", 0, 0, 0},
		{'n', "number", OPT_INT, &o.number, "N", "upcycle: experts of a layer; add: how many more; split: into how many", 1, 65534, 0},
		{'l', "layers", OPT_TEXT, &o.layers, "LAYERS", "upcycle, mix: these dense layers: 3, 0-11 or 12-", 0, 0, "all"},
		{0, "top-k", OPT_INT, &o.top_k, "K", "experts of a token", 1, 256, "that of the source; upcycle and mix of dense models: 2"},
		{0, "pools", OPT_TEXT, &o.pools, "N,N,...", "upcycle: so many of the experts for text, for images, ...", 0, 0, "one pool of all"},
		{0, "router", OPT_TEXT, &o.router, "HOW", "rows of new experts: copy, zero, random; copy also: keep", 0, 0, "copy; upcycle and mix: random"},
		{0, "deviation", OPT_REAL, &o.deviation, "X", "standard deviation of random rows of the router", 1e-9, 1e3, "0.02"},
		{0, "noise", OPT_REAL, &o.noise, "X", "noise on new experts, relative to the root mean square of a row", 0, 100, "0"},
		{0, "random", OPT_FLAG, &o.random, 0, "add: random numbers, as large as those of the experts that are named", 0, 0, 0},
		{0, "width", OPT_FLAG, &o.width, 0, "split: by width, in the place of copies", 0, 0, 0},
		{0, "rescale", OPT_FLAG, &o.rescale, 0, "upcycle: larger down projections, where the weights of a token's experts do not add up to 1", 0, 0, 0},
		{0, "gumbel", OPT_FLAG, &o.gumbel, 0, "upcycle: note that routers want noise in training", 0, 0, 0},
		{0, "weights", OPT_TEXT, &o.weights, "X,X,...", "mix, average: one for each model", 0, 0, "equal ones"},
		{0, "load", OPT_LIST, &o.load, "TRACE", "merge: weights, and reorder: the order, from how often experts were chosen", 0, 0, 0},
		{0, "any-model", OPT_FLAG, &cli.any_model, 0, "accept a trace of another model", 0, 0, 0},
		{0, "seed", OPT_INT, &o.seed, "N", "of random numbers", 0, 1e15, "0"},
		{0, "type", OPT_TEXT, &o.types, "TYPE", "keep, f32, f16, bf16 or int8, or PART=TYPE,... as moe-convert has it", 0, 0, "keep"},
		{0, "shard-size", OPT_REAL, &o.shard, "GB", "most of weights in one file", 1e-6, 1e6, "5"},
		{0, "no-check", OPT_FLAG, &o.unchecked, 0, "do not compare outputs", 0, 0, 0},
		{0, "restart", OPT_FLAG, &o.restart, 0, "begin anew what an earlier run left unfinished", 0, 0, 0},
		{0, "json", OPT_FLAG, &o.json, 0, "one JSON object", 0, 0, 0},
		{0, "family", OPT_TEXT, &cli.family, "FILE", "family file to read the models with", 0, 0, "the one that matches config.json"},
		OPT_END,
	};
	static const struct tool tool = {"moe-graft", "OPERATION",
					 "Surgery: upcycle, add, drop, merge, split, reorder, copy, mix or average; makes a model of others.", opts};
	int at, op;

	cli_start(argc, argv);
	at = opt_parse(&tool, argc, argv);
	if (at + 1 != argc || !cli.output)
		opt_usage(&tool);
	op = moe_graft_find_name(argv[at]);
	if (op < 0)
		cli_fail("%s: expected upcycle, add, drop, merge, split, reorder, copy, mix or average", argv[at]);
	check_options((enum moe_graft_operation)op);
	return graft((enum moe_graft_operation)op);
}
