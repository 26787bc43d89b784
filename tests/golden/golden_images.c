/* Pictures against Pillow and transformers. Sources of resizing and of canvases are the reference's own decoded pixels, so that they must come out
 * exactly; only JPEG itself has a tolerance, since another decoder made the reference. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "golden.h"
#include "image/crops.h"
#include "image/decoder.h"
#include "io/source.h"
#include "sha256.h"
#include "stage/patchify.h"

enum { LIMIT = 64 << 20, LEVELS = 256 };

/* A safetensors file in memory. */
struct tensors {
	struct moe_header h;
	char *bytes;
};

static struct images {
	const char *dir;
	json_t *decoded, *stb;          /* file name -> what is known of it */
	struct tensors small, full, resized;
	float lut[LEVELS];
	struct moe_spec *spec;
	void (*tally)(const char *, bool);
} g;

/* ---- files ---- */

static char *read_file(size_t *n, const char *folder, const char *name)
{
	char path[4096], *bytes = NULL;
	struct moe_diag d = {0};

	snprintf(path, sizeof path, "%s/%s%s", g.dir, folder, name);
	return moe_read_file(path, LIMIT, &bytes, n, &d) ? NULL : bytes;
}

static json_t *read_json(const char *name)
{
	char path[4096];

	snprintf(path, sizeof path, "%s/%s", g.dir, name);
	return json_load_file(path, 0, NULL);
}

static const char *text_of(json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

static int number_of(json_t *o, const char *key) { return (int)json_integer_value(json_object_get(o, key)); }

static void result(const char *label, bool good, const char *what, const char *why)
{
	if (!good)
		printf("FAIL %s: %s: %s\n", label, what, why);
	g.tally(label, good);
}

static void read_tensors(struct tensors *t, const char *name)
{
	struct moe_diag d = {0};
	size_t n;

	t->bytes = read_file(&n, "", name);
	if (t->bytes && moe_safetensors_parse(&t->h, (const uint8_t *)t->bytes, n, &d))
		result("files", false, name, d.text);
}

static void free_tensors(struct tensors *t)
{
	moe_header_free(&t->h);
	free(t->bytes);
	*t = (struct tensors){0};
}

/* A tensor [h][w][3]; false when there is none. Its pixels stay the file's. */
static bool find_picture(struct moe_picture *out, const struct tensors *t, const char *name)
{
	for (size_t i = 0; i < t->h.n_tensors; i++) {
		const struct moe_tensor *v = &t->h.tensor[i];
		if (strcmp(v->name, name) || v->rank != 3 || v->shape[2] != 3)
			continue;
		*out = (struct moe_picture){.width = (uint32_t)v->shape[1], .height = (uint32_t)v->shape[0], .rgb = (uint8_t *)v->data};
		return true;
	}
	return false;
}

static size_t nbytes(const struct moe_picture *p) { return (size_t)p->width * p->height * 3; }

static bool has_hash(const struct moe_picture *p, const char *want)
{
	char hash[65];

	sha256_hex(hash, p->rgb, nbytes(p));
	return !strcmp(hash, want);
}

static bool same_size(const struct moe_picture *p, json_t *size)
{
	return p->width == json_integer_value(json_array_get(size, 0)) && p->height == json_integer_value(json_array_get(size, 1));
}

/* ---- decoding ---- */

static enum moe_err decode(struct moe_picture *out, const char *folder, const char *name, bool upright, struct moe_diag *d)
{
	struct moe_decode_options o = {.alpha = MOE_ALPHA_DROP, .keep_orientation = !upright};
	struct moe_decoder *dec;
	size_t n;
	char *bytes = read_file(&n, folder, name);
	enum moe_err err = bytes ? moe_decoder_new(&dec, &o, d) : moe_fail(d, MOE_EIO, "no such file");

	if (!err) {
		err = moe_decoder_run(dec, bytes, n, out, d);
		moe_decoder_free(dec);
	}
	free(bytes);
	return err;
}

/* Formats that are not read are refused by their names, with what helps. */
static bool refused_by_name(json_t *info, const struct moe_diag *d)
{
	static const char *const names[][2] = {{"GIF", "GIF"}, {"WEBP", "WebP"}, {"TGA", "TGA"}};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(text_of(info, "format"), names[i][0]))
			return d->code == MOE_EINPUT && strstr(d->text, names[i][1]) && strstr(d->text, "convert IN.");
	return false;
}

