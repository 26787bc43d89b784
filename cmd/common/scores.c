#include "common/scores.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/source.h"
#include "report/escape.h"
#include "run/score.h"

enum { TEXT_LIMIT = 256 << 20 };

static json_t *tokens_json(const struct scores *s, const struct moe_ids *ids, const float *logprob)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ids->n; i++) {
		json_t *o = json_pack("{s:i}", "id", (int)ids->id[i]);
		char *text = NULL;
		size_t n = 0, cap = 0;
		if (!moe_tokenizer_decode(s->tokenizer, &ids->id[i], 1, false, &text, &n, &cap, NULL) && text)
			json_object_set_new(o, "text", moe_json_text(text, n));
		json_object_set_new(o, "logprob", i ? json_real((double)logprob[i]) : json_null());
		free(text);
		json_array_append_new(list, o);
	}
	return list;
}

static void print_score(const struct scores *s, const char *name, const struct moe_ids *ids, const struct moe_text_score *z, FILE *f)
{
	double mean = z->scored ? z->logprob / (double)z->scored : 0;
	json_t *o;

	if (!s->json) {
		moe_print_escaped(f, name, strlen(name));
		fprintf(f, "\t%zu\t%zu\t%.9g", z->tokens, z->scored, z->logprob);
		if (z->scored)
			fprintf(f, "\t%.9g\t%.9g\n", mean, exp(-mean));
		else            /* nothing to take the mean of */
			fputs("\t-\t-\n", f);
		return;
	}
	o = json_pack("{s:o, s:I, s:I, s:f, s:o, s:o, s:s}", "name", moe_json_text(name, strlen(name)), "tokens", (json_int_t)z->tokens, "scored", (json_int_t)z->scored,
		      "logprob", z->logprob, "mean_logprob", z->scored ? json_real(mean) : json_null(),
		      "perplexity", z->scored ? json_real(exp(-mean)) : json_null(), "logprob_over", "all");
	if (s->logprobs)
		json_object_set_new(o, "token", tokens_json(s, ids, z->token_logprob));
	if (!moe_print_json(f, o))
		cli_fail("cannot write the scores");
}

/* Dies of what is wrong with the text: in a file of lines, `name` is the line's number. */
static _Noreturn void cannot_score(const struct scores *s, const char *path, const char *name, const struct moe_diag *d)
{
	char text[700];

	cli_fail("%s%s%s: %s", path, s->lines ? ": line " : "", s->lines ? name : "", moe_diag_string(d, text, sizeof text));
}

static void score_text(const struct scores *s, struct moe_session *session, const char *path, const char *name, const char *text, size_t n, FILE *f)
{
	struct moe_ids ids = {0};
	struct moe_text_score z = {0};
	struct moe_diag d = {0};

	if (moe_tokenizer_encode(s->tokenizer, text, n, true, &ids, &d))
		cannot_score(s, path, name, &d);
	z.token_logprob = calloc(ids.n + 1, sizeof *z.token_logprob);
	if (!z.token_logprob)
		cli_fail("out of memory");
	session->name = name;
	if (moe_score_run(&z, session, ids.id, ids.n, &d))
		cannot_score(s, path, name, &d);
	cli_check(moe_session_next(session, &d), &d);
	print_score(s, name, &ids, &z, f);
	free(z.token_logprob);
	free(ids.id);
}

void scores_print(const struct scores *s, const char *path, FILE *f)
{
	struct moe_session session;
	struct moe_diag d = {0};
	char *text, name[32];
	size_t n, line = 0;

	cli_check(moe_read_file(path, TEXT_LIMIT, &text, &n, &d), &d);
	cli_check(moe_session_init(&session, s->model, s->pool, &d), &d);
	session.tracing = s->tracing;
	if (!s->json)
		fputs("name\ttokens\tscored\tlogprob\tmean_logprob\tperplexity\n", f);
	if (!s->lines)
		score_text(s, &session, path, path, text, n, f);
	for (char *p = text, *end = text + n, *next; s->lines && p < end; p = next) {
		size_t length = (size_t)((next = memchr(p, '\n', (size_t)(end - p))) ? next - p : end - p);
		next = p + length + 1;
		snprintf(name, sizeof name, "%zu", ++line);
		score_text(s, &session, path, name, p, length, f);
	}
	moe_session_free(&session);
	free(text);
}
