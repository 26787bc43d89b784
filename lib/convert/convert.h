/* A model into another format or other types: a folder with safetensors, or a GGUF file. */
#ifndef MOE_CONVERT_CONVERT_H
#define MOE_CONVERT_CONVERT_H

#include "convert/rewrite.h"
#include "convert/targets.h"

/* Another model, which is made of the source: a folder. */
struct moe_convert_other {
	const struct moe_spec *spec;    /* its settings */
	const char *config;             /* the text of its config.json */
	/* Lists its tensors in *out, which begins with zeros. */
	enum moe_err (*list)(void *arg, struct moe_targets *out, const struct moe_types *types, struct moe_diag *d);
	/* Looks at the folder when all is in it, before it gets its name; a failure means that it never does. NULL: nobody looks. */
	enum moe_err (*check)(void *arg, const char *folder, struct moe_diag *d);
	void *arg;
};

struct moe_convert_options {
	const struct moe_convert_other *other;  /* NULL: the source itself is written */
	const char *families, *family_file;     /* as in struct moe_spec_options */
	const char *types;              /* types.h */
	uint64_t shard_nbytes;          /* the most of weights in one file of a folder; 0: 5 GB */
	bool anew;                      /* begin an unfinished output anew */
	/* NULL, or who has the `count` numbers of each tensor in the place of the model's own; then no unfinished output is kept. */
	const float *(*numbers)(void *arg, const char *name, uint64_t count);
	struct moe_pool *pool;
	void *arg;                      /* what the following get; each may be NULL */
	void (*tensor)(void *arg, const struct moe_target *t, const struct moe_loss *loss);    /* one is done */
	void (*progress)(void *arg, uint64_t done, uint64_t all);       /* bytes of the output */
	void (*note)(void *arg, const char *text);      /* what the user should know */
};

/* Converts a model with weights. An output whose name ends in ".gguf" is such a file, any other a folder. What an earlier call with the same source and options
 * began is continued (partial.h); the result has the same bytes. Fails with MOE_EUSAGE or MOE_EMATCH before anything is written where the format cannot say
 * what the model is; *kept tells whether an unfinished output stays. */
enum moe_err moe_convert(struct moe_model *m, const char *output, const struct moe_convert_options *o, bool *kept, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
