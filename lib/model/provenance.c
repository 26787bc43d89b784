#include "model/provenance.h"

#include <stdio.h>
#include <stdlib.h>

#include "format/checkpoint.h"
#include "model/spec_priv.h"

enum moe_err moe_provenance_read(json_t **out, const char *directory, struct moe_diag *d)
{
	json_t *config, *list;
	enum moe_err err;
	char *path;

	*out = json_array();
	if (moe_checkpoint_is_file(directory))  /* a GGUF file has no such key */
		return *out ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
	if (!*out || asprintf(&path, "%s/config.json", directory) < 0)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	err = moe_docs_read(&config, path, d);
	free(path);
	if (err)
		return err;
	list = json_object_get(config, MOE_PROVENANCE);
	if (json_is_array(list))
		json_array_extend(*out, list);
	json_decref(config);
	return MOE_OK;
}
