/* moe-run: the whole pass in one process. */
#include <stdlib.h>
#include <string.h>

#include "common/choosing.h"
#include "common/converse.h"
#include "common/generation.h"
#include "common/memory.h"
#include "common/pictures.h"
#include "common/prompt.h"
#include "common/scores.h"
#include "common/stats.h"
#include "common/tokenizer.h"
#include "common/trace.h"
#include "common/whatif.h"
#include "io/source.h"
#include "model/choosing.h"
#include "run/batch.h"

enum { PROMPTS_LIMIT = 64 << 20 };

static struct {
	const char *prompt, *prompts, *features, *score, *against;
	bool timings, interactive, score_lines;
	long batch, cache;
	struct opt_list exec;
	double exec_timeout, guidance;
} o = {.batch = 24, .exec_timeout = 60, .cache = 256};

/* The prompts to ask, encoded. */
struct questions {
	struct moe_prompt_ids *prompt;
	size_t n;
	char *file;                     /* of --prompts; its lines are the texts */
};

/* Pictures that a prompt takes. */
static size_t count_pictures(const struct moe_spec *s, const struct moe_prompt_ids *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++)
		n += s->merge.placeholder >= 0 && p->token[i] == s->merge.placeholder;
	return n;
}

static void add_question(struct questions *q, const struct moe_spec *s, struct moe_tokenizer *t, const char *text, bool named)
{
	struct moe_ids ids = {0};

	q->prompt = realloc(q->prompt, (q->n + 1) * sizeof *q->prompt);
	if (!q->prompt)
		cli_fail("out of memory");
	prompt_encode(t, s, text, text ? strlen(text) : 0, &ids);
	q->prompt[q->n++] = (struct moe_prompt_ids){ids.id, ids.n, named ? text : NULL};
	if (count_pictures(s, &q->prompt[q->n - 1]) != count_pictures(s, &q->prompt[0]))
		cli_fail("%s: line %zu takes another number of pictures than the first", o.prompts, q->n);
}

/* -p, --messages, the lines of --prompts, or the model's own. */
static void read_questions(struct questions *q, const struct moe_spec *s, struct moe_tokenizer *t)
{
	struct moe_diag d = {0};
	size_t n;

	if ((o.prompt != NULL) + (o.prompts != NULL) + (prompt_options.messages != NULL) > 1)
		cli_fail("-p, --prompts and --messages are three ways to give a prompt: one is enough");
	if (!o.prompts) {
		const char *text = o.prompt ? o.prompt : prompt_default(s);
		if (!*text && !prompt_options.messages)
			cli_fail("the family %s has no prompt of its own: give one with -p", s->family);
		add_question(q, s, t, text, false);
		return;
	}
	cli_check(moe_read_file(o.prompts, PROMPTS_LIMIT, &q->file, &n, &d), &d);
	if (strlen(q->file) != n)
		cli_fail("%s: byte %zu is NUL: not a file of lines", o.prompts, strlen(q->file));
	for (char *p = q->file, *next; *p; p = next) {
		next = p + strcspn(p, "\n");
		if (next > p && *next && next[-1] == '\r')
			next[-1] = 0;
		if (*next)
			*next++ = 0;
		if (*p)
			add_question(q, s, t, p, true);
	}
	if (!q->n)
		cli_fail("%s: no prompts, one a line, in it", o.prompts);
}

/* --against: what the answers are to be less like. */
static void read_against(struct moe_prompt_ids *p, const struct moe_spec *s, struct moe_tokenizer *t)
{
	struct moe_ids ids = {0};

	if (prompt_options.messages)
		cli_fail("--against is a prompt like that of -p or --prompts: --messages does not go with it");
	if (o.exec.n || choosing_options.batch)
		cli_fail("--against computes every sequence twice: --exec and --batch-choice are about each once");
	prompt_encode(t, s, o.against, strlen(o.against), &ids);
	*p = (struct moe_prompt_ids){ids.id, ids.n, NULL};
	if (count_pictures(s, p))
		cli_fail("--against: a prompt with <image> takes pictures, and this one has none to take");
}

static void free_questions(struct questions *q)
{
	for (size_t i = 0; i < q->n; i++)
		free((void *)(uintptr_t)q->prompt[i].token);
	free(q->prompt);
	free(q->file);
}

