/* What a model loses without an expert: each is left out in turn, in one layer, and the questions of an evaluation are asked again.
 *
 * A case is one such experiment. The expert is left out for all rows, for rows of text or for rows of pictures, in one of two ways:
 *   reroute        it is never chosen; the next best takes its place (what moe-run --drop does)
 *   renormalise    it is chosen as ever and then left out; the others of the chosen get its weight in proportion to theirs (--mute)
 * (Dai et al. 2024, DeepSeekMoE, section 4.5, mask experts the first way.) A question none of whose rows chose the expert, as far as they are of the case's
 * kind, is answered as before, bit for bit, and is not computed again. */
#ifndef MOE_ABLATE_ABLATE_H
#define MOE_ABLATE_ABLATE_H

#include "eval/evaluate.h"
#include "sys/pool.h"

enum { MOE_ABLATE_PART = 8 };

enum moe_ablate_way { MOE_ABLATE_REROUTE, MOE_ABLATE_RENORMALISE, MOE_N_ABLATE_WAYS };
enum moe_ablate_rows { MOE_ABLATE_TEXT, MOE_ABLATE_IMAGE, MOE_ABLATE_ALL, MOE_N_ABLATE_ROWS };

const char *moe_ablate_way_name(enum moe_ablate_way w);
const char *moe_ablate_rows_name(enum moe_ablate_rows r);

struct moe_ablate_case {
	size_t layer, expert;
	enum moe_ablate_way way;
	enum moe_ablate_rows rows;
};

/* Sums over the questions of a sample that were asked. */
struct moe_ablate_sum {
	double loss;                    /* nats: of the tokens of the right answers, and of their ends */
	uint32_t right;                 /* answers that are */
	uint32_t changed;               /* answers that are not those of the whole model */
};

struct moe_ablate_options {
	size_t first, last;             /* layers, both included; those without experts are passed over */
	const bool *expert;             /* [experts]: which are left out; NULL: each */
	bool way[MOE_N_ABLATE_WAYS], rows[MOE_N_ABLATE_ROWS];
	const char *journal;            /* a file that keeps what has been done, from which it goes on; NULL: none. It stays */
	struct moe_pool *pool;
	/* Told how many of all parts of the work are done, by one thread at a time; may be NULL. */
	void (*progress)(void *self, size_t done, size_t all);
	void *self;
};

struct moe_ablation {
	const struct moe_evaluation *e;
	size_t experts;
	struct moe_ablate_case *list;   /* [n]: by layer, expert, way, rows */
	size_t n;
	struct moe_ablate_sum *sum;     /* [n][e->n_samples] */
	size_t parts;                   /* of the samples, of MOE_ABLATE_PART each, that are asked together */
	bool *done;                     /* [n][parts] */
	size_t recalled;                /* of them, those that the journal had */
};

/* Runs all cases on the questions of e, which has been kept (moe_evaluate_options.keep) and stays the owner of samples. Results do not depend on threads, nor
 * on interruptions. A journal that is about other questions, another model or another arithmetic fails with MOE_EMATCH. Free the ablation in any case. */
enum moe_err moe_ablate_run(struct moe_ablation *out, const struct moe_evaluation *e, const struct moe_model *m, const struct moe_generation *g,
			    const struct moe_ablate_options *o, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_ablation_free(struct moe_ablation *a);

/* Did a row of the question that the case is about choose the expert? */
bool moe_ablate_touches(const struct moe_ablation *a, const struct moe_ablate_case *c, const struct moe_asked *q);

#endif
