/* Resizing against Pillow: resize.safetensors holds sources and results, resize.tsv sizes and CRC-32 of larger results. */
#include "image_data.h"

#include "format/safetensors.h"
#include "image/decoder.h"
#include "image/feed.h"
#include "image/resize.h"

static struct moe_header golden;

static const struct moe_tensor *find(const char *name)
{
	for (size_t i = 0; i < golden.n_tensors; i++)
		if (!strcmp(golden.tensor[i].name, name))
			return &golden.tensor[i];
	return NULL;
}

static struct moe_picture as_picture(const struct moe_tensor *t)
{
	return (struct moe_picture){.height = (uint32_t)t->shape[0], .width = (uint32_t)t->shape[1], .rgb = (uint8_t *)t->data};
}

static void test_arrays(void **state)
{
	struct moe_diag d = {0};
	unsigned n = 0;

	(void)state;
	for (size_t i = 0; i < golden.n_tensors; i++) {
		const struct moe_tensor *t = &golden.tensor[i];
		struct moe_picture want = as_picture(t), in, got;
		char name[128], *filter;
		snprintf(name, sizeof name, "%s", t->name);
		filter = strchr(name, '/') + 1;
		if (!strcmp(filter, "src"))
			continue;
		*strchr(filter, '/') = 0;
		memcpy(filter - 1, "/src", 5);
		in = as_picture(find(name));
		snprintf(name, sizeof name, "%s", strchr(t->name, '/') + 1);
		*strchr(name, '/') = 0;
		assert_int_equal(moe_resize(&got, want.width, want.height, &in, moe_filter_find(name), &d), MOE_OK);
		if (memcmp(got.rgb, want.rgb, (size_t)want.width * want.height * 3))
			fail_msg("%s differs", t->name);
		free(got.rgb);
		n++;
	}
	assert_int_equal(n, 231);
}

static struct moe_decoder *decoder;

static struct moe_picture decode_file(const char *name)
{
	struct moe_diag d = {0};
	struct moe_picture p;
	char path[256];
	uint8_t *bytes;
	size_t n;

	/* What is lossy has its pixels beside it. */
	snprintf(path, sizeof path, strstr(name, ".jpg") ? IMAGES "decoded/%s.png" : IMAGES "files/%s", name);
	bytes = read_bytes(path, &n);
	if (moe_decoder_run(decoder, bytes, n, &p, &d))
		fail_msg("%s: %s", path, d.text);
	free(bytes);
	return p;
}

static void check_row(char **field)
{
	const struct moe_tensor *t = find(field[0]);
	struct moe_picture in = t ? as_picture(t) : decode_file(field[0]), out;
	struct moe_diag d = {0};

	assert_int_equal(moe_resize(&out, (uint32_t)atoi(field[2]), (uint32_t)atoi(field[3]), &in, moe_filter_find(field[1]), &d), MOE_OK);
	if (picture_crc(&out) != hex(field[4]))
		fail_msg("%s %s %s x %s differs", field[0], field[1], field[2], field[3]);
	free(out.rgb);
	if (!t)
		free(in.rgb);
}

static void test_table(void **state)
{
	struct moe_decode_options o = {.alpha = MOE_ALPHA_DROP, .keep_orientation = true};
	struct moe_diag d = {0};

	(void)state;
	assert_int_equal(moe_decoder_new(&decoder, &o, &d), MOE_OK);
	assert_int_equal(each_row(IMAGES "resize.tsv", 5, check_row), 174);
	moe_decoder_free(decoder);
}

/* By box a halved picture is the mean of each 2 × 2, rounded after each direction. */
static void test_box(void **state)
{
	uint8_t in[4 * 2 * 3], want[2 * 3];
	struct moe_picture p = {.width = 4, .height = 2, .rgb = in}, out;
	struct moe_diag d = {0};

	(void)state;
	for (unsigned i = 0; i < sizeof in; i++)
		in[i] = (uint8_t)(i * 37 % 256);
	for (unsigned x = 0; x < 2; x++)
		for (unsigned c = 0; c < 3; c++) {
			unsigned top = (in[6 * x + c] + in[6 * x + 3 + c] + 1) / 2, low = (in[12 + 6 * x + c] + in[15 + 6 * x + c] + 1) / 2;
			want[3 * x + c] = (uint8_t)((top + low + 1) / 2);
		}
	assert_int_equal(moe_resize(&out, 2, 1, &p, MOE_BOX, &d), MOE_OK);
	assert_memory_equal(out.rgb, want, sizeof want);
	free(out.rgb);
}

/* A constant stays constant, whatever the shape (reliability I10: extreme shapes). */
static void test_shapes(void **state)
{
	static const uint32_t side[] = {1, 2, 3, 7, 64, 65535};
	struct moe_diag d = {0};

	(void)state;
	for (unsigned i = 0; i < 36; i++)
		for (unsigned j = 0; j < 36; j++) {
			uint32_t w = side[i % 6], h = side[i / 6], W = side[j % 6], H = side[j / 6];
			struct moe_picture in = {.width = w, .height = h}, out;
			size_t n = (size_t)W * H * 3;
			if ((size_t)w * h > 200000 || (size_t)W * H > 200000 || (size_t)W * h > 4000000)
				continue;
			in.rgb = malloc((size_t)w * h * 3);
			memset(in.rgb, 201, (size_t)w * h * 3);
			assert_int_equal(moe_resize(&out, W, H, &in, (enum moe_filter)(j % MOE_N_FILTERS), &d), MOE_OK);
			assert_true(out.rgb[0] == 201 && !memcmp(out.rgb, out.rgb + 1, n - 1));
			free(in.rgb);
			free(out.rgb);
		}
}

static void test_refusals(void **state)
{
	uint8_t rgb[3] = {1, 2, 3};
	struct moe_picture in = {.width = 1, .height = 1, .rgb = rgb}, out;
	struct moe_diag d = {0};

	(void)state;
	assert_int_equal(moe_resize(&out, 0, 1, &in, MOE_BICUBIC, &d), MOE_EUSAGE);
	assert_int_equal(moe_resize(&out, 65536, 1, &in, MOE_BICUBIC, &d), MOE_EUSAGE);
	assert_int_equal(moe_resize(&out, 1, 1, &in, MOE_N_FILTERS, &d), MOE_EUSAGE);
	assert_int_equal(moe_filter_find("nearest"), MOE_N_FILTERS);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arrays), cmocka_unit_test(test_table), cmocka_unit_test(test_box), cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_refusals),
	};
	struct moe_diag d = {0};
	uint8_t *bytes;
	size_t n;
	int failed;

	if (moe_feed_server_start(&d))
		return 1;
	bytes = read_bytes(IMAGES "resize.safetensors", &n);
	if (moe_safetensors_parse(&golden, bytes, n, &d))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	moe_header_free(&golden);
	free(bytes);
	return failed;
}
