/* The tokens that an expert got with the largest weights, with what stood around them. Memory: layers × experts × the tokens that are kept. */
#ifndef MOE_STATS_TOP_H
#define MOE_STATS_TOP_H

#include "stats/routing.h"

enum { MOE_TOP_AROUND = 8 };            /* tokens before and behind that are kept */

struct moe_top_token {
	float weight;
	uint8_t modality, n_before, n_behind;
	bool open;                      /* more may follow behind it */
	int32_t token, image, patch;
	uint64_t input, seq, row;       /* row: in the sequence */
	uint64_t order;                 /* of its coming */
	uint64_t picture;               /* number of its picture among all of the inputs, counted from 0; UINT64_MAX for text */
	uint32_t name;                  /* index of the sequence's name, UINT32_MAX for none */
	int32_t before[MOE_TOP_AROUND], behind[MOE_TOP_AROUND];         /* nearest last; nearest first */
};

/* A heap, whose first is the least. After moe_top_sort: by falling weight, then as they came. */
struct moe_top_list { struct moe_top_token *token; size_t n; };

struct moe_top_layer {
	size_t number;
	struct moe_top_list *list;      /* [experts] */
};

struct moe_top {
	size_t most, first, last;       /* tokens to keep of each expert; numbers of the layers to keep; set by the caller */
	size_t experts;
	struct moe_top_layer *layer;    /* [n_layers], ascending */
	size_t n_layers, cap;
	char **name;                    /* of sequences */
	size_t n_names, name_cap;
	/* The block before. */
	uint64_t input, seq, next_row, pictures, order;
	int32_t tail[MOE_TOP_AROUND], image;
	size_t n_tail;
	bool any, any_open;
};

void moe_top_free(struct moe_top *t);

/* Adds a block of input number `input`. MOE_EUSAGE where it has no weights. */
enum moe_err moe_top_add(struct moe_top *t, const struct moe_trace_info *info, const struct moe_trace_block *b, uint64_t input,
			 struct moe_diag *d) MOE_CHECK_RESULT;

/* Puts every list in order; nothing is added afterwards. */
void moe_top_sort(struct moe_top *t);

#endif
