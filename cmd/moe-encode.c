/* moe-encode: the tower. */
#include <stdlib.h>

#include "common/cli.h"
#include "stage/encode.h"

int main(int argc, char **argv)
{
	static const struct opt opts[] = {OPT_MODEL, OPT_OUTPUT, OPT_STREAM, OPT_END};
	static const struct tool tool = {"moe-encode", "", "Turns the patches of pictures into features: patches -> features.", opts};
	struct moe_encode e = {0};
	struct moe_stage stage = moe_encode_stage(&e);
	struct moe_model *m;
	int status;

	cli_start(argc, argv);
	opt_parse_filter(&tool, argc, argv);
	e.pool = cli_pool();
	m = cli_model();
	e.model = m;
	if (m->spec->tower.kind == MOE_TOWER_NONE)
		cli_fail("%s: the family %s takes no pictures", cli.model, m->spec->family);
	status = cli_filter(&stage, m);
	moe_encode_free(&e);
	moe_model_close(m);
	moe_pool_free(e.pool);
	return status;
}
