#include "model/choosing.h"

#include <stdio.h>
#include <string.h>

static void set(struct moe_model *m, enum moe_choosing choosing, const char *choice)
{
	m->choosing = choosing;
	snprintf(m->choice, sizeof m->choice, "%s", choice);
}

void moe_choosing_init(struct moe_model *m)
{
	const struct moe_spec *s = m->spec;

	if (!moe_spec_chooses_rows(s))
		set(m, MOE_CHOOSING_TOKEN, "token");
	else if (!s->aux.routers)
		set(m, MOE_CHOOSING_NOBODY, "");
	else if (s->aux.threshold == MOE_AUX_STORED)
		set(m, MOE_CHOOSING_THRESHOLD, "causal:threshold");
	else
		set(m, MOE_CHOOSING_AUX, "causal:aux");
}

enum moe_err moe_choosing_causal(struct moe_model *m, const char *name, struct moe_diag *d)
{
	bool stored = !strcmp(name, "threshold");

	if (!stored && strcmp(name, "aux"))
		return moe_fail(d, MOE_EUSAGE, "the choice of auxiliary routers is \"%s\", expected aux (at one half) or threshold (at what is stored)", name);
	if (!m->spec->aux.routers)
		return moe_fail(d, MOE_EUSAGE, "the model has no auxiliary routers");
	if (stored && m->spec->aux.threshold != MOE_AUX_STORED)
		return moe_fail(d, MOE_EUSAGE, "the model has no thresholds stored for its auxiliary routers");
	set(m, stored ? MOE_CHOOSING_THRESHOLD : MOE_CHOOSING_AUX, stored ? "causal:threshold" : "causal:aux");
	return MOE_OK;
}

enum moe_err moe_choosing_batch(struct moe_model *m, size_t n, struct moe_diag *d)
{
	char choice[32];

	if (!moe_spec_chooses_rows(m->spec))
		return moe_fail(d, MOE_EUSAGE, "nothing in the model is chosen over a batch: each token chooses its experts, and takes every layer");
	snprintf(choice, sizeof choice, "batch:%zu", n);
	set(m, MOE_CHOOSING_BATCH, choice);
	return MOE_OK;
}

enum moe_err moe_choosing_check(const struct moe_model *m, struct moe_diag *d)
{
	if (m->choosing != MOE_CHOOSING_NOBODY)
		return MOE_OK;
	return moe_fail(d, MOE_EMATCH, "%s choose among all tokens of a batch, later ones included, and the model has no auxiliary routers to foretell that for one "
			"token: moe-train --aux trains them; --batch-choice N shows what batches of N whole sequences get (moe-block, moe-run)",
			m->spec->router.chooses == MOE_CHOICE_EXPERT ? "experts" : "layers");
}
