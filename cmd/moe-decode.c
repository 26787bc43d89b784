/* moe-decode: final norm, head, the next token, text. */
#include "common/generation.h"
#include "common/tokenizer.h"
#include "stage/decode.h"

static struct {
	bool logits;
	const char *loop;
} o;

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		OPT_GENERATION,
		{0, "loop", OPT_TEXT, &o.loop, "FIFO", "send tokens back through it to moe-tokenize", 0, 0, 0},
		{0, "logits", OPT_FLAG, &o.logits, 0, "write frames of logits instead of text", 0, 0, 0},
		{'H', "with-names", OPT_LETTER, &generation_options.names, 0, "NAME<TAB>TEXT lines (the default when sequences have names; - for those without)", 0, 0, 0},
		{'h', "no-names", OPT_LETTER, &generation_options.names, 0, "texts without names", 0, 0, 0},
		OPT_MODEL, OPT_OUTPUT, OPT_STREAM, OPT_END,
	};
	static const struct tool tool = {"moe-decode", "", "Chooses the next token and prints the text: hidden -> text, or logits.", opts};
	struct moe_decode dec = {0};
	struct moe_stage stage = moe_decode_stage(&dec);
	struct moe_generation generation;
	struct moe_diag d = {0};
	struct moe_sink *sink = NULL;
	struct moe_output out = {0};
	struct printer printer = {.any_names = true};
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
	in = cli_reader(NULL);
	if (!o.logits || generation_options.stop.n || m->spec->chat.stop.n)
		tokenizer = tokenizer_load(fingerprint);
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
	moe_generation_free(&generation);
	moe_tokenizer_free(tokenizer);
	moe_reader_free(in);
	moe_writer_free(out.writer);
	moe_account_free(&out.account);
	moe_model_close(m);
	moe_pool_free(dec.pool);
	int status = cli_close_stdout();
	return status ? status : printer.failed || printer.withheld ? EXIT_NO : EXIT_DONE;
}
