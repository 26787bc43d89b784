/* A frame of a stream: metadata and named tensors, as moe-stream(5) has them. A stage takes a frame, changes what it is about, and passes
 * the rest on. */
#ifndef MOE_STREAM_FRAME_H
#define MOE_STREAM_FRAME_H

#include <stdbool.h>

#include "format/safetensors.h"

#define MOE_STREAM_VERSION "1.0"

enum moe_kind {
	MOE_KIND_HEAD, MOE_KIND_TOKENS, MOE_KIND_PATCHES, MOE_KIND_FEATURES, MOE_KIND_HIDDEN, MOE_KIND_ROUTED, MOE_KIND_LOGITS, MOE_KIND_TEXT,
	MOE_KIND_TRACE, MOE_KIND_DROP, MOE_KIND_FAILED, MOE_KIND_END,
	MOE_KIND_BARE,          /* a safetensors file without any moe. key */
	MOE_KIND_OTHER,         /* a kind that this version does not know: passed on */
};

struct moe_frame {
	enum moe_kind kind;
	uint64_t at;            /* first byte in the stream */
	struct moe_header h;    /* tensors and metadata; tensor data is borrowed from `bytes`, from `own`, or from a stage until it is written */
	uint8_t *bytes;         /* as read */
	size_t nbytes, cap;
	struct moe_arena own;   /* what was added since */
};

const char *moe_kind_name(enum moe_kind k);
enum moe_kind moe_kind_find(const char *name);

/* Makes an empty frame of a kind, forgetting what it was. */
enum moe_err moe_frame_reset(struct moe_frame *f, enum moe_kind kind, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_frame_free(struct moe_frame *f);

/* The name of its kind, also of one that this version does not know. */
const char *moe_frame_kind(const struct moe_frame *f);

/* The value of a metadata key, NULL if it is not there. */
const char *moe_frame_meta(const struct moe_frame *f, const char *key);

/* Sets a key (a copy is made); unset forgets it. */
enum moe_err moe_frame_set(struct moe_frame *f, const char *key, const char *value, struct moe_diag *d) MOE_CHECK_RESULT;
enum moe_err moe_frame_set_number(struct moe_frame *f, const char *key, uint64_t value, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_frame_unset(struct moe_frame *f, const char *key);

/* A decimal number in a key; `absent` when the key is not there. Anything else in it is an error. */
enum moe_err moe_frame_number(const struct moe_frame *f, const char *key, uint64_t absent, uint64_t *out, struct moe_diag *d) MOE_CHECK_RESULT;

const struct moe_tensor *moe_frame_find(const struct moe_frame *f, const char *name);

/* A tensor that must be there with this type and rank, 16-byte aligned in memory (copied if it was not). *shape (may be NULL) gets its shape. */
enum moe_err moe_frame_tensor(struct moe_frame *f, const char *name, enum moe_dtype type, unsigned rank, const void **data,
			      const uint64_t **shape, struct moe_diag *d) MOE_CHECK_RESULT;

/* The same of one axis, with n places: a number for each of n rows. */
enum moe_err moe_frame_column(struct moe_frame *f, const char *name, enum moe_dtype type, uint64_t n, const void **data, struct moe_diag *d) MOE_CHECK_RESULT;

/* Adds or replaces a tensor; `data` is borrowed until the frame is written. rank <= 2: shape is n0 or n0 × n1. */
enum moe_err moe_frame_put(struct moe_frame *f, const char *name, enum moe_dtype type, unsigned rank, uint64_t n0, uint64_t n1, const void *data,
			   struct moe_diag *d) MOE_CHECK_RESULT;
/* The same for any shape. */
enum moe_err moe_frame_put_shape(struct moe_frame *f, const char *name, enum moe_dtype type, unsigned rank, const uint64_t *shape, const void *data,
				 struct moe_diag *d) MOE_CHECK_RESULT;
void moe_frame_remove(struct moe_frame *f, const char *name);

/* An independent copy of `from`. */
enum moe_err moe_frame_copy(struct moe_frame *to, const struct moe_frame *from, struct moe_diag *d) MOE_CHECK_RESULT;

/* A failure that is about this frame: "byte N: frame "hidden" of sequence 3: TEXT". Returns code. */
enum moe_err moe_frame_fail(const struct moe_frame *f, struct moe_diag *d, enum moe_err code, const char *fmt, ...) MOE_PRINTF(4, 5);

/* Says of a failure `err` that what was read from this frame is wrong, if it is of that kind and names no place yet. Returns err. */
enum moe_err moe_frame_blame(const struct moe_frame *f, enum moe_err err, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
