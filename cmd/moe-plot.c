/* moe-plot: pictures of routing, from traces. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/cli.h"
#include "common/pictures.h"
#include "common/plotting.h"
#include "common/terminal.h"
#include "common/tokenizer.h"
#include "io/source.h"
#include "plot/agreement.h"
#include "plot/draw.h"
#include "plot/page.h"
#include "plot/table.h"
#include "stage/layers.h"

enum { MOST_LAYERS = 1 << 16, LOG_LIMIT = 256 << 20, ASSET_LIMIT = 1 << 20, MOST_FIGURES = 32, MOST_FIELDS = 60000 };

enum kind { PICTURE, TEXT, LOAD, FLOW, COACTIVATION, DIFFERENCE, AGREEMENT, TRAINING, N_KINDS };
static const char *const kinds[N_KINDS] = {"picture", "text", "load", "flow", "coactivation", "difference", "agreement", "training"};

enum format { AS_TEXT, AS_PNG, AS_SVG, AS_HTML, AS_JSON, AS_TSV, N_FORMATS };
static const char *const formats[N_FORMATS] = {"text", "png", "svg", "html", "json", "tsv"};

static struct {
	const char *kind, *format, *layers, *modality, *color;
	struct opt_list picture, against;
	bool json, tsv;
	long seq, tokens, width;
	double scale;
} o = {.seq = -1, .tokens = 1000, .scale = 2};

static struct {
	struct moe_figure figure[MOST_FIGURES];
	size_t n;
	unsigned kinds;                 /* bits of those that are wanted */
	bool all;                       /* whatever there is: what cannot be drawn is left out */
	int modality;
	size_t first, last;             /* layers */
	struct run *run;                /* [n_runs]: one, or a checkpoint each */
	size_t n_runs;
	struct run other;               /* of --against */
	struct moe_agreement agreement; /* of the two, token by token */
	struct moe_model *model;
	struct moe_tokenizer *tokenizer;
	struct views views;
	char *log;                      /* of a training, in the place of traces */
	size_t log_nbytes;
} p = {.modality = MOE_ALL_MODALITIES, .last = SIZE_MAX};

static bool wants(enum kind k) { return p.kinds >> k & 1; }

/* ---- what is asked for ---- */

static enum format find_format(void)
{
	const char *dot = cli.output ? strrchr(cli.output, '.') : NULL, *name = o.format ? o.format : dot ? dot + 1 : "text";

	if (o.json || o.tsv)
		return o.json ? AS_JSON : AS_TSV;
	for (int f = 0; f < N_FORMATS; f++)
		if (!strcasecmp(name, formats[f]))
			return (enum format)f;
	if (o.format)
		cli_fail("--format %s: expected text, png, svg, html, json or tsv", o.format);
	return !strcasecmp(name, "htm") ? AS_HTML : AS_TEXT;
}

static void parse_kinds(enum format format)
{
	for (const char *s = o.kind; s && *s;) {
		size_t n = strcspn(s, ","), k = 0;
		while (k < N_KINDS && (strlen(kinds[k]) != n || strncmp(s, kinds[k], n)))
			k++;
		if (k == N_KINDS)
			cli_fail("--kind %.*s: expected picture, text, load, flow, coactivation, difference, agreement or training", (int)n, s);
		p.kinds |= 1u << k;
		s += n + (s[n] == ',');
	}
	if (p.kinds)
		return;
	p.all = format == AS_HTML;
	if (p.log)
		p.kinds = 1u << TRAINING;
	else if (p.all)
		p.kinds = 1u << LOAD | 1u << TEXT | 1u << FLOW | 1u << COACTIVATION | (o.picture.n ? 1u << PICTURE : 0) |
			  (o.against.n ? 1u << DIFFERENCE | 1u << AGREEMENT : 0);
	else
		p.kinds = 1u << (o.picture.n ? PICTURE : o.against.n ? AGREEMENT : LOAD);
}

static void parse_modality(void)
{
	if (!o.modality || !strcmp(o.modality, "all"))
		return;
	for (p.modality = 0; p.modality < MOE_N_MODALITIES; p.modality++)
		if (!strcmp(o.modality, moe_modality_name((unsigned)p.modality)))
			return;
	cli_fail("--modality %s: expected text, image, audio, video, other or all", o.modality);
}

/* ---- what it is drawn from ---- */

/* A log is JSON lines; a trace is binary. */
static bool is_log(const char *path)
{
	size_t n = strlen(path);

	return (n > 6 && !strcmp(path + n - 6, ".jsonl")) || (n > 5 && !strcmp(path + n - 5, ".json"));
}

