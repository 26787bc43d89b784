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

	cli_start(argc, argv);
	if (opt_parse(&tool, argc, argv) < argc)
		opt_usage(&tool);
	e.pool = cli_pool();
	e.model = cli_model();
	if (e.model->spec->tower.kind == MOE_TOWER_NONE)
		cli_fail("%s: the family %s takes no pictures", cli.model, e.model->spec->family);
	return cli_filter(&stage, e.model);
}
