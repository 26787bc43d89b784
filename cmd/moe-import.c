/* moe-import: the routing that other engines recorded, as a trace. */
#include <stdlib.h>
#include <string.h>

#include "base/range.h"
#include "common/cli.h"
#include "import/import.h"
#include "io/source.h"

#define SOURCE_LIMIT ((size_t)8 << 30)

static struct {
	long experts, top_k, image_token;
	const char *layers, *score, *axes, *weights, *tokens, *model;
	bool renormalise;
} o = {.image_token = -1};

/* "0,3-5" as ascending numbers, to be freed. */
static size_t *parse_layers(const char *text, size_t *n)
{
	const char *end = text + strlen(text);
	size_t *layer = NULL, cap = 0;

	*n = 0;
	for (const char *p = text;; p++) {
		uint64_t first, last;
		if (!moe_range_read(&p, end, UINT64_MAX, &first, &last) || last >= MOE_TRACE_LAYERS || (*p && *p != ',') || (*n && first <= layer[*n - 1]))
			cli_fail("--layers %s: expected ascending layers, such as 0-27 or 1,3,5", text);
		for (; first <= last; first++) {
			struct moe_diag d = {0};
			cli_check(moe_grow(&layer, &cap, *n + 1, sizeof *layer, &d), &d);
			layer[(*n)++] = (size_t)first;
		}
		if (!*p)
			return layer;
	}
}

static enum moe_trace_score parse_score(void)
{
	int score = o.score ? moe_trace_score_find(o.score) : MOE_TRACE_SOFTMAX;

	if (score < 0 || score == MOE_TRACE_UNKNOWN)
		cli_fail("--score %s: expected softmax, sigmoid or logit", o.score);
	return (enum moe_trace_score)score;
}

/* What the model that was run says of its routing; options that were given win. */
static void ask_model(struct moe_import_options *i, size_t **layer)
{
	struct moe_model *m;
	const struct moe_spec *s;

	cli.model = o.model;
	cli.config_only = true;
	m = cli_model();
	s = m->spec;
	i->experts = i->experts ? i->experts : (size_t)s->router.experts;
	i->k = i->k ? i->k : moe_router_width(&s->router);
	if (!o.score) {
		i->score = s->router.score == MOE_SCORE_SIGMOID ? MOE_TRACE_SIGMOID : s->router.score == MOE_SCORE_LOGIT ? MOE_TRACE_LOGIT : MOE_TRACE_SOFTMAX;
		i->renormalise |= s->router.renormalise || s->router.weight == MOE_WEIGHT_SOFTMAX_OF_CHOSEN;
	}
	i->says_score = true;
	i->all_layers = (size_t)s->n_layers;
	if (!*layer) {
		*layer = calloc((size_t)s->n_layers, sizeof **layer);
		if (!*layer)
			cli_fail("out of memory");
		for (size_t l = 0; l < (size_t)s->n_layers; l++)
			if (moe_spec_top_k(s, l))
				(*layer)[i->n_layers++] = l;
	}
	if (m->weights)
		snprintf(i->model, sizeof i->model, "%s", m->fingerprint);
	moe_model_close(m);
}

static uint8_t *read_source(const char *path, size_t *n)
{
	struct moe_diag d = {0};
	char *bytes;

	cli_check(moe_read_file(path, SOURCE_LIMIT, &bytes, n, &d), &d);
	return (uint8_t *)bytes;
}

static void check(const char *path, enum moe_err err, struct moe_diag *d)
{
	if (!err)
		return;
	moe_diag_path(d, strcmp(path, "-") ? path : "standard input");
	cli_die(d);
}

static void add(struct moe_import *m, const char *path)
{
	struct moe_diag d = {0};
	size_t n;
	uint8_t *bytes = read_source(path, &n);

	check(path, moe_import_add(m, path, bytes, n, &d), &d);
	free(bytes);
}

/* What belongs to the only source. */
static void add_beside(struct moe_import *m, const char *path, enum moe_err (*take)(struct moe_import *, const uint8_t *, size_t, struct moe_diag *))
{
	struct moe_diag d = {0};
	size_t n;
	uint8_t *bytes;

	if (!path)
		return;
	bytes = read_source(path, &n);
	check(path, take(m, bytes, n, &d), &d);
	free(bytes);
}

