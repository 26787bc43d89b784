#include "common/patches.h"

#include <string.h>

#include "common/pictures.h"
#include "image/png.h"
#include "image/probe.h"
#include "plot/patches.h"

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* A sequence that is called as a picture is about that picture. */
static void check_name(const char *name, const char *label, uint64_t number)
{
	if (name && moe_picture_named(name) && strcmp(base_of(name), base_of(label)))
		cli_fail("picture %llu is %s, but the trace has %s in its place: --picture gives the pictures of the run, in their order",
			 (unsigned long long)number, label, name);
}

static void draw(struct moe_patch_sheet *s, uint64_t number, const struct moe_feed_item *item, const struct moe_image_plan *plan, const struct moe_spec *spec)
{
	struct moe_seen seen;
	struct moe_diag d = {0};
	const char *name;

	if (!moe_patch_sheet_wants(s, number, &name))
		return;
	check_name(name, item->label, number);
	if (moe_seen_make(&seen, plan, spec, &item->picture, &d) || moe_patch_sheet_draw(s, number, &item->picture, &seen, &d)) {
		moe_diag_path(&d, item->label);
		cli_die(&d);
	}
}

/* Pictures that cannot be read gave no tokens, and have no number. */
static void draw_all(struct moe_patch_sheet *s, const struct opt_list *pictures, const struct moe_model *m)
{
	struct moe_feed_options options = {.decode = moe_decode_from_spec(m->spec)};
	struct moe_feed *feed = pictures_feed((char **)(uintptr_t)pictures->item, (int)pictures->n, &options);
	struct moe_image_plan plan;
	struct moe_feed_item item;
	struct moe_diag d = {0};
	uint64_t number = 0;
	enum moe_err err = MOE_OK;

	cli_check(moe_plan_from_spec(&plan, m->spec, pictures_choice(), &d), &d);
	while (s->drawn < s->wanted && !(err = moe_feed_next(feed, &item, &d))) {
		if (!item.failure.code)
			draw(s, number++, &item, &plan, m->spec);
		moe_feed_item_clear(&item);
	}
	if (err == MOE_END)
		cli_fail("the trace is of more pictures than the %llu of --picture", (unsigned long long)number);
	cli_check(err, &d);
	moe_feed_free(feed);
}

static void write_png(const char *path, const struct moe_patch_sheet *s)
{
	struct moe_diag d = {0};
	struct moe_sink *sink;
	struct moe_png *png;
	const uint8_t *bytes;
	size_t n;
	FILE *f;

	cli_check(moe_png_new(&png, &d), &d);
	cli_check(moe_png_encode(png, s->rgb, s->width, s->height, &bytes, &n, &d), &d);
	f = cli_text(path, &sink);
	cli_finish_text(f, sink, fwrite(bytes, 1, n, f) == n ? MOE_OK : moe_fail_errno(&d, "%s: cannot write", path), &d);
	moe_png_free(png);
}

void patches_write(const char *path, const struct moe_top *top, const struct opt_list *pictures)
{
	struct moe_patch_sheet s;
	struct moe_model *m;
	struct moe_diag d = {0};

	cli_check(moe_patch_sheet_init(&s, top, &d), &d);
	cli.config_only = true;
	m = cli_model();
	draw_all(&s, pictures, m);
	write_png(path, &s);
	moe_patch_sheet_free(&s);
	moe_model_close(m);
}