struct gap {
	unsigned most;
	double mean;
};

/* Largest and mean difference. The last column but one of 4:2:2 counts in the mean only: stb_image extrapolates there. */
static struct gap difference(const struct moe_picture *a, const struct moe_picture *b, bool all)
{
	struct gap gap = {0, 0};
	size_t n = nbytes(a);

	for (size_t i = 0; i < n; i++) {
		unsigned diff = (unsigned)abs(a->rgb[i] - b->rgb[i]);
		gap.mean += diff;
		if (diff > gap.most && (all || i / 3 % a->width != (size_t)a->width - 2))
			gap.most = diff;
	}
	gap.mean /= (double)n;
	return gap;
}

/* stb.json was measured with another release of stb_image: its figures are not exceeded by more than one level, and a quarter in the mean. */
static void compare_near(const char *label, const char *name, const struct moe_picture *have, const struct moe_picture *want, json_t *limit)
{
	struct gap gap;
	char why[160];
	bool good = have->width == want->width && have->height == want->height;

	if (!good) {
		result(label, false, name, "another size");
		return;
	}
	gap = difference(have, want, true);
	good = gap.most <= (unsigned)number_of(limit, "max") + 1 && gap.mean <= 1.25 * json_number_value(json_object_get(limit, "mean")) + 0.001;
	snprintf(why, sizeof why, "differs by up to %u, %.4f in the mean; with stb_image in the reference %d and %.4f", gap.most, gap.mean, number_of(limit, "max"),
		 json_number_value(json_object_get(limit, "mean")));
	result(label, good, name, why);
}

/* The reference's pixels of a file, checked by their hash; *owned says whether they are to be freed. */
static bool reference_pixels(struct moe_picture *out, bool *owned, const char *name)
{
	json_t *info = json_object_get(g.decoded, name), *other;
	const char *want = text_of(info, "rgb_sha256"), *png = "", *key;
	struct moe_diag d = {0};

	*owned = false;
	if (find_picture(out, &g.small, name))
		return has_hash(out, want);
	json_object_foreach(g.decoded, key, other)      /* files that hold the same picture share what was decoded */
		if (!strcmp(text_of(other, "rgb_sha256"), want) && *text_of(other, "decoded_png"))
			png = text_of(other, "decoded_png");
	if (decode(out, *png ? "" : "files/", *png ? png : name, false, &d))
		return false;
	*owned = true;
	return has_hash(out, want);
}

static void check_upright(const char *name, json_t *info)
{
	struct moe_picture p;
	struct moe_diag d = {0};

	if (!json_object_get(info, "upright_sha256"))
		return;
	if (decode(&p, "files/", name, true, &d)) {
		result("upright", false, name, d.text);
		return;
	}
	result("upright", same_size(&p, json_object_get(info, "upright_size")) && (strstr(name, ".jpg") || has_hash(&p, text_of(info, "upright_sha256"))), name,
	       "size or pixels differ");
	free(p.rgb);
}

static void check_jpeg(const char *name, const struct moe_picture *have)
{
	struct moe_picture want;
	bool owned, found = reference_pixels(&want, &owned, name);

	if (found)
		compare_near("jpeg", name, have, &want, json_object_get(g.stb, name));
	else
		result("jpeg", false, name, "the reference's pixels are not there");
	if (owned)
		free(want.rgb);
}

static void check_decoded(const char *name, json_t *info)
{
	const char *high = text_of(info, "high_byte_sha256");
	struct moe_picture p;
	struct moe_diag d = {0};

	if (decode(&p, "files/", name, false, &d)) {
		result("refused by name", refused_by_name(info, &d), name, d.text);
		return;
	}
	if (!strcmp(text_of(info, "format"), "JPEG"))
		check_jpeg(name, &p);
	else            /* of 16 bits of grey the high byte is taken, where Pillow clips */
		result("decoded", same_size(&p, json_object_get(info, "size")) && has_hash(&p, *high ? high : text_of(info, "rgb_sha256")), name, "size or pixels differ");
	check_upright(name, info);
	free(p.rgb);
}

