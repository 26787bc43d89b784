/* Many prompts over pictures: a feed, some engines on threads of their own, and answers in order. */
#ifndef MOE_RUN_BATCH_H
#define MOE_RUN_BATCH_H

#include "image/feed.h"
#include "run/engine.h"
#include "stage/tracing.h"

enum { MOE_MAX_EXEC = 32 };

struct moe_exec;

struct moe_batch_run {
	const struct moe_model *model;
	const struct moe_generation *generation;
	struct moe_pool *pool;          /* for a single sequence, whose products are then shared out */
	unsigned threads;
	bool single;                    /* one sequence at most: no second engine is worth it */
	struct moe_feed *feed;          /* NULL: the prompts have no pictures, and each is answered once */
	const struct moe_prompt_ids *prompt;    /* [n_prompts], all of which are asked of every n_pictures pictures */
	size_t n_prompts, n_pictures, window;
	bool groups;                    /* engine.h; then there is one engine */
	size_t cache_nbytes;            /* of features of pictures, which are kept when there are several prompts */
	const struct moe_given_features *given; /* in the place of pictures, or NULL */
	const struct moe_image_choice *image;
	const struct moe_what_if_table *what_if;
	const struct moe_prompt_ids *against;   /* of engine.h, as guidance */
	float guidance;
	struct moe_exec *exec[MOE_MAX_EXEC];
	size_t n_exec;

	/* Answers in order; routing of every pass (may be NULL). Both are called by one thread at a time. */
	enum moe_err (*answer)(void *to, const struct moe_answer *a, struct moe_diag *d);
	/* Text of the only sequence's answer as soon as it is certain (may be NULL). */
	enum moe_err (*partial)(void *to, uint64_t index, const char *text, size_t n, struct moe_diag *d);
	void *to;
	void (*watch)(void *watcher, size_t layer, const struct moe_pass *p);
	void *watcher;
	struct moe_tracing *tracing;    /* in order, begun and ended by the caller; or NULL */
};

/* Adds a command in place of a stage ("STAGE:LAYERS=CMD"). */
enum moe_err moe_batch_run_exec(struct moe_batch_run *r, const char *text, double timeout, struct moe_diag *d) MOE_CHECK_RESULT;

/* Answers everything. A bad picture is an answer with an error; it costs no other. Commands are stopped at the end. */
enum moe_err moe_batch_run(struct moe_batch_run *r, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
