/* moe-eval: how well a model answers the questions of data shards. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cli.h"
#include "common/memory.h"
#include "common/pictures.h"
#include "common/progress.h"
#include "common/tokenizer.h"
#include "eval/tables.h"

enum { MOST_TYPES = 256 };

static struct {
	const char *types, *by, *answers, *against;
	bool json, tsv, chat, no_blind, no_sandbox;
	long limit, max_new, batch, patch_layer;
} o = {.batch = 24};

/* A model with all that it answers with. */
struct subject {
	struct moe_model *m;
	struct moe_tokenizer *t;
	struct moe_generation g;
	struct moe_evaluation e;
};

static void tell_failure(void *self, const struct moe_diag *d)
{
	char text[900];

	(void)self;
	cli_say("%s", moe_diag_string(d, text, sizeof text));
}

static void tell_progress(void *self, uint64_t done)
{
	(void)self;
	progress_show(done, "samples");
}

/* The types of --types; *words holds their texts, to be freed. */
static size_t split_types(const char **type, char **words)
{
	char *rest = *words = o.types ? strdup(o.types) : NULL;
	size_t n = 0;

	if (o.types && !rest)
		cli_fail("out of memory");
	for (char *p; rest && (p = strsep(&rest, ","));) {
		if (n == MOST_TYPES)
			cli_fail("--types: more than %d types", MOST_TYPES);
		type[n++] = p;
	}
	return n;
}

/* Opens the model of -m, or `path`; afterwards that of -m is the program's again. */
static void open_subject(struct subject *s, const char *path, struct moe_pool *pool)
{
	const char *first = cli.model;
	struct moe_diag d = {0};
	char fingerprint[33];

	if (path) {
		cli.model = cli_model_path(path);
		cli.family = NULL;
	}
	s->m = cli_model();
	if (o.patch_layer > s->m->spec->n_layers)
		cli_fail("--patch-layer %ld: the model has %lld layers", o.patch_layer, (long long)s->m->spec->n_layers);
	if (o.chat && !*s->m->spec->chat.turn && !*s->m->spec->chat.user)
		cli_fail("--chat: the family %s has no chat format", s->m->spec->family);
	memory_use_math(s->m, pool);
	s->t = tokenizer_load(fingerprint);
	s->g = (struct moe_generation){.spec = s->m->spec, .tokenizer = s->t, .max_new = (size_t)(o.max_new ? o.max_new : s->m->spec->text.max_new)};
	cli_check(moe_generation_init(&s->g, &d), &d);
	if (path)
		cli.model = first;
}

/* `told`: broken samples have been told of already. */
static void evaluate(struct subject *s, char **path, int n, bool told)
{
	const char *type[MOST_TYPES];
	char *words;
	struct moe_evaluate_options e = {
		.path = (const char *const *)path, .n_paths = (size_t)n, .limit = (uint64_t)o.limit, .type = type, .n_types = split_types(type, &words), .form = {.chat = o.chat},
		.patch_layer = (size_t)o.patch_layer, .no_blind = o.no_blind, .no_sandbox = o.no_sandbox, .threads = (unsigned)cli.threads, .window = (size_t)o.batch,
		.failed = told ? NULL : tell_failure, .progress = tell_progress,
	};
	struct moe_diag d = {0};

	cli_check(moe_evaluate_run(&s->e, s->m, s->t, &s->g, &e, &d), &d);
	progress_clear();
	free(words);
}

