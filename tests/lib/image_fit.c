/* The native family's preprocessing against the reference: pixel_u8 and pixel_values of the cases, bit by bit. */
#include "image_data.h"

#include "format/safetensors.h"
#include "image/feed.h"
#include "image/fit.h"

static const struct moe_fit native = {
	.grid = {{4, 16}}, .n_grids = 1, .patch_height = 8, .patch_width = 8, .filter = MOE_BICUBIC, .pad = MOE_FIT_PAD_BORDER_MEDIAN,
	.place = MOE_FIT_LEFT, .mean = {115, 115, 115}, .std = {70, 70, 70},
};

static struct moe_picture decode_file(const char *path)
{
	struct moe_feed_options o = {.decode.background = {255, 255, 255}};
	struct moe_diag d = {0};
	struct moe_feed_item item;
	struct moe_feed *f;
	struct moe_picture p;

	assert_int_equal(moe_feed_new(&f, &o, &d), MOE_OK);
	assert_int_equal(moe_feed_add(f, path, &d), MOE_OK);
	assert_int_equal(moe_feed_next(f, &item, &d), MOE_OK);
	assert_int_equal(item.failure.code, MOE_OK);
	p = item.picture;
	item.picture.rgb = NULL;
	moe_feed_item_clear(&item);
	moe_feed_free(f);
	return p;
}

static const struct moe_tensor *find(const struct moe_header *h, const char *name)
{
	for (size_t i = 0; i < h->n_tensors; i++)
		if (!strcmp(h->tensor[i].name, name))
			return &h->tensor[i];
	fail_msg("no %s", name);
	return NULL;
}

static void check_case(const char *name)
{
	enum { H = 32, W = 128 };
	struct moe_patching cut = {4, 16, 3, 8, 8};
	uint8_t canvas[H * W * 3], *bytes;
	float pixel[H * W * 3], planes[H * W * 3], again[H * W * 3];
	struct moe_header h = {0};
	struct moe_diag d = {0};
	struct moe_picture p;
	char path[256];
	size_t n;

	snprintf(path, sizeof path, "tests/golden/read/cases/%s.safetensors", name);
	bytes = read_bytes(path, &n);
	assert_int_equal(moe_safetensors_parse(&h, bytes, n, &d), MOE_OK);
	snprintf(path, sizeof path, "tests/golden/read/pics/%s.png", name);
	p = decode_file(path);
	assert_int_equal(moe_fit_canvas(&native, 0, &p, canvas, &d), MOE_OK);
	assert_memory_equal(canvas, find(&h, "pixel_u8")->data, sizeof canvas);
	moe_fit_patches(&native, 0, canvas, pixel);
	moe_planes_from_patches(planes, pixel, &cut);
	assert_memory_equal(planes, find(&h, "pixel_values")->data, sizeof planes);
	moe_patches_from_planes(again, planes, &cut);
	assert_memory_equal(again, pixel, sizeof pixel);
	free(p.rgb);
	moe_header_free(&h);
	free(bytes);
}

static void test_cases(void **state)
{
	(void)state;
	check_case("exact_32x128");
	check_case("price_large");
	check_case("terminal");
}

static void test_size(void **state)
{
	static const uint32_t row[][4] = {      /* w, h, fitted w, h in 128 × 32; worked out by hand from SPEC 2b */
		{128, 32, 128, 32}, {256, 64, 128, 32}, {1, 1, 32, 32}, {65535, 1, 128, 1}, {1, 65535, 1, 32}, {3, 2, 48, 32}, {200, 3, 128, 2},
		{64, 17, 120, 32}, {129, 32, 128, 32}, {128, 33, 124, 32},
	};
	uint32_t w, h;

	(void)state;
	for (unsigned i = 0; i < sizeof row / sizeof *row; i++) {
		moe_fit_size(row[i][0], row[i][1], 128, 32, &w, &h);
		assert_int_equal(w, row[i][2]);
		assert_int_equal(h, row[i][3]);
	}
}

/* The median by its definition: sort the ring, take element (n - 1) / 2. */
static int by_value(const void *a, const void *b) { return *(const uint8_t *)a - *(const uint8_t *)b; }

