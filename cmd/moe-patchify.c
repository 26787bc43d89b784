/* moe-patchify: pictures to patches. */
#include <stdlib.h>
#include <string.h>

#include "common/pictures.h"
#include "stage/patchify.h"

static bool source;

/* As the first stage: writes a stream of its own. */
static int run_source(struct moe_patchify *p, const struct moe_model *m)
{
	struct moe_diag d = {0};
	struct moe_sink *sink;
	struct moe_output out = {.writer = cli_writer(&sink)};
	struct moe_identity id = cli_identity(m, NULL);
	enum moe_err err = moe_patchify_source(p, &id, &out, &d);

	cli_finish(sink, err, &d);
	moe_writer_free(out.writer);
	moe_account_free(&out.account);
	return EXIT_DONE;
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{0, "source", OPT_FLAG, &source, 0, "be the first stage: read no stream, give each picture a sequence of its own", 0, 0, 0},
		OPT_IMAGES, OPT_FRAMES, OPT_PICTURES, OPT_MODEL, OPT_OUTPUT, OPT_STREAM, OPT_END,
	};
	static const struct tool tool = {"moe-patchify", "PICTURE|FOLDER|SHARD...", "Decodes pictures and cuts them into patches: tokens -> tokens + patches.", opts};
	struct moe_feed_options feed_options = {.threads = 1};
	struct moe_diag d = {0};
	struct moe_patchify p;
	struct moe_stage stage;
	struct moe_model *m;
	struct moe_feed *feed;
	int at, status;

	pictures_start(&tool);
	cli_start(argc, argv);
	at = opt_parse(&tool, argc, argv);
	if (at == argc && !pictures_options.files_from)
		opt_usage(&tool);
	for (int i = at; i < argc; i++)
		source |= !strcmp(argv[i], "-");
	m = cli_model();
	if (m->spec->merge.placeholder < 0)
		cli_fail("%s: the family %s takes no pictures", cli.model, m->spec->family);
	feed_options.decode = moe_decode_from_spec(m->spec);
	feed = pictures_feed(argv + at, argc - at, &feed_options);
	cli_check(moe_patchify_init(&p, m->spec, pictures_choice(), feed, &d), &d);
	stage = moe_patchify_stage(&p);
	status = source ? run_source(&p, m) : cli_filter(&stage, m);
	pictures_report(feed);
	moe_patchify_free(&p);
	moe_feed_free(feed);
	moe_model_close(m);
	return status;
}
