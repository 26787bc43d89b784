/* The whole forward pass in one process, for many sequences at once: prompts join while others generate, so that every pass through the
 * layers has a full batch. Rows never depend on the batch, so the answers are those of any pipeline of stages, bit for bit. */
#ifndef MOE_RUN_ENGINE_H
#define MOE_RUN_ENGINE_H

#include "model/layer.h"
#include "run/features.h"
#include "stage/given.h"
#include "stage/patchify.h"
#include "stage/reply.h"

/* A prompt, which outlives its jobs. */
struct moe_prompt_ids {
	const int32_t *token;
	size_t n;
	const char *text;               /* for the answer, where there are several prompts; else NULL */
};

/* One sequence to answer. */
struct moe_job {
	uint64_t index;
	char *name;                     /* owned, NULL: none */
	char *error;                    /* owned; set: there is nothing to compute */
	const struct moe_prompt_ids *prompt;
	struct moe_picture *picture;    /* [n_pictures], owned with their pixels */
	size_t n_pictures;
};

void moe_job_free(struct moe_job *j);

/* A sequence's part in a pass: the rows of the span with the same number. */
struct moe_pass_sequence {
	uint64_t index;
	const char *name;
	uint32_t step, next;            /* moe.step, moe.next */
	bool shadow;                    /* behind `against`: not a sequence that anybody asked for */
};

/* One pass of a batch through the layers, as those see it who watch or replace a step. */
struct moe_pass {
	size_t layer;
	struct moe_batch batch;
	const int32_t *token, *patch;   /* [rows] */
	const uint8_t *modality;        /* [rows] */
	struct moe_routed routed;       /* between router and experts */
	const struct moe_pass_sequence *sequence;       /* [batch.spans] */
	struct moe_compute compute;
};

enum moe_pass_step { MOE_PASS_ATTEND, MOE_PASS_ROUTE, MOE_PASS_EXPERT };

struct moe_engine {
	const struct moe_model *model;
	const struct moe_generation *generation;
	struct moe_pool *pool;          /* NULL: one thread */
	size_t window;                  /* sequences at once */
	bool groups;                    /* so many whole prompts are chosen among (choosing.h, batch): each pass has `window` of them, fewer at the end and before
					 * one that failed, and one token is generated */
	struct moe_feature_cache *features;     /* of pictures, or NULL */
	const struct moe_given_features *given; /* in the place of pictures (given.h), or NULL */
	const struct moe_image_choice *image;   /* how pictures are prepared; NULL: as the model's files say */
	const struct moe_what_if_table *what_if;
	/* Guidance without a classifier (Ho and Salimans 2022, "Classifier-Free Diffusion Guidance", equation 6, in their notation w = guidance - 1): with this
	 * prompt, without pictures, every sequence is computed twice, behind its own prompt and behind this one. Tokens are chosen by the logits
	 * against + guidance · (own - against), and follow both. NULL: none. Not with groups or replace. */
	const struct moe_prompt_ids *against;
	float guidance;

	/* The next sequence. MOE_END: there are no more. MOE_AGAIN: none now; only when may_wait is false. */
	enum moe_err (*next)(void *self, struct moe_job *job, bool may_wait, struct moe_diag *d);
	/* An answer, in any order; what it points to is valid during the call. */
	enum moe_err (*answer)(void *self, uint64_t index, const struct moe_answer *a, struct moe_diag *d);
	/* Text of an answer as soon as it is certain (may be NULL); the answer itself still comes, whole. */
	enum moe_err (*partial)(void *self, uint64_t index, const char *text, size_t n, struct moe_diag *d);
	/* After the router of a layer (may be NULL). Rows of the last layer that nobody reads are not computed: none of them after its router, none at all
	 * without `watch`; with `replace` they are. */
	enum moe_err (*watch)(void *self, const struct moe_pass *p, struct moe_diag *d);
	/* In place of a step: *done says whether it was (may be NULL). */
	enum moe_err (*replace)(void *self, struct moe_pass *p, enum moe_pass_step step, bool *done, struct moe_diag *d);
	void *self;
};

/* Runs until there are no more sequences. One thread per call; several may share a model. */
enum moe_err moe_engine_run(const struct moe_engine *e, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
