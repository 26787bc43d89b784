/* What the files of a training run share: the run (trainer.c), its checkpoints (trainer_saved.c), and what it says of held-out samples (trainer_held_out.c). */
#ifndef MOE_TRAIN_TRAINER_PRIV_H
#define MOE_TRAIN_TRAINER_PRIV_H

#include "base/rng.h"
#include "train/freeze.h"
#include "train/loader.h"
#include "train/net.h"
#include "train/optimiser.h"
#include "train/position.h"
#include "train/quantise.h"
#include "train/snapshot.h"
#include "train/trainer.h"
#include "train/trainlog.h"

/* Streams of random numbers. */
enum { STREAM_STAGE = 5, STREAM_DEV = 6, STREAM_NOISE = 7, STREAM_CODES = 8 };

struct moe_trainer {
	const struct moe_trainer_options *o;
	struct moe_model *model;
	double theta;                   /* the model's own rope base */
	struct moe_net *net;            /* one of the two */
	struct moe_quantise *quantise;
	struct moe_net_teacher teacher; /* without a network: there is none */
	struct moe_optimiser *optimiser;
	struct moe_loader *loader;      /* of the stage at hand; NULL: it has not begun here */
	struct moe_trainlog *log;
	struct moe_run_position at;
	json_t *recipe;                 /* with all settings */
	struct moe_frozen frozen;
	float *factor;                  /* [tensors]: of the rates, or NULL: 1 */
	struct moe_train_progress shown;
	double began;                   /* of the step at hand */
};

static inline enum moe_err moe_trainer_no_memory(struct moe_diag *d) { return moe_fail(d, MOE_ENOMEM, "out of memory"); }

/* Tells the caller of the library something in one line. */
void moe_trainer_note(struct moe_trainer *t, const char *fmt, ...) MOE_PRINTF(2, 3);

static inline const struct moe_recipe_stage *moe_trainer_stage(const struct moe_trainer *t) { return &t->o->recipe->stage[t->at.stage]; }

/* Of the network, or of the quantiser. */
static inline const struct moe_params *moe_trainer_params(const struct moe_trainer *t) { return t->net ? moe_net_params(t->net) : moe_quantise_params(t->quantise); }
static inline float *moe_trainer_weights(const struct moe_trainer *t) { return t->net ? moe_net_weights(t->net) : moe_quantise_weights(t->quantise); }
static inline float *moe_trainer_gradient(const struct moe_trainer *t) { return t->net ? moe_net_gradient(t->net) : moe_quantise_gradient(t->quantise); }
void moe_trainer_changed(const struct moe_trainer *t);

/* What a recipe's stage wants of its samples: a quantiser learns of pictures alone, in pixels. */
void moe_trainer_form(struct moe_loader_options *o, const struct moe_model *m, const struct moe_recipe *r, const struct moe_recipe_stage *s);

/* ---- trainer_saved.c ---- */

/* What a checkpoint holds, as views. */
struct moe_snapshot moe_trainer_snapshot(struct moe_trainer *t);

/* A checkpoint, and with `keep` one that stays. A failure is told of, and fails only with `must`: there will be no other try. */
enum moe_err moe_trainer_save(struct moe_trainer *t, bool keep, bool must, struct moe_diag *d) MOE_CHECK_RESULT;

/* Goes on where the last checkpoint stands, if there is one. */
enum moe_err moe_trainer_resume(struct moe_trainer *t, struct moe_diag *d) MOE_CHECK_RESULT;

/* ---- trainer_held_out.c ---- */

/* Lines of the log about the samples of dev. A model that chooses over groups is evaluated as it is trained and, where its auxiliary routers learn, as they choose. */
enum moe_err moe_trainer_evaluate(struct moe_trainer *t, struct moe_diag *d) MOE_CHECK_RESULT;

/* Thresholds of auxiliary routers, at the end of their training. */
enum moe_err moe_trainer_calibrate(struct moe_trainer *t, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
