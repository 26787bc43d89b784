/* moe-attend: norm, attention with its cache, residual, of one layer. */
#include "common/choosing.h"
#include "common/layers.h"

int main(int argc, char **argv)
{
	static const struct opt opts[] = {OPT_LAYER, OPT_ONLY_WANTED, OPT_ATTENTION, OPT_CHOOSING, OPT_MODEL, OPT_OUTPUT, OPT_STREAM, OPT_END};
	static const struct tool tool = {"moe-attend", "-l LAYER", "Attention of one layer with its cache: hidden -> hidden.", opts};

	return layers_main(&tool, argc, argv, MOE_STEP_ATTEND, MOE_STEP_ATTEND, false);
}
