#include "stage/reply.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

bool moe_is_end(const struct moe_spec *s, int32_t token)
{
	for (size_t i = 0; i < s->text.eos.n; i++)
		if (s->text.eos.v[i] == token)
			return true;
	return false;
}

/* Of a picture that has begun only its image tokens may come, all of them, and then its end; neither comes elsewhere. */
static enum moe_err init_picture(struct moe_generation *g, struct moe_diag *d)
{
	int64_t first = g->spec->image_tokens.first;
	size_t vocab = (size_t)g->spec->vocab, count = (size_t)g->spec->image_tokens.count;

	g->in_picture = malloc(vocab * sizeof *g->in_picture);
	g->behind_picture = malloc(vocab * sizeof *g->behind_picture);
	if (!g->in_picture || !g->behind_picture)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	memset(g->in_picture, true, vocab * sizeof *g->in_picture);
	memset(g->behind_picture, true, vocab * sizeof *g->behind_picture);
	memset(g->in_picture + first, false, count * sizeof *g->in_picture);
	memset(g->suppress + first, true, count * sizeof *g->suppress);
	g->behind_picture[g->spec->image_tokens.end] = false;
	g->suppress[g->spec->image_tokens.end] = true;
	return MOE_OK;
}

static const bool *suppressed(const struct moe_generation *g, const struct moe_reply *r)
{
	return !r->picture ? g->suppress : r->picture <= moe_picture_tokens(g->spec) ? g->in_picture : g->behind_picture;
}

enum moe_err moe_generation_init(struct moe_generation *g, struct moe_diag *d)
{
	g->suppress = calloc((size_t)g->spec->vocab, sizeof *g->suppress);
	if (!g->suppress)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < g->spec->text.suppress.n; i++)
		g->suppress[g->spec->text.suppress.v[i]] = true;
	return g->spec->image_tokens.count ? init_picture(g, d) : MOE_OK;
}

void moe_generation_free(struct moe_generation *g)
{
	free(g->suppress);
	free(g->in_picture);
	free(g->behind_picture);
	g->suppress = g->in_picture = g->behind_picture = NULL;
}

static bool penalises(const struct moe_generation *g) { return g->sampling.repetition_penalty > 0 && g->sampling.repetition_penalty != 1; }

enum moe_err moe_reply_prompt(struct moe_reply *r, const struct moe_generation *g, const int32_t *token, size_t n, struct moe_diag *d)
{
	if (!penalises(g))
		return MOE_OK;
	if (!r->seen && !(r->seen = calloc((size_t)g->spec->vocab, sizeof *r->seen)))
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		if (token[i] >= 0 && token[i] < g->spec->vocab)
			r->seen[token[i]] = true;
	return MOE_OK;
}

/* The i-th stop string, those of the family first; NULL behind the last. */
static const char *stop_string(const struct moe_generation *g, size_t i)
{
	size_t own = g->spec->chat.stop.n;

	return i < own ? g->spec->chat.stop.v[i] : i - own < g->n_stop ? g->stop[i - own] : NULL;
}

/* Cuts the text at the first stop string in it; true if there is one. Only what was added since `from` can have completed one. */
static bool find_stop(struct moe_reply *r, const struct moe_generation *g, size_t from)
{
	size_t first = SIZE_MAX;
	const char *stop;

	for (size_t i = 0; (stop = stop_string(g, i)); i++) {
		size_t n = strlen(stop), at = from >= n ? from - n + 1 : 0;
		const char *hit = n && r->n_text > at ? memmem(r->text + at, r->n_text - at, stop, n) : NULL;
		if (hit)
			first = moe_min(first, (size_t)(hit - r->text));
	}
	if (first == SIZE_MAX)
		return false;
	r->n_text = first;
	r->text[first] = 0;
	return true;
}

/* Bytes at the end of the text that may become a stop string. */
static size_t possible_stop(const struct moe_reply *r, const struct moe_generation *g)
{
	size_t most = 0;
	const char *stop;

	for (size_t i = 0; (stop = stop_string(g, i)); i++)
		for (size_t n = moe_min(strlen(stop), r->n_text); n > most; n--)
			if (!memcmp(r->text + r->n_text - n, stop, n))
				most = n;
	return most;
}

/* A special token is no text, but its name may be a stop string. */
static bool is_stop_token(const struct moe_generation *g, int32_t id)
{
	size_t n;
	const char *token = moe_tokenizer_token(g->tokenizer, id, &n), *stop;

	for (size_t i = 0; token && (stop = stop_string(g, i)); i++)
		if (strlen(stop) == n && !memcmp(stop, token, n))
			return true;
	return false;
}

static enum moe_err append(struct moe_reply *r, const char *text, size_t n, struct moe_diag *d)
{
	MOE_TRY(moe_grow(&r->text, &r->text_cap, r->n_text + n + 1, 1, d));
	memcpy(r->text + r->n_text, text, n);
	r->n_text += n;
	r->text[r->n_text] = 0;
	return MOE_OK;
}

