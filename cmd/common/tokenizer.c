#include "common/tokenizer.h"

#include <stdlib.h>

#include "common/cli.h"

struct moe_tokenizer *tokenizer_load(char *fingerprint)
{
	struct moe_diag d = {0};
	struct moe_tokenizer *t;
	char *json;
	size_t n;

	cli_check(moe_model_tokenizer(cli_model_directory(), &json, &n, fingerprint, &d), &d);
	if (moe_tokenizer_load(&t, json, n, &d))
		cli_fail("%s/tokenizer.json: %s", cli.model, d.text);
	free(json);
	return t;
}
