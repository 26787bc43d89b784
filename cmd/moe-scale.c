/* moe-scale: scaling laws, savings and differences from the logs of many trainings. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cli.h"
#include "common/progress.h"
#include "common/trainings.h"
#include "report/scaling.h"

enum { MOST_BUDGETS = 64 };

static struct {
	const char *law, *coefficients, *baseline, *over, *flops, *svg;
	bool json, tsv;
	long resamples, seed;
	double huber, hours, rate, aspect;
} o = {.resamples = 1000, .seed = 1, .huber = 1e-3, .aspect = 32};

static struct {
	struct trainings t;
	struct moe_pool *pool;
	FILE *out;                      /* in memory: where one of several laws fails, nothing is printed */
} p;

static enum moe_load_format format(void) { return o.json ? MOE_LOAD_JSON : o.tsv ? MOE_LOAD_TSV : MOE_LOAD_TEXT; }

/* ---- pictures ---- */

/* Does each measure (and, with `arms`, each arm) have a picture of its own? */
static void check_pictures(bool arms)
{
	if (o.svg && p.t.n_measures > 1 && !strstr(o.svg, "{loss}"))
		cli_fail("--svg %s: there is a picture for each measure: put {loss} into the name, or choose one with --loss", o.svg);
	if (o.svg && arms && p.t.runs.n_arms > 1 && !strstr(o.svg, "{arm}"))
		cli_fail("--svg %s: there is a picture for each arm: put {arm} into the name, or choose one with --arms", o.svg);
}

static FILE *open_picture(const char *measure, const char *arm, struct moe_sink **sink)
{
	char *path = trainings_name(o.svg, measure, arm);
	FILE *f = cli_text(path, sink);

	free(path);
	return f;
}

/* ---- the subcommands ---- */

static enum moe_law_kind law_kind(void)
{
	int kind = o.law ? moe_law_find(o.law) : MOE_LAW_DENSE;

	if (kind < 0)
		cli_fail("--law %s: expected dense or sparse", o.law);
	return (enum moe_law_kind)kind;
}

static void tell_progress(void *self, size_t resamples)
{
	(void)self;
	progress_show(resamples, "resamples");
}

/* Fits the law of an arm's measure, and does with it what `use` does. */
static void fit_one(size_t arm, size_t measure, void (*use)(struct moe_scaling_law *l, bool first), bool first, bool picture)
{
	struct moe_law_fit_options options = {.kind = law_kind(), .huber = o.huber, .resamples = (size_t)o.resamples, .seed = (uint64_t)o.seed, .pool = p.pool,
					      .progress = tell_progress};
	const char *loss = p.t.runs.measure[measure];
	struct moe_diag d = {0};
	struct moe_law_cost cost;
	struct moe_law_point *point;
	struct moe_law_fit fit;
	struct moe_scaling_law law = {p.t.runs.arm[arm], loss, &fit, &cost, p.t.runs.counted};
	struct moe_sink *sink;
	size_t n;

	cli_check(moe_law_points(&point, &n, &cost, &p.t.runs, arm, measure, &d), &d);
	if (moe_law_fit(&fit, point, n, &options, &d)) {
		if (*law.arm)
			moe_diag_path(&d, law.arm);
		cli_die(&d);
	}
	progress_clear();
	use(&law, first);
	if (picture && o.svg) {
		FILE *f = open_picture(loss, law.arm, &sink);
		cli_finish_text(f, sink, moe_chart_law(f, &law, point, n, &d), &d);
	}
	moe_law_fit_free(&fit);
	free(point);
}

static bool arm_has(size_t arm, size_t measure)
{
	for (size_t i = 0; i < p.t.runs.n; i++)
		if (p.t.runs.at[i].arm == arm && !isnan(moe_run_measure(&p.t.runs.at[i], measure)))
			return true;
	return false;
}

/* Each arm has laws of its own; measures that it lacks are left out, unless they are asked for. */
static void fit_all(char **path, int n, void (*use)(struct moe_scaling_law *l, bool first), bool picture)
{
	bool first = true;

	trainings_read(&p.t, path, n, true, false);
	trainings_choose(&p.t);
	check_pictures(true);
	for (size_t arm = 0; arm < p.t.runs.n_arms; arm++)
		for (size_t m = 0; m < p.t.n_measures; m++)
			if (trainings_options.loss || arm_has(arm, p.t.measure[m])) {
				fit_one(arm, p.t.measure[m], use, first, picture);
				first = false;
			}
}

static void print_law(struct moe_scaling_law *l, bool first)
{
	struct moe_diag d = {0};

	if (!first && format() == MOE_LOAD_TEXT)
		fputc('\n', p.out);
	cli_check(moe_report_law(p.out, l, format(), first, &d), &d);
}

static void run_fit(char **path, int n) { fit_all(path, n, print_law, true); }

static double positive(const char *option, const char *text)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || *end || !(v > 0) || !isfinite(v))
		cli_fail("%s: expected numbers above 0, got \"%s\"", option, text);
	return v;
}

