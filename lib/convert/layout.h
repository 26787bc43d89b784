/* The files of an output: what stands in front of their data, and where each tensor is. */
#ifndef MOE_CONVERT_LAYOUT_H
#define MOE_CONVERT_LAYOUT_H

#include "convert/partial.h"
#include "convert/targets.h"

struct moe_layout {
	struct moe_partial_file *file;
	size_t n_files;
	char *index;                    /* of a folder with several files: the text of model.safetensors.index.json; else NULL */
};

/* Makes the files and places the targets. *out begins with zeros, and is freed in any case. */
enum moe_err moe_layout_gguf(struct moe_layout *out, struct moe_targets *all, const struct moe_model *m, struct moe_diag *d) MOE_CHECK_RESULT;
enum moe_err moe_layout_folder(struct moe_layout *out, struct moe_targets *all, uint64_t shard_nbytes, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_layout_free(struct moe_layout *l);

/* config.json of a folder, to be freed: that of the source folder (a text of config_nbytes) with what the types change, or, for NULL, one made from the
 * settings. */
enum moe_err moe_layout_config(char **out, const struct moe_targets *all, const struct moe_model *m, const char *config, size_t config_nbytes,
			       struct moe_diag *d) MOE_CHECK_RESULT;

/* The value of "a.b.c" in a tree, borrowed, or NULL; and sets it. */
json_t *moe_layout_get(const json_t *tree, const char *key);
void moe_layout_put(json_t *tree, const char *key, json_t *v);

#endif
