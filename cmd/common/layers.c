#include "common/layers.h"

#include <stdlib.h>
#include <string.h>

struct layers_options layers_options;

/* "0,4-7" as a table [n]; NULL for no list. */
static const bool *parse_list(const char *option, const char *text, size_t n)
{
	bool *table;

	if (!text)
		return NULL;
	table = calloc(n, sizeof *table);
	if (!table)
		cli_fail("out of memory");
	for (const char *p = text; *p;) {
		char *end;
		unsigned long a = strtoul(p, &end, 10), b = a;
		if (end != p && *end == '-') {
			p = end + 1;
			b = strtoul(p, &end, 10);
		}
		if (end == p || *p < '0' || *p > '9' || a > b || b >= n || (*end && *end != ','))
			cli_fail("--%s %s: expected experts from 0 to %zu, such as 3 or 0,4-7", option, text, n - 1);
		for (; a <= b; a++)
			table[a] = true;
		p = *end ? end + 1 : end;
	}
	return table;
}

const struct moe_what_if *layers_what_if(const struct moe_model *m)
{
	static struct moe_what_if w;
	const struct layers_options *o = &layers_options;
	size_t n = (size_t)m->spec->router.experts;
	int64_t forced = 0;

	if (o->top_k > m->spec->router.top_k)
		cli_fail("top-k %ld: the model chooses %lld experts; more have no place in its tables", o->top_k, (long long)m->spec->router.top_k);
	w.top_k = o->top_k;
	w.temperature = (float)o->temperature;
	w.drop = parse_list("drop", o->drop, n);
	w.force = parse_list("force", o->force, n);
	for (size_t e = 0; w.force && e < n; e++) {
		forced += w.force[e];
		if (w.force[e] && w.drop && w.drop[e])
			cli_fail("expert %zu is in --drop and in --force", e);
	}
	if (forced > (w.top_k ? w.top_k : m->spec->router.top_k))
		cli_fail("--force %s: %lld experts, but only %lld are chosen for a token", o->force, (long long)forced,
			 (long long)(w.top_k ? w.top_k : m->spec->router.top_k));
	return &w;
}

static void parse_layers(const char *text, size_t n, size_t *first, size_t *last)
{
	if (!text)
		cli_fail("-l is missing: which layers? 0 to %zu", n - 1);
	if (!moe_layers_parse(text, strlen(text), n, first, last))
		cli_fail("-l %s: expected a layer or a range of 0 to %zu, such as 3, 0-1 or 2-", text, n - 1);
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
	struct moe_layers l;
	struct moe_stage stage;
	struct moe_pool *pool;
	struct moe_model *m;
	struct stats stats;
	size_t a, b;
	int status;

	cli_start(argc, argv);
	opt_parse_filter(t, argc, argv);
	pool = cli_pool();
	m = cli_model();
	parse_layers(layers_options.layers, (size_t)m->spec->n_layers, &a, &b);
	if (a != b && !range)
		cli_fail("-l %s: this program works on one layer (moe-block takes a range)", layers_options.layers);
	moe_layers_init(&l, m, a * MOE_N_STEPS + first, b * MOE_N_STEPS + last);
	l.pool = pool;
	l.any_order = cli.any_order;
	l.only_wanted = layers_options.only_wanted;
	l.insight.attention = layers_options.attention;
	l.insight.parts = parse_parts();
	l.what_if = layers_what_if(m);
	stats_init(&stats, m, a, b);
	if (stats.load) {
		l.observe = stats_observe;
		l.observer = &stats;
	}
	stage = moe_layers_stage(&l);
	status = cli_filter(&stage, m);
	stats_print(&stats);
	moe_layers_free(&l);
	moe_model_close(m);
	moe_pool_free(pool);
	return status;
}
