/* moe-ablate: what a model loses when each of its experts is left out in turn. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ablate/effect_map.h"
#include "ablate/effect_tables.h"
#include "common/asking.h"
#include "common/experts.h"
#include "common/memory.h"
#include "common/progress.h"
#include "common/terminal.h"
#include "plot/draw.h"
#include "stage/layers.h"
#include "sys/clock.h"

static struct {
	const char *layers, *experts, *rows, *way, *journal, *map;
	bool json, tsv;
} o;

static void tell_progress(void *self, size_t done, size_t all)
{
	double *start = self, now = moe_clock();
	char line[100];

	if (!*start)
		*start = now;
	snprintf(line, sizeof line, "%zu of %zu parts, about %.0f seconds to go", done, all, (now - *start) / (double)done * (double)(all - done));
	progress_line(line);
}

/* Sets what the list names; all of it, when there is no list. */
static void choose(const char *option, const char *list, bool *chosen, int n, const char *(*name)(int i))
{
	for (const char *p = list; p;) {
		size_t length = strcspn(p, ",");
		int i = 0;
		while (i < n && (strlen(name(i)) != length || memcmp(name(i), p, length)))
			i++;
		if (i == n)
			cli_fail("--%s %s: expected %s%s%s%s%s, or several with commas between them", option, list, name(0), n > 2 ? ", " : "",
				 n > 2 ? name(1) : "", " or ", name(n - 1));
		chosen[i] = true;
		p = p[length] ? p + length + 1 : NULL;
	}
	for (int i = 0; !list && i < n; i++)
		chosen[i] = true;
}

static const char *way_name(int i) { return moe_ablate_way_name((enum moe_ablate_way)i); }
static const char *rows_name(int i) { return moe_ablate_rows_name((enum moe_ablate_rows)i); }

/* The journal's name; *own: nobody asked for it, so that it goes when all is done. */
static const char *journal_name(bool *own)
{
	struct stat st;
	char *path;

	*own = false;
	if (o.journal && !strcmp(o.journal, "-"))
		cli_fail("--journal -: expected the name of a file");
	if (o.journal || !cli.output || !strcmp(cli.output, "-") || (!stat(cli.output, &st) && !S_ISREG(st.st_mode)))
		return o.journal;
	if (asprintf(&path, "%s.journal", cli.output) < 0)
		cli_fail("out of memory");
	*own = true;
	return path;
}

static void plan(struct moe_ablate_options *a, const struct moe_model *m)
{
	const struct moe_spec *s = m->spec;

	a->last = (size_t)s->n_layers - 1;
	if (s->router.experts < 1)
		cli_fail("the model has no experts to leave out");
	if (o.layers && !moe_layers_parse(o.layers, strlen(o.layers), (size_t)s->n_layers, &a->first, &a->last))
		cli_fail("-l %s: expected a layer or a range of 0 to %zu, such as 3, 0-1 or 2-", o.layers, (size_t)s->n_layers - 1);
	if (o.experts)
		a->expert = experts_parse("experts", o.experts, (size_t)s->router.experts, true);
	choose("way", o.way, a->way, MOE_N_ABLATE_WAYS, way_name);
	choose("rows", !o.rows && s->tower.kind == MOE_TOWER_NONE ? "all" : o.rows, a->rows, MOE_N_ABLATE_ROWS, rows_name);
}

/* What goes before the table: about the model, and the maps. */
static enum moe_err print_maps(FILE *f, const struct moe_effects *e, const char *model, const struct moe_figure *map, struct moe_diag *d)
{
	struct moe_term t = terminal_of(f, NULL, 0);

	moe_effects_print_head(f, e, model);
	for (int i = 0; i < MOE_N_EFFECT_MEASURES; i++) {
		MOE_TRY(moe_figure_term(&t, &map[i], d));
		fputs("\n\n", f);
	}
	return MOE_OK;
}

static void write_maps(const struct moe_figure *map)
{
	size_t n = strlen(o.map);
	bool png = n > 4 && !strcasecmp(o.map + n - 4, ".png");
	struct moe_diag d = {0};
	struct moe_sink *sink;
	FILE *f = cli_text(o.map, &sink);

	cli_finish_text(f, sink, png ? moe_figures_png(f, map, MOE_N_EFFECT_MEASURES, 2, &d) : moe_figures_svg(f, map, MOE_N_EFFECT_MEASURES, &d), &d);
}

