/* Evaluation during training: what the network says of samples that it does not learn from, under teacher forcing. A question counts as exact when every token of
 * its answer, and the end behind it, is the most likely one, which is also what greedy decoding would then give. */
#ifndef MOE_TRAIN_DEVSET_H
#define MOE_TRAIN_DEVSET_H

#include "train/loader.h"
#include "train/net.h"
#include "train/trainlog.h"

enum { MOE_DEVSET_TYPES = 256 };

/* Sums over samples. Types in the order in which they were met. */
struct moe_devset {
	uint64_t questions, exact, text_targets, image_targets, patch_targets, failed;
	double text, image, patch;             /* sums of losses */
	struct moe_trainlog_type type[MOE_DEVSET_TYPES];        /* names are owned; more types than that count in the sums alone */
	size_t n_types;
};

/* Adds up to `samples` samples of a loader's. */
enum moe_err moe_devset_run(struct moe_devset *v, struct moe_net *net, struct moe_loader *loader, uint64_t samples, const struct moe_loss_settings *s,
			    struct moe_diag *d) MOE_CHECK_RESULT;
void moe_devset_clear(struct moe_devset *v);

#endif
