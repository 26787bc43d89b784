/* moe-embed: embedding look-up; expands each image placeholder. */
#include "common/cli.h"
#include "stage/embed.h"

static long chunk;
static const char *features;

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{0, "chunk", OPT_INT, &chunk, "N", "at most N rows per frame, so that long prompts flow", 1, 1e9, "a prompt is one frame"},
		{0, "features", OPT_TEXT, &features, "STREAM", "take pictures' features from what moe-encode wrote there, for every sequence", 0, 0, 0},
		OPT_MODEL, OPT_OUTPUT, OPT_STREAM, OPT_END,
	};
	static const struct tool tool = {"moe-embed", "", "Looks up embeddings and puts features in their places: tokens + features -> hidden.", opts};
	struct moe_embed e = {0};
	struct moe_stage stage = moe_embed_stage(&e);
	struct moe_given_features given = {0};
	struct moe_diag d = {0};
	struct moe_model *m;
	int status;

	cli_start(argc, argv);
	opt_parse_filter(&tool, argc, argv);
	m = cli_model();
	e.model = m;
	e.chunk = (size_t)chunk;
	if (features) {
		struct moe_identity id = cli_identity(m, NULL);
		cli_check(moe_given_read(&given, cli_reader(features), m, &id, &d), &d);
		e.given = &given;
	}
	status = cli_filter(&stage, m);
	moe_embed_free(&e);
	moe_given_free(&given);
	moe_model_close(m);
	return status;
}
