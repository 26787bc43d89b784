/* moe-embed: embedding look-up; expands each image placeholder. */
#include "common/cli.h"
#include "stage/embed.h"

static long chunk;

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{0, "chunk", OPT_INT, &chunk, "N", "at most N rows per frame, so that long prompts flow", 1, 1e9, "a prompt is one frame"},
		OPT_MODEL, OPT_OUTPUT, OPT_STREAM, OPT_END,
	};
	static const struct tool tool = {"moe-embed", "", "Looks up embeddings and puts features in their places: tokens + features -> hidden.", opts};
	struct moe_embed e = {0};
	struct moe_stage stage = moe_embed_stage(&e);
	struct moe_model *m;
	int status;

	cli_start(argc, argv);
	opt_parse_filter(&tool, argc, argv);
	m = cli_model();
	e.model = m;
	e.chunk = (size_t)chunk;
	status = cli_filter(&stage, m);
	moe_embed_free(&e);
	moe_model_close(m);
	return status;
}
