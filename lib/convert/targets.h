/* What a conversion is to write: the tensors of the output in their order, where their numbers come from, and their places. */
#ifndef MOE_CONVERT_TARGETS_H
#define MOE_CONVERT_TARGETS_H

#include "convert/types.h"
#include "model/model.h"

struct moe_target {
	char *name;
	enum moe_part part;
	enum moe_dtype from, to;
	bool fallback;                  /* the part was to have another type (types.h) */
	unsigned rank;
	uint64_t shape[4];
	uint64_t rows, cols;            /* as a matrix: rows of `cols` numbers that lie together in the output */
	struct moe_mat *piece;          /* the source: n_pieces matrices with the same number of rows, one after the other */
	size_t n_pieces, piece_cap;
	/* Pieces without data are made, row by row, in f32; false: not finite. Threads call it at once. NULL: there are none. */
	bool (*make)(const void *maker, size_t piece, uint64_t row, float *to);
	const void *maker;
	uint64_t turn;                  /* of queries and keys: the numbers of a head, whose pairs lie otherwise in the output; 0: rows keep their order */
	unsigned file;                  /* which file of the output, and where its bytes are there; those of an I8 tensor's scales, NAME_scale */
	uint64_t begin, nbytes, scale_begin, scale_nbytes;
};

struct moe_targets {
	struct moe_target *t;
	size_t n, cap;
	bool gguf, to_adjacent;         /* the output's format; with `turn`: from halves to neighbours, or back */
	size_t ignored;                 /* tensors of the source that the family ignores, and that are left out */
};

/* Lists the tensors. *out begins with zeros, and is freed in any case. */
enum moe_err moe_targets_make(struct moe_targets *out, struct moe_model *m, bool gguf, const struct moe_types *types, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_targets_free(struct moe_targets *t);

/* The target of that name, if it is one of the last few: matrices of one tensor come close together. Else NULL. */
struct moe_target *moe_targets_recent(const struct moe_targets *all, const char *name);

/* Appends a piece, and its rows. */
enum moe_err moe_target_add(struct moe_target *t, const struct moe_mat *w, struct moe_diag *d) MOE_CHECK_RESULT;

/* Tensors of a checkpoint that are neither seen nor the scales of others. */
size_t moe_targets_ignored(const struct moe_checkpoint *weights, const bool *seen);

/* Where row r of the output is in the source. */
uint64_t moe_target_row(const struct moe_targets *all, const struct moe_target *t, uint64_t r);

#endif
