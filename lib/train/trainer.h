/* The loop of training: stages, steps, evaluations, checkpoints.
 *
 * A run lives in a folder:
 *
 *     checkpoint.safetensors           where it stands (snapshot.h)
 *     step-NNNNNNNN.safetensors        checkpoints that the recipe keeps
 *     log.jsonl                        (trainlog.h)
 *     recipe.json                      the recipe with all its settings
 *
 * A run that ended in any way, by SIGKILL too, goes on from its checkpoint and comes to the same bits as one that did not. Only one process at a time works in a folder. */
#ifndef MOE_TRAIN_TRAINER_H
#define MOE_TRAIN_TRAINER_H

#include <signal.h>

#include "train/export.h"
#include "train/net.h"
#include "train/position.h"
#include "train/recipe.h"

enum { MOE_TRAIN_MOST_SKIPPED = 20 };   /* steps in a row that are not finite, after which a run ends */

/* What there is to show after a step. */
struct moe_train_progress {
	uint64_t step, tokens, all_tokens;
	const char *stage;
	double text, image, patch;      /* losses, means over the last steps */
	bool quantiser;                 /* that is trained: psnr (decibels) and codes in use are told instead */
	double psnr;
	uint64_t codes;
	double tokens_per_second, busiest, seconds_left;
	uint64_t failed, skipped;       /* samples, steps */
};

struct moe_trainer_options {
	const struct moe_recipe *recipe;
	const char *directory;          /* of the run; it exists */
	struct moe_model *teacher;      /* of the recipe's teacher.model; NULL: it has none */
	struct moe_pool *pool;
	bool timings;                   /* the log says how long steps took */
	bool no_sandbox;
	const volatile sig_atomic_t *stop;      /* set: make a checkpoint after this step, and end; NULL: never */
	void (*progress)(void *arg, const struct moe_train_progress *p);        /* these three may be NULL */
	void (*note)(void *arg, const char *text);      /* what a user should know: samples that are no good, steps that are skipped, checkpoints that fail */
	void (*saved)(void *arg);       /* a checkpoint was made */
	void *arg;
};

enum moe_train_end { MOE_TRAIN_FINISHED, MOE_TRAIN_STOPPED };

struct moe_trainer;

/* Prepares the run, from its checkpoint if there is one. MOE_EMATCH when that is of another recipe or model. The options and what they point at are kept; so is
 * the model, whose rope base a stage may change. */
enum moe_err moe_trainer_new(struct moe_trainer **out, struct moe_model *m, const struct moe_trainer_options *o, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_trainer_free(struct moe_trainer *t);

/* Trains to the end of the recipe, or until it is to stop. A checkpoint that cannot be written leaves the one before, is told, and tried again; at the end it is an
 * error. */
enum moe_err moe_trainer_run(struct moe_trainer *t, enum moe_train_end *end, struct moe_diag *d) MOE_CHECK_RESULT;

const struct moe_run_position *moe_trainer_position(const struct moe_trainer *t);

/* Is there nothing left to do? */
bool moe_trainer_finished(const struct moe_trainer *t);

/* The weights as a model (export.h). */
enum moe_err moe_trainer_export(struct moe_trainer *t, const char *directory, const char *families, enum moe_dtype type, struct moe_diag *d) MOE_CHECK_RESULT;

/* Bytes that a run takes, before it takes any. `teacher` may be NULL. */
enum moe_err moe_trainer_nbytes(uint64_t *out, const struct moe_spec *s, const struct moe_spec *teacher, const struct moe_recipe *r, const struct moe_pool *pool,
				struct moe_diag *d) MOE_CHECK_RESULT;

/* A path in the run's folder, to be freed. */
char *moe_train_path(const char *directory, const char *name);

/* Options of the network for a recipe. */
struct moe_net_options moe_trainer_net_options(const struct moe_recipe *r, struct moe_pool *pool);

/* Makes the teacher of a recipe for networks with these options, from its model; its network is to be freed. The two models are checked. */
enum moe_err moe_trainer_teacher(struct moe_net_teacher *t, const struct moe_model *m, struct moe_model *teacher, const struct moe_recipe *r,
				 const struct moe_net_options *o, struct moe_diag *d) MOE_CHECK_RESULT;

/* The losses of a stage, as the network takes them. */
struct moe_loss_settings moe_trainer_losses(const struct moe_recipe_stage *s);

struct moe_loader;
/* The samples of a stage, from a position on or from the beginning (NULL). */
enum moe_err moe_trainer_loader(struct moe_loader **out, const struct moe_model *m, const struct moe_recipe *r, size_t stage, bool ahead, bool no_sandbox,
				const struct moe_mix_position *from, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
