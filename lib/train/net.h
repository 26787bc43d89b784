/* A network in training: the parameters of a model as one flat vector, its forward pass with losses, and the gradient of their sum.
 *
 * A step takes a batch of packed sequences (data/packed.h), cuts it into chunks of a fixed number of them (or more, where rows of a group of sequences are
 * chosen among each other: a chunk holds whole groups, which lie in the batch as router.batch and its documents say, whatever the chunks are), and deals the
 * chunks out to a fixed number of lanes. A lane works through its chunks in order and has a gradient of its own; the lanes' gradients are added in order.
 * Threads take whole lanes, so the bits of a step do not depend on their number. All chunks pass forward before the first passes backward, because the
 * balance loss takes its shares f from the whole step. Of a batch of more sequences than memory is planned for, part after part passes forward a second time,
 * and then backward: the same bits, for a third more work. */
#ifndef MOE_TRAIN_NET_H
#define MOE_TRAIN_NET_H

#include "data/packed.h"
#include "kernel/gemm.h"
#include "model/model.h"
#include "sys/pool.h"
#include "train/params.h"

struct moe_net;

/* Layers of the two, see below. */
struct moe_net_match {
	int64_t own, its;
};

/* A network that another learns from (Hinton, Vinyals and Dean 2015), which sees the same rows: it only passes forward. Beside its logits, rows behind some layers may
 * be matched (Romero et al. 2015): behind `own` layers of the one that learns, and `its` layers of the teacher. Where the two have different widths, a matrix that is
 * trained for each match, from `seed` on, makes the one of the other; it is no part of the model. */
enum { MOE_NET_MATCHES = 16 };
struct moe_net_teacher {
	struct moe_net *net;            /* made with forward_only, and with the same chunk, lanes and vocabulary; the caller's */
	struct moe_net_match match[MOE_NET_MATCHES];
	size_t n_matches;
	double temperature;
	uint64_t seed;
};

/* Zero: the value in brackets. */
struct moe_net_options {
	enum moe_unit unit;             /* of the products' operands */
	size_t chunk, lanes;            /* sequences of a chunk (8), lanes (4) */
	size_t most_pictures, most_text;        /* sequences that are computed together, and rows of text of one: for the plan of memory and the table of positions (128, 512) */
	struct moe_pool *pool;
	bool forward_only;              /* no gradient, and the memory of one chunk for each lane */
	const struct moe_net_teacher *teacher;  /* or NULL; borrowed */
};

