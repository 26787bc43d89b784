/* moe-info: what a model is. */
#include <stdlib.h>

#include "common/cli.h"
#include "report/info.h"

static bool json, spec;
static long tokens = 1024;

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{0, "json", OPT_FLAG, &json, 0, "one JSON object", 0, 0, 0},
		{0, "tokens", OPT_INT, &tokens, "N", "tell the memory for a sequence of N tokens, those of pictures included", 1, 1e9, "1024"},
		{0, "spec", OPT_FLAG, &spec, 0, "every setting as it was understood", 0, 0, 0},
		OPT_MODEL, OPT_END,
	};
	static const struct tool tool = {"moe-info", "[MODEL]", "Family, shapes, parameters, memory and cost of a model.", opts};
	struct moe_diag d = {0};
	struct moe_model *m;
	int at;

	cli_start(argc, argv);
	at = opt_parse(&tool, argc, argv);
	if (at + 1 < argc)
		opt_usage(&tool);
	if (at < argc)
		cli.model = argv[at];
	cli.config_only = true;
	m = cli_model();
	if (spec) {
		char *text = moe_spec_string(m->spec);
		if (!text)
			cli_fail("out of memory");
		fputs(text, stdout);
		free(text);
	} else {
		cli_check(moe_info_print(stdout, m, (uint64_t)tokens, json, &d), &d);
	}
	moe_model_close(m);
	return cli_close_stdout();
}
