/* moe-scale: scaling laws, savings and differences from the logs of many trainings. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cli.h"
#include "common/progress.h"
#include "report/scaling.h"

enum { MOST_BUDGETS = 64, MOST_LOSSES = 16 };

static struct {
	const char *loss, *law, *coefficients, *baseline, *over, *evaluations, *flops, *svg;
	bool json, tsv;
	long resamples, seed;
	double huber, hours, rate, aspect;
} o = {.resamples = 1000, .seed = 1, .huber = 1e-3, .aspect = 32};

static struct {
	struct moe_runs runs;
	size_t measure[MOST_LOSSES], n_measures;
	struct moe_pool *pool;
	FILE *out;
} p;

static enum moe_load_format format(void) { return o.json ? MOE_LOAD_JSON : o.tsv ? MOE_LOAD_TSV : MOE_LOAD_TEXT; }

/* ---- pictures ---- */

/* Can each measure have its picture? */
static void check_pictures(void)
{
	bool named = o.svg && strstr(o.svg, "{loss}");

	if (o.svg && !named && p.n_measures > 1)
		cli_fail("--svg %s: there is a picture for each measure: put {loss} into the name, or choose one with --loss", o.svg);
	for (size_t m = 0; named && m < p.n_measures; m++)
		if (strchr(p.runs.measure[p.measure[m]], '/'))
			cli_fail("--svg: the measure %s has no name for a file", p.runs.measure[p.measure[m]]);
}

/* Opens the picture of a measure; its name takes the place of {loss} in --svg. NULL: none is wanted. */
static FILE *open_picture(const char *measure, struct moe_sink **sink)
{
	const char *at = o.svg ? strstr(o.svg, "{loss}") : NULL;
	char *path;
	FILE *f;

	if (!o.svg)
		return NULL;
	if (asprintf(&path, "%.*s%s%s", at ? (int)(at - o.svg) : (int)strlen(o.svg), o.svg, at ? measure : "", at ? at + strlen("{loss}") : "") < 0)
		cli_fail("out of memory");
	f = cli_text(path, sink);
	free(path);
	return f;
}

/* ---- what is read ---- */

/* Splits ARM=PATH, unless there is a file of that name. */
static const char *arm_of(const char **path)
{
	const char *equals = strchr(*path, '=');
	char *arm;

	if (!equals || (size_t)(equals - *path) > strcspn(*path, "/") || !access(*path, F_OK))
		return NULL;
	arm = strndup(*path, (size_t)(equals - *path));
	if (!arm)
		cli_fail("out of memory");
	*path = equals + 1;
	return arm;
}

static void read_runs(char **path, int n, bool last, bool unsized)
{
	static char standard[] = "-", *const input[] = {standard};
	char *families = cli_share("families");
	struct moe_runs_options options = {.families = families, .last = last, .unsized = unsized};
	struct moe_diag d = {0};

	if (o.evaluations && strcmp(o.evaluations, "last") && strcmp(o.evaluations, "all"))
		cli_fail("--evaluations %s: expected last or all", o.evaluations);
	if (o.evaluations)
		options.last = !strcmp(o.evaluations, "last");
	for (int i = 0; i < (n ? n : 1); i++) {
		const char *from = n ? path[i] : input[0], *arm = arm_of(&from);
		cli_check(moe_runs_read(&p.runs, from, arm, &options, &d), &d);
		free((char *)(uintptr_t)arm);
	}
	free(families);
}

/* Is this measure anywhere above 0? A loss that a training leaves out is 0 everywhere. */
static bool usable(size_t measure)
{
	for (size_t i = 0; i < p.runs.n; i++)
		if (moe_run_measure(&p.runs.at[i], measure) > 0)
			return true;
	return false;
}

static void add_loss(const char *name, bool asked)
{
	size_t number = moe_runs_find(&p.runs, name);

	if (number == SIZE_MAX && asked)
		cli_fail("--loss %s: the runs have no such measure", name);
	if (number == SIZE_MAX || (!asked && !usable(number)))
		return;
	if (p.n_measures == MOST_LOSSES)
		cli_fail("--loss: more than %d", MOST_LOSSES);
	p.measure[p.n_measures++] = number;
}

