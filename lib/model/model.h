/* A model: its spec, its weights bound in place, and its fingerprint. Read-only once it is open; threads may share it. */
#ifndef MOE_MODEL_MODEL_H
#define MOE_MODEL_MODEL_H

#include "format/checkpoint.h"
#include "model/spec.h"
#include "nn/aux_router.h"
#include "nn/experts.h"

/* Who makes the choices of a model that chooses over groups of rows (choosing.h). */
enum moe_choosing {
	MOE_CHOOSING_NOBODY,            /* it has no auxiliary routers: nothing can be computed but a batch */
	MOE_CHOOSING_TOKEN,             /* each row for itself: nothing is chosen over a group */
	MOE_CHOOSING_AUX, MOE_CHOOSING_THRESHOLD,       /* auxiliary routers, at one half or at the thresholds that are stored */
	MOE_CHOOSING_BATCH,             /* the experts and layers, among all rows of a batch */
};

enum moe_math { MOE_MATH_EXACT, MOE_MATH_FAST, MOE_N_MATHS };

struct moe_layer {
	struct moe_attention_weights attention;
	struct moe_ffn_weights ffn;
	struct moe_aux_weights *aux;    /* [pools], one without pools; NULL: none */
	const float *aux_threshold;     /* [experts] or NULL: 0 */
	struct moe_mat depth;           /* [1][hidden]; no data: all rows take the layer */
	struct moe_aux_weights depth_aux;       /* no data: none */
	const float *depth_threshold;   /* [1] or NULL: 0 */
};

struct moe_model {
	struct moe_spec *spec;
	struct moe_checkpoint *weights; /* NULL: config.json alone, nothing below is bound */
	uint64_t part_nbytes[MOE_N_PARTS];      /* of the weights, on disk */
	struct moe_mat embed, lm_head;          /* [vocab][hidden] */
	struct moe_norm final_norm;             /* [hidden] */
	struct moe_layer *layer;                /* [n_layers] */
	struct moe_mat conv[MOE_MAX_CONV];      /* tower conv_stem, linear and encoder */
	struct moe_mat decoder[MOE_MAX_CONV];   /* image_tokens */
	const float *code;                      /* [codes][width], or NULL */
	const float *row_embed, *col_embed;     /* [rows][width], [columns][width] of the largest grid, as wide as what the convolutions give, or NULL */
	struct moe_vit_weights vit;             /* tower vit and encoder */
	struct moe_norm vit_norm;               /* behind an encoder's layers */
	struct moe_query_attention_weights projector;   /* projector query_attention; of mlp mlp_in and mlp_out */
	struct moe_linear project;              /* projector linear */
	char fingerprint[33];                   /* 32 hex digits */
	char *directory;
	enum moe_choosing choosing;             /* who chooses, and what the stream says of it (moe.choice) */
	char choice[32];
	enum moe_math math;                     /* the arithmetic in use, and the packed weights of the fast one, or NULL (math.h) */
	void *packed;
	size_t packed_nbytes;
	struct moe_packfile *packfile;          /* packed weights that lie beside the model, or NULL (packfile.h) */
	char packfile_wrong[400];               /* why what lies there is not used, or "" */
	struct moe_arena memory;
};

/* Opens a model directory, or a GGUF file, and binds every tensor: what the family names must be there with the exact shape, and nothing may be left over. With
 * o->config_only and no weights there, the model has none. */
enum moe_err moe_model_open(struct moe_model **out, const struct moe_spec_options *o, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_model_close(struct moe_model *m);

/* Reads DIRECTORY/tokenizer.json, or makes one from a GGUF file: bytes to be freed, and their fingerprint (33 bytes). */
enum moe_err moe_model_tokenizer(const char *directory, char **json, size_t *n, char *fingerprint, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