static void add_stats(void *self, size_t layer, const struct moe_pass *p)
{
	const struct moe_routed *r = &p->routed;
	struct stats *s = self;

	for (size_t i = 0; i < p->batch.spans; i++) {
		size_t at = p->batch.span[i].first;
		if (!p->sequence[i].shadow)
			moe_load_add(&s->load[layer], p->batch.span[i].n, p->modality + at, r->logit ? r->logit + at * s->load[layer].experts : NULL,
				     r->expert_id + at * r->top_k, r->weight + at * r->top_k, p->batch.depth.on ? p->batch.depth.taken + at : NULL);
	}
}

static enum moe_err partial(void *self, uint64_t index, const char *text, size_t n, struct moe_diag *d)
{
	(void)index;
	return printer_partial(self, NULL, text, n, d);
}

/* The pictures: a feed over the operands, or features that were made before. */
static void open_pictures(struct moe_batch_run *run, struct moe_given_features *given, char **operand, int n)
{
	struct moe_feed_options feed_options = {.threads = 1};
	const struct moe_model *m = run->model;
	struct moe_identity id = cli_identity(m, NULL);
	struct moe_diag d = {0};
	bool pictures = n || pictures_options.files_from;

	if (o.features && pictures)
		cli_fail("--features are in the place of pictures: give the one or the other");
	if (!run->n_pictures && (pictures || o.features))
		cli_fail("the prompt has no <image>, but pictures were given");
	if (o.features) {
		cli_check(moe_given_read(given, cli_reader(o.features), m, &id, &d), &d);
		if (given->n != run->n_pictures)
			cli_fail("%s: features of %zu pictures, but the prompt has %zu", o.features, given->n, run->n_pictures);
		run->given = given;
		return;
	}
	if (run->n_pictures && !pictures)
		opt_usage(cli.tool);
	run->single = n <= (int)run->n_pictures && !pictures_options.files_from;
	for (int i = 0; i < n; i++)
		run->single &= !moe_feed_holds_many(operand[i]) || pictures_options.frames >= (long)run->n_pictures;
	if (run->n_pictures) {
		feed_options.decode = moe_decode_from_spec(m->spec);
		run->feed = pictures_feed(operand, n, &feed_options);
	}
}

/* What a choice over batches of whole prompts excludes. */
static void check_groups(struct moe_batch_run *run, const struct moe_generation *generation)
{
	if (generation->max_new != 1)
		cli_fail("--batch-choice chooses among whole prompts, and a generated token is none: -n 1 gives the first token of each answer");
	if (o.exec.n)
		cli_fail("--batch-choice needs all rows of a batch at once, and --exec hands them out one sequence at a time");
	run->groups = true;
	run->window = (size_t)choosing_options.batch;
}

static int run_answers(struct moe_model *m, struct moe_tokenizer *t, struct moe_generation *generation, struct moe_pool *pool, char **operand, int n,
		       struct printer *printer, struct trace *trace)
{
	struct moe_batch_run run = {
		.model = m, .generation = generation, .pool = pool, .threads = (unsigned)cli.threads, .window = (size_t)o.batch, .single = true,
		.image = pictures_choice(), .what_if = what_if_table(m), .cache_nbytes = (size_t)o.cache << 20, .answer = printer_answer, .to = printer,
	};
	struct moe_given_features given = {0};
	struct questions q = {0};
	struct moe_prompt_ids against = {0};
	struct drawing drawing = {0};
	struct stats stats;
	struct moe_sink *sink;
	struct moe_diag d = {0};
	enum moe_err err;
	size_t sequences;
	int status;

	if (choosing_options.batch)
		check_groups(&run, generation);
	prompt_check(m->spec);
	read_questions(&q, m->spec, t);
	run.prompt = q.prompt;
	run.n_prompts = q.n;
	run.n_pictures = count_pictures(m->spec, &q.prompt[0]);
	open_pictures(&run, &given, operand, n);
	run.single &= q.n == 1;
	if (o.against) {
		read_against(&against, m->spec, t);
		run.against = &against;
		run.guidance = o.guidance > 0 ? (float)o.guidance : 2;
	}
	sequences = run.single ? 1 : run.groups ? run.window : run.window * run.threads;
	memory_check(m, run.image, &q.prompt[0], run.n_pictures, generation->max_new, run.against ? 2 * sequences : sequences);
	stats_init(&stats, m, 0, (size_t)m->spec->n_layers - 1);
	if (stats.load) {
		run.watch = add_stats;
		run.watcher = &stats;
	}
	run.tracing = trace->tracing;
	if (generation_options.image) {
		drawing_init(&drawing, m, generation_options.image);
		printer->drawing = &drawing;
	}
	printer->style.names = generation_options.names == 'H' || (!run.single && generation_options.names != 'h');
	printer->style.lines = generation_options.names == 'H' || !run.single;
	printer_init(printer, &sink);
	if (printer_streams(printer))
		run.partial = partial;
	for (size_t i = 0; i < o.exec.n; i++)
		cli_check(moe_batch_run_exec(&run, o.exec.item[i], o.exec_timeout, &d), &d);
	err = moe_batch_run(&run, &d);
	cli_finish_text(printer->f, sink, err, &d);
	stats_print(&stats);
	if (run.feed)
		pictures_report(run.feed);
	moe_feed_free(run.feed);
	moe_given_free(&given);
	drawing_free(&drawing);
	free_questions(&q);
	free((void *)(uintptr_t)against.token);
	trace_finish(trace);
	status = cli_close_stdout();
	if (status || (!printer->failed && !printer->withheld))
		return status;
	return printer->failed && run.single ? EXIT_CANNOT : EXIT_NO;
}