static void set_up(struct run *r, const char *name)
{
	*r = (struct run){.name = name, .sums = {.first = p.first, .last = p.last}, .tokens = {.first = p.first, .last = p.last, .most = (size_t)o.tokens}};
	r->sums.tables = (wants(FLOW) ? MOE_ROUTING_NEXT : 0u) | (wants(COACTIVATION) ? MOE_ROUTING_TOGETHER : 0u);
}

static void read_run(struct run *r, const char *const *path, size_t n)
{
	set_up(r, path[0]);
	run_read(r, path, n, o.seq);
	if (!r->sums.n || !r->sums.kind[0].n_layers)
		cli_fail("%s: no tokens%s", path[0], o.layers ? " in these layers" : "");
}

static void read_runs(const char *const *path, size_t n)
{
	bool apart = wants(TRAINING);

	p.n_runs = apart ? n : 1;
	p.run = calloc(p.n_runs, sizeof *p.run);
	if (!p.run)
		cli_fail("out of memory");
	for (size_t i = 0; i < p.n_runs; i++)
		read_run(&p.run[i], path + i, apart ? 1 : n);
	if (o.against.n) {
		if (o.seq < 0 && p.run[0].found)
			o.seq = (long)p.run[0].tokens.seq;
		read_run(&p.other, o.against.item, o.against.n);
	}
	p.agreement.first = p.first;
	p.agreement.last = p.last;
	if (wants(AGREEMENT))
		runs_compare(&p.agreement, path, n, o.against.item, o.against.n);
}

static bool is_of(const char *traced, const char *own) { return !traced[0] || cli.any_model || !strcmp(traced, own); }

/* The model, for what needs to know how it sees pictures and what its tokens are. */
static void open_model(void)
{
	struct run *r = &p.run[0];
	char fingerprint[33];

	if ((!wants(PICTURE) && !wants(TEXT)) || !r->tokens.n)
		return;
	if (wants(PICTURE)) {
		cli.config_only = true;
		p.model = cli_model();
		if (!is_of(r->model, p.model->fingerprint))
			cli_fail("%s: it is of model %s, but %s is %s (-m says which model the pictures were for; --any-model takes any)", r->name, r->model, cli.model,
				 p.model->fingerprint);
		r->drawn = moe_tokens_place_drawn(&r->tokens, p.model->spec);
		moe_tokens_place_drawn(&p.other.tokens, p.model->spec);
		views_open(&p.views, r, p.model, (char **)o.picture.item, o.picture.n);
	}
	p.tokenizer = tokenizer_load(fingerprint);
	if (is_of(r->tokenizer, fingerprint))
		return;
	moe_tokenizer_free(p.tokenizer);
	p.tokenizer = NULL;
	if (wants(TEXT) && !cli.quiet)
		cli_say("%s: it is not of the tokenizer of %s: the numbers of its tokens stand for them (-m names another model)", r->name, cli.model);
}

/* ---- figures ---- */

static void keep(enum moe_err err, struct moe_diag *d)
{
	if (!err && ++p.n == MOST_FIGURES)
		cli_fail("more than %d figures", MOST_FIGURES - 1);
	if (!err)
		return;
	moe_figure_free(&p.figure[p.n]);
	if (!p.all || err != MOE_EUSAGE)
		cli_die(d);
}

/* Those of sums, for each rule by which experts were chosen. */
static void draw_sums(enum kind k, const struct moe_routing *r)
{
	struct moe_figure *f = &p.figure[p.n];
	struct moe_diag d = {0};

	switch (k) {
	case LOAD: keep(moe_plot_load(f, r, &d), &d); break;
	case FLOW: keep(moe_plot_flow(f, r, p.modality, &d), &d); break;
	case COACTIVATION:
		if (!p.all || r->n_layers * r->experts * r->experts <= MOST_FIELDS)     /* a page with more is heavy; --kind asks for it, -l for less */
			keep(moe_plot_coactivation(f, r, p.modality, &d), &d);
		break;
	default: break;
	}
}

static void draw_training(void)
{
	struct moe_checkpoint_sums *c = calloc(p.n_runs + 1, sizeof *c);
	struct moe_diag d = {0};

	if (!c)
		cli_fail("out of memory");
	for (size_t i = 0; i < p.n_runs; i++)
		c[i] = (struct moe_checkpoint_sums){p.run[i].name, &p.run[i].sums.kind[0]};
	keep(moe_plot_training(&p.figure[p.n], c, p.n_runs, p.modality, &d), &d);
	free(c);
}

