/* The description of a new model, read and checked (create.h has its keys). */
#ifndef MOE_TRAIN_DESCRIPTION_H
#define MOE_TRAIN_DESCRIPTION_H

#include <jansson.h>

#include "model/spec.h"
#include "train/describe_routing.h"

enum { MOE_MAX_STEM = MOE_MAX_CONV - 1 };

/* A list of words, owned. */
struct moe_words {
	char **v;
	size_t n, cap;
};

/* Image tokens (image_tokens.h); codes 0: none. */
struct moe_token_description {
	int64_t codes, width;
	int64_t decoder[MOE_MAX_STEM + 1];      /* channels behind each convolution, the numbers of a patch behind the last */
	size_t n_decoder;
	const char *from;                       /* the model that they are taken from, or NULL */
};

struct moe_description {
	int64_t hidden, layers, heads, kv_heads, head_dim, expert_width, dense_width, patch, text_offset, max_text, max_new;
	struct moe_ints dense;                  /* layers without experts, rising */
	struct moe_routing routing;
	bool causal_images, row_col;
	int64_t stem[MOE_MAX_STEM + 1];         /* channels behind each convolution, what reads them behind the last */
	size_t n_stem;                          /* convolutions; 0: patches by one matrix */
	int64_t halvings;                       /* so many first ones of them halve the sides */
	struct moe_token_description tokens;
	struct {
		int64_t depth, hidden, heads, width, projector_width;   /* depth 0: there is none; projector_width 0: a linear projector */
	} encoder;
	struct moe_pairs grids;
	double rope_theta, norm_eps, mean[3], std[3];
	json_t *pad;                            /* what preprocessor_config.json has as pad_color; borrowed from json, or NULL: border_median */
	struct moe_words words, tasks;
	json_t *json;                           /* what it was read from, owned */
};

/* *out is freed in any case. MOE_EUSAGE names the key. */
enum moe_err moe_description_read(struct moe_description *out, json_t *json, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_description_free(struct moe_description *m);

/* Numbers of what the stem gives for a patch. */
int64_t moe_description_patch_width(const struct moe_description *m);

/* Most rows and columns of any grid. */
struct moe_spec_sides moe_description_sides(const struct moe_description *m);

#endif