static void print(const struct moe_effects *e, const char *model)
{
	struct moe_figure map[MOE_N_EFFECT_MEASURES];
	struct moe_diag d = {0};
	struct moe_sink *sink;
	enum moe_err err = MOE_OK;
	FILE *f;

	for (int i = 0; i < MOE_N_EFFECT_MEASURES; i++)
		cli_check(moe_effects_map(&map[i], e, (enum moe_effect_measure)i, &d), &d);
	if (o.map)
		write_maps(map);
	f = cli_text(cli.output, &sink);
	if (!o.json && !o.tsv)
		err = print_maps(f, e, model, map, &d);
	if (!err)
		err = moe_effects_print(f, e, model, o.json ? MOE_EFFECT_JSON : o.tsv ? MOE_EFFECT_TSV : MOE_EFFECT_TEXT, &d);
	cli_finish_text(f, sink, err, &d);
	for (int i = 0; i < MOE_N_EFFECT_MEASURES; i++)
		moe_figure_free(&map[i]);
}

static int run(struct moe_pool *pool, char **path, int n)
{
	double start = 0;
	struct moe_ablate_options options = {.pool = pool, .progress = tell_progress, .self = &start};
	struct moe_ablation ablation;
	struct moe_effects effects;
	struct asking a = {0};
	struct moe_diag d = {0};
	bool own;
	int status;

	options.journal = journal_name(&own);
	asking_open(&a, NULL, pool);
	plan(&options, a.m);
	asking_run(&a, path, n, (struct moe_evaluate_options){.no_blind = true, .keep = true, .window = 8}, false);
	cli_check(moe_ablate_run(&ablation, &a.e, a.m, &a.g, &options, &d), &d);
	progress_clear();
	if (!ablation.n)
		cli_fail("no experts are chosen in layers %zu to %zu", options.first, options.last);
	if (ablation.recalled && !cli.quiet)
		cli_say("%s: %zu of %zu results were there already", options.journal, ablation.recalled, ablation.n * ablation.parts);
	cli_check(moe_effects_make(&effects, &ablation, pool, &d), &d);
	print(&effects, a.m->fingerprint);
	status = cli_close_stdout();
	if (own && !status)
		unlink(options.journal);
	if (!status && a.e.failed)
		status = EXIT_NO;
	moe_effects_free(&effects);
	moe_ablation_free(&ablation);
	asking_free(&a);
	free((void *)(uintptr_t)options.expert);
	if (own)
		free((void *)(uintptr_t)options.journal);
	return status;
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{'l', "layers", OPT_TEXT, &o.layers, "LAYERS", "leave out experts of these layers: 3, 0-11 or 12-", 0, 0, "all"},
		{0, "experts", OPT_TEXT, &o.experts, "LIST", "leave out these experts, each in turn: 3 or 0,4-7", 0, 0, "all"},
		{0, "rows", OPT_TEXT, &o.rows, "LIST", "for which rows: text, image, all, or several of them", 0, 0, "each of the three"},
		{0, "way", OPT_TEXT, &o.way, "LIST", "in which way: reroute, renormalise, or both", 0, 0, "both"},
		OPT_ASKING,
		{0, "journal", OPT_TEXT, &o.journal, "FILE", "keep results there, and go on from those that are there", 0, 0,
		 "beside the file of -o, until it is there"},
		{0, "map", OPT_TEXT, &o.map, "FILE", "write heat maps there: as PNG when it ends with .png, else as SVG", 0, 0, 0},
		{0, "json", OPT_FLAG, &o.json, 0, "JSON lines", 0, 0, 0},
		{0, "tsv", OPT_FLAG, &o.tsv, 0, "tab-separated values with a header line", 0, 0, 0},
		OPT_MODEL, OPT_MATH, OPT_MEMORY, OPT_OUTPUT, OPT_END,
	};
	static const struct tool tool = {"moe-ablate", "SHARD...", "Tells what a model loses when each of its experts is left out in turn.", opts};
	int at = asking_start(&tool, argc, argv), status;
	struct moe_pool *pool;

	if (o.json && o.tsv)
		cli_fail("--json and --tsv: choose one");
	pool = cli_pool();
	status = run(pool, argv + at, argc - at);
	moe_pool_free(pool);
	return status;
}