/* What was held back. */
static enum moe_err finish_text(struct moe_reply *r, struct moe_diag *d)
{
	const char *text;
	size_t n;

	MOE_TRY(moe_text_stream_finish(r->stream, &text, &n, d));
	return append(r, text, n, d);
}

static void end_by_stop(struct moe_reply *r)
{
	r->done = true;
	r->finish = MOE_FINISH_STOP;
}

/* Adds what the last id lets be known of the text; at the end of the answer, all of it. */
static enum moe_err add_text(struct moe_reply *r, const struct moe_generation *g, struct moe_diag *d)
{
	size_t before = r->n_text, n;
	const char *text;

	if (!r->stream)
		MOE_TRY(moe_text_stream_new(&r->stream, g->tokenizer, true, d));
	MOE_TRY(moe_text_stream_push(r->stream, r->ids.id[r->ids.n - 1], &text, &n, d));
	MOE_TRY(append(r, text, n, d));
	if (is_stop_token(g, r->ids.id[r->ids.n - 1]))
		end_by_stop(r);
	if (r->done)            /* first, so that what was held back is not lost behind a stop token */
		MOE_TRY(finish_text(r, d));
	if (find_stop(r, g, before))
		end_by_stop(r);
	r->n_sure = r->n_text - (r->done ? 0 : possible_stop(r, g));
	return MOE_OK;
}

enum moe_err moe_reply_end(struct moe_reply *r, const struct moe_generation *g, struct moe_diag *d)
{
	size_t before = r->n_text;

	if (r->done)
		return MOE_OK;
	r->done = true;
	if (r->stream)
		MOE_TRY(finish_text(r, d));
	if (g->tokenizer && r->text && find_stop(r, g, before))
		r->finish = MOE_FINISH_STOP;
	r->n_sure = r->n_text;
	return MOE_OK;
}

static enum moe_err keep_logprobs(struct moe_reply *r, const struct moe_generation *g, const struct moe_choice *c, const float *logit, struct moe_arena *scratch,
				  struct moe_diag *d)
{
	size_t n = r->ids.n, vocab = (size_t)g->spec->vocab;
	struct moe_arena_mark mark = moe_arena_mark(scratch);
	float *room = moe_arena_get(scratch, vocab, sizeof *room);

	if (!room)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	MOE_TRY(moe_grow(&r->token, &r->token_cap, n + 1, sizeof *r->token, d));
	MOE_TRY(moe_grow(&r->best, &r->best_cap, (n + 1) * g->n_best + 1, sizeof *r->best, d));
	r->token[n] = *c;
	for (size_t i = g->n_best ? moe_choose_best(logit, vocab, suppressed(g, r), g->n_best, room, r->best + n * g->n_best) : 0; i < g->n_best; i++)
		r->best[n * g->n_best + i].token = -1;
	moe_arena_release(scratch, mark);
	return MOE_OK;
}

enum moe_err moe_reply_next(struct moe_reply *r, const struct moe_generation *g, const float *logit, uint64_t sequence, struct moe_arena *scratch,
			    struct moe_diag *d)
{
	struct moe_choice c;

	MOE_TRY(moe_choose(logit, (size_t)g->spec->vocab, suppressed(g, r), r->seen, &g->sampling, sequence, r->ids.n, scratch, &c, d));
	if (g->logprobs)
		MOE_TRY(keep_logprobs(r, g, &c, logit, scratch, d));
	MOE_TRY(moe_grow(&r->ids.id, &r->ids.cap, r->ids.n + 1, sizeof *r->ids.id, d));
	r->ids.id[r->ids.n++] = c.token;
	r->logprob += (double)c.logprob;
	r->picture = moe_picture_after(g->spec, r->picture, c.token);
	if (r->seen)
		r->seen[c.token] = true;
	if (moe_is_end(g->spec, c.token) || r->ids.n >= g->max_new) {
		r->done = true;
		r->finish = moe_is_end(g->spec, c.token) ? MOE_FINISH_END : MOE_FINISH_LENGTH;
	}
	return g->tokenizer ? add_text(r, g, d) : MOE_OK;
}

void moe_reply_answer(const struct moe_reply *r, const struct moe_generation *g, struct moe_answer *a)
{
	a->text = r->text ? r->text : "";
	a->n_text = r->n_text;
	a->ids = r->ids;
	a->logprob = r->logprob;
	a->token = g->logprobs ? r->token : NULL;
	a->best = r->best;
	a->n_best = g->n_best;
	a->finish = r->finish;
	a->tokenizer = g->tokenizer;
	a->suppresses = g->spec->text.suppress.n > 0;
}

void moe_reply_free(struct moe_reply *r)
{
	free(r->ids.id);
	free(r->token);
	free(r->best);
	free(r->seen);
	free(r->text);
	moe_text_stream_free(r->stream);
	*r = (struct moe_reply){0};
}
