/* A checkpoint: the named tensors of a model directory, read in place. model.safetensors, or model.safetensors.index.json with its shards. */
#ifndef MOE_FORMAT_CHECKPOINT_H
#define MOE_FORMAT_CHECKPOINT_H

#include "format/safetensors.h"

struct moe_checkpoint;

enum moe_err moe_checkpoint_open(struct moe_checkpoint **out, const char *directory, struct moe_diag *d) MOE_CHECK_RESULT;
/* Are there weights in the directory? */
bool moe_checkpoint_exists(const char *directory);
void moe_checkpoint_close(struct moe_checkpoint *c);

/* All tensors, sorted by name. */
size_t moe_checkpoint_count(const struct moe_checkpoint *c);
const struct moe_tensor *moe_checkpoint_get(const struct moe_checkpoint *c, size_t i);

/* The tensor of that name, NULL if there is none; *index (may be NULL) is its place in the sorted list. */
const struct moe_tensor *moe_checkpoint_find(const struct moe_checkpoint *c, const char *name, size_t *index);

#endif
