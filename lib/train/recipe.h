/* A recipe: what a model is trained on, how long, and how, in stages that follow each other.
 *
 *     {"model": {...} or "PATH", "seed": 1,
 *      "stages": [{"name": "see", "sources": [{"data": ["read.tar"], "weight": 2, "augment": "colour"}], "tokens": 2e8, "batch": 48,
 *                  "optimiser": "muon", "lr": {"muon": 0.02, "adamw": 0.003}, "warmup": 1e6, "decay": 1e8, "floor": 0, ...}],
 *      "teacher": {"model": "PATH", "temperature": 2, "layers": ["2=4"]},
 *      "dev": {"data": ["dev.tar"], "every": 2e6, "samples": 500}, "checkpoint": {"every": 5e6, "keep": [1e8]}}
 *
 * Every setting, with its range and default, is a row of the table in recipe.c. A key that is in no row is an error, and so is a value out of its range. */
#ifndef MOE_TRAIN_RECIPE_H
#define MOE_TRAIN_RECIPE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { MOE_RECIPE_STAGES = 64 };

struct moe_recipe_list {
	char **item;
	size_t n;
};

struct moe_recipe_source {
	struct moe_recipe_list data;    /* shards, folders, tables; "-": standard input */
	double weight;                  /* share of the samples, relative to the other sources of the stage */
	int augment;                    /* enum moe_recipe_augment */
};

/* Tint leaves colours their names; colour makes other colours of them. */
enum moe_recipe_augment { MOE_AUGMENT_NONE, MOE_AUGMENT_TINT, MOE_AUGMENT_COLOUR };

/* What a stage trains: the model, or its auxiliary routers alone. */
enum moe_recipe_trains { MOE_TRAINS_MODEL, MOE_TRAINS_AUX };

/* Weight of the questions of one type in the loss; 1 for those that are not listed. */
struct moe_recipe_type {
	char *type;
	double weight;
};

struct moe_recipe_stage {
	char *name;
	struct moe_recipe_source *source;
	size_t n_sources;
	uint64_t tokens, batch, accumulate;     /* rows that go through the layers; samples of a forward pass; passes of a step */
	int trains;                     /* enum moe_recipe_trains */
	int optimiser;                  /* enum moe_optimiser_kind */
	double muon_rate, adamw_rate, weight_decay, clip;       /* clip 0: never */
	double vision_rate;             /* a factor of both rates, for what makes vectors of pictures: the parts vision and projector */
	uint64_t warmup, decay;         /* tokens */
	double floor;
	struct moe_recipe_list freeze;  /* words of freeze.h */
	double rope_theta;              /* 0: the model's */
	double text, image, patch, balance, z; /* weights of the losses */
	double soft, match;             /* with a teacher */
	int64_t patch_layer;            /* labels are read after so many layers; 0: after the last */
	int64_t balance_groups;         /* groups of experts that are balanced, in each pool; 0: each expert */
	double bias_rate, noise;        /* noise: on the logits of routers by sigmoid (router_grad.h), times this */
	double draw, blank;             /* share of the samples that are a caption and then its picture, and of those without the caption */
	double commitment, code_decay;  /* of a quantiser */
	struct moe_recipe_type *type;
	size_t n_types;
	uint64_t text_tokens;           /* most text tokens behind a picture; questions that do not fit are left to another time */
};

/* What is trained: the model, or of one with image tokens the quantiser that makes them (quantise.h), whose tokens are patches. */
enum moe_recipe_kind { MOE_RECIPE_KIND_MODEL, MOE_RECIPE_KIND_QUANTISER };

struct moe_recipe {
	int kind;                       /* enum moe_recipe_kind */
	json_t *model;                  /* a description (object), a path (string) or NULL */
	uint64_t seed;
	int precision;                  /* enum moe_unit, of the products */
	struct moe_recipe_stage *stage;
	size_t n_stages;
	struct {
		char *model;            /* a path; "": there is none */
		double temperature;
		struct moe_recipe_list layers;  /* that are matched: "OWN=ITS" (teacher.h) */
	} teacher;
	struct {
		struct moe_recipe_list data;
		uint64_t every, samples;
		int flips;              /* 1: at the end also with shares of the decisions over groups turned round */
	} dev;
	struct {
		struct moe_recipe_list data;    /* what thresholds of auxiliary routers are found with, at the end; none: they stay */
		uint64_t samples;
	} calibrate;
	struct {
		uint64_t every;         /* tokens */
		uint64_t *keep;         /* tokens of the run after which a copy is kept */
		size_t n_keep;
	} checkpoint;
};

/* Reads a recipe; the document stays the caller's. Errors name the stage and the key. */
enum moe_err moe_recipe_read(struct moe_recipe **out, const json_t *doc, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_recipe_free(struct moe_recipe *r);

/* A file of JSON into *doc, to be released with json_decref. */
enum moe_err moe_recipe_load(json_t **doc, const char *path, struct moe_diag *d) MOE_CHECK_RESULT;

/* The recipe with every setting in it, whether it was said or is the default; a new document. NULL without memory. */
json_t *moe_recipe_resolved(const struct moe_recipe *r);

/* Writes a document as a recipe's file. */
enum moe_err moe_recipe_save(const json_t *doc, const char *path, struct moe_diag *d) MOE_CHECK_RESULT;

/* MOE_EMATCH, with the first setting that differs, unless a run of the resolved recipe `was` may be gone on with by `is`: where checkpoints are made, and which are kept, changes
 * nothing in the model and may differ. */
enum moe_err moe_recipe_same(const json_t *was, const json_t *is, struct moe_diag *d) MOE_CHECK_RESULT;

/* Tokens of all stages. */
uint64_t moe_recipe_tokens(const struct moe_recipe *r);

#endif
