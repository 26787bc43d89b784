/* What a model is, in terms of the parts that the engine knows. A spec is made from a family file (share/families/NAME.json) and the
 * model's own JSON files; nothing else in the library knows a model's name, and nothing later reads those files again.
 *
 * The settings of a spec are one table (spec_table.c): path in the family file, type, range, default, and field below. The table gives
 * reading, checking, `moe-info --spec` and the text that the fingerprint covers. */
#ifndef MOE_MODEL_SPEC_H
#define MOE_MODEL_SPEC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "nn/attention.h"
#include "nn/query_attention.h"
#include "nn/router.h"
#include "nn/stem.h"
#include "nn/vit.h"
#include "text/chat.h"

enum { MOE_MAX_PAIRS = 32, MOE_MAX_IDS = 64 };

enum moe_tower { MOE_TOWER_NONE, MOE_TOWER_CONV_STEM, MOE_TOWER_VIT, MOE_TOWER_LINEAR, MOE_TOWER_ENCODER };
enum moe_tower_patches { MOE_PATCHES_LINEAR, MOE_PATCHES_CONV };
enum moe_projector { MOE_PROJECTOR_NONE, MOE_PROJECTOR_QUERY_ATTENTION, MOE_PROJECTOR_LINEAR, MOE_PROJECTOR_MLP };
enum moe_image_kind { MOE_IMAGE_FIT, MOE_IMAGE_CANVAS };
enum moe_alpha_rule { MOE_ALPHA_RULE_OVER, MOE_ALPHA_RULE_DROP };
enum moe_block_form { MOE_BLOCK_PRE, MOE_BLOCK_POST };  /* h + experts(norm h) | h + norm(experts(h)), as in MoMa (2.2) */
enum moe_norm_kind { MOE_NORM_RMS, MOE_NORM_LAYER };
enum moe_aux_threshold { MOE_AUX_HALF, MOE_AUX_STORED };       /* of the foretold logit: 0, a probability of one half, or the layer's own tensor */
enum moe_pad { MOE_PAD_BORDER_MEDIAN, MOE_PAD_CONSTANT };
enum moe_position { MOE_POSITION_SEQUENTIAL, MOE_POSITION_AXIAL };

struct moe_ints {
	int64_t v[MOE_MAX_IDS];
	size_t n;
};

struct moe_pairs {
	int64_t v[MOE_MAX_PAIRS][2];
	size_t n;
};

struct moe_spec {
	char family[32];
	int64_t n_layers, hidden, vocab;
	bool wide;                      /* the configuration says that weights are of 4 bytes, not 2; for plans, where there are no weights to look at */
	int block;                      /* enum moe_block_form: where the norm of experts is */
	int norm_kind;                  /* enum moe_norm_kind */
	double norm_eps;
	struct moe_attention_settings attention;
	struct moe_router_settings router;
	int64_t expert_width;
	int expert_act;                 /* one choice so far: silu */
	struct {
		int64_t count, width;   /* one unit of count · width, which every token passes; count 0: none */
		bool gate;              /* its output is multiplied by the sigmoid of a product with the token */
	} shared;
	struct {
		int64_t width;          /* layers without experts have one unit of this width; 0: there are none such */
		int64_t first, step;    /* the first layers; of the others those whose number, counted from 1, step does not divide */
		struct moe_ints layers; /* and these */
	} dense;
	struct {
		struct moe_ints layers; /* that only a share of the rows passes (mixture-of-depths, Raposo et al. 2024) */
		double capacity;        /* which share */
	} depth;
	struct {
		bool routers;           /* small networks foretell, row by row, what a choice over a group would be (MoMa, 2.4) */
		int threshold;          /* enum moe_aux_threshold */
	} aux;
	bool tied;                      /* the head is the embedding */
	struct {
		int kind;               /* enum moe_tower */
		int patches;            /* enum moe_tower_patches: what an encoder's layers read */
		struct moe_conv conv[MOE_MAX_CONV];     /* conv_stem, linear and encoder; a linear map of patches is one convolution of a patch's size */
		size_t n_conv;
		bool row_col;           /* learned row and column embeddings are added to what the convolutions give */
		struct moe_vit_settings vit;    /* vit and encoder; an encoder without layers is none: the trunk reads what the convolutions give */
		int position;           /* one choice so far: bucketed */
	} tower;
	struct {
		int64_t count, width;   /* the stem's vectors, of this width, become the nearest of so many codes (nn/quantiser.h), which are tokens; 0: there are none */
		int64_t first;          /* token of code 0; the others follow */
		int64_t begin, end;     /* tokens between which a picture's codes stand where they are generated */
		struct moe_conv decoder[MOE_MAX_CONV];  /* makes pixels of codes */
		size_t n_decoder;
	} image_tokens;
	struct {
		int kind;               /* enum moe_projector */
		struct moe_pairs queries;       /* patches of a canvas, features that they become */
		struct moe_query_attention_settings query;      /* of mlp the width alone */
	} projector;
	struct {
		int kind, filter;       /* enum moe_image_kind; one choice so far: bicubic */
		int64_t channels, patch;
		struct moe_pairs grids; /* fit: rows, columns, in patches */
		struct moe_ints sizes;  /* canvas: sides of a square canvas, in pixels */
		int64_t size, min_side; /* canvas: the side unless another is asked for; least side of a picture on it */
		bool split;             /* canvas: pictures are split unless asked not to */
		struct moe_pairs ratios;        /* canvas: columns and rows of tiles that a picture may be split into */
		int pad;                /* enum moe_pad */
		int alpha;              /* enum moe_alpha_rule */
		double pad_colour[3], background[3];    /* 0 to 255 */
		double mean[3], std[3];
	} image;
	struct {
		int64_t placeholder;    /* id of the image placeholder, -1: the model takes no pictures */
		int position;           /* enum moe_position */
		int64_t text_offset;    /* axial: the position of the first text token on both axes */
		bool image_first;       /* the only defined prompt is one picture, then text */
	} merge;
	struct {
		struct moe_ints bos, eos, suppress;
		int64_t max_new;
		char prompt[128];       /* moe-tokenize's default prompt, may be empty */
	} text;
	struct moe_chat chat;
	json_t *doc;                    /* the family file, for the binding of tensors, as it is for this kind of model file */
	json_t *file;                   /* the family file as it stands */
	bool gguf;                      /* the model is a GGUF file */
};

