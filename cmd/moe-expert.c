/* moe-expert: the chosen experts of one layer, and the residual. */
#include "common/layers.h"

int main(int argc, char **argv)
{
	static const struct opt opts[] = {OPT_LAYER, OPT_PARTS, OPT_EXPERTS, OPT_PARTIAL, OPT_MODEL, OPT_OUTPUT, OPT_STREAM, OPT_END};
	static const struct tool tool = {"moe-expert", "-l LAYER", "The chosen experts of one layer: routed -> hidden.", opts};

	return layers_main(&tool, argc, argv, MOE_STEP_EXPERT, MOE_STEP_EXPERT, false);
}
