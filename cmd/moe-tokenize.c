/* moe-tokenize: prompts to tokens; the source of a pipeline, and of the ring while generating. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/pictures.h"
#include "common/prompt.h"
#include "common/tokenizer.h"
#include "io/source.h"
#include "stage/prompts.h"

enum { PROMPT_LIMIT = 64 << 20 };

static struct {
	const char *for_each, *loop, *logits;
	bool raw, generate;
	long window;
} o = {.logits = "last", .window = 16};

/* Gives one prompt, or the same prompt for every item of a feed. */
struct prompts {
	struct moe_ids ids;
	struct moe_feed *feed;          /* NULL: one prompt */
	struct moe_feed_item item;
	bool done;
};

static enum moe_err next_prompt(void *self, struct moe_prompt *out, struct moe_diag *d)
{
	struct prompts *p = self;

	*out = (struct moe_prompt){.token = p->ids.id, .n = p->ids.n};
	if (!p->feed) {
		if (p->done)
			return MOE_END;
		p->done = true;
		return MOE_OK;
	}
	moe_feed_item_clear(&p->item);
	MOE_TRY(moe_feed_next(p->feed, &p->item, d));
	out->name = p->item.label;
	return MOE_OK;
}

/* The prompt's text: an operand, standard input for "-" or for --raw without one, else the model's own. */
static char *prompt_text(int argc, char **argv, int at, const struct moe_spec *s, size_t *n)
{
	struct moe_diag d = {0};
	bool from_input = at < argc ? !strcmp(argv[at], "-") : o.raw;
	char *text;

	if (from_input) {
		cli_check(moe_read_file("-", PROMPT_LIMIT, &text, n, &d), &d);
		return text;
	}
	text = moe_strdup(at < argc ? argv[at] : prompt_default(s));
	if (!text)
		cli_fail("out of memory");
	*n = strlen(text);
	if (!*n)
		cli_fail("the family %s has no prompt of its own: give one", s->family);
	return text;
}

static struct moe_feed *open_feed(void)
{
	struct moe_feed_options options = {.labels_only = true};
	char *list = (char *)o.for_each;

	if (!o.for_each && !pictures_options.files_from)
		return NULL;
	return pictures_feed(&list, o.for_each != NULL, &options);
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{0, "for-each", OPT_TEXT, &o.for_each, "SOURCE", "one sequence per picture of a folder, shard or file, named after it", 0, 0, 0},
		OPT_PROMPT,
		{0, "raw", OPT_FLAG, &o.raw, 0, "take the text as it is, from standard input if there is no operand", 0, 0, 0},
		{0, "logits", OPT_TEXT, &o.logits, "ROWS", "rows whose logits are wanted: none, last or all", 0, 0, "last"},
		{0, "generate", OPT_FLAG, &o.generate, 0, "more tokens will follow the prompt: caches are kept", 0, 0, 0},
		{0, "loop", OPT_TEXT, &o.loop, "FIFO", "the FIFO through which moe-decode sends tokens back", 0, 0, 0},
		{0, "window", OPT_INT, &o.window, "N", "sequences inside the ring at once", 1, 65536, "16"},
		OPT_FRAMES, OPT_PICTURES, OPT_MODEL, OPT_MATH, OPT_OUTPUT,
		{0, "no-pg", OPT_FLAG, &cli.no_pg, 0, "write no provenance", 0, 0, 0},
		OPT_END,
	};
	static const struct tool tool = {"moe-tokenize", "[TEXT]", "Turns a prompt into tokens: the first stage of a pipeline.", opts};
	struct moe_prompts p = {.next = next_prompt};
	struct prompts prompts = {0};
	struct moe_diag d = {0};
	struct moe_sink *sink;
	struct moe_output out = {0};
	struct moe_model *m;
	char fingerprint[33], *text;
	struct moe_tokenizer *t;
	enum moe_err err;
	size_t n = 0;
	int at;

	pictures_start(&tool);
	cli_start(argc, argv);
	at = opt_parse(&tool, argc, argv);
	if (at + 1 < argc)
		opt_usage(&tool);
	if (strcmp(o.logits, "none") && strcmp(o.logits, "last") && strcmp(o.logits, "all"))
		cli_fail("--logits %s: expected none, last or all", o.logits);
	if (o.raw && (prompt_options.chat || prompt_options.system || prompt_options.messages))
		cli_fail("--raw takes the text as it is: --chat, --system and --messages do not go with it");
	if (prompt_options.messages && at < argc)
		cli_fail("--messages is the prompt: %s is one too many", argv[at]);
	if (o.generate != (o.loop != NULL))
		cli_fail("--generate and --loop go together: tokens come back through the FIFO");
	if (o.generate && !strcmp(o.logits, "none"))
		cli_fail("--logits none: without logits there is nothing to generate from");
	m = cli_model();
	t = tokenizer_load(fingerprint);
	prompt_check(m->spec);
	text = prompt_options.messages ? NULL : prompt_text(argc, argv, at, m->spec, &n);
	prompt_encode(t, m->spec, text, n, &prompts.ids);
	prompts.feed = open_feed();
	p.self = &prompts;
	p.spec = m->spec;
	p.id = cli_identity(m, fingerprint);
	p.logits = o.logits;
	p.generate = o.generate;
	p.loop = o.loop;
	p.window = (size_t)o.window;
	out.writer = cli_writer(&sink);
	err = moe_prompts_run(&p, &out, &d);
	cli_finish(sink, err, &d);
	moe_feed_item_clear(&prompts.item);
	moe_feed_free(prompts.feed);
	free(prompts.ids.id);
	free(text);
	moe_tokenizer_free(t);
	moe_writer_free(out.writer);
	moe_account_free(&out.account);
	moe_model_close(m);
	return EXIT_DONE;
}