static void write_trace(const struct moe_import *m)
{
	struct moe_identity id = cli_identity(NULL, NULL);
	struct moe_frame head = {0};
	struct moe_diag d = {0};
	struct moe_sink *sink;
	struct moe_writer *w = cli_writer(&sink);
	size_t experts;
	enum moe_err err = moe_frame_reset(&head, MOE_KIND_HEAD, &d);

	if (!err)
		err = moe_head_mark(&head, &id, &d);
	if (!err)
		err = moe_import_write(m, w, &head, &d);
	if (!err && moe_import_guesses(m, &experts) && !cli.quiet)
		cli_say("the sources do not say how many experts there are: %zu, as many as their numbers need (--experts N)", experts);
	cli_finish(sink, err, &d);
	moe_frame_free(&head);
	moe_writer_free(w);
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{'m', "model", OPT_TEXT, &o.model, "MODEL", "the model that was run: it says what the next options say", 0, 0, 0},
		{0, "experts", OPT_INT, &o.experts, "N", "experts of a layer", 1, MOE_TRACE_EXPERTS, "the largest number that occurs, and one"},
		{0, "top-k", OPT_INT, &o.top_k, "K", "experts that are chosen for a token, where the source does not say it", 1, MOE_TRACE_EXPERTS, 0},
		{0, "layers", OPT_TEXT, &o.layers, "LAYERS", "the numbers of the source's layers (0-27 or 1,3,5)", 0, 0, "what the source says, else counted from 0"},
		{0, "score", OPT_TEXT, &o.score, "SCORE", "what the router makes of its logits: softmax, sigmoid or logit", 0, 0, "softmax"},
		{0, "renormalise", OPT_FLAG, &o.renormalise, 0, "the weights of a token add up to 1", 0, 0, 0},
		{0, "axes", OPT_TEXT, &o.axes, "AXES", "of .npy: T tokens, L layers, K choices, E experts in their order", 0, 0, "TLK of ids, LTE of logits"},
		{0, "weights", OPT_TEXT, &o.weights, "FILE", "weights of the ids, a .npy of the same axes", 0, 0, 0},
		{0, "tokens", OPT_TEXT, &o.tokens, "FILE", "the tokens' ids, a .npy", 0, 0, 0},
		{0, "image-token", OPT_INT, &o.image_token, "ID", "tokens of this id stand for patches of pictures", 0, INT32_MAX, 0},
		{0, "no-pg", OPT_FLAG, &cli.no_pg, 0, "leave this program out of the trace's provenance", 0, 0, 0},
		OPT_OUTPUT, OPT_END,
	};
	static const struct tool tool = {"moe-import", "FILE...", "Makes a trace of the routing that other engines recorded.", opts};
	struct moe_import_options i = {.image_token = MOE_NO_TOKEN};
	size_t *layer = NULL;
	struct moe_import *m;
	struct moe_diag d = {0};
	int at;

	cli_start(argc, argv);
	at = opt_parse(&tool, argc, argv);
	if (at == argc || ((o.weights || o.tokens) && at + 1 < argc))
		opt_usage(&tool);
	i.experts = (size_t)o.experts;
	i.k = (size_t)o.top_k;
	i.score = parse_score();
	i.says_score = o.score != NULL;
	i.renormalise = o.renormalise;
	i.axes = o.axes;
	if (o.image_token >= 0)
		i.image_token = o.image_token;
	if (o.layers)
		layer = parse_layers(o.layers, &i.n_layers);
	if (o.model)
		ask_model(&i, &layer);
	i.layer = layer;
	cli_check(moe_import_new(&m, &i, &d), &d);
	for (; at < argc; at++)
		add(m, argv[at]);
	add_beside(m, o.weights, moe_import_weights);
	add_beside(m, o.tokens, moe_import_tokens);
	write_trace(m);
	moe_import_free(m);
	free(layer);
	return EXIT_DONE;
}