/* ---- resizing ---- */

static void check_resized(const char *what, const struct moe_picture *in, const char *filter, uint32_t w, uint32_t h, const char *hash, const uint8_t *pixels)
{
	struct moe_picture out;
	struct moe_diag d = {0};

	if (moe_resize(&out, w, h, in, moe_filter_find(filter), &d)) {
		result("resized", false, what, d.text);
		return;
	}
	result("resized", pixels ? !memcmp(out.rgb, pixels, nbytes(&out)) : has_hash(&out, hash), what, "pixels differ");
	free(out.rgb);
}

/* NAME/FILTER/WxH beside NAME/src. */
static void check_arrays(void)
{
	for (size_t i = 0; i < g.resized.h.n_tensors; i++) {
		const struct moe_tensor *t = &g.resized.h.tensor[i];
		char name[100], filter[20];
		struct moe_picture in;
		unsigned w, h;
		if (sscanf(t->name, "%90[^/]/%19[^/]/%ux%u", name, filter, &w, &h) != 4)
			continue;
		strcat(name, "/src");
		if (find_picture(&in, &g.resized, name) && t->shape[0] == h && t->shape[1] == w)
			check_resized(t->name, &in, filter, w, h, NULL, t->data);
		else
			result("resized", false, t->name, "its source is not there");
	}
}

static void check_hashes(json_t *rows)
{
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row) {
		const char *src = text_of(row, "src"), *image = text_of(row, "image");
		json_t *size = json_object_get(row, "size");
		struct moe_picture in;
		bool owned = false;
		if (*src ? find_picture(&in, &g.resized, src) : reference_pixels(&in, &owned, image))
			check_resized(*src ? src : image, &in, text_of(row, "filter"), (uint32_t)json_integer_value(json_array_get(size, 0)),
				      (uint32_t)json_integer_value(json_array_get(size, 1)), text_of(row, "u8_sha256"), NULL);
		else
			result("resized", false, *src ? src : image, "its source is not there");
		if (owned)
			free(in.rgb);
	}
}

/* ---- canvases ---- */

/* All 256 values of a channel, bit by bit. */
static void check_values(const struct moe_canvas *c)
{
	for (int i = 0; i < 3; i++)
		result("values", !memcmp(c->value[i], g.lut, sizeof g.lut), "aria_lut.npy", "a value of a pixel differs");
}

/* The byte that has this value, or -1. */
static int level_of(float v)
{
	long u = lrintf((v * 0.5f + 0.5f) * 255);

	return u >= 0 && u < LEVELS && !memcmp(&g.lut[u], &v, sizeof v) ? (int)u : -1;
}

/* The whole canvas, padding included, as bytes; false when a value is none of a byte. */
static bool canvas_from_patches(uint8_t *canvas, size_t size, const struct moe_patches *p, size_t patch)
{
	const float *v = p->pixel;

	memset(canvas, 0, size * size * 3);
	for (size_t row = 0; row < p->rows; row++)
		for (size_t column = 0; column < p->columns; column++)
			for (size_t i = 0; i < 3 * patch * patch; i++) {
				size_t c = i / (patch * patch), y = row * patch + i / patch % patch, x = column * patch + i % patch;
				int u = level_of(*v++);
				if (u < 0)
					return false;
				canvas[(y * size + x) * 3 + c] = (uint8_t)u;
			}
	return true;
}

/* A canvas that the reference gives in full: as a tensor, or as a picture of its own. True when it is given. */
static void check_full(const struct moe_picture *have, const char *image, bool split, size_t crop)
{
	char name[200];
	struct moe_picture want;
	struct moe_diag d = {0};

	snprintf(name, sizeof name, "%s/%u/%s/%zu", image, have->width, split ? "split" : "whole", crop);
	if (find_picture(&want, &g.full, name))
		result("canvas in full", nbytes(&want) == nbytes(have) && !memcmp(want.rgb, have->rgb, nbytes(have)), name, "pixels differ");
	snprintf(name, sizeof name, "%s_%u_%s_%zu.png", image, have->width, split ? "split" : "whole", crop);
	if (!decode(&want, "aria_full/", name, false, &d)) {
		result("canvas in full", nbytes(&want) == nbytes(have) && !memcmp(want.rgb, have->rgb, nbytes(have)), name, "pixels differ");
		free(want.rgb);
	} else if (d.code != MOE_EIO) {
		result("canvas in full", false, name, d.text);
	}
}

