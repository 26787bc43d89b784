/* What an evaluation asks, and what came of it. */
#ifndef MOE_EVAL_ASKED_H
#define MOE_EVAL_ASKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/samples.h"
#include "model/merge.h"

/* One question asked of one picture. */
struct moe_outcome {
	bool done;                      /* it was asked */
	bool right;                     /* the model's own answer is the right one, but for white space around */
	double logprob;                 /* of the tokens of the right answer, and of the end behind it, each given those before */
	double confidence;              /* the probability of the model's own answer */
};

struct moe_asked {
	const char *type, *prompt, *answer;     /* prompt: as it was asked */
	const int32_t *token;           /* the prompt, the answer, and an end if the model has one */
	size_t n_prompt, n_answer;      /* of them; the end is of the answer */
	struct moe_outcome own;         /* asked of its own picture */
	struct moe_outcome blind;       /* asked of another sample's picture */
	char *said;                     /* the model's answer to the own picture, owned; NULL before */
	uint8_t *chose;                 /* [layers][experts]: bit m: one of its rows of modality m, for its own picture, chose the expert; NULL: nobody asks */
};

/* Patches whose labels were asked for: what the rows of the picture say through the head. */
struct moe_patch_outcome {
	uint64_t n, right;
	double logprob;                 /* sum over the labels */
};

struct moe_asked_sample {
	const char *name, *kind;
	const struct moe_tag *tag;
	size_t n_tags;
	struct moe_asked *asked;        /* [n] */
	size_t n;
	const int32_t *label;           /* [n_labels] of the patches of its picture, -1: none; NULL: none at all */
	size_t n_labels;
	struct moe_patch_outcome patches;
	float *feature;                 /* [grid.features][hidden] of its picture, owned, where they are kept; else NULL */
	struct moe_patch_grid grid;
	struct moe_asked_sample *next;  /* for evaluate.c: another that waits for the same picture */
};

#endif
