#include "common/generation.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/progress.h"

struct generation_options generation_options = {.temperature = -1};

static long best_tokens(void)
{
	const char *text = generation_options.logprobs;
	char *end;
	long n = text && *text ? strtol(text, &end, 10) : 0;

	if (text && *text && (*end || n < 0 || n > 100))
		cli_fail("--logprobs=%s: expected a whole number from 0 to 100", text);
	return n;
}

void generation_init(struct moe_generation *g, const struct moe_spec *s, const struct moe_tokenizer *t)
{
	const struct generation_options *o = &generation_options;
	struct moe_diag d = {0};
	bool draws = o->top_k || o->top_p > 0 || o->min_p > 0;

	*g = (struct moe_generation){
		.spec = s, .tokenizer = t, .max_new = (size_t)(o->max_new ? o->max_new : s->text.max_new), .stop = o->stop.item, .n_stop = o->stop.n,
		.logprobs = o->logprobs != NULL, .n_best = (size_t)best_tokens(),
		.sampling = {.temperature = o->temperature >= 0 ? o->temperature : draws ? 1 : 0, .top_k = o->top_k, .top_p = o->top_p, .min_p = o->min_p,
			     .repetition_penalty = o->penalty, .seed = (uint64_t)o->seed},
	};
	for (size_t i = 0; i < o->stop.n; i++)
		if (!*o->stop.item[i])
			cli_fail("--stop: an empty text would end every answer at once");
	if (draws && g->sampling.temperature == 0)
		cli_fail("--temperature 0 takes the most likely token; --top-k, --top-p and --min-p are for drawing");
	cli_check(moe_generation_init(g, &d), &d);
}

void printer_init(struct printer *p, struct moe_sink **sink)
{
	const struct generation_options *o = &generation_options;

	p->style.min_confidence = o->min_confidence;
	p->style.json = o->json || o->logprobs || p->timings;
	p->f = cli_text(cli.output, sink);
}

bool printer_streams(const struct printer *p)
{
	return !generation_options.min_confidence && !p->style.json && !p->style.lines && !p->style.names && (generation_options.stream || isatty(fileno(p->f)));
}

static double seconds_since(const struct timespec *t)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - t->tv_sec) + 1e-9 * (double)(now.tv_nsec - t->tv_nsec);
}

static void withhold(struct printer *p, const struct moe_answer *a)
{
	p->withheld++;
	if (!cli.quiet)
		cli_say("%s%sno answer: the most likely one has a confidence of %.3g", a->name ? a->name : "", a->name ? ": " : "", moe_answer_confidence(a));
}

enum moe_err printer_answer(void *printer, const struct moe_answer *a, struct moe_diag *d)
{
	struct printer *p = printer;
	struct moe_answer named = *a;
	enum moe_err err;

	progress_show(++p->answers, "answers");
	if (a->error) {
		char begin[65];         /* of the name, which a message may cut short */
		p->failed++;
		snprintf(begin, sizeof begin, "%s", a->name ? a->name : "");
		if (strstr(a->error, begin))    /* most say the name themselves, with the folder or shard */
			cli_say("%s", a->error);
		else
			cli_say("%s: %s", a->name, a->error);
	}
	if (!a->error && moe_answer_confidence(a) < p->style.min_confidence)
		withhold(p, a);
	else if (!a->error && p->drawing)
		MOE_TRY(drawing_answer(p->drawing, a, d));
	if (p->any_names) {
		if (!named.name && generation_options.names == 'H')
			named.name = "-";
		p->style.lines = named.name != NULL;
	}
	if (p->timings)
		p->style.seconds = seconds_since(&p->start);
	err = moe_answer_print(p->f, &named, &p->style, d);
	p->style.told = 0;
	return err;
}

enum moe_err printer_partial(void *printer, const char *name, const char *text, size_t n, struct moe_diag *d)
{
	struct printer *p = printer;

	if (name || (p->any_names && generation_options.names == 'H'))
		return MOE_OK;          /* an answer with a name is one line, when it is complete */
	p->style.told += n;
	return fwrite(text, 1, n, p->f) == n && !fflush(p->f) ? MOE_OK : moe_fail_errno(d, "cannot write the answer");
}
