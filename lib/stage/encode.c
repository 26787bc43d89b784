#include "stage/encode.h"

enum moe_err moe_frame_grid(struct moe_frame *f, const struct moe_spec *s, uint32_t *rows, uint32_t *columns, struct moe_diag *d)
{
	const int32_t *grid;
	const uint64_t *shape;

	MOE_TRY(moe_frame_tensor(f, "grid", MOE_I32, 1, (const void **)&grid, &shape, d));
	if (shape[0] != 2 || grid[0] < 1 || grid[1] < 1)
		return moe_frame_fail(f, d, MOE_EINPUT, "tensor \"grid\" is not the two sides of a picture in patches");
	*rows = (uint32_t)grid[0];
	*columns = (uint32_t)grid[1];
	return moe_frame_blame(f, moe_spec_check_grid(s, *rows, *columns, d), d);
}

/* All crops of a picture; there is room for their features. */
static enum moe_err encode_crops(const struct moe_model *m, struct moe_crops *c, float *feature, const struct moe_compute *work, struct moe_diag *d)
{
	size_t hidden = (size_t)m->spec->hidden;

	while (c->at < c->n) {
		struct moe_arena_mark mark = moe_arena_mark(work->scratch);
		struct moe_patches p;
		MOE_TRY(moe_crops_next(c, &p, work->scratch, d));
		MOE_TRY(moe_tower_forward(m, p.pixel, p.rows, p.columns, feature, work, d));
		feature += moe_spec_features(m->spec, p.rows, p.columns) * hidden;
		moe_arena_release(work->scratch, mark);
	}
	return MOE_OK;
}

enum moe_err moe_picture_encode(const struct moe_model *m, const struct moe_image_plan *plan, const struct moe_picture *p, float **feature,
				struct moe_patch_grid *grid, const struct moe_compute *work, struct moe_diag *d)
{
	struct moe_crops c;
	enum moe_err err = moe_crops_open(&c, plan, p, d);

	if (!err) {
		moe_crops_grid(&c, &grid->rows, &grid->columns);
		grid->features = c.n * moe_spec_features(m->spec, grid->rows, grid->columns);
		*feature = moe_arena_get(work->scratch, grid->features * (size_t)m->spec->hidden, sizeof **feature);
		err = *feature ? encode_crops(m, &c, *feature, work, d) : moe_fail(d, MOE_ENOMEM, "out of memory for a picture");
	}
	moe_crops_close(&c);
	return err;
}

/* Tells of the codes of a picture. */
static enum moe_err tell_codes(struct moe_encode *e, const float *pixel, uint32_t rows, uint32_t columns, struct moe_diag *d)
{
	const struct moe_spec *s = e->model->spec;
	struct moe_compute work = {&e->scratch, e->pool, NULL};
	struct moe_patching cut = {rows, columns, (uint32_t)s->image.channels, (uint32_t)s->image.patch, (uint32_t)s->image.patch};
	struct moe_arena_mark mark = moe_arena_mark(&e->scratch);
	float *planes = moe_arena_get(&e->scratch, (size_t)rows * columns, (size_t)(s->image.channels * s->image.patch * s->image.patch) * sizeof *planes);
	int32_t *code = moe_arena_get(&e->scratch, (size_t)rows * columns, sizeof *code);

	if (!planes || !code)
		return moe_fail(d, MOE_ENOMEM, "out of memory for %u patches", rows * columns);
	moe_planes_from_patches(planes, pixel, &cut);
	MOE_TRY(moe_codes_forward(e->model, planes, rows, columns, code, &work, d));
	MOE_TRY(e->seen(e->to, code, d));
	moe_arena_release(&e->scratch, mark);
	return MOE_OK;
}

static enum moe_err encode_frame(struct moe_encode *e, struct moe_frame *f, struct moe_output *out, struct moe_diag *d)
{
	struct moe_compute work = {&e->scratch, e->pool, NULL};
	const struct moe_spec *s = e->model->spec;
	uint64_t width = (uint64_t)(s->image.channels * s->image.patch * s->image.patch), hidden = (uint64_t)s->hidden;
	uint32_t rows, columns;
	size_t features;
	const float *pixel;
	const uint64_t *shape;
	float *feature;

	moe_arena_reset(&e->scratch);
	MOE_TRY(moe_frame_grid(f, s, &rows, &columns, d));
	MOE_TRY(moe_frame_tensor(f, "pixel", MOE_F32, 2, (const void **)&pixel, &shape, d));
	if (shape[0] != (uint64_t)rows * columns || shape[1] != width)
		return moe_frame_fail(f, d, MOE_EINPUT, "tensor \"pixel\" is %llu x %llu, expected %u x %llu", (unsigned long long)shape[0],
				      (unsigned long long)shape[1], rows * columns, (unsigned long long)width);
	features = moe_spec_features(s, rows, columns);
	feature = moe_arena_get(&e->scratch, features * hidden, sizeof *feature);
	if (!feature)
		return moe_fail(d, MOE_ENOMEM, "out of memory for %u patches", rows * columns);
	MOE_TRY(moe_tower_forward(e->model, pixel, rows, columns, feature, &work, d));
	if (e->seen)
		MOE_TRY(tell_codes(e, pixel, rows, columns, d));
	f->kind = MOE_KIND_FEATURES;
	MOE_TRY(moe_frame_set(f, "moe.kind", "features", d));
	moe_frame_remove(f, "pixel");
	moe_frame_remove(f, "valid");
	MOE_TRY(moe_frame_put(f, "feature", MOE_F32, 2, features, hidden, feature, d));
	return moe_emit(out, f, d);
}

static enum moe_err run(void *self, struct moe_frame **f, size_t n, struct moe_output *out, struct moe_diag *d)
{
	for (size_t i = 0; i < n; i++)
		MOE_TRY(encode_frame(self, f[i], out, d));
	return MOE_OK;
}

struct moe_stage moe_encode_stage(struct moe_encode *e)
{
	return (struct moe_stage){.self = e, .kinds = 1u << MOE_KIND_PATCHES, .run = run};
}

void moe_encode_free(struct moe_encode *e) { moe_arena_free(&e->scratch); }
