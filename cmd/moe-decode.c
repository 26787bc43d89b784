/* moe-decode: final norm, head, the next token, text. */
#include <stdlib.h>
#include <string.h>

#include "common/cli.h"
#include "common/progress.h"
#include "common/tokenizer.h"
#include "report/answers.h"
#include "stage/decode.h"

static struct {
	bool json, logits;
	char names;             /* H, h or 0, the last one given, as in grep */
	long max_new;
	const char *loop;
} o;

struct printer {
	FILE *f;
	struct moe_answer_style style;
	uint64_t answers, failed;
};

static enum moe_err print_answer(void *self, const struct moe_answer *a, struct moe_diag *d)
{
	struct printer *p = self;
	struct moe_answer named = *a;

	if (a->error) {
		p->failed++;
		if (a->name && strstr(a->error, a->name))       /* most say the name themselves, with the folder or shard */
			cli_say("%s", a->error);
		else
			cli_say("%s: %s", a->name ? a->name : "the sequence", a->error);
	}
	if (!named.name && o.names == 'H')
		named.name = "-";
	progress_show(++p->answers, "answers");
	p->style.lines = named.name != NULL;
	return moe_answer_print(p->f, &named, &p->style, d);
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{'n', "max-new", OPT_INT, &o.max_new, "N", "at most N new tokens per answer", 1, 1e6, "the model's own limit"},
		{0, "loop", OPT_TEXT, &o.loop, "FIFO", "send tokens back through it to moe-tokenize", 0, 0, 0},
		{0, "json", OPT_FLAG, &o.json, 0, "one JSON object per answer", 0, 0, 0},
		{0, "logits", OPT_FLAG, &o.logits, 0, "write frames of logits instead of text", 0, 0, 0},
		{'H', "with-names", OPT_LETTER, &o.names, 0, "NAME<TAB>TEXT lines (the default when sequences have names; - for those without)", 0, 0, 0},
		{'h', "no-names", OPT_LETTER, &o.names, 0, "texts without names", 0, 0, 0},
		OPT_MODEL, OPT_OUTPUT, OPT_STREAM, OPT_END,
	};
	static const struct tool tool = {"moe-decode", "", "Chooses the next token and prints the text: hidden -> text, or logits.", opts};
	struct moe_decode dec = {0};
	struct moe_stage stage = moe_decode_stage(&dec);
	struct moe_diag d = {0};
	struct moe_sink *sink = NULL;
	struct moe_output out = {0};
	struct printer printer = {0};
	struct moe_reader *in;
	struct moe_model *m;
	struct moe_tokenizer *tokenizer = NULL;
	char fingerprint[33] = "";
	enum moe_err err;

	cli_start(argc, argv);
	opt_parse_filter(&tool, argc, argv);
	dec.pool = cli_pool();
	m = cli_model();
	dec.model = m;
	dec.loop = o.loop;
	dec.logits = o.logits;
	dec.any_order = cli.any_order;
	dec.max_new = o.max_new ? (size_t)o.max_new : (size_t)m->spec->text.max_new;
	dec.answer = print_answer;
	dec.to = &printer;
	printer.style = (struct moe_answer_style){.json = o.json, .names = o.names != 'h'};
	in = cli_reader(NULL);
	if (o.logits) {
		out.writer = cli_writer(&sink);
		dec.answer = NULL;
	} else {
		tokenizer = tokenizer_load(fingerprint);
		dec.tokenizer = tokenizer;
		printer.f = cli_text(cli.output, &sink);
	}
	struct moe_identity id = cli_identity(m, *fingerprint ? fingerprint : NULL);
	cli_check(moe_decode_init(&dec, &d), &d);
	err = moe_stage_loop(in, &out, &stage, &id, &d);
	if (printer.f)
		cli_finish_text(printer.f, sink, err, &d);
	else
		cli_finish(sink, err, &d);
	moe_decode_free(&dec);
	moe_tokenizer_free(tokenizer);
	moe_reader_free(in);
	moe_writer_free(out.writer);
	moe_account_free(&out.account);
	moe_model_close(m);
	moe_pool_free(dec.pool);
	int status = cli_close_stdout();
	return status ? status : printer.failed ? EXIT_NO : EXIT_DONE;
}
