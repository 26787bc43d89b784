/* moe-decode: final norm, head, the next token, text. */
#include <stdlib.h>

#include "common/generation.h"
#include "common/tokenizer.h"
#include "report/lensed.h"
#include "stage/decode.h"

static struct {
	bool logits;
	const char *loop, *lens, *rows;
} o;

/* Where rows of --lens go. */
struct lens_printer {
	FILE *f;
	struct moe_lensed_style style;
	uint64_t failed;
};

static enum moe_err print_row(void *self, const struct moe_lens_row *r, struct moe_diag *d)
{
	struct lens_printer *p = self;

	return moe_lensed_print(p->f, r, &p->style, d);
}

static enum moe_err report_failed(void *self, const char *name, const char *error, struct moe_diag *d)
{
	struct lens_printer *p = self;

	(void)d;
	(void)name;     /* the message has it */
	p->failed++;
	cli_say("%s", error);
	return MOE_OK;
}

/* What --lens would have to pass over in silence. */
static void check_lens(void)
{
	const struct generation_options *g = &generation_options;

	if (o.loop || o.logits || g->max_new || g->temperature >= 0 || g->top_k || g->top_p > 0 || g->min_p > 0 || g->penalty > 0 || g->seed || g->stop.n ||
	    g->logprobs || g->image || g->stream || g->min_confidence > 0 || g->names)
		cli_fail("--lens reads rows and answers nothing: of the other options only --rows, --json and those of the stream go with it");
}

static size_t lens_tokens(void)
{
	char *end;
	long n = *o.lens ? strtol(o.lens, &end, 10) : 5;

	if (*o.lens && (*end || n < 1 || n > 100))
		cli_fail("--lens=%s: expected a whole number from 1 to 100", o.lens);
	return (size_t)n;
}

static int run_lens(struct moe_model *m, struct moe_reader *in, struct moe_pool *pool)
{
	char fingerprint[33];
	struct moe_tokenizer *t = tokenizer_load(fingerprint);
	struct moe_generation generation = {.spec = m->spec};
	struct moe_identity id = cli_identity(m, fingerprint);
	struct lens_printer printer = {.style = {generation_options.json, m->spec->text.suppress.n > 0, t}};
	struct moe_lens lens = {.model = m, .pool = pool, .n_top = lens_tokens(), .row = print_row, .failed = report_failed, .to = &printer};
	struct moe_stage stage = moe_lens_stage(&lens);
	struct moe_row_choice rows;
	struct moe_output out = {0};
	struct moe_sink *sink;
	struct moe_diag d = {0};
	enum moe_err err;
	int status;

	check_lens();
	if (o.rows && !moe_row_choice_parse(&rows, o.rows))
		cli_fail("--rows %s: expected all, last, text, image, or rows such as 5 or 0-3,64-", o.rows);
	lens.rows = o.rows ? &rows : NULL;
	cli_check(moe_generation_init(&generation, &d), &d);
	lens.suppress = generation.suppress;
	printer.f = cli_text(cli.output, &sink);
	err = moe_stage_loop(in, &out, &stage, &id, &d);
	cli_finish_text(printer.f, sink, err, &d);
	moe_lens_free(&lens);
	moe_generation_free(&generation);
	moe_tokenizer_free(t);
	moe_account_free(&out.account);
	status = cli_close_stdout();
	return status ? status : printer.failed ? EXIT_NO : EXIT_DONE;
}

/* Answers, or frames of logits. */
static int run_decode(struct moe_model *m, struct moe_reader *in, struct moe_pool *pool)
{
	struct moe_decode dec = {.model = m, .pool = pool, .loop = o.loop, .logits = o.logits, .any_order = cli.any_order};
	struct moe_stage stage = moe_decode_stage(&dec);
	struct moe_generation generation;
	struct moe_diag d = {0};
	struct moe_sink *sink = NULL;
	struct moe_output out = {0};
	struct printer printer = {.any_names = true};
	struct drawing drawing = {0};
	struct moe_tokenizer *tokenizer = NULL;
	char fingerprint[33] = "";
	enum moe_err err;
	int status;

	if (!o.logits || generation_options.stop.n || m->spec->chat.stop.n)
		tokenizer = tokenizer_load(fingerprint);
	if (generation_options.image && o.logits)
		cli_fail("--image draws answers, and --logits writes none");
	if (generation_options.image) {
		drawing_init(&drawing, m, generation_options.image);
		printer.drawing = &drawing;
	}
	if (o.logits) {
		out.writer = cli_writer(&sink);
	} else {
		printer.style.names = generation_options.names != 'h';
		printer_init(&printer, &sink);
		dec.answer = printer_answer;
		dec.partial = printer_streams(&(struct printer){.f = printer.f, .style = {.json = printer.style.json}}) ? printer_partial : NULL;
		dec.to = &printer;
	}
	generation_init(&generation, m->spec, tokenizer);
	dec.generation = &generation;
	struct moe_identity id = cli_identity(m, *fingerprint ? fingerprint : NULL);
	moe_decode_init(&dec);
	err = moe_stage_loop(in, &out, &stage, &id, &d);
	if (printer.f)
		cli_finish_text(printer.f, sink, err, &d);
	else
		cli_finish(sink, err, &d);
	moe_decode_free(&dec);
	drawing_free(&drawing);
	moe_generation_free(&generation);
	moe_tokenizer_free(tokenizer);
	moe_writer_free(out.writer);
	moe_account_free(&out.account);
	status = cli_close_stdout();
	return status ? status : printer.failed || printer.withheld ? EXIT_NO : EXIT_DONE;
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		OPT_GENERATION,
		{0, "loop", OPT_TEXT, &o.loop, "FIFO", "send tokens back through it to moe-tokenize", 0, 0, 0},
		{0, "logits", OPT_FLAG, &o.logits, 0, "write frames of logits instead of text", 0, 0, 0},
		{'H', "with-names", OPT_LETTER, &generation_options.names, 0, "NAME<TAB>TEXT lines (the default when sequences have names; - for those without)", 0, 0, 0},
		{'h', "no-names", OPT_LETTER, &generation_options.names, 0, "texts without names", 0, 0, 0},
		{0, "lens", OPT_OPTIONAL, &o.lens, "N", "instead: the N most likely tokens (1 to 100) that the head reads in rows behind any stage", 0, 0, "5"},
		{0, "rows", OPT_TEXT, &o.rows, "WHICH", "with --lens: all, last, text, image, or rows such as 5 or 0-3,64-", 0, 0, "those whose logits are wanted"},
		OPT_MODEL, OPT_OUTPUT, OPT_STREAM, OPT_END,
	};
	static const struct tool tool = {"moe-decode", "", "Chooses the next token and prints the text: hidden -> text, or logits.", opts};
	struct moe_pool *pool;
	struct moe_model *m;
	struct moe_reader *in;
	int status;

	cli_start(argc, argv);
	opt_parse_filter(&tool, argc, argv);
	if (o.rows && !o.lens)
		cli_fail("--rows goes with --lens");
	pool = cli_pool();
	m = cli_model();
	in = cli_reader(NULL);
	status = o.lens ? run_lens(m, in, pool) : run_decode(m, in, pool);
	moe_reader_free(in);
	moe_model_close(m);
	moe_pool_free(pool);
	return status;
}