static void draw_kind(enum kind k)
{
	struct moe_diag d = {0};
	struct run *r = p.run;

	switch (k) {
	case PICTURE: keep(moe_plot_picture(&p.figure[p.n], &r->tokens, o.against.n ? &p.other.tokens : NULL, p.views.picture, p.views.seen, &d), &d); break;
	case TEXT: keep(moe_plot_text(&p.figure[p.n], &r->tokens, o.against.n ? &p.other.tokens : NULL, p.tokenizer, &d), &d); break;
	case DIFFERENCE: keep(moe_plot_difference(&p.figure[p.n], &r->sums.kind[0], &p.other.sums.kind[0], &d), &d); break;
	case AGREEMENT: keep(moe_plot_agreement(&p.figure[p.n], &p.agreement, &d), &d); break;
	case TRAINING: draw_training(); break;
	default:
		for (size_t i = 0; i < r->sums.n; i++)
			draw_sums(k, &r->sums.kind[i]);
	}
}

static void draw_log(const char *path)
{
	struct moe_diag d = {0};

	if (p.kinds != 1u << TRAINING)
		cli_fail("%s: a log of training has the kind training alone", path);
	if (cli.model) {
		cli.config_only = true;
		p.model = cli_model();
	}
	if (moe_plot_log(&p.figure[p.n++], p.log, p.log_nbytes, p.model ? (size_t)p.model->spec->router.experts : 0, &d)) {
		moe_diag_path(&d, path);
		cli_die(&d);
	}
}

/* ---- output ---- */

static enum moe_err print_text(FILE *f, struct moe_diag *d)
{
	struct moe_term t = terminal_of(f, o.color, o.width);

	for (size_t i = 0; i < p.n; i++) {
		if (i)
			fputs("\n\n", f);
		MOE_TRY(moe_figure_term(&t, &p.figure[i], d));
	}
	return MOE_OK;
}

static char *read_asset(const char *name)
{
	char *path = cli_share(name), *text;
	struct moe_diag d = {0};
	size_t n;

	cli_check(moe_read_file(path, ASSET_LIMIT, &text, &n, &d), &d);
	free(path);
	return text;
}

static void describe(char to[600], const struct run *r)
{
	size_t n = 0;

	if (!r) {
		to[0] = 0;
		return;
	}
	n += (size_t)snprintf(to, 600, "%.200s: %zu of %zu experts for each token", r->name, r->sums.kind[0].k, r->sums.kind[0].experts);
	if (r->model[0])
		n += (size_t)snprintf(to + n, 600 - n, ", model %s", r->model);
	if (r->tokens.n)
		snprintf(to + n, 600 - n, ". Pictures of single tokens show sequence %llu%s%.200s.", (unsigned long long)r->tokens.seq, r->tokens.name ? ", " : "",
			 r->tokens.name ? r->tokens.name : "");
}

static enum moe_err print_page(FILE *f, struct moe_diag *d)
{
	char about[600], *style = read_asset("plot/page.css"), *program = read_asset("plot/page.js");
	struct moe_page page = {.title = p.log ? "A training's routing" : "Routing of a run", .about = about, .provenance = p.run ? p.run->provenance : NULL,
				.style = style, .program = program, .figure = p.figure, .n = p.n};
	enum moe_err err;

	describe(about, p.run);
	err = moe_page_print(f, &page, d);
	free(style);
	free(program);
	return err;
}

static void write_figures(enum format format)
{
	struct moe_diag d = {0};
	struct moe_sink *sink;
	enum moe_err err = MOE_OK;
	FILE *f;

	if (format == AS_PNG && !cli.output && isatty(STDOUT_FILENO))
		cli_fail("PNG is not written to a terminal: use -o FILE");
	f = cli_text(cli.output, &sink);
	switch (format) {
	case AS_TEXT: err = print_text(f, &d); break;
	case AS_PNG: err = moe_figures_png(f, p.figure, p.n, o.scale, &d); break;
	case AS_SVG: err = moe_figures_svg(f, p.figure, p.n, &d); break;
	case AS_HTML: err = print_page(f, &d); break;
	case AS_JSON: err = moe_figures_json(f, p.figure, p.n, &d); break;
	case AS_TSV: err = moe_figures_tsv(f, p.figure, p.n, &d); break;
	default: break;
	}
	cli_finish_text(f, sink, err, &d);
}

