/* moe-convert: a model into another format, or other types. */
#include <stdlib.h>
#include <string.h>

#include "common/cli.h"
#include "common/progress.h"
#include "convert/convert.h"
#include "model/packfile.h"
#include "report/converted.h"
#include "report/escape.h"

static struct {
	const char *types;
	double shard;
	bool json, restart, pack;
	struct moe_converted sums;
} o = {.shard = 5};

static void on_tensor(void *arg, const struct moe_target *t, const struct moe_loss *loss)
{
	(void)arg;
	progress_clear();
	moe_converted_tensor(&o.sums, cli.quiet && !o.json ? NULL : stdout, o.json, t, loss);
}

/* Packed weights beside the model. What is there already and right stays. */
static int pack(struct moe_model *m)
{
	struct moe_diag d = {0};
	struct moe_pool *pool = cli_pool();
	char *path = moe_packfile_path(m);
	bool good = m->packfile && !moe_packfile_verify(m, &d);

	if (!good) {
		moe_diag_clear(&d);
		cli_check(moe_packfile_write(m, pool, progress_bytes, NULL, &d), &d);
		moe_packfile_close(m->packfile);
		m->packfile = NULL;
		m->packfile_wrong[0] = 0;
		moe_packfile_open(m);
		if (!m->packfile)
			cli_fail("%s", m->packfile_wrong[0] ? m->packfile_wrong : "out of memory");
	}
	if (o.json)
		moe_print_json(stdout, json_pack("{so sI sI sb}", "packed", moe_json_text(path ? path : "", path ? strlen(path) : 0), "matrices",
						 (json_int_t)moe_packfile_count(m->packfile), "bytes", (json_int_t)moe_packfile_nbytes(m->packfile), "was_there", good));
	else if (!cli.quiet)
		printf("%s: %zu matrices, %llu bytes%s\n", path, moe_packfile_count(m->packfile), (unsigned long long)moe_packfile_nbytes(m->packfile),
		       good ? "; it was there already" : "");
	free(path);
	moe_pool_free(pool);
	moe_model_close(m);
	return cli_close_stdout();
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{0, "type", OPT_TEXT, &o.types, "TYPE", "keep, f32, f16, bf16, int8, q8_0, q4_0, q4_k or q6_k; for parts of the model PART=TYPE,...", 0, 0, "keep"},
		{0, "shard-size", OPT_REAL, &o.shard, "GB", "most of weights in one file of a folder", 1e-6, 1e6, "5"},
		{0, "restart", OPT_FLAG, &o.restart, 0, "begin anew what an earlier run left unfinished", 0, 0, 0},
		{0, "pack", OPT_FLAG, &o.pack, 0, "make the packed weights of the arithmetic fast, once, in a file beside MODEL; there is no OUTPUT", 0, 0, 0},
		{0, "json", OPT_FLAG, &o.json, 0, "one JSON object per tensor, and one for all", 0, 0, 0},
		{0, "family", OPT_TEXT, &cli.family, "FILE", "family file to read the model with", 0, 0, "the one that matches its config.json"},
		OPT_END,
	};
	static const struct tool tool = {"moe-convert", "MODEL OUTPUT", "Writes a model as a GGUF file (OUTPUT.gguf) or as a folder with safetensors, in other types.",
					 opts};
	struct moe_diag d = {0};
	struct moe_convert_options c = {.tensor = on_tensor, .progress = progress_bytes, .note = cli_note};
	struct moe_model *m;
	char *families;
	bool kept;
	int at;

	cli_start(argc, argv);
	at = opt_parse(&tool, argc, argv);
	if (argc - at != (o.pack ? 1 : 2))
		opt_usage(&tool);
	cli.model = argv[at];
	cli.packs = o.pack;
	if (o.pack)
		return pack(cli_model());
	m = cli_model();
	c.families = families = cli_share("families");
	c.family_file = cli.family;
	c.types = o.types;
	c.shard_nbytes = (uint64_t)(o.shard * 1e9);
	c.anew = o.restart;
	c.pool = cli_pool();
	if (moe_convert(m, argv[at + 1], &c, &kept, &d)) {
		if (kept && !cli.quiet)
			cli_say("what is done stays in %s.part; the same command goes on with it", argv[at + 1]);
		cli_die(&d);
	}
	if (!cli.quiet || o.json)
		moe_converted_print(&o.sums, stdout, o.json);
	moe_pool_free(c.pool);
	moe_model_close(m);
	free(families);
	return cli_close_stdout();
}