/* The measures of --loss, or the usual ones. */
static void choose_losses(void)
{
	static const char *const usual[] = {"loss", "text", "image", "patch"};
	char *names = o.loss ? strdup(o.loss) : NULL, *save = NULL;

	for (char *name = names ? strtok_r(names, ",", &save) : NULL; name; name = strtok_r(NULL, ",", &save))
		add_loss(name, true);
	for (size_t i = 0; !o.loss && i < sizeof usual / sizeof *usual; i++)
		add_loss(usual[i], false);
	free(names);
	if (!p.n_measures)
		cli_fail("which measure? The runs have none of loss, text, image and patch (--loss NAME)");
	check_pictures();
}

static size_t find_baseline(void)
{
	for (size_t i = 0; i < p.runs.n_arms; i++)
		if (!o.baseline || !strcmp(p.runs.arm[i], o.baseline))
			return i;
	cli_fail("--baseline %s: no run is of this arm", o.baseline);
}

static size_t two_arms(void)
{
	size_t baseline = find_baseline();

	if (p.runs.n_arms < 2)
		cli_fail("all runs are of one arm: say which is which, by a column \"arm\" of the table or by ARM=LOG");
	return baseline;
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

/* A law of each loss: does with it what `use` does. */
static void fit_all(void (*use)(struct moe_scaling_law *l, bool first), bool picture)
{
	struct moe_law_fit_options options = {.kind = law_kind(), .huber = o.huber, .resamples = (size_t)o.resamples, .seed = (uint64_t)o.seed, .pool = p.pool, .progress = tell_progress};

	for (size_t m = 0; m < p.n_measures; m++) {
		const char *name = p.runs.measure[p.measure[m]];
		struct moe_diag d = {0};
		struct moe_law_cost cost;
		struct moe_law_point *point;
		struct moe_law_fit fit;
		struct moe_scaling_law law = {name, &fit, &cost, p.runs.counted};
		struct moe_sink *sink;
		size_t n;
		FILE *f;
		cli_check(moe_law_points(&point, &n, &cost, &p.runs, p.measure[m], &d), &d);
		cli_check(moe_law_fit(&fit, point, n, &options, &d), &d);
		progress_clear();
		use(&law, !m);
		if (picture && (f = open_picture(name, &sink)))
			cli_finish_text(f, sink, moe_chart_law(f, &law, point, n, &d), &d);
		moe_law_fit_free(&fit);
		free(point);
	}
}

static void print_law(struct moe_scaling_law *l, bool first)
{
	struct moe_diag d = {0};

	if (!first && format() == MOE_LOAD_TEXT)
		fputc('\n', p.out);
	cli_check(moe_report_law(p.out, l, format(), first, &d), &d);
}

static void run_fit(char **path, int n)
{
	read_runs(path, n, true, false);
	choose_losses();
	fit_all(print_law, true);
}

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
	struct moe_scaling_law law = {"loss", &fit, &cost, false};

	if (!o.coefficients) {
		read_runs(path, n, true, false);
		choose_losses();
		fit_all(print_plan, false);
		return;
	}
	if (n)
		cli_fail("plan: --coefficients say the law, and no runs are read");
	read_coefficients(&fit.law);
	print_plan(&law, true);
}

static void run_eta(char **path, int n)
{
	struct moe_savings_options options = {.measure = p.measure, .resamples = (size_t)o.resamples, .seed = (uint64_t)o.seed};
	int cost = o.over ? moe_cost_find(o.over) : MOE_COST_FLOPS;
	struct moe_savings savings;
	struct moe_diag d = {0};
	struct moe_sink *sink;

	if (cost < 0)
		cli_fail("--over %s: expected flops, tokens or seconds", o.over);
	options.cost = (enum moe_cost)cost;
	read_runs(path, n, false, cost != MOE_COST_FLOPS);
	choose_losses();
	options.n_measures = p.n_measures;
	options.baseline = two_arms();
	cli_check(moe_savings_make(&savings, &p.runs, &options, &d), &d);
	cli_check(moe_report_savings(p.out, &p.runs, &savings, &options, format(), &d), &d);
	moe_savings_free(&savings);
	for (size_t m = 0; m < p.n_measures; m++) {
		FILE *f = open_picture(p.runs.measure[p.measure[m]], &sink);
		if (f)
			cli_finish_text(f, sink, moe_chart_savings(f, &p.runs, options.baseline, p.measure[m], options.cost, &d), &d);
	}
}

