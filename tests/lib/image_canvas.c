/* Pictures on canvases and their crops: the original rule to split from split.tsv, the rest by definition. transformers' own results are compared by
 * tests/golden. */
#include "image_data.h"

#include <math.h>

#include "image/crops.h"

enum { MOST = 980 };

static const uint8_t ratios[][2] = {
	{1, 2}, {1, 3}, {1, 4}, {1, 5}, {1, 6}, {1, 7}, {1, 8}, {2, 4}, {2, 3}, {2, 2}, {2, 1}, {3, 1}, {3, 2}, {4, 1}, {4, 2}, {5, 1}, {6, 1}, {7, 1}, {8, 1},
};

static struct moe_image_plan plan_of(uint32_t size, enum moe_split split)
{
	struct moe_image_plan p = {.on_canvas = true, .canvas = {.size = size, .min_side = 336, .patch = 14, .split = split}};

	for (size_t i = 0; i < sizeof ratios / sizeof *ratios; i++, p.canvas.n_ratios++)
		for (int j = 0; j < 2; j++)
			p.canvas.ratio[i][j] = ratios[i][j];
	moe_canvas_values(&p.canvas, (double[3]){0.5, 0.5, 0.5}, (double[3]){0.5, 0.5, 0.5});
	return p;
}

/* The picture that split.py makes. */
static struct moe_picture sample(uint32_t w, uint32_t h)
{
	struct moe_picture p = {.width = w, .height = h, .rgb = malloc((size_t)w * h * 3)};
	uint8_t *to = p.rgb;

	assert_non_null(to);
	for (uint32_t y = 0; y < h; y++)
		for (uint32_t x = 0; x < w; x++)
			for (uint32_t c = 0; c < 3; c++)
				*to++ = (uint8_t)(7 * x + 13 * y + 61 * c + (c + 1) * (x * y / 5));
	return p;
}

/* The canvas as bytes: what no patch covers is padding, 0. */
static void as_bytes(uint8_t *canvas, const struct moe_canvas *k, const struct moe_patches *p)
{
	const float *v = p->pixel;
	size_t n = k->patch;

	memset(canvas, 0, (size_t)k->size * k->size * 3);
	for (size_t i = 0; i < p->rows; i++)
		for (size_t j = 0; j < p->columns; j++)
			for (size_t c = 0; c < 3; c++)
				for (size_t y = 0; y < n; y++)
					for (size_t x = 0; x < n; x++, v++) {
						long u = lrintf((*v + 1) * 127.5f);
						assert_true(u >= 0 && u < 256 && k->value[c][u] == *v);
						canvas[((i * n + y) * k->size + j * n + x) * 3 + c] = (uint8_t)u;
					}
}

static uint32_t crc_of_crops(const struct moe_image_plan *plan, const struct moe_picture *in, size_t want)
{
	static uint8_t canvas[MOST * MOST * 3];
	struct moe_arena a = {0};
	struct moe_diag d = {0};
	struct moe_crops c;
	struct moe_patches p;
	uint32_t crc = 0, rows, columns;

	assert_int_equal(moe_crops_open(&c, plan, in, &d), MOE_OK);
	assert_int_equal(c.n, want);
	for (size_t i = 0; i < want; i++) {
		moe_crops_grid(&c, &rows, &columns);
		assert_int_equal(moe_crops_next(&c, &p, &a, &d), MOE_OK);
		assert_true(p.rows == rows && p.columns == columns);
		assert_int_equal(p.rows > p.columns ? p.rows : p.columns, plan->canvas.size / plan->canvas.patch);
		as_bytes(canvas, &plan->canvas, &p);
		crc = (uint32_t)crc32(crc, canvas, (uInt)((size_t)plan->canvas.size * plan->canvas.size * 3));
		moe_arena_reset(&a);
	}
	assert_int_equal(moe_crops_next(&c, &p, &a, &d), MOE_END);
	moe_crops_close(&c);
	moe_arena_free(&a);
	return crc;
}

static unsigned n_crops_compared;

