/* safetensors: u64 little-endian header length, JSON header, payload. One parser serves checkpoint files and the frames of a stream.
 *
 * As strict as the reference implementation (safetensors/src/tensor.rs): tensors cover the payload without hole or overlap, shape and type
 * agree with the offsets, nothing trails. Stricter: a name or metadata key used twice is refused. */
#ifndef MOE_FORMAT_SAFETENSORS_H
#define MOE_FORMAT_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/err.h"
#include "base/mem.h"

enum { MOE_MAX_RANK = 8, MOE_FILE_HEADER_LIMIT = 100000000, MOE_TENSOR_LIMIT = 1000000 };

/* A named view; it owns nothing. */
struct moe_tensor {
	const char *name;               /* with a NUL behind it */
	size_t name_nbytes;
	enum moe_dtype type;
	unsigned rank;
	uint64_t shape[MOE_MAX_RANK];
	uint64_t begin, nbytes;         /* place in the payload */
	const uint8_t *data;            /* NULL until the payload is there */
};

struct moe_meta {
	const char *key;                /* with a NUL behind it */
	size_t key_nbytes;
	const char *value;              /* with a NUL behind it, and perhaps NULs inside */
	size_t value_nbytes;
};

/* What a header says. Arrays are kept from one parse to the next; names live in `strings`. */
struct moe_header {
	struct moe_tensor *tensor;
	size_t n_tensors, tensor_cap;
	struct moe_meta *meta;
	size_t n_meta, meta_cap;
	uint64_t payload_nbytes;
	struct moe_arena strings;
};

/* The text behind the metadata of the header that was parsed last, and what it said. Frame after frame of a stream has tensors of the same names
 * and shapes: where the text is the same, so is its meaning, and comparing is ten times faster than parsing. Begins with zeros. */
struct moe_header_tail {
	char *text, *names;
	size_t text_nbytes, text_cap, names_nbytes, names_cap;
	struct moe_tensor *tensor;
	size_t n_tensors, tensor_cap;
	uint64_t payload_nbytes;
	bool same;              /* the header that was parsed last ends in this text and blanks */
};
void moe_header_tail_free(struct moe_header_tail *t);

/* Parses the JSON of a header (n bytes) into *h, whose former content is forgotten. `tail` may be NULL. Errors carry the byte in the JSON. */
enum moe_err moe_header_parse(struct moe_header *h, const char *json, size_t n, struct moe_header_tail *tail, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_header_free(struct moe_header *h);

/* Parses a whole file of n bytes in place and sets each tensor's data. */
enum moe_err moe_safetensors_parse(struct moe_header *h, const uint8_t *bytes, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;

/* Number of elements. */
uint64_t moe_tensor_count(const struct moe_tensor *t);

/* "[4, 16]" into buf; returns buf. */
const char *moe_shape_string(const uint64_t *shape, unsigned rank, char *buf, size_t cap);

#endif
