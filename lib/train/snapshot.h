/* A checkpoint of training: one safetensors file with all that is needed to go on bit by bit as if nothing had happened.
 *
 *     steps        U64 [tensors]    steps that each tensor has made, in the order of the parameters
 *     w.NAME       F32              weights
 *     m.NAME       F32              first moments; absent where all are 0
 *     v.NAME       F32              second moments; absent where all are 0
 *     metadata     moe.train: a JSON object of the trainer's (recipe, position, sums); moe.xxh3: XXH3-64 of the payload, 16 hex digits
 *
 * It replaces the one before only when it is complete and on the disk (io/sink.h). */
#ifndef MOE_TRAIN_SNAPSHOT_H
#define MOE_TRAIN_SNAPSHOT_H

#include <jansson.h>

#include "base/err.h"
#include "train/params.h"

/* What is saved: flat arrays [total], steps [tensors]; all the caller's. */
struct moe_snapshot {
	const struct moe_params *params;
	float *weights, *first, *second;
	uint64_t *steps;
	json_t *state;
};

/* Writes it. Weights or moments that are not finite are never written: MOE_EINPUT, naming the tensor. Whatever fails, the file that was there stays. */
enum moe_err moe_snapshot_write(const char *path, const struct moe_snapshot *s, struct moe_diag *d) MOE_CHECK_RESULT;

/* The state alone, to be released; for looking before anything is made. The whole file is checked on the way. */
enum moe_err moe_snapshot_state(json_t **state, const char *path, struct moe_diag *d) MOE_CHECK_RESULT;

/* Fills the arrays of *s and s->state (to be released). MOE_EINPUT for a damaged file, MOE_EMATCH for one of another model: names and shapes must be those of
 * s->params. The arrays may be half filled then. */
enum moe_err moe_snapshot_read(struct moe_snapshot *s, const char *path, struct moe_diag *d) MOE_CHECK_RESULT;

/* Writes the checkpoint `from` as `path` with another state. */
enum moe_err moe_snapshot_restate(const char *path, const char *from, const json_t *state, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
