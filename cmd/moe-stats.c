/* moe-stats: statistics of routing from traces, or from a stream as it passes. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/attribute.h"
#include "common/cli.h"
#include "common/patches.h"
#include "common/pictures.h"
#include "common/progress.h"
#include "common/tokenizer.h"
#include "report/routing_report.h"
#include "stage/layers.h"
#include "stats/fields.h"
#include "trace/traces.h"

enum { MOST_LAYERS = 1 << 16 };

static struct {
	const char *layers, *by, *labels, *saturation, *score, *sheet;
	struct opt_list pictures;
	bool json, tsv, attribution, loads, together, next, pass, apart;
	long top, most, least, experts;
} o = {.most = 10, .least = 1};

static size_t first, last = SIZE_MAX;   /* of -l */

static enum moe_load_format format(void) { return o.json ? MOE_LOAD_JSON : o.tsv ? MOE_LOAD_TSV : MOE_LOAD_TEXT; }

/* ---- input ---- */

struct passing {
	struct moe_output out;
	struct moe_sink *sink;
	struct moe_identity id;
};

/* Hands a frame on, as a stage does. */
static enum moe_err pass(void *self, struct moe_frame *f, struct moe_diag *d)
{
	struct passing *p = self;

	if (f->kind == MOE_KIND_HEAD)
		MOE_TRY(moe_head_mark(f, &p->id, d));
	if (f->kind == MOE_KIND_END)
		MOE_TRY(moe_account_sign(&p->out.account, f, d));
	return moe_emit(&p->out, f, d);
}

static enum moe_err wait_for(void *self, int input, struct moe_diag *d)
{
	struct passing *p = self;

	MOE_TRY(moe_writer_flush(p->out.writer, d));
	return moe_writer_wait(p->out.writer, input, d);
}

static struct passing *open_passing(void)
{
	static struct passing p;
	const char *statistics = cli.output;

	cli.output = NULL;
	p.out.writer = cli_writer(&p.sink);
	p.id = cli_identity(NULL, NULL);
	cli.output = statistics ? statistics : "/dev/stderr";
	return &p;
}

static void close_passing(struct passing *p)
{
	struct moe_diag d = {0};

	cli_finish(p->sink, moe_writer_flush(p->out.writer, &d), &d);
	moe_writer_free(p->out.writer);
	moe_account_free(&p->out.account);
}

static enum moe_trace_score score(void)
{
	int s = o.score ? moe_trace_score_find(o.score) : MOE_TRACE_SOFTMAX;

	if (s < 0)
		cli_fail("--score %s: expected softmax, sigmoid or logit", o.score);
	return (enum moe_trace_score)s;
}

static struct moe_traces *open_traces(const char *const *path, size_t n, struct passing *p)
{
	static const char *const standard[] = {"-"};
	struct moe_traces_options t = {.any_model = cli.any_model, .apart = o.apart, .score = score(), .experts = (size_t)o.experts};
	struct moe_traces *traces;
	struct moe_diag d = {0};

	if (p) {
		t.seen = pass;
		t.idle = wait_for;
		t.self = p;
	}
	cli_check(moe_traces_new(&traces, &t, n ? path : standard, n ? n : 1, &d), &d);
	return traces;
}

/* What is made of the blocks. */
struct work {
	struct moe_routing_set routing;
	struct moe_grouping grouping;
	struct moe_top top;
	char tokenizer[40];             /* fingerprint of the first input that says */
	uint64_t tokens, failed;
};

static void note_tokenizer(struct work *w, const struct moe_traces *t)
{
	const char *name = moe_frame_meta(moe_traces_head(t), "moe.tokenizer");

	if (name && !w->tokenizer[0] && strlen(name) < sizeof w->tokenizer)
		memcpy(w->tokenizer, name, strlen(name) + 1);
}

