/* moe-merge: joins a layer whose experts were shared out over processes. */
#include <string.h>

#include "common/layers.h"
#include "stage/join.h"

static void open_streams(struct moe_join *j, char **path, size_t n)
{
	size_t standard = 0;

	if (n > MOE_MOST_JOINED)
		cli_fail("%zu streams: at most %d can be joined", n, MOE_MOST_JOINED);
	for (size_t i = 0; i < n; i++)
		standard += !strcmp(path[i], "-");
	if (standard > 1)
		cli_fail("only one of the streams can be standard input");
	for (j->n = 0; j->n < n; j->n++)
		j->stream[j->n].in = cli_reader(path[j->n]);
}

static void merge(char **path, size_t n)
{
	struct moe_model *m = cli_model();
	struct moe_join j = {.model = m, .pool = cli_pool(), .layer = layers_parse_one((size_t)m->spec->n_layers), .any_order = cli.any_order};
	struct moe_stage stage = moe_join_stage(&j);
	struct moe_identity id = cli_identity(m, NULL);
	struct moe_sink *sink;
	struct moe_output out = {.writer = cli_writer(&sink)};
	struct moe_diag d = {0};

	open_streams(&j, path, n);
	cli_finish(sink, moe_stage_loop(j.stream[0].in, &out, &stage, &id, &d), &d);
	for (size_t i = 0; i < j.n; i++)
		moe_reader_free(j.stream[i].in);
	moe_writer_free(out.writer);
	moe_account_free(&out.account);
	moe_join_free(&j);
	moe_pool_free(j.pool);
	moe_model_close(m);
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {OPT_LAYER, OPT_MODEL, OPT_OUTPUT, OPT_STREAM, OPT_END};
	static const struct tool tool = {"moe-merge", "-l LAYER STREAM...", "Joins a layer whose experts were shared out: partial routed streams -> hidden.", opts};
	int at;

	cli_start(argc, argv);
	at = opt_parse(&tool, argc, argv);
	if (at == argc)
		opt_usage(&tool);
	merge(argv + at, (size_t)(argc - at));
	return EXIT_DONE;
}