static bool one_of_hashes(const struct moe_picture *p, json_t *crop)
{
	return has_hash(p, text_of(crop, "u8_sha256")) || has_hash(p, text_of(json_object_get(crop, "horizontal_first"), "u8_sha256"));
}

/* One crop against its row: where the picture lies, which patches there are, and every pixel. */
static void check_crop(const char *what, const struct moe_canvas *k, const struct moe_patches *p, struct moe_picture *canvas, json_t *want)
{
	uint32_t rows = (p->height + k->patch - 1) / k->patch, columns = (p->width + k->patch - 1) / k->patch;
	bool lies = p->height == (uint32_t)number_of(want, "mask_h") && p->width == (uint32_t)number_of(want, "mask_w");

	result("canvas size", lies && p->rows == rows && p->columns == columns, what, "the picture has another size on its canvas");
	result("canvas", canvas_from_patches(canvas->rgb, k->size, p, k->patch) && one_of_hashes(canvas, want), what, "pixels differ");
}

/* All crops of a picture; `want` lists what each must be. */
static void check_crops(json_t *row, const struct moe_image_plan *plan, const struct moe_picture *in, json_t *want)
{
	const char *image = text_of(row, "image");
	bool split = plan->canvas.split != MOE_SPLIT_NONE;
	struct moe_picture canvas = {.width = plan->canvas.size, .height = plan->canvas.size};
	struct moe_arena a = {0};
	struct moe_diag d = {0};
	struct moe_crops c;
	struct moe_patches p;
	char what[200];
	enum moe_err err = moe_crops_open(&c, plan, in, &d);

	canvas.rgb = malloc(nbytes(&canvas));
	snprintf(what, sizeof what, "%s at %u%s", image, canvas.width, split ? ", split" : "");
	result("crops", !err && c.n == json_array_size(want), what, err ? d.text : "another number of crops");
	while (canvas.rgb && !err && c.at < json_array_size(want) && !(err = moe_crops_next(&c, &p, &a, &d))) {
		snprintf(what, sizeof what, "%s at %u%s, crop %zu", image, canvas.width, split ? ", split" : "", c.at - 1);
		check_crop(what, &plan->canvas, &p, &canvas, json_array_get(want, c.at - 1));
		check_full(&canvas, image, split, c.at - 1);
		moe_arena_reset(&a);
	}
	moe_crops_close(&c);
	moe_arena_free(&a);
	free(canvas.rgb);
}

static bool make_plan(struct moe_image_plan *plan, int size, bool split)
{
	struct moe_diag d = {0};
	bool good = !moe_plan_from_spec(plan, g.spec, &(struct moe_image_choice){size, split ? "hf" : "none"}, &d);

	if (!good)
		result("settings", false, "tests/golden/aria/model", d.text);
	return good;
}

/* A row of aria.json. Where transformers took rows for channels (heights 1 and 3), `intended` is right, and no other crops are known. */
static void check_row(json_t *row)
{
	json_t *intended = json_object_get(row, "intended"), *want = json_object_get(row, "crops");
	json_t *list = intended ? json_pack("[O]", intended) : json_object_get(row, "note") ? NULL : json_incref(want);
	bool owned = false;
	struct moe_image_plan plan;
	struct moe_picture in;

	if (!list || !make_plan(&plan, number_of(row, "max_image_size"), json_is_true(json_object_get(row, "split_image"))))
		return;
	if (reference_pixels(&in, &owned, text_of(row, "image")))
		check_crops(row, &plan, &in, list);
	else
		result("canvas", false, text_of(row, "image"), "the reference's pixels are not there");
	if (owned)
		free(in.rgb);
	json_decref(list);
}