static void check_split(char **field)
{
	uint32_t w = (uint32_t)atoi(field[0]), h = (uint32_t)atoi(field[1]);
	struct moe_image_plan plan = plan_of((uint32_t)atoi(field[2]), MOE_SPLIT_ORIGINAL);
	size_t r = moe_split_ratio(&plan.canvas, w, h);
	struct moe_picture p;

	if (ratios[r][0] != atoi(field[3]) || ratios[r][1] != atoi(field[4]))
		fail_msg("%u x %u at %s: %u x %u tiles, expected %s x %s", w, h, field[2], ratios[r][0], ratios[r][1], field[3], field[4]);
	if (!strcmp(field[6], "-"))
		return;
	p = sample(w, h);
	if (crc_of_crops(&plan, &p, (size_t)atoi(field[5])) != hex(field[6]))
		fail_msg("the crops of %u x %u at %s differ", w, h, field[2]);
	n_crops_compared++;
	free(p.rgb);
}

static void test_split(void **state)
{
	(void)state;
	assert_int_equal(each_row(IMAGES "split.tsv", 7, check_split), 486);
	assert_int_equal(n_crops_compared, 8);
}

/* What 490 pixels, a least side of 336 and 14 a patch make of shapes; by hand. */
static void test_size(void **state)
{
	static const uint32_t row[][4] = {      /* w, h, on the canvas */
		{490, 490, 490, 490}, {1, 1, 490, 490}, {980, 735, 490, 367}, {735, 980, 367, 490}, {3000, 200, 490, 336}, {200, 3000, 336, 490},
		{65535, 1, 490, 336}, {1, 65535, 336, 490}, {491, 490, 490, 489}, {700, 480, 490, 336}, {100, 69, 490, 338},
	};
	struct moe_image_plan plan = plan_of(490, MOE_SPLIT_NONE);
	uint32_t w, h;

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		moe_canvas_size(&plan.canvas, row[i][0], row[i][1], &w, &h);
		assert_int_equal(w, row[i][2]);
		assert_int_equal(h, row[i][3]);
	}
}

/* Patches are those with a pixel of the picture, and what is padding in them is -1. */
static void test_edge(void **state)
{
	struct moe_image_plan plan = plan_of(490, MOE_SPLIT_NONE);
	struct moe_picture p = {.width = 980, .height = 735, .rgb = malloc(980 * 735 * 3)};
	struct moe_arena a = {0};
	struct moe_patches b;

	(void)state;
	memset(p.rgb, 200, 980 * 735 * 3);
	assert_int_equal(moe_canvas_patches(&b, &plan.canvas, &p, &a, NULL), MOE_OK);
	assert_true(b.width == 490 && b.height == 367 && b.columns == 35 && b.rows == 27);      /* 26 · 14 = 364 < 367 */
	for (size_t i = 0; i < (size_t)b.rows * b.columns * 3 * 14 * 14; i++) {
		size_t patch = i / (3 * 14 * 14), y = patch / 35 * 14 + i / 14 % 14;
		assert_true(b.pixel[i] == (y < 367 ? plan.canvas.value[0][200] : -1.0f));
	}
	moe_arena_free(&a);
	free(p.rgb);
}

/* One value of each channel with settings of its own. */
static void test_values(void **state)
{
	struct moe_canvas c = {0};

	(void)state;
	moe_canvas_values(&c, (double[3]){0.25, 0.5, 0}, (double[3]){0.5, 0.25, 1});
	assert_true(c.value[0][0] == -0.5f && c.value[1][255] == 2.0f && c.value[2][51] == 0.2f);
}

/* A ratio of one tile is the picture stretched, alone: the original code puts the whole picture before several tiles only. */
static void test_single_tile(void **state)
{
	struct moe_image_plan plan = plan_of(490, MOE_SPLIT_ORIGINAL);
	struct moe_picture p = sample(100, 90);
	struct moe_arena a = {0};
	struct moe_crops c;
	struct moe_patches b;

	(void)state;
	plan.canvas.n_ratios = 1;
	plan.canvas.ratio[0][0] = plan.canvas.ratio[0][1] = 1;
	assert_int_equal(moe_plan_most_crops(&plan), 1);
	assert_int_equal(moe_crops_open(&c, &plan, &p, NULL), MOE_OK);
	assert_int_equal(c.n, 1);
	assert_int_equal(moe_crops_next(&c, &b, &a, NULL), MOE_OK);
	assert_true(b.height == 490 && b.width == 490);
	assert_int_equal(moe_crops_next(&c, &b, &a, NULL), MOE_END);
	moe_crops_close(&c);
	moe_arena_free(&a);
	free(p.rgb);
}

