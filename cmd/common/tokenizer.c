#include "common/tokenizer.h"

#include <stdlib.h>

#include "common/cli.h"
#include "format/checkpoint.h"

struct moe_tokenizer *tokenizer_load(char *fingerprint)
{
	struct moe_diag d = {0};
	struct moe_tokenizer *t;
	char *json, path[sizeof d.path];
	size_t n;

	cli_check(moe_model_tokenizer(cli_model_directory(), &json, &n, fingerprint, &d), &d);
	if (moe_tokenizer_load(&t, json, n, &d)) {
		snprintf(path, sizeof path, "%s%s", cli.model, moe_checkpoint_is_file(cli.model) ? "" : "/tokenizer.json");
		moe_diag_path(&d, path);
		cli_die(&d);
	}
	free(json);
	return t;
}