static void check_median(uint32_t w, uint32_t h)
{
	struct moe_picture p = {.width = w, .height = h, .rgb = malloc((size_t)w * h * 3)};
	uint8_t *ring = malloc((size_t)w * h), got[3];

	for (uint32_t i = 0; i < w * h * 3; i++)
		p.rgb[i] = (uint8_t)(i * 2654435761u >> 22);
	moe_fit_pad_colour(&native, &p, got);
	for (uint32_t c = 0; c < 3; c++) {
		size_t n = 0;
		for (uint32_t y = 0; y < h; y++)
			for (uint32_t x = 0; x < w; x++)
				if (!x || !y || x == w - 1 || y == h - 1)
					ring[n++] = p.rgb[(y * w + x) * 3 + c];
		qsort(ring, n, 1, by_value);
		assert_int_equal(got[c], ring[(n - 1) / 2]);
	}
	free(ring);
	free(p.rgb);
}

static void test_median(void **state)
{
	(void)state;
	for (uint32_t w = 1; w < 7; w++)
		for (uint32_t h = 1; h < 7; h++)
			check_median(w, h);
	check_median(100, 40);
}

static void test_choose(void **state)
{
	struct moe_fit f = {.grid = {{4, 16}, {8, 8}, {16, 4}, {16, 16}}, .n_grids = 4, .patch_height = 8, .patch_width = 8, .std = {1, 1, 1}};

	(void)state;
	assert_int_equal(moe_fit_check(&f, NULL), MOE_OK);
	assert_int_equal(moe_fit_choose(&f, 400, 100), 0);
	assert_int_equal(moe_fit_choose(&f, 100, 100), 1);      /* 16 × 16 fits as well; the first wins */
	assert_int_equal(moe_fit_choose(&f, 100, 400), 2);
	assert_int_equal(moe_fit_choose(&f, 65535, 1), 0);
	f.n_grids = 1;
	assert_int_equal(moe_fit_choose(&f, 1, 65535), 0);
}

static void test_place(void **state)
{
	uint8_t rgb[2 * 2 * 3], canvas[8 * 24 * 3];
	struct moe_picture p = {.width = 2, .height = 2, .rgb = rgb};
	struct moe_fit f = {.grid = {{1, 3}}, .n_grids = 1, .patch_height = 8, .patch_width = 8, .place = MOE_FIT_CENTRE,
	                    .pad_colour = {1, 2, 3}, .std = {1, 1, 1}};

	(void)state;
	memset(rgb, 200, sizeof rgb);
	assert_int_equal(moe_fit_canvas(&f, 0, &p, canvas, NULL), MOE_OK);
	for (unsigned y = 0; y < 8; y++)
		for (unsigned x = 0; x < 24; x++) {
			const uint8_t *c = canvas + (y * 24 + x) * 3;
			bool inside = x >= 8 && x < 16;
			assert_int_equal(c[0], inside ? 200 : 1);
			assert_int_equal(c[2], inside ? 200 : 3);
		}
}

static void test_refusals(void **state)
{
	struct moe_fit f = native;

	(void)state;
	f.std[1] = 0;
	assert_int_equal(moe_fit_check(&f, NULL), MOE_EUSAGE);
	f = native;
	f.grid[0].rows = 1u << 31;
	assert_int_equal(moe_fit_check(&f, NULL), MOE_EUSAGE);
	f = native;
	f.n_grids = 0;
	assert_int_equal(moe_fit_check(&f, NULL), MOE_EUSAGE);
	f = native;
	f.grid[0] = (struct moe_grid){4096, 4096};
	assert_int_equal(moe_fit_check(&f, NULL), MOE_EUSAGE);
	assert_int_equal(moe_fit_check(&native, NULL), MOE_OK);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases), cmocka_unit_test(test_size), cmocka_unit_test(test_median), cmocka_unit_test(test_choose),
		cmocka_unit_test(test_place), cmocka_unit_test(test_refusals),
	};
	struct moe_diag d = {0};

	if (moe_feed_server_start(&d))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