/* The canvas of a whole picture as bytes; to be freed. */
static bool whole_canvas(struct moe_picture *canvas, const struct moe_canvas *k, const struct moe_picture *in)
{
	struct moe_arena a = {0};
	struct moe_diag d = {0};
	struct moe_patches p;
	bool good;

	*canvas = (struct moe_picture){k->size, k->size, malloc((size_t)k->size * k->size * 3)};
	good = canvas->rgb && !moe_canvas_patches(&p, k, in, &a, &d) && canvas_from_patches(canvas->rgb, k->size, &p, k->patch);
	moe_arena_free(&a);
	return good;
}

/* A JPEG of our decoder on its canvas, near to the one of the reference's pixels. */
static void check_jpeg_canvas(const char *name, int size, json_t *limit)
{
	struct moe_image_plan plan;
	struct moe_picture ours, theirs, a = {0}, b = {0};
	struct moe_diag d = {0};
	bool owned = false;

	if (!limit || !make_plan(&plan, size, false))
		return;
	if (decode(&ours, "files/", name, false, &d)) {
		result("jpeg on a canvas", false, name, d.text);
		return;
	}
	if (reference_pixels(&theirs, &owned, name) && whole_canvas(&a, &plan.canvas, &ours) && whole_canvas(&b, &plan.canvas, &theirs))
		compare_near("jpeg on a canvas", name, &a, &b, limit);
	else
		result("jpeg on a canvas", false, name, "there is no canvas to compare with");
	if (owned)
		free(theirs.rgb);
	free(ours.rgb);
	free(a.rgb);
	free(b.rgb);
}

/* ---- all together ---- */

static bool open_all(const char *families)
{
	struct moe_diag d = {0};
	size_t n;
	char *npy = read_file(&n, "", "aria_lut.npy");
	bool good = npy && n >= sizeof g.lut && !moe_spec_load(&g.spec, &(struct moe_spec_options){.directory = "tests/golden/aria/model", .families = families}, &d);

	if (good)       /* 256 floats behind the header */
		memcpy(g.lut, npy + n - sizeof g.lut, sizeof g.lut);
	free(npy);
	read_tensors(&g.small, "decoded/small.safetensors");
	read_tensors(&g.full, "aria_full.safetensors");
	read_tensors(&g.resized, "resize.safetensors");
	result("files", good && g.small.bytes && g.resized.bytes, g.dir, good ? "resize.safetensors or decoded/small.safetensors is missing" : "aria_lut.npy or the settings are missing");
	return good;
}

static void run_all(json_t *aria, json_t *hashes)
{
	struct moe_image_plan plan;
	const char *name;
	json_t *value;
	size_t i;

	json_object_foreach(g.decoded, name, value)
		check_decoded(name, value);
	check_arrays();
	check_hashes(hashes);
	if (make_plan(&plan, 0, false))
		check_values(&plan.canvas);
	json_array_foreach(aria, i, value)
		check_row(value);
	json_object_foreach(g.stb, name, value) {
		check_jpeg_canvas(name, 490, json_object_get(value, "after_aria_490"));
		check_jpeg_canvas(name, 980, json_object_get(value, "after_aria_980"));
	}
}

bool golden_images(const char *dir, const char *families, void (*tally)(const char *label, bool good))
{
	json_t *decoded, *stb, *aria, *hashes;

	g = (struct images){.dir = dir, .tally = tally};
	decoded = read_json("decoded.json");
	if (!decoded)
		return false;
	stb = read_json("stb.json");
	aria = read_json("aria.json");
	hashes = read_json("resize_sha.json");
	g.decoded = json_object_get(decoded, "images");
	g.stb = json_object_get(stb, "files");
	if (open_all(families))
		run_all(aria, hashes);
	result("files", json_object_size(g.decoded) && json_object_size(g.stb) && json_array_size(aria) && json_array_size(hashes), dir,
	       "decoded.json, stb.json, aria.json or resize_sha.json is missing or empty");
	free_tensors(&g.small);
	free_tensors(&g.full);
	free_tensors(&g.resized);
	moe_spec_free(g.spec);
	json_decref(decoded);
	json_decref(stb);
	json_decref(aria);
	json_decref(hashes);
	return true;
}