/* Where the JSON files of a model lie, and the family file to use (NULL: the first in `families` that matches). */
struct moe_spec_options {
	const char *directory, *families, *family_file;
	bool config_only;       /* weights may be absent (model.h) */
	const char *config;     /* the text of config.json, config_nbytes of it; then the directory is only a name. NULL: read the directory's files */
	size_t config_nbytes;
};

/* Reads the model's JSON files and resolves the family. Errors name the file and the setting. */
enum moe_err moe_spec_load(struct moe_spec **out, const struct moe_spec_options *o, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_spec_free(struct moe_spec *s);

/* "path = value" lines for every setting, in a fixed order; to be freed. */
char *moe_spec_string(const struct moe_spec *s);

/* What a model's own file says of these settings, in config.json or, with `gguf`, in a GGUF file: the family's references turned round. An object, to be
 * released, of key (with its dots) and value: integer, real, truth, text, or a list of integers. What a family takes to be absent is left out. MOE_EUSAGE
 * where the family has no GGUF section. */
enum moe_err moe_spec_keys(json_t **out, const struct moe_spec *s, bool gguf, struct moe_diag *d) MOE_CHECK_RESULT;

/* The spec with the names of tensors, and what else is no number, of the other kind of file: *out borrows from s, except for out->doc. */
enum moe_err moe_spec_for(struct moe_spec *out, const struct moe_spec *s, bool gguf, struct moe_diag *d) MOE_CHECK_RESULT;

/* MOE_EMATCH, naming the setting, when b does not mean the same numbers as a, but for the roundings of its file. `turned`: pairs of the rope may lie
 * otherwise. */
enum moe_err moe_spec_same(const struct moe_spec *a, const struct moe_spec *b, bool turned, struct moe_diag *d) MOE_CHECK_RESULT;

/* MOE_EINPUT for a grid that no picture has: with image.grids it is one of them, since row and column embeddings and positions exist for no others; on a
 * canvas the longer side fills it, and the shorter is at least min_side. */
enum moe_err moe_spec_check_grid(const struct moe_spec *s, uint64_t rows, uint64_t columns, struct moe_diag *d) MOE_CHECK_RESULT;

/* Most rows and most columns of any grid; 0 without pictures. */
struct moe_spec_sides { int64_t rows, columns; };
struct moe_spec_sides moe_spec_largest_sides(const struct moe_spec *s);

/* Patches of the largest grid; 0 without pictures, or where their grids are not in a list. */
size_t moe_spec_largest_patches(const struct moe_spec *s);

/* Do the patches pass layers of their own before those of the trunk (late fusion)? */
bool moe_spec_encodes(const struct moe_spec *s);

/* Numbers of what the tower's convolutions give for a patch. */
int64_t moe_spec_tower_width(const struct moe_spec *s);

/* Rows of hidden states that a picture (or a crop of one) of this grid becomes. The grid has been checked. */
size_t moe_spec_features(const struct moe_spec *s, uint64_t rows, uint64_t columns);

/* Does this layer have a dense unit in the place of experts? */
bool moe_spec_is_dense(const struct moe_spec *s, size_t layer);

/* Does only a share of the rows pass this layer? */
bool moe_spec_has_depth(const struct moe_spec *s, size_t layer);

/* The code that a token stands for; -1: it is no image token. */
static inline int64_t moe_spec_code(const struct moe_spec *s, int64_t token)
{
	return token >= s->image_tokens.first && token - s->image_tokens.first < s->image_tokens.count ? token - s->image_tokens.first : -1;
}

/* Is anything chosen over a group of rows, by experts or by a layer that only some pass? */
bool moe_spec_chooses_rows(const struct moe_spec *s);

/* Experts per token in the tables of a layer (moe_router_width): 0 in a dense one. */
size_t moe_spec_top_k(const struct moe_spec *s, size_t layer);

enum moe_part {
	MOE_PART_EMBED, MOE_PART_NORM, MOE_PART_ATTENTION, MOE_PART_ROUTER, MOE_PART_EXPERTS, MOE_PART_SHARED, MOE_PART_DENSE, MOE_PART_HEAD, MOE_PART_TOWER,
	MOE_PART_PROJECTOR, MOE_N_PARTS,
};

struct moe_sizes {
	uint64_t parameters, part[MOE_N_PARTS];
	uint64_t active;                /* of a text token in the layers, norms included; embedding and head apart */
	uint64_t head;                  /* of the head, whether its own or the embedding's */
	uint64_t cache_nbytes_per_token;
	uint64_t flops_per_token;       /* in the layers: 2 per active weight of a matrix; attention over the context and the head apart */
	uint64_t flops_per_patch;       /* in tower and projector: the same, of a patch; a convolution's weights as often as it meets them. Queries apart */
};

/* Counts every tensor that the family names for this spec; weights are not needed (bind.c). */
enum moe_err moe_spec_sizes(const struct moe_spec *s, struct moe_sizes *out, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
