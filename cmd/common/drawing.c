#include "common/drawing.h"

#include <stdlib.h>
#include <string.h>

#include "common/cli.h"
#include "common/numbered.h"
#include "model/layer.h"

static const char option[] = "--image";

void drawing_init(struct drawing *w, const struct moe_model *m, const char *name)
{
	struct moe_diag d = {0};

	if (!m->spec->image_tokens.count)
		cli_fail("--image: the model has no image tokens, and draws no pictures");
	numbered_has(option, name);
	*w = (struct drawing){.model = m, .name = name};
	cli_check(moe_png_new(&w->png, &d), &d);
}

void drawing_free(struct drawing *w)
{
	struct moe_diag d = {0};

	if (w->last)
		cli_check(moe_sink_settle(w->last, &d), &d);
	free(w->last);
	moe_png_free(w->png);
	moe_arena_free(&w->memory);
	*w = (struct drawing){0};
}

static enum moe_err put(struct drawing *w, const uint8_t *bytes, size_t n, struct moe_diag *d)
{
	char *path = numbered_name(option, w->name, w->n);
	struct iovec piece = {(void *)(uintptr_t)bytes, n};
	struct moe_sink *sink = NULL;
	enum moe_err err = moe_sink_open(&sink, path, d);

	if (!err && moe_write_all(moe_sink_descriptor(sink), &piece, 1, d)) {
		moe_sink_abandon(sink);
		err = moe_diag_path(d, path);
	} else if (!err) {
		err = moe_sink_commit_early(sink, d);
	}
	free(w->last);
	w->last = path;
	return err;
}

enum moe_err drawing_write(struct drawing *w, const int32_t *code, struct moe_diag *d)
{
	const struct moe_spec *s = w->model->spec;
	size_t rows = (size_t)s->image.grids.v[0][0], columns = (size_t)s->image.grids.v[0][1], patch = (size_t)s->image.patch, n;
	struct moe_compute work = {.scratch = &w->memory};
	const uint8_t *bytes;
	uint8_t *rgb;

	if (w->n && !numbered_has(option, w->name))
		return moe_fail(d, MOE_EUSAGE, "--image %s: there is a second picture: give a name with a number, such as %%03d.png", w->name);
	moe_arena_reset(&w->memory);
	rgb = moe_arena_get(&w->memory, rows * columns * patch * patch, 3);
	if (!rgb)
		return moe_fail(d, MOE_ENOMEM, "out of memory for a picture");
	MOE_TRY(moe_codes_decode(w->model, code, rows, columns, rgb, &work, d));
	MOE_TRY(moe_png_encode(w->png, rgb, (uint32_t)(columns * patch), (uint32_t)(rows * patch), &bytes, &n, d));
	MOE_TRY(put(w, bytes, n, d));
	w->n++;
	return MOE_OK;
}

enum moe_err drawing_answer(struct drawing *w, const struct moe_answer *a, struct moe_diag *d)
{
	const struct moe_spec *s = w->model->spec;
	size_t all = moe_picture_tokens(s), n = 0;
	int32_t *code = malloc(all * sizeof *code);
	enum moe_err err = code ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");

	for (size_t i = 0; i < a->ids.n && !err; i++) {
		int64_t c = moe_spec_code(s, a->ids.id[i]);
		if (c < 0)
			continue;
		code[n++] = (int32_t)c;
		if (n < all)
			continue;
		err = drawing_write(w, code, d);
		n = 0;
	}
	if (n && !err)
		cli_say("%s%sa picture has %zu of its %zu image tokens, and is not written (-n allows more)", a->name ? a->name : "", a->name ? ": " : "", n, all);
	free(code);
	return err;
}