/* What --score would have to pass over in silence. */
static void check_scores(int pictures)
{
	const struct generation_options *g = &generation_options;

	if (o.interactive || o.prompt || o.prompts || prompt_options.messages || prompt_options.chat || prompt_options.system)
		cli_fail("--score takes its text from a file: prompts and -i do not go with it");
	if (pictures || pictures_options.files_from || o.features)
		cli_fail("--score is about text alone: pictures do not go with it");
	if (g->temperature >= 0 || g->top_k || g->top_p > 0 || g->min_p > 0 || g->penalty > 0 || g->stop.n || g->max_new || g->min_confidence > 0)
		cli_fail("--score generates nothing: options of sampling, --stop, -n and --min-confidence do not go with it");
	if (stats_where || o.exec.n || what_if_given())
		cli_fail("--score runs the model as it is: --stats, --exec, and what-if options such as --drop do not go with it");
	if (o.against)
		cli_fail("--score generates nothing that --against could guide");
	if (choosing_options.batch)
		cli_fail("--score takes one text after the other, and --batch-choice is about batches: -n 1 and moe-block look at them");
}

static int run_scores(const struct moe_model *m, struct moe_tokenizer *t, struct moe_pool *pool, struct trace *trace)
{
	struct scores s = {
		.model = m, .tokenizer = t, .pool = pool, .lines = o.score_lines, .json = generation_options.json || generation_options.logprobs,
		.logprobs = generation_options.logprobs != NULL, .tracing = trace->tracing,
	};
	struct moe_sink *sink;
	struct moe_diag d = {0};
	FILE *f = cli_text(cli.output, &sink);

	scores_print(&s, o.score, f);
	cli_finish_text(f, sink, MOE_OK, &d);
	trace_finish(trace);
	return cli_close_stdout();
}

/* What a conversation would have to pass over in silence. */
static void check_talk(void)
{
	if (o.prompt || o.prompts || prompt_options.messages || generation_options.json || generation_options.logprobs || o.timings || o.exec.n)
		cli_fail("-i is a conversation: prompts, --json, --logprobs, --timings and --exec do not go with it");
	if (o.features || pictures_options.files_from || pictures_options.frames)
		cli_fail("-i takes pictures as operands and by /image: --features, --files-from and --frames do not go with it");
	if (stats_where || what_if_given())
		cli_fail("-i runs the model as it is: --stats, and what-if options such as --drop do not go with it");
	if (cli.output || generation_options.names)
		cli_fail("-i answers on standard output, without names: -o, -H and -h do not go with it");
	if (o.against)
		cli_fail("-i holds a conversation: --against is for single prompts");
	if (choosing_options.batch)
		cli_fail("-i generates token by token, which --batch-choice cannot do");
	if (generation_options.min_confidence > 0)
		cli_fail("-i prints answers as they are made: --min-confidence does not go with it");
}

static int run_talk(const struct moe_model *m, struct moe_tokenizer *t, const struct moe_generation *generation, struct moe_pool *pool, char **operand, int n,
		    struct trace *trace)
{
	struct converse c = {
		.model = m, .tokenizer = t, .generation = generation, .pool = pool, .system = prompt_options.system, .picture = operand, .n_pictures = n,
		.no_sandbox = pictures_options.no_sandbox, .image = pictures_choice(), .tracing = trace->tracing,
	};
	int status;

