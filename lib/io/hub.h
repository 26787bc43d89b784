/* Models in the local cache of the Hugging Face hub, by their names there: ORG/NAME[@REVISION]. Nothing is ever downloaded.
 *
 * The cache (huggingface_hub, "Understand caching"): FOLDER/models--ORG--NAME/refs/REVISION holds the id of a commit, and
 * FOLDER/models--ORG--NAME/snapshots/COMMIT its files. */
#ifndef MOE_IO_HUB_H
#define MOE_IO_HUB_H

#include <stdbool.h>

#include "base/err.h"

/* Values of the environment variables that say where the cache is; NULL or "": not set. The first of these that is set counts:
 * hub_cache (HF_HUB_CACHE), hf_home/hub (HF_HOME), xdg_cache/huggingface/hub (XDG_CACHE_HOME), home/.cache/huggingface/hub (HOME). */
struct moe_hub {
	const char *hub_cache, *hf_home, *xdg_cache, *home;
};

/* Has the text the form of a name on the hub? */
bool moe_hub_is_name(const char *name);

/* The folder of the snapshot of `name`, to be freed. Without a revision it is "main", else the only snapshot that there is. MOE_EIO when it is not
 * in the cache; the message says where it was looked for and which command of the hub's own tool fetches it. */
enum moe_err moe_hub_find(char **directory, const char *name, const struct moe_hub *hub, struct moe_diag *d) MOE_CHECK_RESULT;

#endif
