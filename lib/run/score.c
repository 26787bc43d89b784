#include "run/score.h"

#include <math.h>
#include <stdlib.h>

#include "nn/sample.h"

struct scorer {
	struct moe_text_score *score;
	const int32_t *token;
	size_t vocab;
	float *scratch;
};

static enum moe_err add_rows(void *self, size_t first, size_t count, const float *logit, struct moe_diag *d)
{
	struct scorer *s = self;

	for (size_t r = first; r < first + count && r + 1 < s->score->tokens; r++) {
		double p = moe_logprob(logit + (r - first) * s->vocab, s->vocab, (size_t)s->token[r + 1], s->scratch);
		if (!isfinite(p))
			return moe_fail(d, MOE_EINPUT, "the log-probability of token %zu is not finite", r + 1);
		if (s->score->token_logprob)
			s->score->token_logprob[r + 1] = (float)p;
		s->score->logprob += p;
		s->score->scored++;
	}
	return MOE_OK;
}

enum moe_err moe_score_run(struct moe_text_score *out, struct moe_session *s, const int32_t *token, size_t n, struct moe_diag *d)
{
	struct scorer scorer = {out, token, (size_t)s->model->spec->vocab, malloc((size_t)s->model->spec->vocab * sizeof(float))};
	enum moe_err err = MOE_OK;

	out->tokens = n;
	out->scored = 0;
	out->logprob = 0;
	if (!scorer.scratch)
		err = moe_fail(d, MOE_ENOMEM, "out of memory");
	else if (n)
		err = moe_session_extend(s, token, n, NULL, NULL, true, add_rows, &scorer, d);
	free(scorer.scratch);
	return err;
}