/* The most that a plan announces is reached, and never passed. */
static void test_most(void **state)
{
	static const uint32_t size[] = {490, 980, 98};

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		struct moe_image_plan plan = plan_of(size[i / 2], i % 2 ? MOE_SPLIT_HF : MOE_SPLIT_ORIGINAL);
		const struct moe_canvas *k = &plan.canvas;
		size_t most = 0, side = k->size / 14;
		for (uint32_t w = 1; w < 10; w++)
			for (uint32_t h = 1; h < 10; h++) {
				size_t r = i % 2 ? moe_split_resolution(k, w * 1000, h * 1000) : moe_split_ratio(k, w * 1000, h * 1000);
				struct moe_tiling t = moe_split_tiling(k, r);
				size_t n = (size_t)t.columns * t.rows + t.overview;
				assert_true(t.columns * k->size >= t.width && (t.columns - 1) * k->size < t.width);
				most = n > most ? n : most;
			}
		assert_int_equal(most, moe_plan_most_crops(&plan));
		assert_int_equal(moe_plan_most_patches(&plan), most * side * side);
	}
	assert_int_equal(moe_plan_most_crops(&(struct moe_image_plan){.on_canvas = true, .canvas = {.size = 490, .patch = 14}}), 1);
}

static enum moe_err refused(struct moe_image_plan p) { return moe_canvas_check(&p.canvas, NULL); }

static void test_refusals(void **state)
{
	struct moe_image_plan p;
	struct moe_crops c;
	struct moe_picture none = {0};

	(void)state;
	for (int split = 0; split < MOE_N_SPLITS; split++)
		assert_int_equal(refused(plan_of(980, (enum moe_split)split)), MOE_OK);
	p = plan_of(490, MOE_SPLIT_ORIGINAL);
	assert_int_equal(moe_crops_open(&c, &p, &none, NULL), MOE_EUSAGE);
	moe_crops_close(&c);
	p.canvas.size = 500;            /* not whole patches */
	assert_int_equal(refused(p), MOE_EUSAGE);
	p = plan_of(0, MOE_SPLIT_NONE);
	assert_int_equal(refused(p), MOE_EUSAGE);
	p = plan_of(322, MOE_SPLIT_NONE);       /* less than the least side */
	assert_int_equal(refused(p), MOE_EUSAGE);
	p = plan_of(14 * 600, MOE_SPLIT_NONE);  /* 70 million pixels */
	assert_int_equal(refused(p), MOE_EUSAGE);
	p = plan_of(490, MOE_SPLIT_HF);
	p.canvas.ratio[3][0] = 0;
	assert_int_equal(refused(p), MOE_EUSAGE);
	p.canvas.ratio[3][0] = 0x80000000;      /* its product with a size would wrap */
	assert_int_equal(refused(p), MOE_EUSAGE);
	p.canvas.ratio[3][0] = 50;              /* 50 · 490 x 5 · 490 pixels are below 64 Mi, 250 crops */
	assert_int_equal(refused(p), MOE_OK);
	p.canvas.size = 14 * 17;                /* but 103 x 11 tiles of 238 pixels are too many */
	p.canvas.min_side = 14;
	assert_int_equal(refused(p), MOE_EUSAGE);
	p.canvas.split = MOE_SPLIT_ORIGINAL;
	assert_int_equal(refused(p), MOE_OK);
	p.canvas.split = MOE_SPLIT_NONE;        /* ratios count only where pictures are split */
	p.canvas.ratio[3][0] = 0;
	assert_int_equal(refused(p), MOE_OK);
	assert_int_equal(moe_split_find("hf"), MOE_SPLIT_HF);
	assert_int_equal(moe_split_find("both"), MOE_N_SPLITS);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split), cmocka_unit_test(test_size), cmocka_unit_test(test_edge), cmocka_unit_test(test_values),
		cmocka_unit_test(test_single_tile), cmocka_unit_test(test_most), cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
