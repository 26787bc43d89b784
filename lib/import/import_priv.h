/* What the readers of foreign formats have in common. */
#ifndef MOE_IMPORT_IMPORT_PRIV_H
#define MOE_IMPORT_IMPORT_PRIV_H

#include "import/import.h"

/* One sequence. Rows are numbered from `start`. */
struct moe_imported {
	char *name;
	size_t rows, given, start;      /* given: rows that were not generated */
	int32_t *token;                 /* [rows], -1: not known */
	uint16_t *expert;               /* [rows][layers][k] */
	float *weight;                  /* the same, or NULL */
	float *logit;                   /* [rows][layers][experts], or NULL */
	bool gaps;                      /* "none" stood before an expert somewhere: weights that come later would be shifted */
};

struct moe_import {
	struct moe_import_options o;
	bool shaped, counts;            /* something was added; it has counts and nothing else */
	size_t layers, k, experts;      /* experts: largest id + 1 so far */
	size_t logits;                  /* experts that logits are of, or 0 */
	size_t *layer;                  /* [layers] their numbers, where a source says them; else NULL */
	struct moe_imported *seq;       /* without counts */
	size_t n_seq, cap;
	size_t first;                   /* of the source that was added last */
	uint64_t *count;                /* [layers][experts] of counts */
};

/* One for each format. */
enum moe_err moe_import_json(struct moe_import *m, const char *name, const uint8_t *bytes, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;
enum moe_err moe_import_npy(struct moe_import *m, const char *name, const uint8_t *bytes, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;
enum moe_err moe_import_lines(struct moe_import *m, const char *name, const uint8_t *bytes, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;
enum moe_err moe_import_imatrix(struct moe_import *m, const char *name, const uint8_t *bytes, size_t n, struct moe_diag *d) MOE_CHECK_RESULT;

/* The shape of what comes: of the first source it is taken, others must agree; `layer` [layers] are its numbers, or NULL. MOE_EINPUT with the reason. */
enum moe_err moe_import_shape(struct moe_import *m, size_t layers, size_t k, const size_t *layer, bool counts, struct moe_diag *d) MOE_CHECK_RESULT;

/* The same of counts of `experts` experts, which are added to *count [layers][experts]. k 0: not known. */
enum moe_err moe_import_counts(struct moe_import *m, size_t layers, size_t k, const size_t *layer, size_t experts, uint64_t **count, struct moe_diag *d) MOE_CHECK_RESULT;

/* A new sequence of `rows` rows, all tokens unknown; `weights`, `logits` (of so many experts, 0: none): with room for such. The shape is known. */
enum moe_err moe_import_sequence(struct moe_import *m, struct moe_imported **out, const char *name, size_t rows, bool weights, size_t logits,
				 struct moe_diag *d) MOE_CHECK_RESULT;

/* The choice of a token in a layer: ids [k] (negative: none) and weights [k] (or NULL) to place r = row · layers + layer of the sequence, sorted by falling weight,
 * "none" at the end. Returns what is wrong with it, or NULL. */
const char *moe_import_choice(struct moe_import *m, struct moe_imported *q, size_t r, const int64_t *id, const float *weight);

/* Decodes base64 (RFC 4648, section 4; blanks are passed over) into *out, to be freed. *bad: the character that is wrong when it fails with MOE_EINPUT. */
enum moe_err moe_base64_decode(uint8_t **out, size_t *n_out, const char *text, size_t n, size_t *bad, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
