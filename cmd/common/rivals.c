#include "common/rivals.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/generation.h"
#include "common/memory.h"
#include "common/pictures.h"
#include "common/prompt.h"
#include "common/tokenizer.h"
#include "report/escape.h"
#include "run/batch.h"
#include "stage/tracing.h"

enum { WINDOW = 24 };           /* sequences at a time, as moe-run has it */

struct rivals_options rivals_options;

/* What a model answered. */
struct said {
	char *name, *text;
	int32_t *id;
	size_t n_text, n, n_prompt;
	bool failed;
};

/* A model's run. */
struct rival {
	struct said *said;
	size_t n, cap;
	FILE *trace;
};

static void *copy(const void *from, size_t n)
{
	char *to = malloc(n + 1);

	if (!to)
		cli_fail("out of memory");
	if (n)
		memcpy(to, from, n);
	to[n] = 0;
	return to;
}

static enum moe_err take_answer(void *to, const struct moe_answer *a, struct moe_diag *d)
{
	struct rival *r = to;
	struct said *s;

	MOE_TRY(moe_grow(&r->said, &r->cap, r->n + 1, sizeof *r->said, d));
	s = &r->said[r->n++];
	*s = (struct said){.name = copy(a->name ? a->name : "", a->name ? strlen(a->name) : 0), .n_prompt = a->n_prompt, .failed = a->error};
	s->text = copy(a->error ? a->error : a->text, a->error ? strlen(a->error) : a->n_text);
	s->n_text = a->error ? strlen(a->error) : a->n_text;
	s->id = copy(a->ids.id, a->ids.n * sizeof *a->ids.id);
	s->n = a->error ? 0 : a->ids.n;
	return MOE_OK;
}

/* The prompt's ids, and how many pictures it takes. */
static void encode(struct moe_prompt_ids *p, size_t *pictures, const struct moe_spec *s, struct moe_tokenizer *t, const char *text)
{
	struct moe_ids ids = {0};

	prompt_encode(t, s, text, strlen(text), &ids);
	*p = (struct moe_prompt_ids){ids.id, ids.n, NULL};
	*pictures = 0;
	for (size_t i = 0; i < ids.n; i++)
		*pictures += s->merge.placeholder >= 0 && ids.id[i] == s->merge.placeholder;
}

/* The trace goes to a file without a name. */
static struct moe_tracing *open_trace(struct rival *r, const struct moe_model *m, const struct moe_identity *id, struct moe_writer **w)
{
	struct moe_tracing_options o = {.model = m, .last = (size_t)m->spec->n_layers - 1, .detail = MOE_TRACE_LOGITS, .identity = id, .in_order = true};
	struct moe_tracing *t;
	struct moe_diag d = {0};

	r->trace = tmpfile();
	if (!r->trace)
		cli_fail("cannot make a temporary file: %s", strerror(errno));
	cli_check(moe_writer_new(w, fileno(r->trace), &d), &d);
	o.writer = *w;
	cli_check(moe_tracing_new(&t, &o, &d), &d);
	cli_check(moe_tracing_begin(t, NULL, &d), &d);
	return t;
}

static void answer(struct rival *r, struct moe_batch_run *run, const struct moe_identity *id, char **picture, int n)
{
	struct moe_feed_options feed = {.threads = 1, .decode = moe_decode_from_spec(run->model->spec)};
	struct moe_writer *w;
	struct moe_diag d = {0};

	if (!run->n_pictures != !n)
		cli_fail(n ? "the prompt has no <image>, but pictures were given" : "the prompt takes pictures, but none were given");
	if (n)
		run->feed = pictures_feed(picture, n, &feed);
	run->tracing = open_trace(r, run->model, id, &w);
	cli_check(moe_batch_run(run, &d), &d);
	cli_check(moe_tracing_end(run->tracing, &d), &d);
	moe_tracing_free(run->tracing);
	moe_writer_free(w);
	moe_feed_free(run->feed);
}

/* Has a model answer. The prompt is that which both get: *text, which the first model may have to say. */
static void run_model(struct rival *r, const char *path, const char **text, struct moe_pool *pool, char **picture, int n)
{
	struct moe_generation generation;
	struct moe_prompt_ids prompt;
	struct moe_identity id;
	struct moe_tokenizer *t;
	struct moe_model *m;
	char fingerprint[33];

	cli.model = path;
	m = cli_model();
	memory_use_math(m, pool);
	t = tokenizer_load(fingerprint);
	generation_init(&generation, m->spec, t);
	prompt_check(m->spec);
	if (!*text)
		*text = copy(prompt_default(m->spec), strlen(prompt_default(m->spec)));
	if (!**text)
		cli_fail("the family %s has no prompt of its own: give one with -p", m->spec->family);
	struct moe_batch_run run = {
		.model = m, .generation = &generation, .pool = pool, .threads = (unsigned)cli.threads, .window = WINDOW, .single = n == 1 && !moe_feed_holds_many(picture[0]),
		.prompt = &prompt, .n_prompts = 1, .image = pictures_choice(), .answer = take_answer, .to = r,
	};
	encode(&prompt, &run.n_pictures, m->spec, t, *text);
	id = cli_identity(m, fingerprint);
	answer(r, &run, &id, picture, n);
	free((void *)(uintptr_t)prompt.token);
	moe_generation_free(&generation);
	moe_tokenizer_free(t);
	moe_model_close(m);
}

