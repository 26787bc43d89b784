/* Writing GGUF, version 3: keys and tensors are named, and the bytes in front of the data come out. Errors stick until moe_gguf_out_finish tells them. */
#ifndef MOE_FORMAT_GGUF_WRITE_H
#define MOE_FORMAT_GGUF_WRITE_H

#include "format/gguf.h"

enum { MOE_GGUF_ALIGNMENT = 32 };

struct moe_gguf_bytes {
	uint8_t *p;
	size_t n, cap;
};

/* A header in the making. Begins with zeros, and is freed in any case. */
struct moe_gguf_out {
	struct moe_gguf_bytes values, tensors;
	uint64_t n_values, n_tensors, data_nbytes;      /* of the tensors so far, each rounded up to the alignment */
	enum moe_err err;
	char wrong[200];                /* what failed */
};

/* Values; a key is given once. `number` is a U32 (a negative or larger one fails), `real` an F32. */
void moe_gguf_out_number(struct moe_gguf_out *g, const char *key, int64_t v);
void moe_gguf_out_real(struct moe_gguf_out *g, const char *key, double v);
void moe_gguf_out_truth(struct moe_gguf_out *g, const char *key, bool v);
void moe_gguf_out_text(struct moe_gguf_out *g, const char *key, const char *s, size_t n);

/* A value as another file has it. */
void moe_gguf_out_copy(struct moe_gguf_out *g, const struct moe_gguf_value *v);

/* A list of n elements, then its elements, of which there must be n: texts, I32 or F32 numbers. */
void moe_gguf_out_list(struct moe_gguf_out *g, const char *key, enum moe_gguf_type type, uint64_t n);
void moe_gguf_out_add_text(struct moe_gguf_out *g, const char *s, size_t n);
void moe_gguf_out_add_int(struct moe_gguf_out *g, int32_t v);
void moe_gguf_out_add_real(struct moe_gguf_out *g, float v);

/* A tensor, its slowest axis first; returns the place of its bytes behind the header. The type must be one that GGUF has, the rank 1 to 4. */
uint64_t moe_gguf_out_tensor(struct moe_gguf_out *g, const char *name, enum moe_dtype type, unsigned rank, const uint64_t *shape);

/* Is there a number for this type in the file? */
bool moe_gguf_has_type(enum moe_dtype type);

/* All that stands in front of the data, which begins behind it: bytes to be freed. */
enum moe_err moe_gguf_out_finish(struct moe_gguf_out *g, uint8_t **bytes, size_t *n, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_gguf_out_free(struct moe_gguf_out *g);

/* The number of a type in the file (enum ggml_type), and back; UINT32_MAX and MOE_N_TYPES where there is none. */
uint32_t moe_gguf_type_number(enum moe_dtype type);
enum moe_dtype moe_gguf_type_find(uint32_t number);

#endif