static enum moe_err add(struct work *w, const struct moe_trace_info *info, const struct moe_trace_block *b, size_t input, struct moe_diag *d)
{
	if (o.by)
		return moe_grouping_add(&w->grouping, info, b, input, d);
	if (o.top)
		return b->expert ? moe_top_add(&w->top, info, b, input, d) : moe_fail(d, MOE_EUSAGE, "a trace of counts does not say which tokens they are of");
	if (b->count && w->routing.tables)
		return moe_fail(d, MOE_EUSAGE, "a trace of counts does not say which experts a token has together");
	return moe_routing_set_add(&w->routing, info, b, d);
}

/* Reads everything. */
static void read_all(struct work *w, const char *const *path, size_t n, struct passing *p)
{
	struct moe_traces *t = open_traces(path, n, p);
	const struct moe_trace_info *info;
	struct moe_trace_block b;
	struct moe_diag d = {0};
	enum moe_err err;

	while (!(err = moe_traces_next(t, &info, &b, &d))) {
		note_tokenizer(w, t);
		if (add(w, info, &b, moe_traces_input(t), &d)) {
			moe_diag_path(&d, n ? path[moe_traces_input(t)] : "standard input");
			cli_die(&d);
		}
		w->tokens += b.rows;
		progress_show(w->tokens, "tokens");
	}
	if (err != MOE_END)
		cli_die(&d);
	cli_check(moe_grouping_finish(&w->grouping, &d), &d);
	progress_clear();
	w->failed = moe_traces_failed(t);
	moe_traces_free(t);
}

/* ---- texts of tokens ---- */

struct texts { struct moe_tokenizer *t; char *buf; size_t n, cap; };

static const char *text_of(void *self, int32_t token, size_t *n)
{
	struct texts *x = self;
	struct moe_diag d = {0};
	const char *written;

	x->n = 0;
	if (!moe_tokenizer_decode(x->t, &token, 1, false, &x->buf, &x->n, &x->cap, &d) && x->n) {
		*n = x->n;
		return x->buf;
	}
	written = moe_tokenizer_token(x->t, token, n);
	return written && *n ? written : NULL;
}

/* The tokenizer of -m; without -m that of the usual model, if it is the one of the trace. */
static struct moe_token_text open_texts(struct texts *x, const char *wanted)
{
	bool asked = cli.model != NULL;
	char fingerprint[33];

	if (!asked && !*wanted)
		return (struct moe_token_text){0};
	if (!asked && access(cli_model_directory(), F_OK))
		return (struct moe_token_text){0};
	x->t = tokenizer_load(fingerprint);
	if (*wanted && strcmp(wanted, fingerprint)) {
		if (asked && !cli.any_model)
			cli_fail("the trace is of tokenizer %s, that of %s is %s (--any-model takes it all the same)", wanted, cli.model, fingerprint);
		if (!asked)
			return (struct moe_token_text){0};
	}
	return (struct moe_token_text){text_of, x};
}

static void close_texts(struct texts *x)
{
	moe_tokenizer_free(x->t);
	free(x->buf);
}

/* ---- labels ---- */

static void tell_failure(void *self, const struct moe_diag *d)
{
	char text[900];

	++*(uint64_t *)self;
	cli_say("%s", moe_diag_string(d, text, sizeof text));
}

static const char *const fields[MOE_N_FIELDS] = {"token", "next", "patch", "name", "trace", "label"};

static enum moe_field find_field(void)
{
	bool needs_fit;
	int i = 0;

	while (i < MOE_N_FIELDS && strcmp(fields[i], o.by))
		i++;
	if (i == MOE_N_FIELDS && !moe_label_choice_known(o.by, &needs_fit))
		cli_fail("--by %s: expected token, next, patch, name, trace, label, kind, tag:NAME, box or box:NAME", o.by);
	return i == MOE_N_FIELDS ? MOE_BY_LABEL : (enum moe_field)i;
}