	check_talk();
	prompt_check(m->spec);
	status = converse_run(&c);
	trace_finish(trace);
	return status;
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{'p', "prompt", OPT_TEXT, &o.prompt, "TEXT", "the prompt; <image> stands for a picture", 0, 0, "the model's own"},
		{0, "prompts", OPT_TEXT, &o.prompts, "FILE", "one prompt a line, each asked of the same pictures", 0, 0, 0},
		OPT_PROMPT,
		{'i', "interactive", OPT_FLAG, &o.interactive, 0, "hold a conversation", 0, 0, 0},
		{0, "score", OPT_TEXT, &o.score, "FILE", "print the log-probability and perplexity of this text (-: standard input)", 0, 0, 0},
		{0, "score-lines", OPT_FLAG, &o.score_lines, 0, "with --score: each line is a text of its own", 0, 0, 0},
		OPT_GENERATION,
		{0, "against", OPT_TEXT, &o.against, "PROMPT", "guide answers away from those to this prompt, such as one without the caption of a picture", 0, 0, 0},
		{0, "guidance", OPT_REAL, &o.guidance, "W", "how far: logits are against + W (own - against)", 1e-9, 100, "2"},
		{0, "timings", OPT_FLAG, &o.timings, 0, "JSON with the seconds since the start", 0, 0, 0},
		{'H', "with-names", OPT_LETTER, &generation_options.names, 0, "NAME<TAB>TEXT lines even for one picture", 0, 0, 0},
		{'h', "no-names", OPT_LETTER, &generation_options.names, 0, "texts without names even for several pictures", 0, 0, 0},
		{0, "batch", OPT_INT, &o.batch, "N", "sequences computed together by a thread", 1, 4096, "24"},
		{0, "features", OPT_TEXT, &o.features, "STREAM", "features of the pictures, as moe-encode wrote them: the tower does not run", 0, 0, 0},
		{0, "feature-cache", OPT_INT, &o.cache, "MIB", "with --prompts: memory for features of pictures", 0, 1 << 20, "256"},
		{0, "exec", OPT_LIST, &o.exec, "STAGE:LAYERS=CMD", "a command of yours in place of attend, route or expert of some layers", 0, 0, 0},
		{0, "exec-timeout", OPT_REAL, &o.exec_timeout, "SECONDS", "how long such a command may be silent", 0.1, 86400, "60"},
		OPT_WHAT_IF_ROUTE, OPT_CHOOSING, OPT_STATS, OPT_TRACE, OPT_IMAGES, OPT_FRAMES, OPT_PICTURES, OPT_MEMORY, OPT_MODEL, OPT_MATH, OPT_OUTPUT, OPT_END,
	};
	static const struct tool tool = {"moe-run", "[PICTURE|FOLDER|SHARD...]", "Answers a prompt about each picture: the whole pass in one process.", opts};
	struct printer printer = {0};
	struct moe_generation generation;
	struct moe_pool *pool;
	struct moe_model *m;
	struct moe_tokenizer *t;
	struct moe_identity id;
	struct trace trace;
	struct moe_diag d = {0};
	char fingerprint[33];
	int at, status;

	pictures_start(&tool);
	cli_start(argc, argv);
	at = opt_parse(&tool, argc, argv);
	if (o.guidance > 0 && !o.against)
		cli_fail("--guidance goes with --against PROMPT");
	if (o.score)
		check_scores(argc - at);
	else if (o.score_lines)
		cli_fail("--score-lines goes with --score FILE");
	clock_gettime(CLOCK_MONOTONIC, &printer.start);
	printer.timings = o.timings;
	pool = cli_pool();
	m = cli_model();
	memory_use_math(m, pool);
	choosing_apply(m);
	cli_check(moe_choosing_check(m, &d), &d);
	t = tokenizer_load(fingerprint);
	generation_init(&generation, m->spec, t);
	id = cli_identity(m, fingerprint);
	trace_open(&trace, m, 0, (size_t)m->spec->n_layers - 1, &id, !o.interactive && !o.score);
	if (trace.tracing)
		cli_check(moe_tracing_begin(trace.tracing, NULL, &d), &d);
	status = o.interactive ? run_talk(m, t, &generation, pool, argv + at, argc - at, &trace)
	       : o.score ? run_scores(m, t, pool, &trace) : run_answers(m, t, &generation, pool, argv + at, argc - at, &printer, &trace);
	moe_generation_free(&generation);
	moe_tokenizer_free(t);
	moe_model_close(m);
	moe_pool_free(pool);
	return status;
}