/* The budgets of --flops and --hours. */
static size_t read_budgets(double *flops, double rate)
{
	char *list = o.flops ? strdup(o.flops) : NULL, *save = NULL;
	size_t n = 0;

	for (char *text = list ? strtok_r(list, ",", &save) : NULL; text; text = strtok_r(NULL, ",", &save)) {
		if (n == MOST_BUDGETS - 1)
			cli_fail("--flops: more than %d", MOST_BUDGETS - 1);
		flops[n++] = positive("--flops", text);
	}
	free(list);
	if (o.hours > 0 && isnan(rate))
		cli_fail("--hours: how many FLOPs a second? The runs do not say how long they took (--rate FLOPS)");
	if (o.hours > 0)
		flops[n++] = o.hours * 3600 * rate;
	if (!n)
		cli_fail("plan: for how many FLOPs, or hours? (--flops LIST, --hours H)");
	return n;
}

static void print_plan(struct moe_scaling_law *l, bool first)
{
	double flops[MOST_BUDGETS], rate = o.rate > 0 ? o.rate : l->cost->rate;
	struct moe_scaling_plan plan = {.law = *l, .flops = flops, .n = read_budgets(flops, rate), .rate = rate, .aspect = o.aspect};
	struct moe_diag d = {0};

	if (!first && format() == MOE_LOAD_TEXT)
		fputc('\n', p.out);
	cli_check(moe_report_plan(p.out, &plan, format(), first, &d), &d);
}

/* E=2.1,A=270,...: all parameters of the law. */
static void read_coefficients(struct moe_law *l)
{
	char *list = strdup(o.coefficients), *save = NULL;
	size_t n = moe_law_parameters(l->kind);

	for (size_t i = 0; i < n; i++)
		l->value[i] = NAN;
	for (char *text = strtok_r(list, ",", &save); text; text = strtok_r(NULL, ",", &save)) {
		char *value = strchr(text, '=');
		size_t i = 0;
		if (value)
			*value++ = 0;
		while (i < n && strcmp(text, moe_law_name(i)))
			i++;
		if (i == n || !value)
			cli_fail("--coefficients: \"%s\" is no NAME=VALUE of the law's parameters", text);
		l->value[i] = positive("--coefficients", value);
	}
	for (size_t i = 0; i < n; i++)
		if (isnan(l->value[i]))
			cli_fail("--coefficients: %s is missing", moe_law_name(i));
	free(list);
}

static void run_plan(char **path, int n)
{
	struct moe_law_fit fit = {.law = {.kind = law_kind()}};
	struct moe_law_cost cost = {.cost = 6, .rate = NAN};
	struct moe_scaling_law law = {"", "loss", &fit, &cost, false};

	if (!o.coefficients) {
		fit_all(path, n, print_plan, false);
		return;
	}
	if (n)
		cli_fail("plan: --coefficients say the law, and no runs are read");
	read_coefficients(&fit.law);
	print_plan(&law, true);
}

static void run_eta(char **path, int n)
{
	struct moe_savings_options options = {.measure = p.t.measure, .resamples = (size_t)o.resamples, .seed = (uint64_t)o.seed};
	int cost = o.over ? moe_cost_find(o.over) : MOE_COST_FLOPS;
	struct moe_savings savings;
	struct moe_diag d = {0};
	struct moe_sink *sink;

	if (cost < 0)
		cli_fail("--over %s: expected flops, tokens or seconds", o.over);
	options.cost = (enum moe_cost)cost;
	trainings_read(&p.t, path, n, false, cost != MOE_COST_FLOPS);
	trainings_choose(&p.t);
	check_pictures(false);
	options.n_measures = p.t.n_measures;
	options.baseline = trainings_baseline(&p.t, o.baseline);
	cli_check(moe_savings_make(&savings, &p.t.runs, &options, &d), &d);
	cli_check(moe_report_savings(p.out, &p.t.runs, &savings, &options, format(), &d), &d);
	moe_savings_free(&savings);
	for (size_t m = 0; o.svg && m < p.t.n_measures; m++) {
		FILE *f = open_picture(p.t.runs.measure[p.t.measure[m]], "", &sink);
		cli_finish_text(f, sink, moe_chart_savings(f, &p.t.runs, options.baseline, p.t.measure[m], options.cost, &d), &d);
	}
}

static void run_compare(char **path, int n)
{
	struct moe_paired *paired;
	struct moe_diag d = {0};
	struct moe_sink *sink;
	size_t baseline, pairs;

	trainings_read(&p.t, path, n, true, true);
	trainings_choose(&p.t);
	check_pictures(false);
	baseline = trainings_baseline(&p.t, o.baseline);
	pairs = (p.t.runs.n_arms - 1) * p.t.n_measures;
	cli_check(moe_paired_make(&paired, &p.t.runs, baseline, p.t.measure, p.t.n_measures, &d), &d);
	cli_check(moe_report_paired(p.out, &p.t.runs, baseline, paired, pairs, format(), &d), &d);
	for (size_t m = 0; o.svg && m < p.t.n_measures; m++) {
		FILE *f = open_picture(p.t.runs.measure[p.t.measure[m]], "", &sink);
		cli_finish_text(f, sink, moe_chart_paired(f, &p.t.runs, baseline, paired, pairs, p.t.measure[m], &d), &d);
	}
	free(paired);
}

