/* moe-eval: how well a model answers the questions of data shards. */
#include <string.h>

#include "common/asking.h"
#include "common/choosing.h"
#include "common/memory.h"
#include "eval/tables.h"

static struct {
	const char *by, *answers, *against;
	bool json, tsv, no_blind, loss;
	double draw;
	long batch, patch_layer, text_tokens;
} o = {.batch = 24, .text_tokens = 128};

static void open_model(struct asking *a, const char *path, struct moe_pool *pool)
{
	asking_open(a, path, pool);
	if (o.patch_layer > a->m->spec->n_layers)
		cli_fail("--patch-layer %ld: the model has %lld layers", o.patch_layer, (long long)a->m->spec->n_layers);
}

/* `told`: broken samples have been told of already. */
static void evaluate(struct asking *a, char **path, int n, bool told)
{
	asking_run(a, path, n, (struct moe_evaluate_options){.patch_layer = (size_t)o.patch_layer, .no_blind = o.no_blind, .window = (size_t)o.batch}, told);
}

static void print_answers(const struct moe_evaluation *e)
{
	struct moe_sink *sink;
	struct moe_diag d = {0};
	FILE *f;

	if (!o.answers)
		return;
	f = cli_text(o.answers, &sink);
	cli_finish_text(f, sink, moe_tables_answers(f, e, &d), &d);
}

static enum moe_table_format format(void) { return o.json ? MOE_TABLE_JSON : o.tsv ? MOE_TABLE_TSV : MOE_TABLE_TEXT; }

static void print_tables(const struct asking *s, const struct asking *other)
{
	struct moe_tally scores;
	struct moe_tables t = {&s->e, &scores, s->m->fingerprint, other ? other->m->fingerprint : NULL, s->m->choice, other ? other->m->choice : NULL, o.by};
	struct moe_diag d = {0};
	struct moe_sink *sink;
	FILE *f;

	cli_check(moe_tally_make(&scores, &s->e, o.by, other ? &other->e : NULL, &d), &d);
	f = cli_text(cli.output, &sink);
	cli_finish_text(f, sink, moe_tables_print(f, &t, format(), &d), &d);
	moe_tally_free(&scores);
}

static int run(struct moe_pool *pool, char **path, int n)
{
	struct asking one = {0}, other = {0};
	int status;

	open_model(&one, NULL, pool);
	if (o.against)
		open_model(&other, o.against, pool);
	evaluate(&one, path, n, false);
	if (o.against)
		evaluate(&other, path, n, true);
	print_answers(&one.e);
	print_tables(&one, o.against ? &other : NULL);
	status = cli_close_stdout();
	if (!status && (one.e.failed || other.e.failed))
		status = EXIT_NO;
	asking_free(&one);
	if (o.against)
		asking_free(&other);
	return status;
}

static void tell(void *self, const struct moe_diag *d)
{
	char text[900];

	(void)self;
	cli_say("%s", moe_diag_string(d, text, sizeof text));
}

/* --loss: by the network that trains, and not by answers. */
static int run_losses(struct moe_pool *pool, char **path, int n)
{
	struct moe_model *m = cli_model();
	struct moe_losses l[MOE_MOST_LOSSES];
	struct moe_losses_options options = {
		.path = (const char *const *)path, .n_paths = (size_t)n, .limit = (uint64_t)asking_options.limit, .batch = (size_t)o.batch, .text_tokens = (size_t)o.text_tokens,
		.draw = o.draw, .no_sandbox = asking_options.no_sandbox, .pool = pool, .failed = tell,
	};
	struct moe_diag d = {0};
	struct moe_sink *sink;
	size_t n_losses;
	int status;
	FILE *f;

	cli_check(moe_losses_run(l, &n_losses, m, &options, &d), &d);
	f = cli_text(cli.output, &sink);
	cli_finish_text(f, sink, moe_tables_losses(f, l, n_losses, m->fingerprint, format(), &d), &d);
	status = cli_close_stdout();
	moe_model_close(m);
	return !status && l->failed ? EXIT_NO : status;
}

static void check(char **path, int n)
{
	if (o.loss && (o.against || o.answers || o.by || asking_options.types || asking_options.chat))
		cli_fail("--loss goes without --against, --answers, --by, --types and --chat: nothing is answered");
	if (o.draw > 0 && !o.loss)
		cli_fail("--draw goes with --loss");
	for (int i = 0; i < n && o.loss; i++)
		if (!strcmp(path[i], "-"))
			cli_fail("standard input is read once: --loss reads its samples several times");
	if (o.json && o.tsv)
		cli_fail("--json and --tsv: choose one");
	for (int i = 0; i < n; i++)
		if (o.against && !strcmp(path[i], "-"))
			cli_fail("standard input is read once: --against does not go with it");
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		OPT_ASKING,
		{0, "by", OPT_TEXT, &o.by, "TAG", "also tell apart by the values of this tag", 0, 0, 0},
		{0, "patch-layer", OPT_INT, &o.patch_layer, "N", "labels of patches are read after N layers", 1, 1e6, "all"},
		{0, "against", OPT_TEXT, &o.against, "MODEL", "compare with this model on the same questions", 0, 0, 0},
		{0, "no-blind", OPT_FLAG, &o.no_blind, 0, "leave out the blind baseline, which takes half of the time", 0, 0, 0},
		{0, "loss", OPT_FLAG, &o.loss, 0, "tell the losses that training has, with own and with others' pictures", 0, 0, 0},
		{0, "draw", OPT_REAL, &o.draw, "SHARE", "of losses: so many samples are captions and then pictures", 0, 1, "0"},
		{0, "text-tokens", OPT_INT, &o.text_tokens, "N", "of losses: at most N tokens of text of a sample", 1, 65536, "128"},
		{0, "answers", OPT_TEXT, &o.answers, "FILE", "write every question and answer there, as JSON lines", 0, 0, 0},
		{0, "json", OPT_FLAG, &o.json, 0, "JSON lines", 0, 0, 0},
		{0, "tsv", OPT_FLAG, &o.tsv, 0, "the scores as tab-separated values with a header line", 0, 0, 0},
		{0, "batch", OPT_INT, &o.batch, "N", "pictures computed together by a thread", 1, 4096, "24"},
		OPT_CAUSAL, OPT_MODEL, OPT_MATH, OPT_MEMORY, OPT_OUTPUT, OPT_END,
	};
	static const struct tool tool = {"moe-eval", "SHARD...", "Tells how well a model answers the questions of data shards.", opts};
	int at = asking_start(&tool, argc, argv), status;
	struct moe_pool *pool;

	check(argv + at, argc - at);
	pool = cli_pool();
	status = o.loss ? run_losses(pool, argv + at, argc - at) : run(pool, argv + at, argc - at);
	moe_pool_free(pool);
	return status;
}
