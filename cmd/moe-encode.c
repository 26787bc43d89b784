/* moe-encode: the tower. */
#include <stdlib.h>

#include "common/cli.h"
#include "common/drawing.h"
#include "stage/encode.h"

static const char *image;

static enum moe_err draw(void *drawing, const int32_t *code, struct moe_diag *d) { return drawing_write(drawing, code, d); }

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{0, "image", OPT_TEXT, &image, "FILE", "write what the image tokens of each picture say, as PNG (%d in the name: the number of each)", 0, 0, 0},
		OPT_MODEL, OPT_OUTPUT, OPT_STREAM, OPT_END,
	};
	static const struct tool tool = {"moe-encode", "", "Turns the patches of pictures into features: patches -> features.", opts};
	struct moe_encode e = {0};
	struct moe_stage stage = moe_encode_stage(&e);
	struct drawing drawing = {0};
	struct moe_model *m;
	int status;

	cli_start(argc, argv);
	opt_parse_filter(&tool, argc, argv);
	e.pool = cli_pool();
	m = cli_model();
	e.model = m;
	if (m->spec->tower.kind == MOE_TOWER_NONE)
		cli_fail("%s: the family %s takes no pictures", cli.model, m->spec->family);
	if (image) {
		drawing_init(&drawing, m, image);
		e.seen = draw;
		e.to = &drawing;
	}
	status = cli_filter(&stage, m);
	drawing_free(&drawing);
	moe_encode_free(&e);
	moe_model_close(m);
	moe_pool_free(e.pool);
	return status;
}
