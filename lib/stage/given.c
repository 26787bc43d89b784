#include "stage/given.h"

#include <string.h>

#include "stage/encode.h"

enum { MAX_PICTURES = 1 << 20 };

/* Which crop of its picture the features are: the first of a picture makes room for all of them. */
static enum moe_err open_crop(struct moe_crop_features *c, struct moe_frame *f, const struct moe_spec *s, size_t features, struct moe_arena *a, struct moe_diag *d)
{
	uint64_t crop, crops;

	MOE_TRY(moe_frame_number(f, "moe.crop", 0, &crop, d));
	MOE_TRY(moe_frame_number(f, "moe.crops", 1, &crops, d));
	if (crop != c->crop || !crops || crops > MOE_MAX_CROPS || (crop && crops != c->crops))
		return moe_frame_fail(f, d, MOE_EINPUT, "crop %llu of %llu came, expected number %zu", (unsigned long long)crop, (unsigned long long)crops, c->crop);
	c->crops = crops;
	if (crop)
		return features * crops == c->grid.features ? MOE_OK : moe_frame_fail(f, d, MOE_EINPUT, "the crops of a picture have different sizes");
	c->grid.features = features * crops;
	c->feature = moe_arena_get(a, c->grid.features * (size_t)s->hidden, sizeof *c->feature);
	return c->feature ? MOE_OK : moe_fail(d, MOE_ENOMEM, "out of memory");
}

enum moe_err moe_crop_take(struct moe_crop_features *c, struct moe_frame *f, const struct moe_spec *s, struct moe_arena *a, bool *complete, struct moe_diag *d)
{
	uint64_t hidden = (uint64_t)s->hidden, features;
	uint32_t rows, columns;
	const float *feature;
	const uint64_t *shape;

	MOE_TRY(moe_frame_grid(f, s, &rows, &columns, d));
	features = moe_spec_features(s, rows, columns);
	MOE_TRY(moe_frame_tensor(f, "feature", MOE_F32, 2, (const void **)&feature, &shape, d));
	if (shape[0] != features || shape[1] != hidden)
		return moe_frame_fail(f, d, MOE_EINPUT, "tensor \"feature\" is %llu x %llu, expected %llu x %llu", (unsigned long long)shape[0],
				      (unsigned long long)shape[1], (unsigned long long)features, (unsigned long long)hidden);
	MOE_TRY(open_crop(c, f, s, features, a, d));
	if (!c->crop) {
		c->grid.rows = rows;
		c->grid.columns = columns;
	}
	memcpy(c->feature + c->crop * features * hidden, feature, features * hidden * sizeof *feature);
	*complete = ++c->crop == c->crops;
	return MOE_OK;
}

static enum moe_err add_picture(struct moe_given_features *g, const struct moe_crop_features *c, struct moe_diag *d)
{
	struct moe_patch_grid *grid = moe_arena_get(&g->memory, g->n + 1, sizeof *grid);
	float **feature = moe_arena_get(&g->memory, g->n + 1, sizeof *feature);

	if (!grid || !feature || g->n == MAX_PICTURES)
		return moe_fail(d, MOE_ENOMEM, "more pictures than there is room for");
	if (g->n) {     /* few pictures: the lists are made anew for each */
		memcpy(grid, g->grid, g->n * sizeof *grid);
		memcpy(feature, g->feature, g->n * sizeof *feature);
	}
	grid[g->n] = c->grid;
	feature[g->n++] = c->feature;
	g->grid = grid;
	g->feature = feature;
	return MOE_OK;
}

static enum moe_err read_frames(struct moe_given_features *g, struct moe_reader *in, struct moe_frame *f, const struct moe_model *m,
				const struct moe_identity *id, struct moe_diag *d)
{
	struct moe_crop_features c = {0};

	for (;;) {
		enum moe_err err = moe_reader_next(in, f, true, d);
		bool complete;
		if (err == MOE_END)
			break;
		MOE_TRY(err);
		if (f->kind == MOE_KIND_HEAD)
			MOE_TRY(moe_head_check(f, id, d));
		if (f->kind == MOE_KIND_FAILED)
			return moe_frame_fail(f, d, MOE_EINPUT, "a picture failed: %.300s", moe_frame_meta(f, "moe.error") ? moe_frame_meta(f, "moe.error") : "");
		if (f->kind != MOE_KIND_FEATURES)
			continue;
		MOE_TRY(moe_crop_take(&c, f, m->spec, &g->memory, &complete, d));
		if (!complete)
			continue;
		MOE_TRY(add_picture(g, &c, d));
		c = (struct moe_crop_features){0};
	}
	return g->n && !c.crop ? MOE_OK : moe_fail(d, MOE_EINPUT, "the stream has no features of a whole picture (is moe-encode missing?)");
}

enum moe_err moe_given_read(struct moe_given_features *g, struct moe_reader *in, const struct moe_model *m, const struct moe_identity *id, struct moe_diag *d)
{
	struct moe_frame f = {0};
	enum moe_err err;

	*g = (struct moe_given_features){0};
	err = read_frames(g, in, &f, m, id, d);
	if (err)
		moe_diag_path(d, moe_reader_name(in));
	moe_frame_free(&f);
	moe_reader_free(in);
	return err;
}

void moe_given_free(struct moe_given_features *g)
{
	moe_arena_free(&g->memory);
	*g = (struct moe_given_features){0};
}