/* The labels of --labels; `failed` counts samples that could not be read. */
static void read_labels(struct moe_grouping *g, uint64_t *failed)
{
	struct moe_label_choice c = {.what = o.by, .no_sandbox = pictures_options.no_sandbox, .failed = tell_failure, .self = failed};
	struct moe_image_plan plan;
	struct moe_model *m = NULL;
	struct moe_diag d = {0};
	bool needs_fit;

	if (!o.labels)
		cli_fail("--by %s needs --labels: %s", o.by, strcmp(o.by, "label") ? "the shard of the pictures" : "a list of names, tabs and labels");
	if (!strcmp(o.by, "label")) {
		cli_check(moe_labels_list(&g->labels, &g->names, o.labels, &d), &d);
		return;
	}
	moe_label_choice_known(o.by, &needs_fit);
	if (needs_fit) {
		cli.config_only = true;
		m = cli_model();
		cli_check(moe_plan_from_spec(&plan, m->spec, NULL, &d), &d);
		if (plan.on_canvas)
			cli_fail("--by %s: what this model makes of a picture is not its patches one by one", o.by);
		c.fit = &plan.fit;
	}
	cli_check(moe_labels_samples(&g->labels, &g->names, o.labels, &c, &d), &d);
	if (m)
		moe_model_close(m);
}

/* ---- what is printed ---- */

static void print_groups(FILE *f, struct work *w, struct moe_diag *d)
{
	struct texts texts = {0};
	bool words = w->grouping.by == MOE_BY_TOKEN || w->grouping.by == MOE_BY_NEXT;
	struct moe_groups_report r = {.set = &w->grouping.set, .names = &w->grouping.names, .by = o.by, .tokens = words, .least = (uint64_t)o.least,
				      .most = (size_t)o.most, .vocabulary = words || !strcmp(o.by, "label")};

	if (words)
		r.text = open_texts(&texts, w->tokenizer);
	if (!w->grouping.names.n)
		cli_fail("--by %s: no token has a label", o.by);
	cli_check(moe_report_groups(f, &r, format(), d), d);
	close_texts(&texts);
}

static void print(FILE *f, struct work *w, struct moe_diag *d)
{
	struct texts texts = {0};

	if (o.by) {
		print_groups(f, w, d);
	} else if (o.top) {
		struct moe_token_text text = open_texts(&texts, w->tokenizer);
		moe_top_sort(&w->top);
		if (o.sheet)
			patches_write(o.sheet, &w->top, &o.pictures);
		cli_check(moe_report_top(f, &w->top, &text, format(), d), d);
		close_texts(&texts);
	} else if (o.together) {
		cli_check(moe_report_together(f, &w->routing, format(), (size_t)o.most, d), d);
	} else if (o.next) {
		cli_check(moe_report_next(f, &w->routing, format(), (size_t)o.most, d), d);
	} else {
		cli_check(moe_report_routing(f, &w->routing, format(), o.loads, d), d);
	}
}

/* Statistics of the inputs taken together. */
static int run(const char *const *path, size_t n)
{
	static const char *const standard[] = {"-"};
	struct passing *p = o.pass ? open_passing() : NULL;
	struct work w = {.routing = {.first = first, .last = last, .tables = o.together ? MOE_ROUTING_TOGETHER : o.next ? MOE_ROUTING_NEXT : 0},
			 .top = {.most = (size_t)o.top, .first = first, .last = last}};
	struct moe_diag d = {0};
	struct moe_sink *sink;
	uint64_t failed = 0;
	FILE *f;

	w.grouping = (struct moe_grouping){.by = o.by ? find_field() : MOE_BY_TOKEN, .input = n ? path : standard, .set = {.first = first, .last = last}};
	if (w.grouping.by == MOE_BY_LABEL)
		read_labels(&w.grouping, &failed);
	read_all(&w, path, n, p);
	f = cli_text(cli.output, &sink);
	print(f, &w, &d);
	cli_finish_text(f, sink, MOE_OK, &d);
	if (p)
		close_passing(p);
	if (w.failed)
		cli_say("%llu sequences had failed before they were routed", (unsigned long long)w.failed);
	moe_routing_set_free(&w.routing);
	moe_grouping_free(&w.grouping);
	moe_top_free(&w.top);
	return w.failed || failed ? EXIT_NO : EXIT_DONE;
}