static void clean_up(void)
{
	for (size_t i = 0; i < p.n; i++)
		moe_figure_free(&p.figure[i]);
	for (size_t i = 0; i < p.n_runs; i++)
		run_free(&p.run[i]);
	run_free(&p.other);
	moe_agreement_free(&p.agreement);
	free(p.run);
	views_free(&p.views);
	moe_tokenizer_free(p.tokenizer);
	moe_model_close(p.model);
	free(p.log);
}

/* Looks at the options and at what kind of inputs there are. Returns what is to be written. */
static enum format read_options(char **path, int n)
{
	enum format format = find_format();
	struct moe_diag d = {0};

	if (o.layers && !moe_layers_parse(o.layers, strlen(o.layers), MOST_LAYERS, &p.first, &p.last))
		cli_fail("-l %s: expected a layer or a range, such as 3, 0-1 or 2-", o.layers);
	parse_modality();
	if (n == 1 && is_log(path[0]))
		cli_check(moe_read_file(path[0], LOG_LIMIT, &p.log, &p.log_nbytes, &d), &d);
	parse_kinds(format);
	if (wants(PICTURE) && !o.picture.n)
		cli_fail("--kind picture: which picture? (--picture FILE)");
	if ((wants(DIFFERENCE) || wants(AGREEMENT)) && !o.against.n)
		cli_fail("--kind %s: with which run? (--against TRACE)", wants(DIFFERENCE) ? "difference" : "agreement");
	return format;
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{'k', "kind", OPT_TEXT, &o.kind, "KINDS", "what to draw: picture, text, load, flow, coactivation, difference, agreement, training", 0, 0,
		 "what there is for a page; else picture, agreement or load"},
		{0, "picture", OPT_LIST, &o.picture, "FILE", "a picture, folder or shard that the run looked at; draws it with its experts", 0, 0, 0},
		{0, "against", OPT_LIST, &o.against, "TRACE", "a second run to compare with: what differs is marked", 0, 0, 0},
		{'l', "layers", OPT_TEXT, &o.layers, "LAYERS", "only these layers: 3, 0-11 or 12-", 0, 0, "all that were traced"},
		{0, "modality", OPT_TEXT, &o.modality, "MODALITY", "flow, coactivation, training: only tokens of text, image, audio or video", 0, 0, "all"},
		{0, "seq", OPT_INT, &o.seq, "N", "picture, text: the sequence to draw", 0, 1e15, "the first"},
		{0, "tokens", OPT_INT, &o.tokens, "N", "picture, text: at most the first N tokens of the sequence", 1, 1000000, "1000"},
		{0, "format", OPT_TEXT, &o.format, "FORMAT", "text, png, svg, html, json or tsv", 0, 0, "by the name of the output, else text"},
		{0, "json", OPT_FLAG, &o.json, 0, "the numbers, one JSON object per line", 0, 0, 0},
		{0, "tsv", OPT_FLAG, &o.tsv, 0, "the numbers, tab-separated with a header line", 0, 0, 0},
		{0, "color", OPT_TEXT, &o.color, "WHEN", "of text: true, 256, never or auto", 0, 0, "auto"},
		{0, "width", OPT_INT, &o.width, "N", "columns of text", 20, 1000, "the terminal's, else 80"},
		{0, "scale", OPT_REAL, &o.scale, "N", "size of PNG, in pixels for each of SVG", 0.25, 8, "2"},
		OPT_OUTPUT, OPT_MODEL,
		{0, "any-model", OPT_FLAG, &cli.any_model, 0, "take traces of several models, or of another one than -m", 0, 0, 0},
		OPT_IMAGES,
		{0, "no-sandbox", OPT_FLAG, &pictures_options.no_sandbox, 0, "decode even where the kernel cannot confine the decoder", 0, 0, 0},
		OPT_END,
	};
	static const struct tool tool = {"moe-plot", "[TRACE|LOG ...]", "Pictures of routing: on the terminal, PNG, SVG, or one HTML page.", opts};
	static const char *const standard[] = {"-"};
	enum format format;
	int at;

	pictures_start(&tool);
	cli_start(argc, argv);
	at = opt_parse(&tool, argc, argv);
	if (at == argc && isatty(STDIN_FILENO))
		opt_usage(&tool);
	format = read_options(argv + at, argc - at);
	if (p.log) {
		draw_log(argv[at]);
	} else {
		read_runs(at < argc ? (const char *const *)argv + at : standard, at < argc ? (size_t)(argc - at) : 1);
		open_model();
		for (int k = 0; k < N_KINDS; k++)
			if (wants((enum kind)k))
				draw_kind((enum kind)k);
	}
	if (!p.n)
		cli_fail("there is nothing to draw in this trace");
	write_figures(format);
	clean_up();
	return EXIT_DONE;
}
