/* Runs a model on every question of samples, each asked of its own picture and of another one, and keeps what came of it.
 *
 * The blind baseline: a sample's questions are asked again of the picture of the next sample of the same kind whose picture has the same grid (the last one's of
 * the first such picture). What a model knows without looking stays right. A picture that shows the very same strings, drawn again, is no other one: it is
 * passed over. */
#ifndef MOE_EVAL_EVALUATE_H
#define MOE_EVAL_EVALUATE_H

#include "data/shards.h"
#include "eval/asked.h"
#include "report/load.h"
#include "stage/prompt_text.h"
#include "stage/reply.h"

struct moe_evaluate_options {
	const char *const *path;        /* [n_paths], as moe_shard_open takes them, in order */
	size_t n_paths;
	uint64_t limit;                 /* samples at most; 0: all */
	const char *const *type;        /* [n_types]: only these questions; none: all */
	size_t n_types;
	struct moe_prompt_form form;    /* of the prompts */
	bool no_blind, no_sandbox;
	bool keep;                      /* what it takes to ask again: features of the pictures, and whom each question chose */
	size_t patch_layer;             /* labels of patches are read after so many layers; 0: all */
	unsigned threads;               /* the caller included; 0: 1 */
	size_t window;                  /* pictures at once in a thread; 0: 24. Sums of routing are added up in this many */
	/* Told of each sample that could not be asked, in order, with its name; and of how many are done. Both by one thread at a time; may be NULL. */
	void (*failed)(void *self, const struct moe_diag *d);
	void (*progress)(void *self, uint64_t done);
	void *self;
};

struct moe_evaluation {
	struct moe_asked_sample **sample;       /* [n_samples] in the order of the shards */
	size_t n_samples;
	uint64_t failed;                /* samples */
	struct moe_load *load;          /* [n_layers]: routing of pictures and questions, by modality */
	size_t n_layers;
	struct moe_arena memory;        /* but for features and what was said */
};

/* The tokenizer is used by one thread at a time. Results do not depend on threads. Broken samples are told of and left out; a failure is one of the model, or of
 * memory. Free the evaluation in any case. */
enum moe_err moe_evaluate_run(struct moe_evaluation *out, const struct moe_model *m, struct moe_tokenizer *t, const struct moe_generation *g,
			      const struct moe_evaluate_options *o, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_evaluation_free(struct moe_evaluation *e);

#endif
