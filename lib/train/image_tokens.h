/* Image tokens of a new model: what its description says of them (create.h), and what becomes of it in the model's files. */
#ifndef MOE_TRAIN_IMAGE_TOKENS_H
#define MOE_TRAIN_IMAGE_TOKENS_H

#include "format/safetensors.h"
#include "train/description.h"

/* The description with all that its "image_tokens" take from another model ("from") written out; a new reference. */
enum moe_err moe_image_tokens_expand(json_t **out, json_t *description, struct moe_diag *d) MOE_CHECK_RESULT;

/* Reads "image_tokens": m->tokens, and the stem, which is the encoder then. Without the key nothing changes. */
enum moe_err moe_image_tokens_read(struct moe_description *m, json_t *json, struct moe_diag *d) MOE_CHECK_RESULT;

/* Tokens that a vocabulary has for pictures: 0, or two and the codes. Number 0 begins a picture, 1 ends it, 2 is code 0. */
int64_t moe_image_tokens_count(const struct moe_description *m);
void moe_image_tokens_name(char *out, size_t cap, int64_t number);

/* What config.json says of them; `first` is token number 0. */
json_t *moe_image_tokens_config(const struct moe_description *m, int64_t first);

/* A convolution as config.json has it. */
json_t *moe_convolution_config(const char *name, int64_t in, int64_t out, int side, int stride, bool silu);

/* The tensor's numbers in the model that image tokens are taken from: *tensor is NULL for tensors that are not taken. MOE_EMATCH where that has another shape. */
struct moe_checkpoint;
enum moe_err moe_image_tokens_taken(const struct moe_tensor **tensor, const struct moe_checkpoint *from, const char *name, const uint64_t *shape, unsigned rank,
				    struct moe_diag *d) MOE_CHECK_RESULT;

#endif