static struct moe_trace *read_trace(const struct rival *r, const char *name)
{
	struct moe_diag d = {0};
	struct moe_source *s;
	struct moe_trace *t;

	rewind(r->trace);
	cli_check(moe_source_fd(&s, fileno(r->trace), name, &d), &d);
	cli_check(moe_trace_open(&t, s, &d), &d);
	return t;
}

/* Where two answers part: the number of the first token that is another one, or SIZE_MAX. */
static size_t where_apart(const struct said *a, const struct said *b)
{
	size_t i = 0;

	while (i < a->n && i < b->n && a->id[i] == b->id[i])
		i++;
	return a->failed != b->failed ? 0 : i < a->n || i < b->n ? i : SIZE_MAX;
}

/* A trace lacks the last token of each answer, which goes through no layer: the answers themselves say more. */
static void count_answers(struct moe_trace_diff *t, const struct rival *a, const struct rival *b)
{
	t->answers = t->answers_apart = t->generated = 0;
	for (size_t i = 0; i < a->n && i < b->n; i++) {
		size_t apart = where_apart(&a->said[i], &b->said[i]);
		t->answers += !a->said[i].failed;
		t->generated += apart == SIZE_MAX ? a->said[i].n : apart;
		if (apart == SIZE_MAX)
			continue;
		if (!t->answers_apart++) {
			t->apart_seq = i;
			t->apart_row = a->said[i].n_prompt + apart;
			t->apart_a = apart < a->said[i].n ? a->said[i].id[apart] : -1;
			t->apart_b = apart < b->said[i].n ? b->said[i].id[apart] : -1;
		}
	}
}

static void print_answer(uint64_t seq, const struct said *a, const struct said *b, bool json)
{
	if (json) {
		moe_print_json(stdout, json_pack("{s:I, s:o, s:o, s:o}", "answer_of", (json_int_t)seq, "name", moe_json_text(a->name, strlen(a->name)), "first",
						 moe_json_text(a->text, a->n_text), "second", moe_json_text(b->text, b->n_text)));
		return;
	}
	fputs("answer of ", stdout);
	moe_print_escaped(stdout, a->name[0] ? a->name : "the prompt", a->name[0] ? strlen(a->name) : 10);
	fputs(": ", stdout);
	moe_print_escaped(stdout, a->text, a->n_text);
	fputs(" against ", stdout);
	moe_print_escaped(stdout, b->text, b->n_text);
	putchar('\n');
}

static void free_rival(struct rival *r)
{
	for (size_t i = 0; i < r->n; i++) {
		free(r->said[i].name);
		free(r->said[i].text);
		free(r->said[i].id);
	}
	free(r->said);
	fclose(r->trace);
}

bool rivals_compare(const char *a, const char *b, char **picture, int n, double tie, bool json)
{
	const char *text = rivals_options.prompt ? copy(rivals_options.prompt, strlen(rivals_options.prompt)) : NULL;
	struct moe_pool *pool = cli_pool();
	struct rival x = {0}, y = {0};
	struct moe_trace_diff result;
	struct moe_trace *ta, *tb;
	struct moe_diag d = {0};
	bool same;

	run_model(&x, a, &text, pool, picture, n);
	run_model(&y, b, &text, pool, picture, n);
	ta = read_trace(&x, a);
	tb = read_trace(&y, b);
	cli_check(moe_trace_diff_run(&result, ta, tb, tie, &d), &d);
	count_answers(&result, &x, &y);
	if (!cli.quiet || json) {
		cli_check(moe_trace_diff_print(stdout, &result, json, &d), &d);
		for (size_t i = 0; i < x.n && i < y.n; i++)
			if (where_apart(&x.said[i], &y.said[i]) != SIZE_MAX)
				print_answer(i, &x.said[i], &y.said[i], json);
	}
	same = moe_trace_diff_same(&result);
	moe_trace_diff_free(&result);
	moe_trace_close(ta);
	moe_trace_close(tb);
	free_rival(&x);
	free_rival(&y);
	free((void *)(uintptr_t)text);
	moe_pool_free(pool);
	return same;
}
