/* What the cases of an ablation did: changes of loss and of answers against the whole model, with their intervals. */
#ifndef MOE_ABLATE_EFFECT_H
#define MOE_ABLATE_EFFECT_H

#include "ablate/ablate.h"

/* A change, and its 95 % interval: the paired bootstrap over samples (stats/bootstrap.h), whose questions stay together. */
struct moe_change { double by, low, high; };

struct moe_effect {
	struct moe_ablate_case c;
	uint64_t touched;               /* questions of which a row that the case is about chose the expert */
	struct moe_change loss;         /* nats for each token of the right answers, and of their ends; above 0: it is missed */
	struct moe_change right;        /* share of right answers */
	uint64_t changed;               /* answers that are other ones */
};

struct moe_effects {
	const struct moe_ablation *a;
	struct moe_effect *effect;      /* [a->n] */
	uint64_t samples, questions, tokens, right;     /* of the whole model */
	double loss;                    /* nats for each token */
};

/* MOE_EINPUT when no question was asked. Results do not depend on threads. */
enum moe_err moe_effects_make(struct moe_effects *out, const struct moe_ablation *a, struct moe_pool *pool, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_effects_free(struct moe_effects *f);

#endif
