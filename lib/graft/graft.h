/* Surgery on models: a model is made from one or several others, tensor by tensor, in constant memory, as a folder of the first one's family. What was done
 * is noted in its config.json, and its outputs are compared with the source's wherever they must agree. */
#ifndef MOE_GRAFT_GRAFT_H
#define MOE_GRAFT_GRAFT_H

#include "base/modality.h"
#include "convert/convert.h"

enum moe_graft_operation {
	MOE_GRAFT_UPCYCLE,      /* dense layers become experts, each a copy of the unit; experts alone in their pools become pools of copies */
	MOE_GRAFT_ADD,          /* experts beside those that are there: copies, or random ones */
	MOE_GRAFT_DROP,         /* experts are left out */
	MOE_GRAFT_MERGE,        /* several experts become their mean */
	MOE_GRAFT_SPLIT,        /* an expert becomes several: copies, or parts of its width */
	MOE_GRAFT_REORDER,      /* experts get other numbers */
	MOE_GRAFT_COPY,         /* experts of the second model take the place of the first one's */
	MOE_GRAFT_MIX,          /* branches: the units or experts of all models side by side, the mean of all else (Sukhbaatar et al. 2024, Branch-Train-MiX) */
	MOE_GRAFT_AVERAGE,      /* the mean of all models (Wortsman et al. 2022, model soups) */
	MOE_N_GRAFTS,
};

enum moe_graft_router { MOE_GRAFT_ROUTER_DEFAULT, MOE_GRAFT_ROUTER_COPY, MOE_GRAFT_ROUTER_KEEP, MOE_GRAFT_ROUTER_ZERO, MOE_GRAFT_ROUTER_RANDOM,
		       MOE_N_GRAFT_ROUTERS };

/* "upcycle", "copy" and the like, and back; -1 for other names. */
const char *moe_graft_name(enum moe_graft_operation o);
int moe_graft_find_name(const char *name);
int moe_graft_find_router(const char *name);

/* What an operation says and does not say of the outputs. */
enum moe_graft_claim {
	MOE_GRAFT_BITS,         /* they are the same, bit for bit */
	MOE_GRAFT_NUMBERS,      /* but for rounding */
	MOE_GRAFT_OTHER,        /* others */
	MOE_GRAFT_UNCHECKED,    /* nobody looked */
};

/* The outputs of the model beside those of the first source, on random tokens (and a picture, where it takes some). */
struct moe_graft_check {
	enum moe_graft_claim claim;
	const char *why;                /* where they are others, or unchecked */
	size_t rows;
	bool same_bits;
	double difference;              /* root mean square of the logits' changes, relative to that of the logits */
	double agree;                   /* share of the rows whose most likely token is the same */
};

struct moe_graft_options {
	enum moe_graft_operation operation;
	/* Which experts, as LIST[@LAYERS], the later ones before the earlier; without layers in all that have experts. LIST: numbers and ranges with commas
	 * between them; of MERGE such as 0+1,2+3; of COPY such as 3=5, the first model's first. ADD: whose copies; REORDER: the old numbers in their new
	 * order; none: by falling load. */
	const char *const *list;
	size_t n_lists;
	const char *layers;             /* of UPCYCLE and MIX: which of the dense layers; NULL: all */
	int64_t number;                 /* UPCYCLE: experts of a layer; ADD: how many; SPLIT: into how many */
	int64_t top_k;                  /* 0: what follows from the source */
	int64_t pool[MOE_N_MODALITIES]; /* UPCYCLE: experts for each modality, `number` in all */
	size_t n_pools;
	double noise;                   /* on new experts, relative to the root mean square of a row */
	enum moe_graft_router router;   /* of new experts; the default is random for UPCYCLE and MIX, copy for the others */
	double deviation;               /* of random rows of the router; 0: 0.02 */
	bool random;                    /* ADD: new experts have random numbers, as large as those of the copies */
	bool width;                     /* SPLIT: by width */
	bool rescale;                   /* UPCYCLE: down projections are divided by the share of all weights that a token's experts get where all are equal */
	bool noise_in_training;         /* UPCYCLE: a note that the router's choice wants noise in training (Gumbel-sigmoid, MoMa section 2.5) */
	const double *weight;           /* MIX, AVERAGE: [models], NULL: equal ones */
	const double *load;             /* MERGE, REORDER: [layers][experts] of the first model, or NULL */
	uint64_t seed;
	bool unchecked;                 /* outputs are not compared */
	const char *program;            /* for the note: name and version */
	struct moe_convert_options convert;     /* but for `other` and `numbers` */
};

/* Writes the folder `output`. MOE_EUSAGE or MOE_EMATCH, before anything is written, for what makes no sense, with the reason. MOE_EMATCH, and no output, when
 * the outputs are not the same where they must be. *kept: an unfinished output stays, with which the same call goes on. The models are open with their
 * weights. */
enum moe_err moe_graft(struct moe_model *const *model, size_t n, const char *output, const struct moe_graft_options *o, struct moe_graft_check *check,
		       bool *kept, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