/* ---- saturation ---- */

static const struct moe_trace_info *next(struct moe_traces *t, struct moe_trace_block *b, const char *path)
{
	const struct moe_trace_info *info = NULL;
	struct moe_diag d = {0};
	enum moe_err err = moe_traces_next(t, &info, b, &d);

	if (err && err != MOE_END) {
		moe_diag_path(&d, path);
		cli_die(&d);
	}
	return err ? NULL : info;
}

static void compare(FILE *f, const char *path, bool header)
{
	struct moe_saturation s = {.first = first, .last = last};
	struct moe_traces *a, *b;
	const struct moe_trace_info *i, *j;
	struct moe_trace_block x, y;
	struct moe_diag d = {0};

	a = open_traces(&path, 1, NULL);
	b = open_traces(&o.saturation, 1, NULL);
	do {
		i = next(a, &x, path);
		j = next(b, &y, o.saturation);
		if (!i != !j)
			cli_fail("%s does not tell of as many tokens as %s", i ? o.saturation : path, i ? path : o.saturation);
		if (i && moe_saturation_add(&s, i, &x, j, &y, &d)) {
			moe_diag_path(&d, path);
			cli_die(&d);
		}
	} while (i);
	cli_check(moe_report_saturation(f, &s, path, o.saturation, format(), header, &d), &d);
	moe_saturation_free(&s);
	moe_traces_free(a);
	moe_traces_free(b);
}

static int run_saturation(const char *const *path, size_t n)
{
	struct moe_diag d = {0};
	struct moe_sink *sink;
	FILE *f = cli_text(cli.output, &sink);

	if (!strcmp(o.saturation, "-"))
		cli_fail("--saturation: the last run is read once for each of the others, and must be a file");
	for (size_t i = 0; i < n; i++)
		compare(f, path[i], !i);
	cli_finish_text(f, sink, MOE_OK, &d);
	return EXIT_DONE;
}

/* What the parts of a stream have no use for. */
static void check_attribution(int n)
{
	if (n > 1)
		cli_fail("--attribution reads one stream");
	if (o.layers || o.labels || o.loads || o.pass || o.apart || o.score || o.experts || o.least != 1 || o.most != 10)
		cli_fail("--attribution is about a stream with the parts of all layers: only --json, --tsv and the model go with it");
}

