#include "common/layers.h"

#include <string.h>

#include "common/choosing.h"
#include "common/trace.h"

struct layers_options layers_options;

static void parse_layers(const char *text, size_t n, size_t *first, size_t *last)
{
	if (!text)
		cli_fail("-l is missing: which layers? 0 to %zu", n - 1);
	if (!moe_layers_parse(text, strlen(text), n, first, last))
		cli_fail("-l %s: expected a layer or a range of 0 to %zu, such as 3, 0-1 or 2-", text, n - 1);
}

size_t layers_parse_one(size_t n)
{
	size_t first, last;

	parse_layers(layers_options.layers, n, &first, &last);
	if (first != last)
		cli_fail("-l %s: this program works on one layer (moe-block takes a range)", layers_options.layers);
	return first;
}

/* The experts of this process; false: the whole layer is wanted. */
static bool parse_partial(struct moe_partial *p, size_t n_experts)
{
	const char *text = layers_options.experts;

	if (text && !layers_options.partial)
		cli_fail("--experts %s: these alone are no layer; with --partial they go to moe-merge", text);
	if (layers_options.partial && layers_options.parts)
		cli_fail("--parts needs the whole layer, --partial hands on a part of it: give one of them");
	if (layers_options.partial && !n_experts)
		cli_fail("--partial: the model has no experts to share out");
	*p = (struct moe_partial){0, n_experts - 1};
	if (text && !moe_layers_parse(text, strlen(text), n_experts, &p->first, &p->last))      /* written as layers are */
		cli_fail("--experts %s: expected an expert or a range of 0 to %zu, such as 3, 0-1 or 2-", text, n_experts - 1);
	return layers_options.partial;
}

static enum moe_insight_parts parse_parts(void)
{
	const char *rows = layers_options.parts;

	if (rows && *rows && strcmp(rows, "all") && strcmp(rows, "wanted"))
		cli_fail("--parts=%s: expected all, or wanted (rows whose logits are wanted)", rows);
	return !rows ? MOE_PARTS_NONE : !strcmp(rows, "wanted") ? MOE_PARTS_WANTED : MOE_PARTS_ALL;
}

int layers_main(const struct tool *t, int argc, char **argv, enum moe_step first, enum moe_step last, bool range)
{
	struct moe_partial partial;
	struct moe_layers l;
	struct moe_stage stage;
	struct moe_pool *pool;
	struct moe_model *m;
	struct moe_identity id;
	struct stats stats;
	struct trace trace;
	struct moe_diag d = {0};
	bool routes = first <= MOE_STEP_ROUTE && last >= MOE_STEP_ROUTE;
	size_t a, b;
	int status;

	cli_start(argc, argv);
	opt_parse_filter(t, argc, argv);
	pool = cli_pool();
	m = cli_model();
	if (range)
		parse_layers(layers_options.layers, (size_t)m->spec->n_layers, &a, &b);
	else
		a = b = layers_parse_one((size_t)m->spec->n_layers);
	moe_layers_init(&l, m, a * MOE_N_STEPS + first, b * MOE_N_STEPS + last);
	l.pool = pool;
	l.any_order = cli.any_order;
	l.only_wanted = layers_options.only_wanted;
	l.insight.attention = layers_options.attention;
	l.insight.parts = parse_parts();
	if (parse_partial(&partial, (size_t)m->spec->router.experts))
		l.partial = &partial;
	l.what_if = what_if_table(m);
	choosing_apply(m);
	l.group = (size_t)choosing_options.batch;
	cli_check(moe_layers_check(&l, &d), &d);
	stats_init(&stats, m, a, b);
	if (stats.load) {
		l.observe = stats_observe;
		l.observer = &stats;
	}
	id = cli_identity(m, NULL);
	if (routes)
		trace_open(&trace, m, a, b, &id, false);
	l.tracing = routes ? trace.tracing : NULL;
	stage = moe_layers_stage(&l);
	status = cli_filter(&stage, m);
	stats_print(&stats);
	if (routes)
		trace_finish(&trace);
	moe_layers_free(&l);
	moe_model_close(m);
	moe_pool_free(pool);
	return status;
}
