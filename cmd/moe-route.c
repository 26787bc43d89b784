/* moe-route: norm, router logits and the choice of experts of one layer; statistics; what-if. */
#include "common/choosing.h"
#include "common/layers.h"
#include "common/trace.h"

int main(int argc, char **argv)
{
	static const struct opt opts[] = {OPT_LAYER, OPT_MODEL, OPT_OUTPUT, OPT_STREAM, OPT_WHAT_IF, OPT_CHOOSING, OPT_STATS, OPT_TRACE, OPT_END};
	static const struct tool tool = {"moe-route", "-l LAYER", "Chooses the experts of one layer for every token: hidden -> routed.", opts};

	return layers_main(&tool, argc, argv, MOE_STEP_ROUTE, MOE_STEP_ROUTE, false);
}
