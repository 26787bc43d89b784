/* GGUF, the container of llama.cpp (github.com/ggml-org/ggml, docs/gguf.md), versions 2 and 3, little-endian: keys with values, then names, shapes and
 * types of tensors, then their data.
 *
 * Strict: a count is believed only after as many bytes are left; keys and tensors have names of their own, tensors follow each other with nothing but
 * padding between them, and nothing comes after the last. */
#ifndef MOE_FORMAT_GGUF_H
#define MOE_FORMAT_GGUF_H

#include "base/rd.h"
#include "format/safetensors.h"

/* Types of values, with the numbers that the file has. */
enum moe_gguf_type {
	MOE_GGUF_U8, MOE_GGUF_I8, MOE_GGUF_U16, MOE_GGUF_I16, MOE_GGUF_U32, MOE_GGUF_I32, MOE_GGUF_F32, MOE_GGUF_BOOL, MOE_GGUF_STRING, MOE_GGUF_ARRAY,
	MOE_GGUF_U64, MOE_GGUF_I64, MOE_GGUF_F64, MOE_GGUF_N_TYPES,
};

/* A key and its value, in place. */
struct moe_gguf_value {
	const char *key;                /* with a NUL behind it */
	enum moe_gguf_type type;        /* of the value, or of each element of an array */
	bool array;
	uint64_t n;                     /* elements; 1 when it is no array */
	const uint8_t *data;            /* as it lies in the file */
	size_t nbytes;
};

/* A parsed file; it points into the file's bytes. */
struct moe_gguf {
	struct moe_header header;       /* the tensors: shapes with the slowest axis first, as [out][in] */
	struct moe_gguf_value *value;
	size_t n_values, value_cap;
	uint64_t alignment;
};

/* Does the file begin as GGUF does? */
bool moe_gguf_is(const uint8_t *bytes, size_t n);

/* Parses a whole file of n bytes in place and sets each tensor's data. *g begins with zeros, and is freed by the caller in any case. */
enum moe_err moe_gguf_parse(struct moe_gguf *g, const uint8_t *bytes, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_gguf_free(struct moe_gguf *g);

/* The value of that key, NULL if there is none. */
const struct moe_gguf_value *moe_gguf_find(const struct moe_gguf *g, const char *key);

/* Goes through the elements of a value: begin with moe_rd_init(r, v->data, v->nbytes), then one call for each. They cannot fail on a parsed value. */
int64_t moe_gguf_int(struct moe_rd *r, enum moe_gguf_type t);          /* of an integer type or BOOL; U64 above INT64_MAX gives INT64_MAX */
double moe_gguf_real(struct moe_rd *r, enum moe_gguf_type t);          /* of any type that is a number */
const char *moe_gguf_string(struct moe_rd *r, size_t *n);              /* n bytes, not terminated */

#endif