/* The network of a model that is open with its weights, which are copied. Parts without a backward pass are refused with their names (MOE_EUSAGE). */
enum moe_err moe_net_new(struct moe_net **out, struct moe_model *m, const struct moe_net_options *o, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_net_free(struct moe_net *n);

/* Has every part of the model a backward pass? */
enum moe_err moe_net_check(const struct moe_spec *s, struct moe_diag *d) MOE_CHECK_RESULT;

const struct moe_params *moe_net_params(const struct moe_net *n);
float *moe_net_weights(struct moe_net *n);      /* [total]; call moe_net_changed after a change */
float *moe_net_gradient(struct moe_net *n);     /* [total] */

/* The forms of the weights that products read are made again. */
void moe_net_changed(struct moe_net *n);

/* Bytes that a network takes (but for its teacher) for steps of options.most_pictures sequences with pictures of the largest grid and options.most_text rows of text each. */
uint64_t moe_net_nbytes(const struct moe_spec *s, const struct moe_net_options *o);

/* The batch, as in training; or, row by row, auxiliary routers, at one half or at the thresholds that the model has. */
enum moe_net_choice { MOE_NET_BATCH, MOE_NET_AUX, MOE_NET_THRESHOLD };

/* Factors of the parts of the loss. */
struct moe_loss_settings {
	double text, image, patch, balance, z;
	double soft, match;             /* with a teacher: of its soft targets and matches; 0 and 0: it is not asked */
	int64_t patch_layer;            /* patch labels are read after so many layers; 0: after the last */
	int64_t balance_groups;         /* groups of experts of each pool that are balanced; 0: each expert */
	double noise;                   /* on the logits of routers by sigmoid, for choice and weight (router_grad.h); 0: none */
	uint64_t noise_seed;            /* of the step */
	double aux;                     /* above 0: auxiliary routers are trained, alone, and this is the factor of their loss */
	double flips;                   /* share of the decisions over groups (row and expert; row and depth) that are turned round, at random, in a step without gradient */
	int choice;                     /* enum moe_net_choice: who chooses, in a step without gradient of a model that chooses over groups */
};

/* Do they fit the router? MOE_EUSAGE names the setting of a recipe. */
enum moe_err moe_net_check_losses(const struct moe_spec *spec, const struct moe_loss_settings *s, struct moe_diag *d) MOE_CHECK_RESULT;

struct moe_step_result {
	double total, text, image, patch, balance, z, soft, match;     /* means as they stand before their factors */
	double text_weight, image_weight;       /* sums of the weights of text and image targets */
	uint64_t text_targets, image_targets, patch_targets, rows;     /* rows: tokens that passed the layers */
	double aux;                     /* loss of auxiliary routers: sum over layers and pools of means over rows and experts; and what they were about: */
	double aux_right, aux_foretold, aux_taken;      /* shares of (row, expert) that are foretold as they are, are foretold to be taken, and are taken */
	double busiest;                 /* largest share of a layer's choices that one expert got */
	double unserved;                /* share of a layer's rows that no expert took, mean over layers */
	bool finite;                    /* the loss is */
	const uint64_t *load;           /* [layers][MOE_N_MODALITIES][experts]: choices, until the next step */
};

/* Losses of a batch, and with `backward` the gradient of
 *
 *     total = text · T + image · I + patch · P + balance · LB + z · Z + soft · S + match · M
 *
 * or, where auxiliary routers are trained, of aux · A, which is that of theirs alone (grad/aux_grad.h).
 *
 * T: mean cross entropy over the targets that are text, by their weights; I: over those that are image tokens; P: over labelled patches, through the same norm
 * and head; LB and Z as in grad/router_grad.h. S: mean of tau² KL(teacher, own) at temperature tau over the text's targets, by their weights; M: mean over matches, rows and numbers of
 * (W x - t)², with x and t the rows of the two over their root mean squares. */
enum moe_err moe_net_step(struct moe_net *n, const struct moe_packed *batch, size_t count, const struct moe_loss_settings *s, bool backward,
			  struct moe_step_result *out, struct moe_diag *d) MOE_CHECK_RESULT;

/* Losses without a gradient, and of each row of text the most likely token (best[i] [n_text]) and the log-probability of its target (logprob[i] [n_text]);
 * -1 and 0 for rows without one. best[i] and logprob[i] belong to batch[i]. */
enum moe_err moe_net_predict(struct moe_net *n, const struct moe_packed *batch, size_t count, const struct moe_loss_settings *s, int32_t *const *best,
			     float *const *logprob, struct moe_step_result *out, struct moe_diag *d) MOE_CHECK_RESULT;

/* Thresholds at which auxiliary routers give as many rows to each expert, and through each layer, as the batch does: the model chooses over the groups of a
 * batch, between these two calls, and what the routers say of its rows is kept; at the end the thresholds, tensors of the model, get their values. MOE_EUSAGE
 * for a model without them. */
enum moe_err moe_net_calibrate(struct moe_net *n, const struct moe_packed *batch, size_t count, struct moe_diag *d) MOE_CHECK_RESULT;
enum moe_err moe_net_calibrated(struct moe_net *n, struct moe_diag *d) MOE_CHECK_RESULT;

/* For finite differences, where a choice must not change with the weights: a step that records keeps its choices of experts and of rows, and later steps with the same
 * batch take those. The shares f of the balance loss then stay, too. */
enum moe_net_replay { MOE_REPLAY_OFF, MOE_REPLAY_RECORD, MOE_REPLAY_PLAY };
void moe_net_replay(struct moe_net *n, enum moe_net_replay how);

#endif
