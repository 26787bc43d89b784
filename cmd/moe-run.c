/* moe-run: the whole pass in one process. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/layers.h"
#include "common/pictures.h"
#include "common/progress.h"
#include "common/tokenizer.h"
#include "io/source.h"
#include "report/answers.h"
#include "run/batch.h"
#include "stage/patchify.h"
#include "stage/prompt_text.h"

static struct {
	const char *prompt;
	bool json, timings;
	char names;             /* H, h or 0, the last one given, as in grep */
	long max_new, batch;
	struct opt_list exec;
	double exec_timeout;
} o = {.batch = 24, .exec_timeout = 60};

struct printer {
	FILE *f;
	struct moe_answer_style style;
	struct timespec start;
	uint64_t failed, answers;
};

static double seconds_since(const struct timespec *t)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - t->tv_sec) + 1e-9 * (double)(now.tv_nsec - t->tv_nsec);
}

static enum moe_err print_answer(void *self, const struct moe_answer *a, struct moe_diag *d)
{
	struct printer *p = self;

	progress_show(++p->answers, "answers");
	if (a->error) {
		p->failed++;
		cli_say("%s", a->error);
	}
	if (o.timings)
		p->style.seconds = seconds_since(&p->start);
	return moe_answer_print(p->f, a, &p->style, d);
}

/* The prompt's ids; dies when the model has none of its own. */
static void encode_prompt(struct moe_batch_run *run, struct moe_tokenizer *t, struct moe_ids *ids)
{
	const struct moe_spec *s = run->model->spec;
	const char *text = o.prompt ? o.prompt : s->text.prompt;
	struct moe_diag d = {0};

	if (!*text)
		cli_fail("the family %s has no prompt of its own: give one with -p", s->family);
	cli_check(moe_prompt_encode(t, s, text, strlen(text), ids, &d), &d);
	run->token = ids->id;
	run->n_tokens = ids->n;
	for (size_t i = 0; i < ids->n; i++)
		run->n_pictures += s->merge.placeholder >= 0 && ids->id[i] == s->merge.placeholder;
}

static void add_stats(void *self, size_t layer, const struct moe_pass *p)
{
	struct stats *s = self;

	moe_load_add(&s->load[layer], p->batch.rows, p->modality, p->routed.logit, p->routed.expert_id, p->routed.weight);
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{'p', "prompt", OPT_TEXT, &o.prompt, "TEXT", "the prompt; <image> stands for a picture", 0, 0, "the model's own"},
		{'n', "max-new", OPT_INT, &o.max_new, "N", "at most N new tokens per answer", 1, 1e6, "the model's own limit"},
		{0, "json", OPT_FLAG, &o.json, 0, "one JSON object per answer", 0, 0, 0},
		{0, "timings", OPT_FLAG, &o.timings, 0, "JSON with the seconds since the start", 0, 0, 0},
		{'H', "with-names", OPT_LETTER, &o.names, 0, "NAME<TAB>TEXT lines even for one picture", 0, 0, 0},
		{'h', "no-names", OPT_LETTER, &o.names, 0, "texts without names even for several pictures", 0, 0, 0},
		{0, "batch", OPT_INT, &o.batch, "N", "sequences computed together by a thread", 1, 4096, "24"},
		{0, "exec", OPT_LIST, &o.exec, "STAGE:LAYERS=CMD", "a command of yours in place of attend, route or expert of some layers", 0, 0, 0},
		{0, "exec-timeout", OPT_REAL, &o.exec_timeout, "SECONDS", "how long such a command may be silent", 0.1, 86400, "60"},
		OPT_WHAT_IF, OPT_STATS, OPT_PICTURES, OPT_MODEL, OPT_OUTPUT, OPT_END,
	};
	static const struct tool tool = {"moe-run", "[PICTURE|FOLDER|SHARD...]", "Answers a prompt about each picture: the whole pass in one process.", opts};
	struct moe_feed_options feed_options = {.threads = 1};
	struct moe_batch_run run = {0};
	struct printer printer = {0};
	struct moe_ids ids = {0};
	struct moe_sink *sink;
	struct moe_diag d = {0};
	struct stats stats;
	struct moe_model *m;
	struct moe_tokenizer *t;
	char fingerprint[33];
	enum moe_err err;
	int at, n, status;

	pictures_start(&tool);
	cli_start(argc, argv);
	at = opt_parse(&tool, argc, argv);
	n = argc - at;
	clock_gettime(CLOCK_MONOTONIC, &printer.start);
	run.pool = cli_pool();
	m = cli_model();
	t = tokenizer_load(fingerprint);
	run.model = m;
	run.tokenizer = t;
	encode_prompt(&run, t, &ids);
	if (run.n_pictures && !n && !pictures_options.files_from)
		opt_usage(&tool);
	if (!run.n_pictures && (n || pictures_options.files_from))
		cli_fail("the prompt has no <image>, but pictures were given");
	run.single = n <= (int)run.n_pictures && !pictures_options.files_from;
	for (int i = 0; i < n; i++)
		run.single &= !moe_feed_holds_many(argv[at + i]);
	run.threads = (unsigned)cli.threads;
	run.window = (size_t)o.batch;
	run.max_new = o.max_new ? (size_t)o.max_new : (size_t)m->spec->text.max_new;
	run.image = pictures_choice();
	run.what_if = layers_what_if(m);
	stats_init(&stats, m, 0, (size_t)m->spec->n_layers - 1);
	if (stats.load) {
		run.watch = add_stats;
		run.watcher = &stats;
	}
	if (run.n_pictures) {
		feed_options.decode = moe_decode_from_spec(m->spec);
		run.feed = pictures_feed(argv + at, n, &feed_options);
	}
	printer.f = cli_text(cli.output, &sink);
	printer.style = (struct moe_answer_style){
		.json = o.json || o.timings, .names = o.names == 'H' || (!run.single && o.names != 'h'), .lines = o.names == 'H' || !run.single,
	};
	run.answer = print_answer;
	run.to = &printer;
	for (size_t i = 0; i < o.exec.n; i++)
		cli_check(moe_batch_run_exec(&run, o.exec.item[i], o.exec_timeout, &d), &d);
	err = moe_batch_run(&run, &d);
	cli_finish_text(printer.f, sink, err, &d);
	stats_print(&stats);
	if (run.feed)
		pictures_report(run.feed);
	moe_feed_free(run.feed);
	free(ids.id);
	moe_tokenizer_free(t);
	moe_model_close(m);
	moe_pool_free(run.pool);
	status = cli_close_stdout();
	return status || !printer.failed ? status : run.single ? EXIT_CANNOT : EXIT_NO;
}