static void run_compare(char **path, int n)
{
	struct moe_paired *paired;
	struct moe_diag d = {0};
	size_t baseline;

	read_runs(path, n, true, true);
	choose_losses();
	baseline = two_arms();
	cli_check(moe_paired_make(&paired, &p.runs, baseline, p.measure, p.n_measures, &d), &d);
	cli_check(moe_report_paired(p.out, &p.runs, baseline, paired, (p.runs.n_arms - 1) * p.n_measures, format(), &d), &d);
	free(paired);
}

static void run_table(char **path, int n)
{
	struct moe_diag d = {0};

	read_runs(path, n, false, true);
	cli_check(moe_report_runs(p.out, &p.runs, &d), &d);
}

static const struct {
	const char *name;
	void (*run)(char **path, int n);
} subcommands[] = {{"fit", run_fit}, {"plan", run_plan}, {"eta", run_eta}, {"compare", run_compare}, {"table", run_table}};

/* Options that say nothing to a subcommand are not passed over in silence. */
static void check_options(const char *subcommand)
{
	const struct { bool given; const char *option, *subcommands; } rules[] = {
		{o.svg, "svg", "fit eta"}, {o.law, "law", "fit plan"}, {o.flops, "flops", "plan"}, {o.hours > 0, "hours", "plan"}, {o.rate > 0, "rate", "plan"},
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
		{0, "loss", OPT_TEXT, &o.loss, "NAMES", "the measures, separated by commas", 0, 0, "those of loss, text, image and patch that are there"},
		{0, "law", OPT_TEXT, &o.law, "LAW", "fit, plan: dense, or sparse, which has the share of experts not passed", 0, 0, "dense"},
		{0, "huber", OPT_REAL, &o.huber, "DELTA", "fit, plan: errors of the logarithm above it count by their size, not its square", 1e-9, 1e3, "0.001"},
		{0, "flops", OPT_TEXT, &o.flops, "LIST", "plan: budgets, separated by commas", 0, 0, 0},
		{0, "hours", OPT_REAL, &o.hours, "H", "plan: a budget of so many hours", 1e-9, 1e9, 0},
		{0, "rate", OPT_REAL, &o.rate, "FLOPS", "plan: FLOPs a second", 1, 1e30, "that of the runs, if they say how long they took"},
		{0, "coefficients", OPT_TEXT, &o.coefficients, "LIST", "plan: the law itself, E=2.1,A=270,alpha=0.3,B=1850,beta=0.33, instead of runs", 0, 0, 0},
		{0, "aspect", OPT_REAL, &o.aspect, "N", "plan: hidden size for each layer of the shape", 1, 1e4, "32"},
		{0, "baseline", OPT_TEXT, &o.baseline, "ARM", "eta, compare: what the others are compared with", 0, 0, "the arm of the first run"},
		{0, "over", OPT_TEXT, &o.over, "COST", "eta: count flops, tokens or seconds", 0, 0, "flops"},
		{0, "evaluations", OPT_TEXT, &o.evaluations, "WHICH", "of each log: last or all", 0, 0, "all for eta and table, else last"},
		{0, "resamples", OPT_INT, &o.resamples, "N", "of runs or seeds, for intervals; 0: none", 0, 100000, "1000"},
		{0, "seed", OPT_INT, &o.seed, "N", "of the resamples", 0, 1e15, "1"},
		{0, "svg", OPT_TEXT, &o.svg, "FILE", "fit, eta: draw it there; {loss} in the name stands for the measure", 0, 0, 0},
		{0, "json", OPT_FLAG, &o.json, 0, "JSON, one object per line", 0, 0, 0},
		{0, "tsv", OPT_FLAG, &o.tsv, 0, "tab-separated values with a header line", 0, 0, 0},
		OPT_OUTPUT, OPT_END,
	};
	static const struct tool tool = {"moe-scale", "fit|plan|eta|compare|table [[ARM=]RUN ...]",
					 "Scaling laws, plans, savings and differences from the logs or tables of many trainings.", opts};
	struct moe_diag d = {0};
	struct moe_sink *sink;
	size_t which = 0;
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
	p.out = cli_text(cli.output, &sink);
	subcommands[which].run(argv + at + 1, argc - at - 1);
	cli_finish_text(p.out, sink, MOE_OK, &d);
	moe_runs_free(&p.runs);
	moe_pool_free(p.pool);
	return EXIT_DONE;
}