static void run_table(char **path, int n)
{
	struct moe_diag d = {0};

	trainings_read(&p.t, path, n, false, true);
	cli_check(moe_report_runs(p.out, &p.t.runs, &d), &d);
}

static const struct {
	const char *name;
	void (*run)(char **path, int n);
} subcommands[] = {{"fit", run_fit}, {"plan", run_plan}, {"eta", run_eta}, {"compare", run_compare}, {"table", run_table}};

/* Options that say nothing to a subcommand are not passed over in silence. */
static void check_options(const char *subcommand)
{
	const struct { bool given; const char *option, *subcommands; } rules[] = {
		{o.svg, "svg", "fit eta compare"}, {o.law, "law", "fit plan"}, {o.flops, "flops", "plan"}, {o.hours > 0, "hours", "plan"}, {o.rate > 0, "rate", "plan"},
		{o.coefficients, "coefficients", "plan"}, {o.over, "over", "eta"}, {o.baseline, "baseline", "eta compare"},
	};

	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
		if (rules[i].given && !strstr(rules[i].subcommands, subcommand))
			cli_fail("--%s does not go with %s", rules[i].option, subcommand);
	if (o.json && o.tsv)
		cli_fail("--json and --tsv: give one");
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		OPT_TRAININGS,
		{0, "law", OPT_TEXT, &o.law, "LAW", "fit, plan: dense, or sparse, which has the share of experts not passed", 0, 0, "dense"},
		{0, "huber", OPT_REAL, &o.huber, "DELTA", "fit, plan: errors of the logarithm above it count by their size, not its square", 1e-9, 1e3,
		 "0.001"},
		{0, "flops", OPT_TEXT, &o.flops, "LIST", "plan: budgets, separated by commas", 0, 0, 0},
		{0, "hours", OPT_REAL, &o.hours, "H", "plan: a budget of so many hours", 1e-9, 1e9, 0},
		{0, "rate", OPT_REAL, &o.rate, "FLOPS", "plan: FLOPs a second", 1, 1e30, "that of the runs, if they say how long they took"},
		{0, "coefficients", OPT_TEXT, &o.coefficients, "LIST", "plan: the law itself, E=2.1,A=270,alpha=0.3,B=1850,beta=0.33, instead of runs", 0, 0,
		 0},
		{0, "aspect", OPT_REAL, &o.aspect, "N", "plan: hidden size for each layer of the shape", 1, 1e4, "32"},
		{0, "baseline", OPT_TEXT, &o.baseline, "ARM", "eta, compare: what the others are compared with", 0, 0, "the arm of the first run"},
		{0, "over", OPT_TEXT, &o.over, "COST", "eta: count flops, tokens or seconds", 0, 0, "flops"},
		{0, "resamples", OPT_INT, &o.resamples, "N", "of runs or seeds, for intervals; 0: none", 0, 100000, "1000"},
		{0, "seed", OPT_INT, &o.seed, "N", "of the resamples", 0, 1e15, "1"},
		{0, "svg", OPT_TEXT, &o.svg, "FILE", "fit, eta, compare: draw it there; {loss} and {arm} in the name stand for these", 0, 0, 0},
		{0, "json", OPT_FLAG, &o.json, 0, "JSON, one object per line", 0, 0, 0},
		{0, "tsv", OPT_FLAG, &o.tsv, 0, "tab-separated values with a header line", 0, 0, 0},
		OPT_OUTPUT, OPT_END,
	};
	static const struct tool tool = {"moe-scale", "fit|plan|eta|compare|table [[ARM=]RUN ...]",
					 "Scaling laws, plans, savings and differences from the logs or tables of many trainings.", opts};
	struct moe_diag d = {0};
	struct moe_sink *sink;
	size_t which = 0, n;
	char *text;
	FILE *f;
	int at;

	cli_start(argc, argv);
	at = opt_parse(&tool, argc, argv);
	if (at == argc)
		opt_usage(&tool);
	while (which < sizeof subcommands / sizeof *subcommands && strcmp(argv[at], subcommands[which].name))
		which++;
	if (which == sizeof subcommands / sizeof *subcommands)
		cli_fail("%s: expected fit, plan, eta, compare or table", argv[at]);
	check_options(argv[at]);
	if (at + 1 == argc && !o.coefficients && isatty(STDIN_FILENO))
		opt_usage(&tool);
	p.pool = cli_pool();
	p.out = open_memstream(&text, &n);
	if (!p.out)
		cli_fail("out of memory");
	subcommands[which].run(argv + at + 1, argc - at - 1);
	if (fclose(p.out))
		cli_fail("out of memory");
	f = cli_text(cli.output, &sink);
	fwrite(text, 1, n, f);
	cli_finish_text(f, sink, MOE_OK, &d);
	free(text);
	trainings_free(&p.t);
	moe_pool_free(p.pool);
	return EXIT_DONE;
}