static void release(struct subject *s)
{
	moe_evaluation_free(&s->e);
	moe_generation_free(&s->g);
	moe_tokenizer_free(s->t);
	moe_model_close(s->m);
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

static void print_tables(const struct subject *s, const struct subject *other)
{
	struct moe_tally scores;
	struct moe_tables t = {&s->e, &scores, s->m->fingerprint, other ? other->m->fingerprint : NULL, o.by};
	struct moe_diag d = {0};
	struct moe_sink *sink;
	FILE *f;

	cli_check(moe_tally_make(&scores, &s->e, o.by, other ? &other->e : NULL, &d), &d);
	f = cli_text(cli.output, &sink);
	cli_finish_text(f, sink, moe_tables_print(f, &t, o.json ? MOE_TABLE_JSON : o.tsv ? MOE_TABLE_TSV : MOE_TABLE_TEXT, &d), &d);
	moe_tally_free(&scores);
}

static int run(struct moe_pool *pool, char **path, int n)
{
	struct subject one = {0}, other = {0};
	uint64_t asked, right;
	int status;

	open_subject(&one, NULL, pool);
	if (o.against)
		open_subject(&other, o.against, pool);
	evaluate(&one, path, n, false);
	moe_tally_confident(&one.e, NULL, 0, &asked, &right);
	if (!asked)
		cli_fail("there was no question to ask in %s%s", path[0], n > 1 ? " and the others" : "");
	if (o.against)
		evaluate(&other, path, n, true);
	print_answers(&one.e);
	print_tables(&one, o.against ? &other : NULL);
	status = cli_close_stdout();
	if (!status && (one.e.failed || other.e.failed))
		status = EXIT_NO;
	release(&one);
	if (o.against)
		release(&other);
	return status;
}

static void check(char **path, int n)
{
	if (o.json && o.tsv)
		cli_fail("--json and --tsv: choose one");
	for (int i = 0; i < n; i++) {
		if (strcmp(path[i], "-"))
			continue;
		if (isatty(STDIN_FILENO))
			opt_usage(cli.tool);
		if (o.against || n > 1)
			cli_fail("standard input is read once: it is the only source then, and --against does not go with it");
	}
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{0, "limit", OPT_INT, &o.limit, "N", "ask of the first N samples only", 1, 1e12, "all"},
		{0, "types", OPT_TEXT, &o.types, "LIST", "ask only questions of these types, separated by commas", 0, 0, "all"},
		{0, "by", OPT_TEXT, &o.by, "TAG", "also tell apart by the values of this tag", 0, 0, 0},
		{0, "chat", OPT_FLAG, &o.chat, 0, "prompts are turns of the user in the family's chat format", 0, 0, 0},
		{'n', "max-new", OPT_INT, &o.max_new, "N", "at most N new tokens per answer", 1, 1e6, "the model's own limit"},
		{0, "patch-layer", OPT_INT, &o.patch_layer, "N", "labels of patches are read after N layers", 1, 1e6, "all"},
		{0, "against", OPT_TEXT, &o.against, "MODEL", "compare with this model on the same questions", 0, 0, 0},
		{0, "no-blind", OPT_FLAG, &o.no_blind, 0, "leave out the blind baseline, which takes half of the time", 0, 0, 0},
		{0, "answers", OPT_TEXT, &o.answers, "FILE", "write every question and answer there, as JSON lines", 0, 0, 0},
		{0, "json", OPT_FLAG, &o.json, 0, "JSON lines", 0, 0, 0},
		{0, "tsv", OPT_FLAG, &o.tsv, 0, "the scores as tab-separated values with a header line", 0, 0, 0},
		{0, "batch", OPT_INT, &o.batch, "N", "pictures computed together by a thread", 1, 4096, "24"},
		{0, "no-sandbox", OPT_FLAG, &o.no_sandbox, 0, "decode even where the kernel cannot confine the decoder", 0, 0, 0},
		OPT_MODEL, OPT_MATH, OPT_MEMORY, OPT_OUTPUT, OPT_END,
	};
	static const struct tool tool = {"moe-eval", "SHARD...", "Tells how well a model answers the questions of data shards.", opts};
	struct moe_pool *pool;
	int at, status;

	pictures_start(&tool);
	cli_start(argc, argv);
	at = opt_parse(&tool, argc, argv);
	if (at == argc)
		opt_usage(&tool);
	check(argv + at, argc - at);
	pool = cli_pool();
	status = run(pool, argv + at, argc - at);
	moe_pool_free(pool);
	return status;
}
