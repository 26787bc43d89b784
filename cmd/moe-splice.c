/* moe-splice: puts a part of one run into another, and tells how much of its answer comes back. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/cli.h"
#include "common/experts.h"
#include "common/progress.h"
#include "common/tokenizer.h"
#include "report/spliced.h"
#include "stage/layers.h"
#include "stage/reply.h"

static struct {
	const char *layers, *what, *experts;
	struct opt_list rows;
	bool json, tsv;
} o;

static enum moe_err take_pair(void *self, const struct moe_splice_pair *p, struct moe_diag *d)
{
	if (p->clean == p->corrupt && !cli.quiet) {
		progress_clear();
		cli_say("pair %llu: both runs give the same answer, and it is left out", (unsigned long long)p->index);
	}
	return moe_spliced_pair(self, p, d);
}

static enum moe_err take_result(void *self, const struct moe_splice_result *s, struct moe_diag *d)
{
	struct moe_spliced *r = self;
	enum moe_err err = moe_spliced_add(r, s, d);

	progress_show(r->results, "experiments");
	return err;
}

static enum moe_splice_what parse_what(void)
{
	if (o.experts && o.what)
		cli_fail("--expert is a part of its own: --what does not go with it");
	if (o.experts)
		return MOE_SPLICE_EXPERT;
	for (enum moe_splice_what w = MOE_SPLICE_HIDDEN; w < MOE_SPLICE_EXPERT; w++)
		if (!o.what || !strcmp(o.what, moe_splice_what_name(w)))
			return w;
	cli_fail("--what %s: expected hidden, attention, experts or routing", o.what);
}

static void parse_rows(struct moe_splice_rows *group)
{
	static_assert(sizeof o.rows.item / sizeof *o.rows.item <= MOE_SPLICE_GROUPS, "each --rows is a group");

	for (size_t i = 0; i < o.rows.n; i++) {
		group[i] = (struct moe_splice_rows){.name = o.rows.item[i], .each = !strcmp(o.rows.item[i], "each")};
		if (!group[i].each && !moe_row_choice_parse(&group[i].choice, group[i].name))
			cli_fail("--rows %s: expected each, all, last, text, image, or rows such as 5 or 0-3,64-", group[i].name);
	}
}

static void parse_layers(size_t n, size_t *first, size_t *last)
{
	*first = 0;
	*last = n - 1;
	if (o.layers && !moe_layers_parse(o.layers, strlen(o.layers), n, first, last))
		cli_fail("-l %s: expected a layer or a range of 0 to %zu, such as 3, 0-1 or 2-", o.layers, n - 1);
}

static int splice(const char *clean, const char *corrupt)
{
	char fingerprint[33];
	struct moe_splice_rows group[MOE_SPLICE_GROUPS];
	struct moe_pool *pool = cli_pool();
	struct moe_model *m = cli_model();
	struct moe_tokenizer *t = tokenizer_load(fingerprint);
	struct moe_identity id = cli_identity(m, fingerprint);
	struct moe_generation generation = {.spec = m->spec};
	struct moe_spliced report = {.form = o.json ? MOE_SPLICED_JSON : o.tsv ? MOE_SPLICED_TSV : MOE_SPLICED_TEXT, .tokenizer = t, .what = parse_what()};
	struct moe_splice s = {.model = m, .pool = pool, .what = report.what, .group = group, .n_groups = o.rows.n, .pair = take_pair, .result = take_result,
			       .to = &report};
	bool *experts = o.experts ? experts_parse("expert", o.experts, (size_t)m->spec->router.experts, true) : NULL;
	struct moe_reader *a, *b;
	struct moe_sink *sink;
	struct moe_diag d = {0};
	enum moe_err err;
	int status;

	parse_rows(group);
	parse_layers((size_t)m->spec->n_layers, &s.first, &s.last);
	report.first = s.first;
	report.last = s.last;
	s.expert = experts;
	cli_check(moe_generation_init(&generation, &d), &d);
	s.suppress = generation.suppress;
	a = cli_reader(clean);
	b = cli_reader(corrupt);
	report.f = cli_text(cli.output, &sink);
	err = moe_splice_run(&s, a, b, &id, &d);
	if (!err)
		err = moe_spliced_finish(&report, &d);
	progress_clear();
	cli_finish_text(report.f, sink, err, &d);
	status = cli_close_stdout();
	if (!status && !report.pairs)
		status = EXIT_NO;
	moe_spliced_free(&report);
	moe_reader_free(a);
	moe_reader_free(b);
	free(experts);
	moe_generation_free(&generation);
	moe_tokenizer_free(t);
	moe_model_close(m);
	moe_pool_free(pool);
	return status;
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{'l', "layers", OPT_TEXT, &o.layers, "LAYERS", "in which layers, one after the other: 3, 0-11 or 12-", 0, 0, "all"},
		{0, "rows", OPT_LIST, &o.rows, "WHICH", "rows to replace together: all, last, text, image, or such as 5 or 0-3,64-; each: one by one", 0, 0,
		 "image and text, or each"},
		{0, "what", OPT_TEXT, &o.what, "PART", "hidden, attention, experts or routing of the clean run", 0, 0, "hidden"},
		{0, "expert", OPT_TEXT, &o.experts, "EXPERTS", "what these experts gave, one after the other: 3, 0,4-7 or all", 0, 0, 0},
		{0, "json", OPT_FLAG, &o.json, 0, "one JSON object per experiment", 0, 0, 0},
		{0, "tsv", OPT_FLAG, &o.tsv, 0, "a table with one line per experiment", 0, 0, 0},
		{0, "any-model", OPT_FLAG, &cli.any_model, 0, "accept streams that another model made", 0, 0, 0},
		OPT_MODEL, OPT_OUTPUT, OPT_END,
	};
	static const struct tool tool = {"moe-splice", "CLEAN CORRUPT", "Puts parts of one run into another, and tells how much of its answer comes back.", opts};
	int at;

	cli_start(argc, argv);
	at = opt_parse(&tool, argc, argv);
	if (at + 2 != argc || (o.json && o.tsv))
		opt_usage(&tool);
	if (!strcmp(argv[at], "-") && !strcmp(argv[at + 1], "-"))
		cli_fail("only one of the streams can be standard input");
	return splice(argv[at], argv[at + 1]);
}
