/* From a sample to the sequence that training takes: the picture decoded, fitted, perhaps recoloured, and normalised; its boxes as labels of patches; its
 * questions in random order, as many as fit. */
#ifndef MOE_DATA_PACKER_H
#define MOE_DATA_PACKER_H

#include "base/mem.h"
#include "data/packed.h"
#include "data/samples.h"
#include "image/decoder.h"
#include "image/fit.h"
#include "text/tokenizer.h"

struct moe_type_weight { const char *type; double weight; };

/* Image tokens: their ids, and who makes codes (from 0) of planes [channels][rows · patch][columns · patch]. */
struct moe_packer_tokens {
	enum moe_err (*codes)(void *self, const float *planes, size_t rows, size_t columns, int32_t *code, struct moe_diag *d);
	void *self;
	int32_t first, begin, end;      /* of code 0, before a picture, behind it */
	double draw;                    /* share of the samples that are text and then a picture ("<draw>", the caption, the image tokens), where they have a caption */
	double blank;                   /* share of those without the caption: guidance (nn/sample.h) compares with them */
};

/* What the model wants; for any number of packings, in one thread (of the tokenizer). */
struct moe_packer {
	const struct moe_fit *fit;      /* checked; NULL: the model takes no pictures */
	struct moe_tokenizer *tokenizer;
	const char *prompt;             /* of questions that have none; "<image>" before it is passed over */
	int32_t eos;                    /* behind every answer */
	int32_t pad;                    /* label of patches that no box touches; -1: they have none */
	int32_t placeholder;            /* of pictures, -1: none */
	size_t most_text;               /* rows of text in all; 0: pictures without any */
	const struct moe_type_weight *weight;   /* of the loss of a type of questions; others have 1 */
	size_t n_weights;
	const struct moe_packer_tokens *tokens; /* NULL: pictures come as planes */
};

/* Random colours, drawn anew for every sample; zeroed: none. Each channel c becomes gain · (c - 127.5) + 127.5 + offset, on bytes. */
struct moe_augment {
	bool permute;                   /* the channels change places, all six orders alike */
	bool invert;                    /* every second picture is a negative */
	double gain, offset;            /* gain from [1 - gain, 1 + gain], offset from [-offset, offset], both for each channel */
};

/* Rows [first, first + n) of the text are a question: n_prompt rows of its prompt, then its answer. */
struct moe_packed_question {
	size_t index;                   /* in the sample */
	const char *type;
	size_t first, n_prompt, n;
};

/* A packed sample with its memory, which is kept from one to the next. Begin with zeroes. */
struct moe_packing {
	struct moe_packed packed;
	struct moe_packed_question *question;
	size_t n_questions;
	size_t left_out;                /* questions that did not fit */
	size_t grid;                    /* of the fit */
	struct moe_arena memory;
	struct moe_ids ids;
};

/* The type of the questions whose answers pictures are drawn from; and of such sequences, for their weight, which the tokens of the picture that a box touches have
 * times that of the last one: they say what a thing is, and are few. */
#define MOE_PACKER_CAPTION "caption"
#define MOE_PACKER_DRAW "draw"
#define MOE_PACKER_BOXED "boxed"

/* Packs the sample: order of questions and colours are functions of `key`. Rows are prompt and answer; each row whose next token is one of the answer, or the
 * end behind it, has that as its target. Failures (the picture is damaged; a word or label that the vocabulary lacks; no question fits) name the
 * sample and cost it alone. */
enum moe_err moe_packer_run(struct moe_packing *out, const struct moe_packer *p, const struct moe_sample *s, const struct moe_augment *a, uint64_t key,
		      struct moe_decoder *decoder, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_packing_free(struct moe_packing *out);

/* For each patch of grid g, of a picture of w × h pixels, the box that says what lies there: the last one that holds the patch's centre. */
enum { MOE_PATCH_TOUCHED = -1, MOE_PATCH_UNTOUCHED = -2 };      /* no box has its centre; and none touches it */
void moe_box_patches(int32_t *box_of, const struct moe_fit *f, size_t g, uint32_t w, uint32_t h, const struct moe_box *box, size_t n);

/* Labels of the patches of grid g for a picture of w × h pixels: label [rows·columns]. A patch whose centre lies in boxes has the label of the last of them, and
 * none where that is ""; one that boxes only touch has none; one that no box touches has `pad`. */
enum moe_err moe_packer_labels(int32_t *label, const struct moe_packer *p, size_t g, uint32_t w, uint32_t h, const struct moe_box *box, size_t n,
			     struct moe_diag *d) MOE_CHECK_RESULT;

#endif