static void check_options(int n)
{
	if ((o.by != NULL) + (o.top > 0) + o.together + o.next + (o.saturation != NULL) + o.attribution > 1)
		cli_fail("--by, --top, --coactivation, --pairs, --saturation and --attribution are tables of their own: give one");
	if (!o.sheet != !o.pictures.n || (o.sheet && !o.top))
		cli_fail("--sheet draws the patches of --top from the pictures of --picture: give all three");
	if (o.json && o.tsv)
		cli_fail("--json and --tsv: give one");
	if (o.pass && n)
		cli_fail("--pass is for the stream on standard input, and takes no files");
	if (o.saturation && (!n || o.pass))
		cli_fail("--saturation LAST needs the traces of earlier runs");
	if (o.attribution)
		check_attribution(n);
	if (o.layers && !moe_layers_parse(o.layers, strlen(o.layers), MOST_LAYERS, &first, &last))
		cli_fail("-l %s: expected layers such as 3, 0-11 or 12-", o.layers);
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{'l', "layers", OPT_TEXT, &o.layers, "LAYERS", "only these layers: 3, 0-11 or 12-", 0, 0, "all that were traced"},
		{0, "loads", OPT_FLAG, &o.loads, 0, "list the load of each expert in the text, too", 0, 0, 0},
		{0, "coactivation", OPT_FLAG, &o.together, 0, "which experts tokens have together", 0, 0, 0},
		{0, "pairs", OPT_FLAG, &o.next, 0, "which expert of a layer goes with which of the next one", 0, 0, 0},
		{0, "by", OPT_TEXT, &o.by, "FIELD", "by token, next, patch, name, trace, label, kind, tag:NAME, box or box:NAME", 0, 0, 0},
		{0, "labels", OPT_TEXT, &o.labels, "FILE", "where --by finds labels: a list, or the shard of the pictures", 0, 0, 0},
		{0, "saturation", OPT_TEXT, &o.saturation, "LAST", "share of experts that are those of this run on the same tokens", 0, 0, 0},
		{0, "top", OPT_INT, &o.top, "N", "the N tokens of each expert with the largest weights", 1, 65536, 0},
		{0, "attribution", OPT_FLAG, &o.attribution, 0, "what each part gave to the answers' logits, from moe-block --parts", 0, 0, 0},
		{0, "sheet", OPT_TEXT, &o.sheet, "FILE", "draw the patches among these as PNG, a row for each expert", 0, 0, 0},
		{0, "picture", OPT_LIST, &o.pictures, "SOURCE", "pictures of the run, in its order: files, folders or shards (several times)", 0, 0, 0},
		{0, "most", OPT_INT, &o.most, "N", "labels or pairs that the text lists of a layer", 0, 1e9, "10"},
		{0, "min-tokens", OPT_INT, &o.least, "N", "leave out labels with fewer tokens", 1, 1e15, "1"},
		{0, "json", OPT_FLAG, &o.json, 0, "JSON, one object per line", 0, 0, 0},
		{0, "tsv", OPT_FLAG, &o.tsv, 0, "tab-separated values with a header line", 0, 0, 0},
		OPT_OUTPUT,
		{0, "pass", OPT_FLAG, &o.pass, 0, "pass the stream on; the statistics go to FILE or standard error", 0, 0, 0},
		{0, "apart", OPT_FLAG, &o.apart, 0, "traces of different layers are not of one run", 0, 0, 0},
		{0, "score", OPT_TEXT, &o.score, "KIND", "what routers make of their logits, for streams between stages", 0, 0, "softmax"},
		{0, "n-experts", OPT_INT, &o.experts, "N", "number of experts, for such streams without router logits", 1, MOE_TRACE_EXPERTS, 0},
		OPT_MODEL,
		{0, "any-model", OPT_FLAG, &cli.any_model, 0, "take traces of several models", 0, 0, 0},
		{0, "no-pg", OPT_FLAG, &cli.no_pg, 0, "with --pass, leave this program out of the stream's provenance", 0, 0, 0},
		{0, "no-sandbox", OPT_FLAG, &pictures_options.no_sandbox, 0, "decode even where the kernel cannot confine the decoder", 0, 0, 0},
		OPT_END,
	};
	static const struct tool tool = {"moe-stats", "[TRACE ...]", "Tells how tokens were routed, by layer and modality, beside what chance gives.", opts};
	const char *const *path;
	int at, n, status, closed;

	pictures_start(&tool);
	cli_start(argc, argv);
	at = opt_parse(&tool, argc, argv);
	n = argc - at;
	path = (const char *const *)(argv + at);
	check_options(n);
	if (!n && isatty(STDIN_FILENO))
		opt_usage(&tool);
	if (o.attribution)
		return attribute_main(n ? path[0] : NULL, o.json ? MOE_ATTRIBUTED_JSON : o.tsv ? MOE_ATTRIBUTED_TSV : MOE_ATTRIBUTED_TEXT);
	status = o.saturation ? run_saturation(path, (size_t)n) : run(path, (size_t)n);
	closed = cli_close_stdout();
	return closed ? closed : status;
}
