/* moe-block: attention, router and experts of a range of layers in one process. */
#include "common/choosing.h"
#include "common/layers.h"
#include "common/trace.h"

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		OPT_LAYERS, OPT_ONLY_WANTED, OPT_ATTENTION, OPT_PARTS, OPT_MODEL, OPT_OUTPUT, OPT_STREAM, OPT_WHAT_IF, OPT_CHOOSING, OPT_STATS, OPT_TRACE, OPT_END,
	};
	static const struct tool tool = {"moe-block", "-l LAYERS", "Attention, router and experts of a range of layers: hidden -> hidden.", opts};

	return layers_main(&tool, argc, argv, MOE_STEP_ATTEND, MOE_STEP_EXPERT, true);
}
