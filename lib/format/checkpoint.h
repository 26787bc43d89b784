/* A checkpoint: the named tensors of a model, read in place. Either a directory with model.safetensors, or model.safetensors.index.json with its shards,
 * or a GGUF file, of several (NAME-00001-of-0000N.gguf) the first. */
#ifndef MOE_FORMAT_CHECKPOINT_H
#define MOE_FORMAT_CHECKPOINT_H

#include "format/safetensors.h"

struct moe_checkpoint;

enum moe_err moe_checkpoint_open(struct moe_checkpoint **out, const char *path, struct moe_diag *d) MOE_CHECK_RESULT;
/* Is the model a regular file, and not a directory? */
bool moe_checkpoint_is_file(const char *path);
/* Is it a GGUF file? */
bool moe_checkpoint_is_gguf(const char *path);
/* Are there weights at that path? */
bool moe_checkpoint_exists(const char *path);
void moe_checkpoint_close(struct moe_checkpoint *c);

/* All tensors, sorted by name. */
size_t moe_checkpoint_count(const struct moe_checkpoint *c);
const struct moe_tensor *moe_checkpoint_get(const struct moe_checkpoint *c, size_t i);

/* The tensor of that name, NULL if there is none; *index (may be NULL) is its place in the sorted list. */
const struct moe_tensor *moe_checkpoint_find(const struct moe_checkpoint *c, const char *name, size_t *index);

#endif
